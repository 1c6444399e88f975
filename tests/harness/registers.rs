//! The registers that user code can see: what the host's processor and an engine are compared by.

use dragoman_state::{F80, RFlags, X87State};

use crate::{Mode, layout};

/// The registers of one processor, as far as user code can see them. Plain data that two processes can share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// General-purpose registers, by number.
    pub gpr: [u64; 16],
    /// Offset of the next instruction in the code segment.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
    /// ES, CS, SS, DS, FS, GS.
    pub selectors: [u16; 6],
    /// SIMD control and status.
    pub mxcsr: u32,
    /// The x87 unit.
    pub x87: X87State,
    /// YMM0 to YMM15, lowest quadword first.
    pub vectors: [[u64; 4]; 16],
}

/// The number of RSP.
pub const RSP: usize = 4;

impl Registers {
    /// What registers hold that a case does not name: byte `k` of general-purpose register `n` is `0x10 * n + k`, byte `k`
    /// of vector register `n` is `0x10 * n + k` in the low half and its complement in the high one, RSP is the stack's, all
    /// arithmetic flags are clear, and the x87 unit is as FNINIT leaves it.
    pub fn pattern(mode: Mode) -> Self {
        let byte = |n: u64, k: u64| (0x10 * n + k) & 0xff;
        let quadword = |n: u64, from: u64| (0..8).fold(0, |value, k| value | byte(n, from + k) << (8 * k));
        let mut gpr: [u64; 16] = std::array::from_fn(|n| quadword(n as u64, 0) & mode.register_mask());
        gpr[RSP] = if mode.is_segmented() { layout::STACK_OFFSET } else { layout::STACK + layout::STACK_OFFSET };
        let vector = |n: u64| [quadword(n, 0), quadword(n, 8), !quadword(n, 0), !quadword(n, 8)];
        let number = |n: u64| F80 { significand: 1 << 63 | quadword(n, 0) >> 8, sign_exponent: 0x3fff + n as u16 };
        let x87 = X87State::initialised(std::array::from_fn(|n| number(n as u64)));
        Self {
            gpr,
            rip: if mode.is_segmented() { 0 } else { layout::CODE },
            rflags: (RFlags::FIXED | RFlags::IF).bits(),
            fs_base: if mode.is_segmented() { layout::FS } else { 0 },
            gs_base: if mode.is_segmented() { layout::GS } else { 0 },
            selectors: selectors(mode),
            mxcsr: 0x1f80,
            x87,
            vectors: std::array::from_fn(|n| vector(n as u64)),
        }
    }
}

/// ES, CS, SS, DS, FS and GS of ring 3 in `mode`; in real mode, of ring 0.
fn selectors(mode: Mode) -> [u16; 6] {
    use layout::selector::*;
    match mode {
        Mode::Real16 | Mode::Vm86 => {
            [layout::DATA, layout::CODE, layout::STACK, layout::DATA, layout::FS, layout::GS].map(|base| (base >> 4) as u16)
        }
        Mode::Prot16 | Mode::Comp16 => [DATA16, CODE16, STACK16, DATA16, FS16, GS16],
        Mode::Prot32 | Mode::Comp32 => [USER_DATA, USER_CODE32, USER_DATA, USER_DATA, 0, 0],
        Mode::Long64 => [USER_DATA, USER_CODE64, USER_DATA, USER_DATA, 0, 0],
    }
}
