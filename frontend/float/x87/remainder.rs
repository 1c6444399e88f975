//! FPREM and FPREM1: the remainder of a division, up to 63 bits of quotient at a time.
//!
//! Rule of this file: remainders are exact. Where the exponents are too far apart a step only brings them nearer, and the
//! guest repeats it.
//! SDM: vol. 2 FPREM, FPREM1.

use std::cmp::Ordering;

use dragoman_state::{F80, StatusWord};

use crate::arithmetic::note_denormals;
use crate::environment::{Environment, Exceptions};
use crate::format::{Class, Operand, zero};
use crate::nan::{invalid, propagate};
use crate::round::{Exact, round};

/// What a step leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The remainder, or the dividend brought nearer.
    pub value: F80,
    /// How far it got.
    pub reduction: Reduction,
}

/// How far a step got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// To the end.
    Complete {
        /// The quotient's low three bits.
        quotient: u8,
    },
    /// The dividend is still the greater by far.
    Incomplete,
    /// There was nothing to divide.
    Invalid,
}

impl Reduction {
    /// Writes C2, and C0 and C3 where there was something to divide. C1 is left in the environment.
    pub fn record(self, status: &mut StatusWord) {
        let quotient = match self {
            Self::Complete { quotient } => quotient,
            Self::Incomplete => 0,
            Self::Invalid => return status.remove(StatusWord::C2),
        };
        status.set(StatusWord::C2, self == Self::Incomplete);
        status.set(StatusWord::C3, quotient & 2 != 0);
        status.set(StatusWord::C0, quotient & 4 != 0);
    }
}

/// ST(0) - q × ST(1) with q the quotient cut to integer. C1 is the quotient's lowest bit.
pub fn fprem(st0: F80, st1: F80, env: &mut Environment) -> Remainder {
    remainder(st0, st1, |_, _| false, env)
}

/// ST(0) - q × ST(1) with q the quotient rounded to the nearest integer, or of two the even one: IEEE 754's remainder.
/// C1 is the quotient's lowest bit.
pub fn fprem1(st0: F80, st1: F80, env: &mut Environment) -> Remainder {
    let up = |twice_to_divisor, odd| match twice_to_divisor {
        Ordering::Less => false,
        Ordering::Equal => odd,
        Ordering::Greater => true,
    };
    remainder(st0, st1, up, env)
}

/// `up` decides whether a truncated quotient grows, by how twice its remainder compares with the divisor and whether it is
/// odd.
fn remainder(st0: F80, st1: F80, up: impl Fn(Ordering, bool) -> bool, env: &mut Environment) -> Remainder {
    let (a, b) = (Operand::new(st0), Operand::new(st1));
    if let Some(nan) = propagate(a, b, env) {
        return Remainder { value: nan, reduction: Reduction::Invalid };
    }
    if a.class == Class::Infinity || b.class == Class::Zero {
        return Remainder { value: invalid(env), reduction: Reduction::Invalid };
    }
    note_denormals(a, b, env);
    if env.unmasked().contains(Exceptions::DENORMAL) {
        return Remainder { value: st0, reduction: Reduction::Invalid };
    }
    if b.class == Class::Infinity && a.class == Class::Finite {
        // Not even an unmasked underflow arises.
        let value = round(a.into(), &mut Environment::default());
        return Remainder { value, reduction: Reduction::Complete { quotient: 0 } };
    }
    let distance = a.exponent - b.exponent;
    let (sign, rest, reduction) = if a.class == Class::Zero {
        (a.sign, None, Reduction::Complete { quotient: 0 })
    } else if distance < -1 {
        (a.sign, Some(a.into()), Reduction::Complete { quotient: 0 })
    } else if distance < 64 {
        // In units of half the divisor's lowest bit, so that a dividend of half the divisor's magnitude is integral too.
        let (dividend, divisor) = (u128::from(a.significand) << (distance + 1), u128::from(b.significand) << 1);
        let (mut quotient, mut rest, mut sign) = (dividend / divisor, dividend % divisor, a.sign);
        if up((rest << 1).cmp(&divisor), quotient & 1 != 0) {
            (quotient, rest, sign) = (quotient + 1, divisor - rest, !sign);
        }
        let quotient = (quotient & 7) as u8;
        (a.sign, Exact::normalized(sign, b.exponent + 63, rest), Reduction::Complete { quotient })
    } else {
        // How far to go is the processor's choice.
        let step = 32 + distance % 32;
        let rest = (u128::from(a.significand) << step) % u128::from(b.significand);
        (a.sign, Exact::normalized(a.sign, a.exponent - step + 64, rest), Reduction::Incomplete)
    };
    let value = rest.map_or(zero(sign), |exact| round(exact, env));
    env.c1 = matches!(reduction, Reduction::Complete { quotient } if quotient & 1 != 0);
    Remainder { value, reduction }
}
