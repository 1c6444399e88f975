//! Whether an access may be made: the one place that decides.
//! SDM: vol. 3 §4.6 (access rights), §4.6.2 (protection keys), §4.7 (error codes).

use super::{Access, AccessKind, PageFault, Paging, PagingMode, Rights};

impl Paging {
    /// Whether `access` may be made to a page with `rights`; else the error code of its fault.
    pub fn permits(&self, rights: Rights, access: Access) -> Result<(), PageFault> {
        if self.mode == PagingMode::None {
            return Ok(());
        }
        let by_rights = match (access.kind, access.is_user) {
            (_, true) if !rights.is_user => false,
            (AccessKind::Read, true) => true,
            (AccessKind::Write, true) => rights.is_writable,
            (AccessKind::Read, false) => self.reaches_user_page(rights, access),
            (AccessKind::Write, false) => self.reaches_user_page(rights, access) && (rights.is_writable || !self.write_protect),
            (AccessKind::Execute, is_user) => rights.is_executable && (is_user || !rights.is_user || !self.smep),
        };
        // The error code tells of a key that forbids, whatever else does.
        match (by_rights, self.key_forbids(rights, access)) {
            (true, false) => Ok(()),
            (false, false) => Err(self.fault(access, PageFault::PRESENT)),
            (_, true) => Err(self.fault(access, PageFault::PRESENT | PageFault::KEY)),
        }
    }

    /// Whether supervisor data accesses may touch a page of ring 3's.
    fn reaches_user_page(&self, rights: Rights, access: Access) -> bool {
        !(self.smap && rights.is_user && access.is_guarded)
    }

    fn key_forbids(&self, rights: Rights, access: Access) -> bool {
        let (is_on, register) = if rights.is_user { (self.user_keys, self.pkru) } else { (self.supervisor_keys, self.pkrs) };
        if !is_on || access.kind == AccessKind::Execute {
            return false;
        }
        let disabled = register >> (2 * rights.key);
        let write_counts = access.is_user || self.write_protect;
        disabled & 1 != 0 || disabled & 2 != 0 && access.kind == AccessKind::Write && write_counts
    }

    /// The error code of a fault of `access`, with the cause given.
    pub(super) fn fault(&self, access: Access, cause: u32) -> PageFault {
        let mut error = cause;
        if access.kind == AccessKind::Write {
            error |= PageFault::WRITE;
        }
        if access.is_user {
            error |= PageFault::USER;
        }
        let shows_fetches = self.smep || self.no_execute && self.mode != PagingMode::Bits32;
        if access.kind == AccessKind::Execute && shows_fetches {
            error |= PageFault::FETCH;
        }
        PageFault(error)
    }
}
