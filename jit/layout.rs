//! What translated code and the processor that it runs for share: where things lie, as offsets from one address.
//!
//! Rule of this file: while translated code runs, the GS segment's base is that address. The guest's registers lie in the
//! processor's state; what only translated code needs is in the [`Frame`].

use std::{mem::offset_of, ops::Range};

use dragoman_state::{GuestVirt, PAGE_SIZE, RFlags};

/// Offsets from the address that GS points to while translated code runs.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Sixteen general-purpose registers, eight bytes each.
    pub gpr: i32,
    /// Thirty-two vector registers, 64 bytes each.
    pub vectors: i32,
    /// MXCSR, four bytes.
    pub mxcsr: i32,
    /// RFLAGS, eight bytes; its arithmetic flags are not looked at.
    pub rflags: i32,
    /// One byte: what the last instruction inhibits; 1 after STI. Whoever executes an instruction elsewhere clears it first.
    pub shadow: i32,
    /// The model-specific register that SWAPGS exchanges GS's base with.
    pub kernel_gs_base: i32,
    /// The bases of ES, CS, SS, DS, FS and GS, eight bytes each.
    pub segment_bases: [i32; 6],
    /// For each view that code may access memory through: where its tables are.
    pub tables: Vec<Tables>,
    /// The [`Frame`].
    pub frame: i32,
}

/// Two tables of remembered pages: 1024 entries of 16 bytes, a page's linear address and then its host address, found by
/// bits 12 to 21 of a linear address. An entry that holds nothing has the address of a page that belongs elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// Of pages that can be read.
    pub read: i32,
    /// Of pages that can be written without telling anyone.
    pub write: i32,
}

/// The six arithmetic flags as LAHF and SETO leave them in AX: OF in bit 0, and SF, ZF, AF, PF and CF in bits 15 to 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct SavedFlags(pub u64);

impl SavedFlags {
    /// The same flags as RFLAGS holds them.
    pub fn image(self) -> RFlags {
        let overflow = if self.0 & 1 != 0 { RFlags::OF } else { RFlags::empty() };
        RFlags::from_bits_retain(self.0 >> 8 & 0xff) & RFlags::ARITHMETIC | overflow
    }

    /// The arithmetic flags of `image`.
    pub fn of(image: RFlags) -> Self {
        Self((image.bits() & 0xff | 2) << 8 | u64::from(image.contains(RFlags::OF)))
    }
}

/// What translated code needs beside the guest's own registers.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Frame {
    /// RIP of the first byte of the page that code runs in. Code is in no particular place: all it knows is where in its
    /// page it lies.
    pub page: u64,
    /// The guest's arithmetic flags, where code keeps them here rather than in the host's.
    pub flags: SavedFlags,
    /// The host's arithmetic flags when code was left.
    pub host_flags: SavedFlags,
    /// The [`Site`](crate::rewrite::Site) at which code was left.
    pub site: u64,
    /// Where an indirect jump goes.
    pub target: u64,
    /// The host address of the instruction that faulted.
    pub faulted: u64,
    /// The address of the [`JumpCache`].
    pub jumps: u64,
    /// The address of a doubleword that is not zero when somebody wants the processor's attention.
    pub attention: u64,
    /// The host address of the way out of translated code.
    pub exit: u64,
    /// The host address of the code that finds out where an indirect jump goes on.
    pub jump: u64,
    /// [`Frame::page`] of the x87 instruction that the unit remembers, where the host executed it.
    pub x87_page: u64,
    /// Not zero while the guest's x87 unit is in the host's.
    pub has_x87: u32,
    /// Not zero while an interrupt waits that is let in as soon as RFLAGS.IF is set.
    pub waits: u32,
    /// How many instructions translated code has executed, where it counts them.
    pub executed: u64,
    /// Whether any of the first sixteen vector registers has a bit set above its low 128.
    pub has_upper_halves: u32,
    /// The host's stack pointer outside.
    pub(crate) host_stack: u64,
    /// The host's MXCSR outside.
    pub(crate) host_mxcsr: u32,
}

macro_rules! frame_offsets {
    ($($name:ident),*) => {
        impl Layout {
            $(#[doc = concat!("The offset of [`Frame`]'s field `", stringify!($name), "`.")]
            pub(crate) const fn $name(&self) -> i32 {
                self.frame + offset_of!(Frame, $name) as i32
            })*
        }
    };
}

frame_offsets!(
    page,
    flags,
    host_flags,
    site,
    target,
    faulted,
    jumps,
    attention,
    exit,
    jump,
    x87_page,
    has_x87,
    waits,
    executed,
    has_upper_halves,
    host_stack,
    host_mxcsr
);

impl Layout {
    /// The offset of general-purpose register `n`.
    pub(crate) const fn gpr(&self, n: u8) -> i32 {
        self.gpr + 8 * n as i32
    }

    /// The offset of vector register `n`.
    pub(crate) const fn vector(&self, n: u8) -> i32 {
        self.vectors + 64 * n as i32
    }
}

/// Where indirect jumps of one view went lately.
#[repr(C)]
pub struct JumpCache {
    /// The RIP of each slot; where it holds nothing, one that belongs in another.
    targets: [u64; Self::SLOTS],
    /// The host code for it.
    code: [u64; Self::SLOTS],
    is_used: bool,
    /// Whether any of them lies in a page that is not global.
    has_local: bool,
    /// For each number of a page modulo their count: whether any of them lies in such a page.
    pages: [bool; Self::PAGES],
}

impl JumpCache {
    /// How many slots there are.
    pub const SLOTS: usize = 8192;
    const PAGES: usize = 4096;
    /// The page's number is folded into the offset within the page, because what is called is aligned.
    pub(crate) const FOLD: i8 = 12;
    pub(crate) const CODE: i32 = offset_of!(Self, code) as i32;

    const EMPTY: [u64; Self::SLOTS] = {
        let mut targets = [0; Self::SLOTS];
        targets[0] = 1;
        targets
    };

    const fn slot(target: u64) -> usize {
        (target ^ target >> Self::FOLD) as usize % Self::SLOTS
    }

    /// A cache that knows nothing.
    pub fn new() -> Box<Self> {
        let (targets, code, pages) = (Self::EMPTY, [0; Self::SLOTS], [false; Self::PAGES]);
        Box::new(Self { targets, code, is_used: false, has_local: false, pages })
    }

    /// What goes into [`Frame::jumps`].
    pub fn address(&mut self) -> u64 {
        std::ptr::from_mut(self).expose_provenance() as u64
    }

    /// Remembers that RIP `target`, which is in a global page or not, is the host code at `code`.
    pub fn learn(&mut self, target: u64, code: u64, is_global: bool) {
        let slot = Self::slot(target);
        self.targets[slot] = target;
        self.code[slot] = code;
        self.is_used = true;
        self.has_local |= !is_global;
        self.pages[Self::page(target)] = true;
    }

    fn page(at: u64) -> usize {
        (at / PAGE_SIZE) as usize % Self::PAGES
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_used) {
            self.targets = Self::EMPTY;
            self.pages = [false; Self::PAGES];
            self.has_local = false;
        }
    }

    /// Forgets what is in pages that are not global, and perhaps more.
    pub fn forget_local(&mut self) {
        if self.has_local {
            self.clear();
        }
    }

    /// Forgets what is between `start` and `last` bytes behind it.
    pub fn forget(&mut self, start: GuestVirt, last: u64) {
        if last >= PAGE_SIZE || self.pages[Self::page(start.0)] {
            self.forget_where(|target, _| target.wrapping_sub(start.0) <= last);
        }
    }

    /// Forgets what leads to any of `code`, which is sorted.
    pub fn forget_code(&mut self, code: &[u64]) {
        self.forget_where(|_, known| code.binary_search(&known).is_ok());
    }

    /// Forgets that RIP `target` is the host code at `code`, where that is remembered.
    pub fn forget_one(&mut self, target: u64, code: u64) {
        let slot = Self::slot(target);
        if self.targets[slot] == target && self.code[slot] == code {
            self.targets[slot] = Self::EMPTY[slot];
        }
    }

    /// Forgets what leads to any of `code`.
    pub fn forget_code_in(&mut self, code: &Range<u64>) {
        self.forget_where(|_, known| code.contains(&known));
    }

    fn forget_where(&mut self, is_gone: impl Fn(u64, u64) -> bool) {
        if !self.is_used {
            return;
        }
        for (n, target) in self.targets.iter_mut().enumerate() {
            if is_gone(*target, self.code[n]) {
                *target = Self::EMPTY[n];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_slot_holds_the_address_of_another() {
        for (n, target) in JumpCache::EMPTY.iter().enumerate() {
            assert_ne!(JumpCache::slot(*target), n);
        }
    }

    #[test]
    fn saved_flags_hold_the_six_arithmetic_ones() {
        for flags in
            [RFlags::empty(), RFlags::OF, RFlags::CF | RFlags::ZF, RFlags::ARITHMETIC, RFlags::SF | RFlags::PF | RFlags::AF]
        {
            assert_eq!(SavedFlags::of(flags | RFlags::IF | RFlags::DF).image(), flags);
        }
    }
}
