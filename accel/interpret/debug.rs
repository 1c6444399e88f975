//! Breakpoints of the debug registers, and alignment checks: what costs nothing while nobody asks for it.
//!
//! While either is on, the MMU is careful: its first level knows no page, and every access comes through the slow path,
//! where it is looked at here. SDM: vol. 3 §17.2 (debug registers), §6.15 (#AC).

use dragoman_frontend::{fault::Fault, paging::AccessKind};
use dragoman_state::{Cr0, Cr4, Dr6, Port, RFlags, VcpuState, Width};

use super::processor::Processor;
use crate::mmu::ViewIndex;

/// Conditions of a breakpoint, as DR7 has them.
mod condition {
    pub const EXECUTE: u8 = 0;
    pub const WRITE: u8 = 1;
    pub const PORT: u8 = 2;
    pub const ACCESS: u8 = 3;
}

/// The size of an extended-precision number.
const EXTENDED: u64 = 10;

/// Whether data breakpoints or alignment checks want to see every access.
pub fn wants_every_access(state: &VcpuState) -> bool {
    let is_watched = state.dr7.has_any();
    checks_alignment(state)
        || is_watched
            && (0..4).any(|n| state.dr7.is_enabled(n) && matches!(state.dr7.kind(n), condition::WRITE | condition::ACCESS))
}

fn checks_alignment(state: &VcpuState) -> bool {
    state.rflags.contains(RFlags::AC) && state.cr0.contains(Cr0::AM) && state.cpl() == 3
}

/// The conditions of DR6 that an access of `size` bytes at `at` meets, by enabled breakpoints whose kind `is_meant`.
fn met(state: &VcpuState, at: u64, size: u64, is_meant: impl Fn(u8) -> bool) -> Dr6 {
    (0..4).filter(|n| state.dr7.is_enabled(*n) && is_meant(state.dr7.kind(*n))).fold(Dr6::empty(), |found, n| {
        let length = state.dr7.length(n);
        let from = state.breakpoints[n] & !(length - 1);
        // Neither range wraps around in practice; where one does, the difference is still right.
        let touches = from.wrapping_sub(at) < size || at.wrapping_sub(from) < length;
        if touches { found | Dr6::from_bits_retain(1 << n) } else { found }
    })
}

impl Processor {
    /// The breakpoints on the instruction that is next.
    pub(super) fn instruction_breakpoints(&self) -> Dr6 {
        met(&self.state, self.code_address(self.state.rip), 1, |kind| kind == condition::EXECUTE)
    }

    /// Refuses an access of ring 3 that is not aligned, where it must be. Processors do so before they look for the page.
    #[cold]
    pub(super) fn check_alignment(&self, view: ViewIndex, at: u64, size: u64) -> Result<(), Fault> {
        if view != ViewIndex::User || !checks_alignment(&self.state) {
            return Ok(());
        }
        let alignment = match size {
            2 | 4 | 8 => size,
            EXTENDED => 8,
            _ => 1,
        };
        if at % alignment == 0 { Ok(()) } else { Err(Fault::AC) }
    }

    /// Notes the breakpoints that a permitted access meets. They are raised after the instruction.
    #[cold]
    pub(super) fn watch(&mut self, kind: AccessKind, at: u64, size: u64) {
        let is_write = kind == AccessKind::Write;
        let hits = met(&self.state, at, size, |kind| kind == condition::ACCESS || kind == condition::WRITE && is_write);
        self.state.events.pending_debug |= hits;
    }

    /// Notes the breakpoints that an access to a port meets.
    pub(super) fn watch_port(&mut self, port: Port, width: Width) {
        if self.state.dr7.has_any() && self.state.cr4.contains(Cr4::DE) {
            let hits = met(&self.state, port.0.into(), width.bytes(), |kind| kind == condition::PORT);
            self.state.events.pending_debug |= hits;
        }
    }
}
