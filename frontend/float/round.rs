//! From the exact result to the delivered one: rounding, overflow, underflow.
//!
//! Rule of this file: every operation that can be inexact ends here. What comes in is the exact result cut to 128 bits,
//! the lowest of which is also set where anything non-zero was cut off.
//! SDM: vol. 1 §4.8.4 (rounding), §4.9.1.4 to §4.9.1.6 and §8.5.4 to §8.5.6 (overflow, underflow, precision).

use crate::environment::{Environment, Exceptions, Rounding};
use crate::format::{Fields, Format, INTEGER_BIT, infinity, zero};

/// significand × 2^(exponent - 127), with the significand's leading bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exact {
    pub sign: bool,
    pub exponent: i32,
    pub significand: u128,
}

impl Exact {
    /// From a significand without its leading bit in place; `None` where it is zero.
    #[inline]
    pub fn normalized(sign: bool, exponent: i32, significand: u128) -> Option<Self> {
        match significand.leading_zeros() {
            128 => None,
            zeros => Some(Self { sign, exponent: exponent - zeros as i32, significand: significand << zeros }),
        }
    }
}

/// Shifts right by any distance; the lowest bit is also set where a one was lost.
#[inline]
pub(crate) fn shift_right_sticky(value: u128, distance: u32) -> u128 {
    match distance {
        0 => value,
        1..=127 => value >> distance | u128::from(value << (128 - distance) != 0),
        _ => u128::from(value != 0),
    }
}

impl Rounding {
    /// Whether rounding increases a magnitude, when `remainder` of 2^128 units was cut off below it.
    #[inline]
    pub(crate) fn increases(self, sign: bool, odd: bool, remainder: u128) -> bool {
        const HALF: u128 = 1 << 127;
        match self {
            Self::Nearest => remainder > HALF || remainder == HALF && odd,
            Self::Down => sign && remainder != 0,
            Self::Up => !sign && remainder != 0,
            Self::Zero => false,
        }
    }
}

/// A significand cut to a number of bits.
struct Cut {
    /// Left-aligned.
    significand: u64,
    /// Rounding carried out of the top: the significand is zero and stands for 2^64.
    carried: bool,
    inexact: bool,
    increased: bool,
}

#[inline]
fn cut(sign: bool, significand: u128, bits: u32, rounding: Rounding) -> Cut {
    let unit = 1 << (64 - bits);
    let remainder = significand << bits;
    let kept = (significand >> 64) as u64 & !(unit - 1);
    let increased = rounding.increases(sign, kept & unit != 0, remainder);
    let (significand, carried) = kept.overflowing_add(if increased { unit } else { 0 });
    Cut { significand, carried, inexact: remainder != 0, increased }
}

/// Delivers a result with all the bits that its format has.
#[inline]
pub(crate) fn round<R: Format>(exact: Exact, env: &mut Environment) -> R {
    round_to_precision(exact, R::PRECISION, env)
}

/// Delivers the result of basic arithmetic: in the x87's format precision control decides how many bits it has, while the
/// exponent keeps its range.
#[inline]
pub(crate) fn round_arithmetic<R: Format>(exact: Exact, env: &mut Environment) -> R {
    let bits = if R::EXTENDED { env.precision as u32 } else { R::PRECISION };
    round_to_precision(exact, bits, env)
}

#[inline]
fn round_to_precision<R: Format>(exact: Exact, bits: u32, env: &mut Environment) -> R {
    let Exact { sign, mut exponent, significand } = exact;
    let mut cut = cut(sign, significand, bits, env.rounding);
    if cut.carried {
        cut.significand = INTEGER_BIT;
        exponent += 1;
    }
    // Tininess is detected after rounding, that is, as if the exponent had no lower bound.
    if exponent < R::MIN_EXPONENT || exponent > R::MAX_EXPONENT {
        return out_of_range(exact, Rounded { exponent, cut }, bits, env);
    }
    deliver(sign, exponent + R::BIAS, cut, env)
}

#[inline]
fn deliver<R: Format>(sign: bool, biased: i32, cut: Cut, env: &mut Environment) -> R {
    if cut.inexact {
        env.raise(Exceptions::PRECISION);
    }
    env.c1 = cut.increased;
    R::join(Fields { sign, biased, significand: cut.significand })
}

/// A result rounded as if every exponent could be encoded.
struct Rounded {
    exponent: i32,
    cut: Cut,
}

#[cold]
fn out_of_range<R: Format>(exact: Exact, rounded: Rounded, bits: u32, env: &mut Environment) -> R {
    let overflow = rounded.exponent > R::MAX_EXPONENT;
    let exception = if overflow { Exceptions::OVERFLOW } else { Exceptions::UNDERFLOW };
    if !env.masked.contains(exception) {
        env.raise(exception);
        // Far enough to bring the product or quotient of any two numbers back into range.
        let wrap = 3 << (R::EXPONENT_BITS - 2);
        let exponent = if overflow { rounded.exponent - wrap } else { rounded.exponent + wrap };
        if (R::MIN_EXPONENT..=R::MAX_EXPONENT).contains(&exponent) {
            return deliver(exact.sign, exponent + R::BIAS, rounded.cut, env);
        }
        // Out of reach even so: a conversion, whose result is not written, or FSCALE, which then neither heeds rounding
        // control nor knows that changing the exponent alone loses nothing.
        if R::EXTENDED || rounded.cut.inexact {
            env.raise(Exceptions::PRECISION);
        }
        env.c1 = overflow;
        return if overflow { infinity(exact.sign) } else { zero(exact.sign) };
    }
    if overflow { overflowed(exact.sign, bits, env) } else { underflowed(exact, bits, env) }
}

/// The masked response to overflow: infinity, or the largest finite number where rounding does not lead away from zero.
fn overflowed<R: Format>(sign: bool, bits: u32, env: &mut Environment) -> R {
    env.raise(Exceptions::OVERFLOW | Exceptions::PRECISION);
    env.c1 = match env.rounding {
        Rounding::Nearest => true,
        Rounding::Down => sign,
        Rounding::Up => !sign,
        Rounding::Zero => false,
    };
    if env.c1 {
        infinity(sign)
    } else {
        R::join(Fields { sign, biased: R::MAX_EXPONENT + R::BIAS, significand: u64::MAX << (64 - bits) })
    }
}

/// The masked response to underflow: a denormal, and no exception where that is exact.
fn underflowed<R: Format>(exact: Exact, bits: u32, env: &mut Environment) -> R {
    let Exact { sign, exponent, significand } = exact;
    if R::DENORMAL_CONTROL && env.flush_to_zero {
        env.raise(Exceptions::UNDERFLOW | Exceptions::PRECISION);
        env.c1 = false;
        return zero(sign);
    }
    let distance = (R::MIN_EXPONENT - exponent) as u32;
    let cut = cut(sign, shift_right_sticky(significand, distance), bits, env.rounding);
    if cut.inexact {
        env.raise(Exceptions::UNDERFLOW);
    }
    // Rounding may have produced the smallest normal number.
    deliver(sign, i32::from(cut.significand >= INTEGER_BIT), cut, env)
}
