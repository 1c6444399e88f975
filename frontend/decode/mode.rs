//! What the meaning of code bytes depends on besides the bytes: the second half of a block's key.

use dragoman_state::{Cr0, Cr4, SegmentIndex, VcpuState, Width, Xcr0};

use super::SegmentUse;

/// The default operand and address size of a code segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CodeSize {
    /// 16 bits.
    Bits16 = 0,
    /// 32 bits.
    Bits32 = 1,
    /// 64-bit mode.
    Bits64 = 2,
}

impl CodeSize {
    /// The number of bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bits16 => 16,
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }
}

/// The control bits that gate floating-point and vector instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct FpuControl {
    pub monitor: bool,
    pub emulated: bool,
    pub task_switched: bool,
    pub sse_enabled: bool,
    pub avx_enabled: bool,
}

/// Everything outside the bytes themselves that decides how they decode, in one comparable word. Two processors with
/// equal modes run the same block for the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Mode(u32);

const CODE_SIZE: u32 = 3;
const STACK_BIG: u32 = 1 << 2;
const PROTECTED: u32 = 1 << 3;
const LONG: u32 = 1 << 4;
const VM86: u32 = 1 << 5;
const CPL_SHIFT: u32 = 6;
const FLAT_SHIFT: u32 = 8;
const MP: u32 = 1 << 14;
const EM: u32 = 1 << 15;
const TS: u32 = 1 << 16;
const SSE: u32 = 1 << 17;
const AVX: u32 = 1 << 18;

impl Mode {
    /// The mode that `state` is in.
    pub fn of(state: &VcpuState) -> Self {
        let cs = state.segment(SegmentIndex::Cs);
        let is_64bit = state.is_64bit();
        let mut bits = match (is_64bit, cs.attributes.is_big()) {
            (true, _) => CodeSize::Bits64 as u32,
            (false, true) => CodeSize::Bits32 as u32,
            (false, false) => CodeSize::Bits16 as u32,
        };
        let mut set = |bit, condition| bits |= if condition { bit } else { 0 };
        // Where the stack pointer has 64 bits whatever SS says, code is the same under a null SS, as interrupts leave it.
        set(STACK_BIG, !is_64bit && state.segment(SegmentIndex::Ss).attributes.is_big());
        set(PROTECTED, state.cr0.contains(Cr0::PE) && !state.is_virtual_8086());
        set(LONG, state.is_long_mode());
        set(VM86, state.is_virtual_8086());
        set(MP, state.cr0.contains(Cr0::MP));
        set(EM, state.cr0.contains(Cr0::EM));
        set(TS, state.cr0.contains(Cr0::TS));
        set(SSE, state.cr4.contains(Cr4::OSFXSR));
        set(AVX, state.cr4.contains(Cr4::OSXSAVE) && state.xcr0.contains(Xcr0::SSE | Xcr0::AVX));
        bits |= u32::from(state.cpl()) << CPL_SHIFT;
        if !is_64bit {
            // FS and GS are never: what they hold is the thread's, and code should not be another for each.
            for index in SegmentIndex::ALL.into_iter().filter(|index| (*index as u8) < SegmentIndex::Fs as u8) {
                let segment = state.segment(index);
                if segment.is_flat_data() || index == SegmentIndex::Cs && segment.is_flat_code() {
                    bits |= 1 << (FLAT_SHIFT + index as u32);
                }
            }
        }
        Self(bits)
    }

    /// Of the word that a mode is: the bits that are the privilege level. Between 64-bit code of two rings nothing else
    /// changes.
    pub const RING: u32 = 3 << CPL_SHIFT;

    /// The mode without its privilege level, where that is 0 or 3: system calls and their returns change no more.
    #[must_use]
    pub const fn but_for_ring(self) -> Self {
        match self.cpl() {
            0 | 3 => Self(self.0 & !Self::RING),
            _ => self,
        }
    }

    /// The default size of the code segment.
    #[inline]
    pub const fn code_size(self) -> CodeSize {
        match self.0 & CODE_SIZE {
            0 => CodeSize::Bits16,
            1 => CodeSize::Bits32,
            _ => CodeSize::Bits64,
        }
    }

    /// 64-bit mode.
    #[inline]
    pub const fn is_64bit(self) -> bool {
        self.0 & CODE_SIZE == CodeSize::Bits64 as u32
    }

    /// How wide the stack pointer is.
    #[inline]
    pub const fn stack_width(self) -> Width {
        match (self.is_64bit(), self.0 & STACK_BIG != 0) {
            (true, _) => Width::Qword,
            (false, true) => Width::Dword,
            (false, false) => Width::Word,
        }
    }

    /// Protected mode of any kind, virtual-8086 mode apart.
    #[inline]
    pub const fn is_protected(self) -> bool {
        self.0 & PROTECTED != 0
    }

    /// IA-32e mode: 64-bit or compatibility.
    #[inline]
    pub const fn is_long(self) -> bool {
        self.0 & LONG != 0
    }

    /// Virtual-8086 mode.
    #[inline]
    pub const fn is_virtual_8086(self) -> bool {
        self.0 & VM86 != 0
    }

    /// The current privilege level.
    #[inline]
    pub const fn cpl(self) -> u8 {
        (self.0 >> CPL_SHIFT & 3) as u8
    }

    /// Whether accesses through segment `index` need no base added and no check: the segment is flat, or the mode has
    /// no such segment. FS and GS count as not flat.
    #[inline]
    pub const fn is_flat(self, index: SegmentIndex) -> bool {
        if self.is_64bit() { (index as u8) < SegmentIndex::Fs as u8 } else { self.0 >> (FLAT_SHIFT + index as u32) & 1 != 0 }
    }

    /// How an access through segment `index` reaches linear memory.
    pub const fn segment_use(self, index: SegmentIndex) -> SegmentUse {
        if self.is_flat(index) {
            SegmentUse::flat(index)
        } else if self.is_64bit() {
            SegmentUse::based(index)
        } else {
            SegmentUse::checked(index)
        }
    }

    pub(super) const fn fpu_control(self) -> FpuControl {
        FpuControl {
            monitor: self.0 & MP != 0,
            emulated: self.0 & EM != 0,
            task_switched: self.0 & TS != 0,
            sse_enabled: self.0 & SSE != 0,
            avx_enabled: self.0 & AVX != 0,
        }
    }
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mode({:?}, CPL {}, {:#x})", self.code_size(), self.cpl(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use dragoman_state::{Attributes, Efer, Segment, VcpuId};

    use super::*;

    #[test]
    fn reset_is_real_mode_at_ring_0() {
        let mode = Mode::of(&VcpuState::power_on(VcpuId(0), 0));
        assert_eq!((mode.code_size(), mode.cpl(), mode.is_protected()), (CodeSize::Bits16, 0, false));
        assert!(!mode.is_flat(SegmentIndex::Ds));
    }

    #[test]
    fn a_flat_segment_is_one_that_no_check_could_refuse() {
        let mut state = VcpuState::power_on(VcpuId(0), 0);
        state.cr0 |= Cr0::PE;
        *state.segment_mut(SegmentIndex::Ds) = Segment { base: 0, limit: u32::MAX, attributes: Attributes(0xc093), selector: 8 };
        assert!(Mode::of(&state).is_flat(SegmentIndex::Ds));
        for spoilt in [
            Segment { base: 16, ..*state.segment(SegmentIndex::Ds) },
            Segment { limit: u32::MAX - 1, ..*state.segment(SegmentIndex::Ds) },
            Segment { attributes: Attributes(0xc091), ..*state.segment(SegmentIndex::Ds) },
            Segment { attributes: Attributes(0xc097), ..*state.segment(SegmentIndex::Ds) },
            Segment::null(0),
        ] {
            *state.segment_mut(SegmentIndex::Ds) = spoilt;
            assert!(!Mode::of(&state).is_flat(SegmentIndex::Ds), "{spoilt:?}");
        }
    }

    #[test]
    fn in_64_bit_mode_only_fs_and_gs_have_a_base() {
        let mut state = VcpuState::power_on(VcpuId(0), 0);
        state.efer |= Efer::LMA;
        state.segment_mut(SegmentIndex::Cs).attributes = Attributes(0xa09b);
        let mode = Mode::of(&state);
        assert!(mode.is_64bit() && mode.is_flat(SegmentIndex::Ds) && !mode.is_flat(SegmentIndex::Gs));
    }
}
