//! Guest memory as a report reads it: by linear addresses, with every page-table entry on the way known.

use dragoman_state::{GuestPhys, GuestVirt, PAGE_SIZE};

use super::Scene;
use crate::{
    fault::Fault,
    paging::{Access, AccessKind, PageFault, PageTables, Paging, PagingMode, walk},
};

/// Guest memory by physical addresses.
pub trait PhysicalMemory {
    /// Copies memory at `at` into `bytes`; whether all of it was memory.
    fn read(&self, at: GuestPhys, bytes: &mut [u8]) -> bool;
}

/// A page-table entry that a walk came by.
struct Entry {
    at: GuestPhys,
    value: u64,
    is_memory: bool,
}

/// Page tables that remember what was read of them, and are never written.
struct Retraced<'a> {
    memory: &'a dyn PhysicalMemory,
    entries: Vec<Entry>,
}

impl Retraced<'_> {
    fn read(&mut self, at: GuestPhys, size: usize) -> u64 {
        let mut bytes = [0; 8];
        let is_memory = self.memory.read(at, &mut bytes[..size]);
        let value = if is_memory { u64::from_le_bytes(bytes) } else { 0 };
        self.entries.push(Entry { at, value, is_memory });
        value
    }
}

impl PageTables for Retraced<'_> {
    fn read_entry(&mut self, at: GuestPhys) -> u64 {
        self.read(at, 8)
    }

    fn read_short_entry(&mut self, at: GuestPhys) -> u32 {
        self.read(at, 4) as u32
    }

    fn replace_entry(&mut self, _: GuestPhys, _: u64, _: u64) -> bool {
        true
    }

    fn replace_short_entry(&mut self, _: GuestPhys, _: u32, _: u32) -> bool {
        true
    }
}

/// The names of the entries that a walk reads from memory, in its order.
fn names(mode: PagingMode) -> &'static [&'static str] {
    match mode {
        PagingMode::None => &[],
        PagingMode::Bits32 | PagingMode::Pae => &["PDE", "PTE"],
        PagingMode::Level4 => &["PML4E", "PDPTE", "PDE", "PTE"],
        PagingMode::Level5 => &["PML5E", "PML4E", "PDPTE", "PDE", "PTE"],
    }
}

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const NO_EXECUTE: u64 = 1 << 63;

impl Scene<'_> {
    fn walk(&self, at: GuestVirt, access: Access) -> (Result<GuestPhys, PageFault>, Vec<Entry>) {
        let mut tables = Retraced { memory: self.memory, entries: Vec::new() };
        let walked = walk(&Paging::of(self.state, self.model), &mut tables, at, access);
        (walked.map(|found| found.at), tables.entries)
    }

    /// Copies linear memory at `at` into `bytes`, whoever may read it; how many bytes there are before a page that is missing.
    pub(super) fn read(&self, at: u64, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let from = at.wrapping_add(done as u64);
            let from = if self.state.is_64bit() { from } else { from & 0xffff_ffff };
            let room = ((PAGE_SIZE - from % PAGE_SIZE) as usize).min(bytes.len() - done);
            let access = Access { kind: AccessKind::Read, is_user: false, is_guarded: false };
            let Ok(found) = self.walk(GuestVirt(from), access).0 else { break };
            if !self.memory.read(found, &mut bytes[done..done + room]) {
                break;
            }
            done += room;
        }
        done
    }

    /// Why a page fault at `at` was raised: which entry of which level, and which of its fields.
    pub(super) fn page_fault(&self, fault: Fault, at: GuestVirt) -> String {
        let error = PageFault(fault.error().unwrap_or(0));
        let (is_write, is_user) = (error.0 & 2 != 0, error.0 & 4 != 0);
        let is_fetch = error.0 & 16 != 0 || !is_write && self.is_code(at);
        let kind = match (is_write, is_fetch) {
            (true, _) => AccessKind::Write,
            (false, true) => AccessKind::Execute,
            (false, false) => AccessKind::Read,
        };
        // A fault that only prevention can have raised was guarded.
        let is_guarded = error.0 & 5 == 1;
        let (walked, entries) = self.walk(at, Access { kind, is_user, is_guarded });
        let what = match kind {
            AccessKind::Write => "written",
            AccessKind::Read => "read",
            AccessKind::Execute => "executed",
        };
        let Err(refused) = walked else {
            return format!("{:#x} can be {what} by the tables as they are now: they changed since", at.0);
        };
        let paging = Paging::of(self.state, self.model);
        if entries.is_empty() {
            let n = (at.0 >> 30 & 3) as usize;
            let pdpte = self.state.pdptes[n];
            return format!(
                "{:#x}: PDPTE {n}, loaded with CR3 = {:#x}, is {pdpte:#x}: {}",
                at.0,
                self.state.cr3,
                absence(refused)
            );
        }
        let names = names(paging.mode);
        let denying = if refused.0 & 9 == 1 { self.denying(&entries, kind, is_user) } else { entries.len() - 1 };
        let (entry, name) = (&entries[denying], names.get(denying).unwrap_or(&"entry"));
        if !entry.is_memory {
            return format!(
                "{:#x}: {name} would be at {:#x}, where there is no memory (CR3 = {:#x})",
                at.0, entry.at.0, self.state.cr3
            );
        }
        let why = if refused.0 & 9 == 1 { denial(refused, entry.value, kind, is_user) } else { absence(refused) };
        format!("{:#x}: {name} at {:#x} is {:#x}: {why}", at.0, entry.at.0, entry.value)
    }

    fn is_code(&self, at: GuestVirt) -> bool {
        let rip = self.state.code_address(self.state.rip);
        at.0 == rip || at.0 > rip && at.0 - rip < 16 && at.page_offset() == 0
    }

    /// The entry of a complete walk that forbids the access.
    fn denying(&self, entries: &[Entry], kind: AccessKind, is_user: bool) -> usize {
        let forbids = |entry: &Entry| match kind {
            _ if is_user && entry.value & USER == 0 => true,
            AccessKind::Write => entry.value & WRITABLE == 0,
            AccessKind::Execute => entry.value & NO_EXECUTE != 0,
            AccessKind::Read => false,
        };
        entries.iter().position(forbids).unwrap_or(entries.len() - 1)
    }
}

/// Of an entry that ended the walk.
fn absence(fault: PageFault) -> &'static str {
    if fault.0 & 1 == 0 { "not present (P = 0)" } else { "reserved bits are set" }
}

/// Of an entry that let the walk through and not the access.
fn denial(fault: PageFault, entry: u64, kind: AccessKind, is_user: bool) -> &'static str {
    const KEY: u32 = 1 << 5;
    debug_assert!(entry & PRESENT != 0);
    match kind {
        _ if fault.0 & KEY != 0 => "its protection key is closed",
        _ if is_user && entry & USER == 0 => "the supervisor's (U/S = 0)",
        AccessKind::Write if entry & WRITABLE == 0 => "read-only (R/W = 0)",
        AccessKind::Execute if entry & NO_EXECUTE != 0 => "not to be executed (XD = 1)",
        AccessKind::Execute => "ring 3's, and SMEP keeps ring 0 out",
        AccessKind::Read | AccessKind::Write => "ring 3's, and SMAP keeps ring 0 out",
    }
}
