//! Operands that are not numbers: which exceptions they raise and which NaN comes out.
//!
//! Rule of this file: a result in the x87's format follows the x87's rules, any other SSE's. A NaN that comes out is quiet.
//! SDM: vol. 1 §4.8.3.4 to §4.8.3.7, Table 4-7 (which NaN), §8.2.2 (unsupported encodings).

use std::cmp::Ordering;

use crate::environment::{Environment, Exceptions};
use crate::format::{Class, Fields, Format, INTEGER_BIT, Operand, QUIET_BIT};

/// The default NaN, which the manual calls the QNaN floating-point indefinite: negative, quiet, without payload.
pub fn indefinite<R: Format>() -> R {
    encode(true, INTEGER_BIT | QUIET_BIT)
}

/// Invalid operation, and its masked response.
pub(crate) fn invalid<R: Format>(env: &mut Environment) -> R {
    env.raise(Exceptions::INVALID);
    indefinite()
}

fn encode<R: Format>(sign: bool, significand: u64) -> R {
    R::join(Fields { sign, biased: R::MAX_EXPONENT + R::BIAS + 1, significand })
}

/// The result where an operand is not a number.
pub(crate) fn propagate_one<R: Format>(a: Operand, env: &mut Environment) -> Option<R> {
    propagate(a, a, env)
}

/// The result where one of two operands is not a number.
#[inline]
pub(crate) fn propagate<R: Format>(a: Operand, b: Operand, env: &mut Environment) -> Option<R> {
    if a.is_number() && b.is_number() { None } else { Some(survivor(a, b, env)) }
}

#[cold]
fn survivor<R: Format>(a: Operand, b: Operand, env: &mut Environment) -> R {
    use Class::{Quiet, Signalling, Unsupported};
    if a.class == Unsupported || b.class == Unsupported {
        return invalid(env);
    }
    if a.class == Signalling || b.class == Signalling {
        env.raise(Exceptions::INVALID);
    }
    let first = if !R::EXTENDED {
        a.is_nan()
    } else {
        match (a.class, b.class) {
            (Quiet, Signalling) => true,
            (Signalling, Quiet) => false,
            _ if !b.is_nan() => true,
            _ if !a.is_nan() => false,
            _ => match a.significand.cmp(&b.significand) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => !a.sign,
            },
        }
    };
    let nan = if first { a } else { b };
    encode(nan.sign, nan.significand | QUIET_BIT)
}

/// Of three operands, in the order of their precedence.
pub(crate) fn propagate_three<R: Format>(a: Operand, b: Operand, c: Operand, env: &mut Environment) -> Option<R> {
    if let Some(nan) = propagate(a, b, env) {
        if c.class == Class::Signalling {
            env.raise(Exceptions::INVALID);
        }
        return Some(nan);
    }
    propagate_one(c, env)
}
