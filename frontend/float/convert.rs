//! From one format to another, and to integral values of the same format.
//!
//! Rule of this file: a conversion to a wider format is exact. What is stored from or rounded to integral in the x87's
//! format keeps its own rules on denormal operands, which each function states.
//! SDM: vol. 1 §4.8.4, §8.3.3 (FLD, FST), §11.4.1.6; vol. 2 CVTSS2SD, CVTSD2SS, VCVTPH2PS, VCVTPS2PH, ROUNDPS, FRNDINT.

use crate::arithmetic::note_denormals;
use crate::environment::{Environment, Exceptions, Rounding};
use crate::format::{Class, F16, F32, Format, Operand, infinity, zero};
use crate::host;
use crate::nan::propagate_one;
use crate::round::{Exact, round};

/// The number in another format. FLD, FST, CVTSS2SD, CVTSD2SS, VCVTPS2PH. A store from the x87's format does not report a
/// denormal operand; a load into it does, but pushes the number even where that is not masked.
#[inline]
pub fn convert<R: Format, A: Format>(a: A, env: &mut Environment) -> R {
    if let Some(same) = host::convert(a, env) {
        return same;
    }
    let result = converted(env.operand(a), !A::EXTENDED, env);
    if A::EXTENDED && env.unmasked().intersects(Exceptions::OVERFLOW | Exceptions::UNDERFLOW) {
        // Nothing is stored, so nothing is inexact.
        env.raised.remove(Exceptions::PRECISION);
        env.c1 = false;
    }
    result
}

/// VCVTPH2PS: exact, whatever DAZ says, and denormal operands are not reported.
pub fn half_to_single(a: F16, env: &mut Environment) -> F32 {
    converted(Operand::new(a), false, env)
}

fn converted<R: Format>(a: Operand, reports_denormal: bool, env: &mut Environment) -> R {
    if let Some(nan) = propagate_one(a, env) {
        return nan;
    }
    if reports_denormal {
        note_denormals(a, a, env);
    }
    match a.class {
        Class::Zero => zero(a.sign),
        Class::Infinity => infinity(a.sign),
        _ => round(a.into(), env),
    }
}

/// What ROUNDPS does about an inexact result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inexact {
    /// It raises the precision exception.
    Reported,
    /// Nothing.
    Suppressed,
}

/// The nearest integral value by `rounding`, a zero keeping its sign. ROUNDPS reports no denormal operand, FRNDINT does.
pub fn round_to_integral<F: Format>(a: F, rounding: Rounding, inexact: Inexact, env: &mut Environment) -> F {
    let x = env.operand(a);
    if let Some(nan) = propagate_one(x, env) {
        return nan;
    }
    if F::EXTENDED {
        note_denormals(x, x, env);
    }
    match x.class {
        Class::Zero => zero(x.sign),
        Class::Infinity => infinity(x.sign),
        _ => {
            let integral = Integral::new(x, rounding);
            env.c1 = integral.increased;
            if integral.inexact && inexact == Inexact::Reported {
                env.raise(Exceptions::PRECISION);
            }
            match Exact::normalized(x.sign, integral.exponent + 127, integral.magnitude.into()) {
                // Exact: an integral value below 2^64 has at most as many bits as the number had, or one.
                Some(exact) => round(exact, &mut Environment { raised: Exceptions::empty(), ..*env }),
                None => zero(x.sign),
            }
        }
    }
}

/// A finite number rounded to integral: magnitude × 2^exponent.
pub(crate) struct Integral {
    pub magnitude: u64,
    /// Zero, unless the number was so large as to be integral anyway.
    pub exponent: i32,
    pub inexact: bool,
    pub increased: bool,
}

impl Integral {
    pub fn new(x: Operand, rounding: Rounding) -> Self {
        if x.exponent >= 63 {
            return Self { magnitude: x.significand, exponent: x.exponent - 63, inexact: false, increased: false };
        }
        // The whole part above bit 64, the fraction below; what is shifted out of the fraction only has to stay non-zero.
        let distance = (63 - x.exponent) as u32;
        let fixed = crate::round::shift_right_sticky(u128::from(x.significand) << 64, distance);
        let (whole, fraction) = ((fixed >> 64) as u64, fixed << 64);
        let increased = rounding.increases(x.sign, whole & 1 != 0, fraction);
        Self { magnitude: whole + u64::from(increased), exponent: 0, inexact: fraction != 0, increased }
    }
}
