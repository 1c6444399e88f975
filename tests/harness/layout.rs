//! Where things lie while an instruction is judged: the same linear addresses on an engine and on the host's processor.
//!
//! Rule of this file: every page below [`ARENA_END`] and from [`ARENA`] on belongs to the case, and is mapped only where
//! the case asks for it. What the processor itself needs lies above, where user code cannot reach it.

use std::ops::Range;

/// The size of a page.
pub const PAGE: u64 = 4096;
/// Where instructions lie, unless a row places them at the end of this page.
pub const CODE: u64 = 0x1_0000;
/// The first page of data by convention, and the base of DS and ES in segmented modes.
pub const DATA: u64 = 0x2_0000;
/// The base of SS in segmented modes; in flat ones the stack pointer points above it.
pub const STACK: u64 = 0x3_0000;
/// How far above [`STACK`] the stack pointer starts.
pub const STACK_OFFSET: u64 = 0x800;
/// The base of FS in segmented modes.
pub const FS: u64 = 0x4_0000;
/// The base of GS in segmented modes.
pub const GS: u64 = 0x5_0000;
/// Below here are the real-mode interrupt vectors, above the case's own pages.
pub const ARENA: u64 = CODE;
/// The end of the case's own pages.
pub const ARENA_END: u64 = 0x6_0000;

/// The global descriptor table.
pub const GDT: u64 = 0x8_0000;
/// The local descriptor table.
pub const LDT: u64 = 0x8_0800;
/// The interrupt descriptor table: 256 gates of 16 bytes at most.
pub const IDT: u64 = 0x8_1000;
/// The task state segment.
pub const TSS: u64 = 0x8_2000;
/// Where the gates lead: [`HANDLER_SIZE`] bytes of HLT for each vector.
pub const HANDLERS: u64 = 0x8_3000;
/// The distance between two handlers.
pub const HANDLER_SIZE: u64 = 16;
/// The pages of the ring-0 stack that faults are pushed on.
pub const KERNEL_STACK: Range<u64> = 0x8_4000..0x8_6000;
/// The pages that belong to the processor.
pub const SYSTEM: Range<u64> = GDT..KERNEL_STACK.end;

/// The first physical page of page tables, and of pages that rows map above the arena.
pub const FRAMES: Range<u64> = 0x10_0000..0x20_0000;
/// Where captured tests have the memory that real mode can reach: clear of the video window, which is no memory here.
pub const REAL_MODE: u64 = FRAMES.end;
/// How much guest memory there is.
pub const RAM_SIZE: u64 = 4 << 20;

/// The byte that fills the data pages of a case before its own values are written.
pub const BACKGROUND: u8 = 0xa5;
/// HLT, which fills pages of code.
pub const HLT: u8 = 0xf4;

/// Selectors, the same in every protected mode; those of long mode are Linux's.
pub mod selector {
    /// Ring-0 code of the mode's own size.
    pub const KERNEL_CODE: u16 = 0x10;
    /// Ring-0 data.
    pub const KERNEL_DATA: u16 = 0x18;
    /// Flat 32-bit code of ring 3.
    pub const USER_CODE32: u16 = 0x23;
    /// Flat data of ring 3.
    pub const USER_DATA: u16 = 0x2b;
    /// 64-bit code of ring 3.
    pub const USER_CODE64: u16 = 0x33;
    /// The task register's.
    pub const TSS: u16 = 0x40;
    /// The local descriptor table's.
    pub const LDT: u16 = 0x50;
    /// 16-bit code at [`CODE`](super::CODE).
    pub const CODE16: u16 = 0x07;
    /// 16-bit data at [`DATA`](super::DATA).
    pub const DATA16: u16 = 0x0f;
    /// 16-bit stack at [`STACK`](super::STACK).
    pub const STACK16: u16 = 0x17;
    /// 16-bit data at [`FS`](super::FS).
    pub const FS16: u16 = 0x1f;
    /// 16-bit data at [`GS`](super::GS).
    pub const GS16: u16 = 0x27;
    /// As [`CODE16`], for ring 0.
    pub const KERNEL_CODE16: u16 = 0x80;
    /// As [`DATA16`], for ring 0.
    pub const KERNEL_DATA16: u16 = 0x88;
    /// As [`STACK16`], for ring 0.
    pub const KERNEL_STACK16: u16 = 0x90;
    /// As [`FS16`], for ring 0.
    pub const KERNEL_FS16: u16 = 0x98;
    /// As [`GS16`], for ring 0.
    pub const KERNEL_GS16: u16 = 0xa0;
}

/// The local descriptor table: what segmented modes use, and segments that refuse something. The host's kernel must
/// accept every one of them from a program.
pub const LDT_ENTRIES: [LdtEntry; 12] = [
    LdtEntry::new("code16", CODE, 0xffff, Kind::Code),
    LdtEntry::new("data16", DATA, 0xffff, Kind::Data),
    LdtEntry::new("stack16", STACK, 0xffff, Kind::Data),
    LdtEntry::new("fs16", FS, 0xffff, Kind::Data),
    LdtEntry::new("gs16", GS, 0xffff, Kind::Data),
    LdtEntry::new("small data", DATA, 0x0fff, Kind::Data).big(),
    LdtEntry::new("expand-down data", DATA, 0x0fff, Kind::ExpandDown),
    LdtEntry::new("big expand-down data", DATA, 0x0fff, Kind::ExpandDown).big(),
    LdtEntry::new("read-only data", DATA, 0xffff, Kind::Data).restricted().big(),
    LdtEntry::new("execute-only code", DATA, 0xffff, Kind::Code).restricted().big(),
    LdtEntry::new("absent data", DATA, 0xffff, Kind::Data).absent().big(),
    LdtEntry::new("readable code", DATA, 0xffff, Kind::Code).big(),
];

/// What kind of segment an entry of the local descriptor table describes. The discriminants are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Data that grows upwards.
    Data = 0,
    /// Data that grows downwards.
    ExpandDown = 1,
    /// Code, not conforming.
    Code = 2,
}

/// One segment of the local descriptor table; ring 3, byte-granular.
#[derive(Clone, Copy, Debug)]
pub struct LdtEntry {
    /// What it is for.
    pub name: &'static str,
    /// Linear address.
    pub base: u64,
    /// Last offset.
    pub limit: u32,
    /// Kind.
    pub kind: Kind,
    /// 32-bit.
    pub is_big: bool,
    /// Data that cannot be written, code that cannot be read.
    pub is_restricted: bool,
    /// Not present.
    pub is_absent: bool,
}

impl LdtEntry {
    const fn new(name: &'static str, base: u64, limit: u32, kind: Kind) -> Self {
        Self { name, base, limit, kind, is_big: false, is_restricted: false, is_absent: false }
    }

    const fn big(mut self) -> Self {
        self.is_big = true;
        self
    }

    const fn restricted(mut self) -> Self {
        self.is_restricted = true;
        self
    }

    const fn absent(mut self) -> Self {
        self.is_absent = true;
        self
    }

    /// The descriptor, accessed.
    pub const fn descriptor(self) -> u64 {
        let kind = match self.kind {
            Kind::Data => 0x1,
            Kind::ExpandDown => 0x5,
            Kind::Code => 0x9,
        };
        let rights = 0xf0 | kind | if self.is_restricted { 0 } else { 2 };
        let rights = if self.is_absent { rights & !0x80 } else { rights };
        let flags = if self.is_big { 0x4 } else { 0 };
        descriptor(self.base, self.limit, rights, flags)
    }
}

/// A descriptor of eight bytes: `limit` in the units that `flags` (G, D/B, L, AVL from bit 3 down) say.
pub const fn descriptor(base: u64, limit: u32, rights: u8, flags: u8) -> u64 {
    let (limit, rights, flags) = (limit as u64, rights as u64, flags as u64);
    limit & 0xffff | (base & 0xff_ffff) << 16 | rights << 40 | (limit >> 16 & 0xf) << 48 | flags << 52 | (base >> 24 & 0xff) << 56
}
