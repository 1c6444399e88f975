//! What only the x87 unit computes: partial remainders, scaling, decimal integers, constants and the transcendental
//! functions.
//!
//! Rule of this folder: a function takes the values of the stack registers it reads, ST(0) first, and returns what it
//! pushes or replaces them with. Condition codes other than C1 are returned; C1 is left in the environment. The stack, its
//! faults and the decision whether a destination is written are the caller's: see [`Environment::retire_x87`].
//! Precision control does not reach these operations; rounding control does. Transcendental functions keep the manual's
//! bounds and are equal to the processor's in all but a case in some hundreds.
//! SDM: vol. 1 §8.3 (instructions), §8.3.10 (accuracy of transcendentals); vol. 2, the entries of the mnemonics.

mod arctangent;
mod decimal;
mod exponential;
mod logarithm;
mod remainder;
mod scale;
mod trigonometric;
mod wide;

pub use arctangent::fpatan;
pub use decimal::{fbld, fbstp};
pub use exponential::f2xm1;
pub use logarithm::{fyl2x, fyl2xp1};
pub use remainder::{Reduction, Remainder, fprem, fprem1};
pub use scale::{Extracted, fscale, fxtract};
pub use trigonometric::{fcos, fptan, fsin, fsincos};

use dragoman_state::{F80, StatusWord};

use crate::environment::{Environment, Exceptions, Rounding};
use crate::format::{Class, Operand, zero};
use crate::round::{Exact, round};

/// The condition codes FXAM gives a register that is not empty; the sign is in C1.
pub fn fxam(st0: F80) -> StatusWord {
    let x = Operand::new(st0);
    let class = match x.class {
        Class::Unsupported => StatusWord::empty(),
        Class::Quiet | Class::Signalling => StatusWord::C0,
        Class::Infinity => StatusWord::C2 | StatusWord::C0,
        Class::Zero => StatusWord::C3,
        Class::Finite if x.denormal => StatusWord::C3 | StatusWord::C2,
        Class::Finite => StatusWord::C2,
    };
    if x.sign { class | StatusWord::C1 } else { class }
}

/// The numbers that have a load instruction of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// FLD1: 1.
    One,
    /// FLDL2T: log₂ 10.
    Log2Ten,
    /// FLDL2E: log₂ e.
    Log2E,
    /// FLDPI: π.
    Pi,
    /// FLDLG2: log₁₀ 2.
    Log10Two,
    /// FLDLN2: logₑ 2.
    LnTwo,
    /// FLDZ: +0.
    Zero,
}

const LOG2_10: u128 = 0xd49a_784b_cd1b_8afe_492b_f6ff_4daf_db4c;
const LOG2_E: u128 = 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88;
const PI: u128 = 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1;
const LOG10_2: u128 = 0x9a20_9a84_fbcf_f798_8f89_59ac_0b7c_9178;
const LN_2: u128 = 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af;

/// The constant, rounded as rounding control says; nothing is raised.
pub fn constant(which: Constant, rounding: Rounding) -> F80 {
    let (exponent, significand) = match which {
        Constant::One => (0, 1 << 127),
        Constant::Log2Ten => (1, LOG2_10),
        Constant::Log2E => (0, LOG2_E),
        Constant::Pi => (1, PI),
        Constant::Log10Two => (-2, LOG10_2),
        Constant::LnTwo => (-1, LN_2),
        Constant::Zero => return zero(false),
    };
    round(Exact { sign: false, exponent, significand }, &mut Environment { rounding, ..Environment::default() })
}

/// Rounds a result that is not exact, nor is taken for it if the bits that were computed look so.
fn inexact(value: Exact, env: &mut Environment) -> F80 {
    round(Exact { significand: value.significand | 1, ..value }, env)
}

/// Rounds a result that may be exact, and reports it as inexact all the same: the processor does not look.
fn reported_inexact(value: Exact, env: &mut Environment) -> F80 {
    let result = round(value, env);
    env.raise(Exceptions::PRECISION);
    if Operand::new(result).denormal {
        env.raise(Exceptions::UNDERFLOW);
    }
    result
}
