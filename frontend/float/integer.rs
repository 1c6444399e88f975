//! Between numbers and integers.
//!
//! Rule of this file: what an integer type cannot hold is an invalid operation and becomes the integer indefinite, and
//! then nothing else is raised. Denormal operands are never reported.
//! SDM: vol. 1 §4.9.1.1, Table 8-10, Table E-1; vol. 2 CVTSI2SD, CVTSD2SI, CVTTSD2SI, VCVTPD2UDQ, FILD, FIST, FISTTP.

use crate::convert::Integral;
use crate::environment::{Environment, Exceptions, Rounding};
use crate::format::{Class, Format, zero};
use crate::round::{Exact, round};

/// An integer that conversions deliver or take.
pub trait Integer: Copy + TryFrom<i128> + Into<i128> {
    /// What an invalid conversion delivers: the most negative integer, or all ones of an unsigned type.
    const INDEFINITE: Self;
}

impl Integer for i16 {
    const INDEFINITE: Self = Self::MIN;
}

impl Integer for i32 {
    const INDEFINITE: Self = Self::MIN;
}

impl Integer for i64 {
    const INDEFINITE: Self = Self::MIN;
}

impl Integer for u32 {
    const INDEFINITE: Self = Self::MAX;
}

impl Integer for u64 {
    const INDEFINITE: Self = Self::MAX;
}

/// The integer that `a` is, rounded as `rounding` says: the environment's own (CVTSD2SI, FIST), or [`Rounding::Zero`]
/// (CVTTSD2SI, FISTTP).
pub fn to_integer<I: Integer>(a: impl Format, rounding: Rounding, env: &mut Environment) -> I {
    let x = env.operand(a);
    let integral = match x.class {
        Class::Zero => Integral { magnitude: 0, exponent: 0, inexact: false, increased: false },
        Class::Finite => Integral::new(x, rounding),
        _ => return indefinite(env),
    };
    if integral.exponent > 0 {
        return indefinite(env);
    }
    let magnitude = i128::from(integral.magnitude);
    let Ok(integer) = I::try_from(if x.sign { -magnitude } else { magnitude }) else {
        return indefinite(env);
    };
    if integral.inexact {
        env.raise(Exceptions::PRECISION);
    }
    env.c1 = integral.increased;
    integer
}

fn indefinite<I: Integer>(env: &mut Environment) -> I {
    env.raise(Exceptions::INVALID);
    I::INDEFINITE
}

/// The number that `integer` is; zero is positive.
#[inline]
pub fn from_integer<R: Format>(integer: impl Integer, env: &mut Environment) -> R {
    let integer: i128 = integer.into();
    match Exact::normalized(integer < 0, 127, integer.unsigned_abs()) {
        Some(exact) => round(exact, env),
        None => zero(false),
    }
}
