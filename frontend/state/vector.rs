//! Vector registers, opmasks and MXCSR.
//! SDM: vol. 1 §10.2 (SSE), §14.1 (AVX), §15.1 (AVX-512).

use bitflags::bitflags;

bitflags! {
    /// MXCSR: SIMD floating-point status and control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct Mxcsr: u32 {
        /// Invalid operation.
        const IE = 1 << 0;
        /// Denormal operand.
        const DE = 1 << 1;
        /// Division by zero.
        const ZE = 1 << 2;
        /// Overflow.
        const OE = 1 << 3;
        /// Underflow.
        const UE = 1 << 4;
        /// Inexact result.
        const PE = 1 << 5;
        /// Denormal operands are taken as zero.
        const DAZ = 1 << 6;
        /// The six mask bits.
        const MASKS = 0x3f << 7;
        /// Rounding control, two bits.
        const RC = 3 << 13;
        /// Denormal results become zero.
        const FTZ = 1 << 15;
    }
}

impl Mxcsr {
    /// The value after reset: all exceptions masked, round to nearest.
    pub const RESET: Self = Self::MASKS;
    /// The six sticky exception flags.
    pub const FLAGS: Self = Self::from_bits_retain(0x3f);
    /// The bits that may be set; loading any other is #GP.
    pub const WRITABLE: u32 = 0xffff;
}

impl Default for Mxcsr {
    fn default() -> Self {
        Self::RESET
    }
}

/// The vector state. A register is eight 64-bit lanes by value, the least significant first, on every host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct VectorState {
    /// ZMM0 to ZMM31; XMM and YMM are their low 128 and 256 bits.
    pub registers: [[u64; 8]; 32],
    /// Opmask registers K0 to K7.
    pub opmask: [u64; 8],
    /// Status and control.
    pub mxcsr: Mxcsr,
}

impl VectorState {
    /// All registers zero and MXCSR as after reset.
    pub const fn power_on() -> Self {
        Self { registers: [[0; 8]; 32], opmask: [0; 8], mxcsr: Mxcsr::RESET }
    }
}
