//! Linear to physical addresses, as pure functions over a reader of page tables.
//!
//! Rule of this folder: a walk changes nothing but accessed and dirty flags, and those only when the access is permitted.
//! Permission is decided in one place, [`Paging::permits`], which a translation cache asks again for each new kind of
//! access.
//! SDM: vol. 3 chapter 4.

mod permission;
mod walk;

use dragoman_state::{Cr0, Cr4, Efer, GuestPhys, RFlags, VcpuState};

use crate::model::{CpuModel, Feature};

pub use walk::walk;

/// Which page tables are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagingMode {
    /// None: linear addresses are physical.
    None,
    /// 32-bit: two levels of four-byte entries.
    Bits32,
    /// PAE: four pointers, then two levels of eight-byte entries.
    Pae,
    /// 4-level.
    Level4,
    /// 5-level.
    Level5,
}

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// Data is read.
    Read,
    /// Data is written, or read to be written.
    Write,
    /// Code is fetched.
    Execute,
}

/// An access to memory, as paging sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// What is done.
    pub kind: AccessKind,
    /// On behalf of ring 3.
    pub is_user: bool,
    /// Supervisor-mode access prevention applies: RFLAGS.AC does not lift it, or the access is the processor's own.
    pub is_guarded: bool,
}

/// The rights that the entries of a walk add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Every entry allows writes.
    pub is_writable: bool,
    /// Every entry allows ring 3.
    pub is_user: bool,
    /// No entry forbids execution.
    pub is_executable: bool,
    /// Protection key.
    pub key: u8,
}

/// A successful walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The physical address of the byte asked for.
    pub at: GuestPhys,
    /// Binary logarithm of the page's size: 12, 21, 22 or 30.
    pub page_bits: u8,
    /// What may be done there.
    pub rights: Rights,
    /// The translation survives a change of address space.
    pub is_global: bool,
    /// The page is marked dirty: a write need not walk again to mark it.
    pub is_dirty: bool,
}

/// The error code of the page fault that an access raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault(pub u32);

impl PageFault {
    const PRESENT: u32 = 1 << 0;
    const WRITE: u32 = 1 << 1;
    const USER: u32 = 1 << 2;
    const RESERVED: u32 = 1 << 3;
    const FETCH: u32 = 1 << 4;
    const KEY: u32 = 1 << 5;
}

/// Guest memory as page walks see it. Addresses are aligned to the entry; outside memory entries read as zero and
/// writes to them are lost.
pub trait PageTables {
    /// An entry of eight bytes.
    fn read_entry(&mut self, at: GuestPhys) -> u64;
    /// An entry of four bytes.
    fn read_short_entry(&mut self, at: GuestPhys) -> u32;
    /// Replaces an entry of eight bytes where it is still `old`; returns whether it was.
    fn replace_entry(&mut self, at: GuestPhys, old: u64, new: u64) -> bool;
    /// Replaces an entry of four bytes where it is still `old`; returns whether it was.
    fn replace_short_entry(&mut self, at: GuestPhys, old: u32, new: u32) -> bool;
}

/// Everything in the processor's state that paging depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Which tables are in force.
    pub mode: PagingMode,
    cr3: u64,
    pdptes: [u64; 4],
    pkru: u32,
    pkrs: u32,
    physical_bits: u32,
    write_protect: bool,
    no_execute: bool,
    smep: bool,
    smap: bool,
    user_keys: bool,
    supervisor_keys: bool,
    page_size_extensions: bool,
    global_pages: bool,
    huge_pages: bool,
}

impl Paging {
    /// The paging that `state` asks for on `model`.
    pub fn of(state: &VcpuState, model: &CpuModel) -> Self {
        let cr4 = |bit| state.cr4.contains(bit);
        let mode = if !state.cr0.contains(Cr0::PG) {
            PagingMode::None
        } else if state.is_long_mode() {
            if cr4(Cr4::LA57) { PagingMode::Level5 } else { PagingMode::Level4 }
        } else if cr4(Cr4::PAE) {
            PagingMode::Pae
        } else {
            PagingMode::Bits32
        };
        Self {
            mode,
            cr3: state.cr3,
            pdptes: state.pdptes,
            pkru: state.pkru,
            pkrs: state.msrs.pkrs as u32,
            physical_bits: model.physical_bits(),
            write_protect: state.cr0.contains(Cr0::WP),
            no_execute: state.efer.contains(Efer::NXE),
            smep: cr4(Cr4::SMEP),
            smap: cr4(Cr4::SMAP),
            user_keys: cr4(Cr4::PKE) && state.is_long_mode(),
            supervisor_keys: cr4(Cr4::PKS) && state.is_long_mode(),
            page_size_extensions: cr4(Cr4::PSE),
            global_pages: cr4(Cr4::PGE),
            huge_pages: model.has(Feature::Pdpe1gb),
        }
    }

    /// Whether the same is permitted as under `other`, whichever tables are in force.
    pub fn permits_as(&self, other: &Self) -> bool {
        Self { cr3: other.cr3, pdptes: other.pdptes, ..*self } == *other
    }

    /// Whether supervisor-mode access prevention is in force at all.
    pub fn has_smap(&self) -> bool {
        self.smap
    }
}

impl Access {
    /// An access by code at `cpl` of a processor in `state`.
    pub fn by_code(kind: AccessKind, state: &VcpuState) -> Self {
        Self { kind, is_user: state.cpl() == 3, is_guarded: !state.rflags.contains(RFlags::AC) }
    }

    /// An access by the processor itself to its own tables.
    pub const fn by_system(kind: AccessKind) -> Self {
        Self { kind, is_user: false, is_guarded: true }
    }
}

/// Whether a page-directory pointer of PAE paging has bits set that must be zero.
pub fn pdpte_has_reserved_bits(pdpte: u64, physical_bits: u32) -> bool {
    pdpte & 1 != 0 && pdpte & (0x1e6 | reserved_address_bits(physical_bits) | 0xfff << 52) != 0
}

/// The bits below 52 that a physical address cannot have.
fn reserved_address_bits(physical_bits: u32) -> u64 {
    0x000f_ffff_ffff_ffff & !((1u64 << physical_bits) - 1)
}
