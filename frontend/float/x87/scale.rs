//! FSCALE and FXTRACT: the exponent as a number.
//!
//! SDM: vol. 2 FSCALE, FXTRACT and their tables.

use dragoman_state::F80;

use crate::arithmetic::note_denormals;
use crate::convert::Integral;
use crate::environment::{Environment, Exceptions, Rounding};
use crate::format::{Class, Operand, infinity, zero};
use crate::integer::from_integer;
use crate::nan::{invalid, propagate, propagate_one};
use crate::round::{Exact, round};

/// ST(0) × 2^n, where n is ST(1) cut to integer.
pub fn fscale(st0: F80, st1: F80, env: &mut Environment) -> F80 {
    let (a, b) = (Operand::new(st0), Operand::new(st1));
    if let Some(nan) = propagate(a, b, env) {
        return nan;
    }
    match (a.class, b.class, b.sign) {
        (Class::Zero, Class::Infinity, false) | (Class::Infinity, Class::Infinity, true) => return invalid(env),
        _ => note_denormals(a, b, env),
    }
    match (a.class, b.class) {
        (_, Class::Infinity) if b.sign => zero(a.sign),
        (_, Class::Infinity) | (Class::Infinity, _) => infinity(a.sign),
        (Class::Zero, _) => zero(a.sign),
        // Not even an unmasked underflow arises.
        (_, Class::Zero) => round(a.into(), &mut Environment::default()),
        _ => {
            // Beyond this every result is out of range, however wide the exponent's wrap.
            const FAR: i32 = 1 << 17;
            let integral = Integral::new(b, Rounding::Zero);
            let distance = if integral.exponent > 0 { FAR } else { integral.magnitude.min(FAR as u64) as i32 };
            let exponent = if b.sign { a.exponent - distance } else { a.exponent + distance };
            round(Exact { exponent, ..a.into() }, env)
        }
    }
}

/// What FXTRACT leaves: the exponent in ST(1), the significand in ST(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// The unbiased exponent as a number.
    pub exponent: F80,
    /// The number with its exponent set to zero.
    pub significand: F80,
}

/// Splits a number into exponent and significand; of zero the exponent is -∞, a division by zero.
pub fn fxtract(st0: F80, env: &mut Environment) -> Extracted {
    let a = Operand::new(st0);
    if let Some(nan) = propagate_one(a, env) {
        return Extracted { exponent: nan, significand: nan };
    }
    note_denormals(a, a, env);
    match a.class {
        Class::Zero => {
            env.raise(Exceptions::ZERO_DIVIDE);
            Extracted { exponent: infinity(true), significand: zero(a.sign) }
        }
        Class::Infinity => Extracted { exponent: infinity(false), significand: infinity(a.sign) },
        _ => {
            let significand = round(Exact { exponent: 0, ..a.into() }, env);
            Extracted { exponent: from_integer(a.exponent, env), significand }
        }
    }
}
