//! What an operation is told (rounding, precision, masks) and what it tells back (exceptions, the direction of rounding).
//!
//! Rule of this file: an [`Environment`] lives for one instruction. It is made from MXCSR or from the x87 control and
//! status words, passed to the arithmetic of every element, and retired into the register it came from. Exceptions that
//! are masked and already recorded start out raised: raising them again is invisible, and knowing them saves work.
//! SDM: vol. 1 §4.9 (exceptions), §8.1.3 to §8.1.5 (x87), §10.2.3 and §11.5.2 (SSE).

use bitflags::bitflags;
use dragoman_state::{Mxcsr, StatusWord};

bitflags! {
    /// The six exceptions, in the order in which MXCSR, the status word and the control word have them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct Exceptions: u8 {
        /// Invalid operation.
        const INVALID = 1 << 0;
        /// Denormal operand.
        const DENORMAL = 1 << 1;
        /// Division by zero.
        const ZERO_DIVIDE = 1 << 2;
        /// Overflow.
        const OVERFLOW = 1 << 3;
        /// Underflow.
        const UNDERFLOW = 1 << 4;
        /// Inexact result.
        const PRECISION = 1 << 5;
    }
}

impl Exceptions {
    /// Those found in the operands, before anything is computed. Where one is not masked, nothing is computed: the later
    /// ones do not arise, and no destination is written.
    pub const BEFORE_COMPUTATION: Self = Self::INVALID.union(Self::DENORMAL).union(Self::ZERO_DIVIDE);

    /// Those that leave a destination in memory unwritten where they are not masked. An x87 register is written
    /// nonetheless on overflow and underflow, with the exponent wrapped.
    pub const BEFORE_STORE: Self = Self::BEFORE_COMPUTATION.union(Self::OVERFLOW).union(Self::UNDERFLOW);
}

/// Which neighbour an inexact result becomes. The discriminants are those of every rounding-control field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rounding {
    /// The nearer one; of two equally near the even one.
    #[default]
    Nearest = 0,
    /// The one towards negative infinity.
    Down = 1,
    /// The one towards positive infinity.
    Up = 2,
    /// The one towards zero.
    Zero = 3,
}

impl Rounding {
    /// Reads a rounding-control field; higher bits are ignored.
    pub const fn from_field(field: u8) -> Self {
        match field & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// How many bits of significand the x87 keeps in sums, differences, products, quotients and square roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// 24 bits.
    Single = 24,
    /// 53 bits.
    Double = 53,
    /// 64 bits.
    #[default]
    Extended = 64,
}

impl Precision {
    /// Reads the control word's field; higher bits are ignored. The reserved value works as 64 bits.
    pub const fn from_field(field: u8) -> Self {
        match field & 3 {
            0 => Self::Single,
            2 => Self::Double,
            _ => Self::Extended,
        }
    }
}

/// The controls and the outcome of one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment {
    // Configuration
    /// How inexact results are rounded.
    pub rounding: Rounding,
    /// Precision of the x87's basic arithmetic; other formats always keep all their bits.
    pub precision: Precision,
    /// Denormal operands are taken as zeros of their sign. Of the formats F32 and F64 only.
    pub denormals_are_zero: bool,
    /// Tiny results become zeros of their sign while underflow is masked. Of the formats F32 and F64 only.
    pub flush_to_zero: bool,
    /// The exceptions that are answered with a default result instead of a trap.
    pub masked: Exceptions,
    // Outcome
    /// The exceptions raised; operations only add to them.
    pub raised: Exceptions,
    /// Of those, the ones of steps that are over: nothing that comes later keeps them from being recorded.
    pub settled: Exceptions,
    /// What C1 becomes: the last rounding increased the magnitude, unless an operation says otherwise. Only of operations
    /// that involve the x87's format.
    pub c1: bool,
}

impl Default for Environment {
    /// As after reset: to nearest, 64 bits, everything masked, nothing raised.
    fn default() -> Self {
        Self {
            rounding: Rounding::Nearest,
            precision: Precision::Extended,
            denormals_are_zero: false,
            flush_to_zero: false,
            masked: Exceptions::all(),
            raised: Exceptions::empty(),
            settled: Exceptions::empty(),
            c1: false,
        }
    }
}

impl Environment {
    /// For an SSE, AVX or F16C instruction.
    pub const fn from_mxcsr(mxcsr: Mxcsr) -> Self {
        let bits = mxcsr.bits();
        let masked = Exceptions::from_bits_truncate((bits >> 7) as u8);
        Self {
            rounding: Rounding::from_field((bits >> 13) as u8),
            precision: Precision::Extended,
            denormals_are_zero: mxcsr.contains(Mxcsr::DAZ),
            flush_to_zero: mxcsr.contains(Mxcsr::FTZ),
            masked,
            raised: Exceptions::from_bits_truncate(bits as u8).intersection(masked),
            settled: Exceptions::empty(),
            c1: false,
        }
    }

    /// For an x87 instruction.
    pub const fn from_x87(control: u16, status: StatusWord) -> Self {
        let masked = Exceptions::from_bits_truncate(control as u8);
        Self {
            rounding: Rounding::from_field((control >> 10) as u8),
            precision: Precision::from_field((control >> 8) as u8),
            denormals_are_zero: false,
            flush_to_zero: false,
            masked,
            raised: Exceptions::from_bits_truncate(status.bits() as u8).intersection(masked),
            settled: Exceptions::empty(),
            c1: false,
        }
    }

    /// The raised exceptions that are not masked.
    pub const fn unmasked(&self) -> Exceptions {
        self.raised.difference(self.masked)
    }

    /// Ends a step of an instruction that computes in several. Where this is false, an exception is not masked, and the next
    /// step is not taken.
    #[must_use = "unmasked exceptions end the instruction"]
    pub fn end_step(&mut self) -> bool {
        let may_go_on = self.unmasked().is_empty();
        if may_go_on {
            self.settled = self.raised;
        }
        may_go_on
    }

    /// Records the outcome of an instruction, all its elements computed, in MXCSR. Where the answer is not empty, the
    /// instruction ends in #XM and writes no destination.
    #[must_use = "unmasked exceptions are #XM"]
    pub fn retire_mxcsr(&self, mxcsr: &mut Mxcsr) -> Exceptions {
        *mxcsr |= Mxcsr::from_bits_retain(self.recorded().bits().into());
        self.unmasked()
    }

    /// Records the outcome of an instruction in the status word: the exceptions, C1, and ES and B where one is not masked.
    /// Where the answer meets [`Exceptions::BEFORE_COMPUTATION`], the instruction writes no register and does not pop;
    /// where it meets [`Exceptions::BEFORE_STORE`], it does not write memory and does not pop.
    #[must_use = "unmasked exceptions keep destinations from being written"]
    pub fn retire_x87(&self, status: &mut StatusWord) -> Exceptions {
        let unmasked = self.unmasked();
        *status |= StatusWord::from_bits_retain(self.recorded().bits().into());
        status.set(StatusWord::C1, self.c1 && !unmasked.intersects(Exceptions::BEFORE_COMPUTATION));
        if !unmasked.is_empty() {
            *status |= StatusWord::ES | StatusWord::B;
        }
        unmasked
    }

    fn recorded(&self) -> Exceptions {
        if self.unmasked().intersects(Exceptions::BEFORE_COMPUTATION) {
            self.raised & Exceptions::BEFORE_COMPUTATION | self.settled
        } else {
            self.raised
        }
    }

    pub(crate) fn raise(&mut self, exceptions: Exceptions) {
        self.raised |= exceptions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{F64, F80, add, div, from_integer};

    const ONE: F64 = F64(0x3ff0_0000_0000_0000);
    const THREE: F64 = F64(0x4008_0000_0000_0000);
    const DENORMAL: F64 = F64(1);

    #[test]
    fn masked_exceptions_are_recorded_beside_earlier_ones() {
        let mut mxcsr = Mxcsr::RESET | Mxcsr::UE;
        let mut env = Environment::from_mxcsr(mxcsr);
        let _: F64 = div(ONE, THREE, &mut env);
        assert_eq!(env.retire_mxcsr(&mut mxcsr), Exceptions::empty());
        assert_eq!(mxcsr, Mxcsr::RESET | Mxcsr::UE | Mxcsr::PE);
    }

    #[test]
    fn an_unmasked_exception_of_one_element_suppresses_the_results_of_all() {
        let mut mxcsr = Mxcsr::RESET.difference(Mxcsr::from_bits_retain(1 << 8));
        let mut env = Environment::from_mxcsr(mxcsr);
        let _: F64 = div(ONE, THREE, &mut env);
        let _: F64 = add(ONE, DENORMAL, &mut env);
        assert_eq!(env.retire_mxcsr(&mut mxcsr), Exceptions::DENORMAL);
        assert_eq!(mxcsr & Mxcsr::FLAGS, Mxcsr::DE);
    }

    #[test]
    fn an_unmasked_exception_does_not_suppress_those_of_earlier_steps() {
        let mut mxcsr = Mxcsr::RESET.difference(Mxcsr::from_bits_retain(1 << 8));
        let mut env = Environment::from_mxcsr(mxcsr);
        let _: F64 = div(ONE, THREE, &mut env);
        assert!(env.end_step());
        let _: F64 = add(ONE, DENORMAL, &mut env);
        assert!(!env.end_step());
        assert_eq!(env.retire_mxcsr(&mut mxcsr), Exceptions::DENORMAL);
        assert_eq!(mxcsr & Mxcsr::FLAGS, Mxcsr::DE | Mxcsr::PE);
    }

    #[test]
    fn what_was_recorded_unmasked_does_not_trap_again() {
        let mxcsr = Mxcsr::PE;
        let mut env = Environment::from_mxcsr(mxcsr);
        let _: F64 = add(ONE, ONE, &mut env);
        assert_eq!(env.unmasked(), Exceptions::empty());
        let _: F64 = div(ONE, THREE, &mut env);
        assert_eq!(env.unmasked(), Exceptions::PRECISION);
    }

    #[test]
    fn the_x87_summarises_unmasked_exceptions_and_reports_the_direction_of_rounding() {
        let integer = |n: i32| from_integer::<F80>(n, &mut Environment::default());
        let mut status = StatusWord::C1;
        let mut env = Environment::from_x87(0x35f, status);
        let _: F80 = div(integer(1), integer(7), &mut env);
        assert_eq!(env.retire_x87(&mut status), Exceptions::PRECISION);
        assert_eq!(status, StatusWord::PE | StatusWord::ES | StatusWord::B);
        let _: F80 = div(integer(1), integer(3), &mut env);
        assert_eq!(env.retire_x87(&mut status), Exceptions::PRECISION);
        assert!(status.contains(StatusWord::C1));
    }
}
