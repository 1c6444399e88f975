//! What translated code and the processor that it runs for share: where things lie, as offsets from one address.
//!
//! Rule of this file: while translated code runs, the GS segment's base is that address. The guest's registers lie in the
//! processor's state; what only translated code needs is in the [`Frame`].

use std::mem::offset_of;

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
}

impl JumpCache {
    /// How many slots there are.
    pub const SLOTS: usize = 8192;
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
        Box::new(Self { targets: Self::EMPTY, code: [0; Self::SLOTS], is_used: false })
    }

    /// What goes into [`Frame::jumps`].
    pub fn address(&mut self) -> u64 {
        std::ptr::from_mut(self).expose_provenance() as u64
    }

    /// Remembers that RIP `target` is the host code at `code`.
    pub fn learn(&mut self, target: u64, code: u64) {
        let slot = Self::slot(target);
        self.targets[slot] = target;
        self.code[slot] = code;
        self.is_used = true;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_used) {
            self.targets = Self::EMPTY;
        }
    }

    /// Forgets the code of one page.
    pub fn forget(&mut self, page: GuestVirt) {
        if !self.is_used {
            return;
        }
        for (target, empty) in self.targets.iter_mut().zip(&Self::EMPTY) {
            if target.wrapping_sub(page.0) < PAGE_SIZE {
                *target = *empty;
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
