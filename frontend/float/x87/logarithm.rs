//! FYL2X, FYL2XP1: binary logarithms.
//!
//! Rule of this file: log₂(2^n × m) = n + log₂ m with m between √½ and √2, and log₂(1 + x) = 2s(1 + s²/3 + s⁴/5 + …) log₂ e
//! with s = x / (2 + x). The processor cuts the logarithm before it multiplies, and near one the steps towards it as well.
//! SDM: vol. 2 FYL2X, FYL2XP1 and their tables.

use dragoman_state::F80;

use super::wide::{INVERSES, Terms, series};
use super::{LOG2_E, reported_inexact};
use crate::arithmetic::note_denormals;
use crate::environment::{Environment, Exceptions};
use crate::format::{Class, Operand, infinity, zero};
use crate::nan::{invalid, propagate};
use crate::round::Exact;

/// ST(1) × log₂ ST(0), which is left in ST(0) after a pop.
pub fn fyl2x(st0: F80, st1: F80, env: &mut Environment) -> F80 {
    let (x, y) = (Operand::new(st0), Operand::new(st1));
    if let Some(nan) = propagate(x, y, env) {
        return nan;
    }
    let minus_infinity = infinity(!y.sign);
    match (x.class, y.class) {
        (Class::Zero, Class::Zero) => return invalid(env),
        (Class::Zero, Class::Infinity) => return minus_infinity,
        (Class::Zero, _) => {
            env.raise(Exceptions::ZERO_DIVIDE);
            return minus_infinity;
        }
        _ if x.sign => return invalid(env),
        _ => {}
    }
    let exact = Exact::from(x);
    let is_one = x.class == Class::Finite && exact == Exact::ONE;
    if is_one && y.class == Class::Infinity || x.class == Class::Infinity && y.class == Class::Zero {
        return invalid(env);
    }
    note_denormals(x, y, env);
    let sign = y.sign != (x.class == Class::Finite && x.exponent < 0);
    if x.class == Class::Infinity || y.class == Class::Infinity {
        infinity(sign)
    } else if is_one || y.class == Class::Zero {
        zero(sign)
    } else {
        reported_inexact(logarithm(exact).times(y.into()), env)
    }
}

/// ST(1) × log₂(ST(0) + 1), which is left in ST(0) after a pop. Meant for ST(0) within ±(1 - √½).
pub fn fyl2xp1(st0: F80, st1: F80, env: &mut Environment) -> F80 {
    let (x, y) = (Operand::new(st0), Operand::new(st1));
    if let Some(nan) = propagate(x, y, env) {
        return nan;
    }
    match (x.class, y.class) {
        (Class::Zero, Class::Infinity) | (Class::Infinity, Class::Zero) => return invalid(env),
        (Class::Infinity, _) if x.sign => return invalid(env),
        _ => note_denormals(x, y, env),
    }
    let sign = x.sign != y.sign;
    match (x.class, y.class) {
        (Class::Infinity, _) | (_, Class::Infinity) => return infinity(sign),
        (Class::Zero, _) | (_, Class::Zero) => return zero(sign),
        _ => {}
    }
    let exact = Exact::from(x);
    if is_near_one(exact) {
        return reported_inexact(near_one(exact).times(y.into()), env);
    }
    match Exact::ONE.plus(exact) {
        Some(sum) if !sum.sign => reported_inexact(logarithm(sum).times(y.into()), env),
        // ERRATUM: where there is no answer the processor delivers its argument.
        _ => reported_inexact(exact, env),
    }
}

/// log₂ of a positive number other than one, as the processor has it.
fn logarithm(x: Exact) -> Exact {
    /// √2.
    const ROOT: u128 = 0xb504_f333_f9de_6484_597d_89b3_754a_be9f;
    if let Some(difference) = x.plus(Exact::ONE.negated()).filter(|&difference| is_near_one(difference)) {
        return near_one(difference);
    }
    let above = i32::from(x.significand > ROOT);
    let whole = x.exponent + above;
    let whole = Exact::normalized(whole < 0, 127, whole.unsigned_abs().into());
    let fraction = Exact { exponent: -above, ..x }.plus(Exact::ONE.negated());
    match (whole, fraction) {
        (Some(whole), Some(fraction)) => whole.plus(natural(fraction).times(DOUBLE_LOG2_E)).unwrap_or(whole),
        (None, Some(fraction)) => natural(fraction).times(DOUBLE_LOG2_E),
        // A negative whole number falls short by the last bit.
        (Some(whole), None) if whole.sign => Exact::normalized(true, whole.exponent, whole.significand - 1).unwrap_or(whole),
        (whole, None) => whole.unwrap_or(Exact::ONE),
    }
    .cut()
}

const TWO: Exact = Exact { exponent: 1, ..Exact::ONE };
const DOUBLE_LOG2_E: Exact = Exact { sign: false, exponent: 1, significand: LOG2_E };

/// Within ±⅛.
fn is_near_one(difference: Exact) -> bool {
    difference.exponent < -3
}

/// log₂(1 + x) for x within ±⅛, by the processor's steps: the leading term 2s log₂ e, and the rest of the series.
fn near_one(x: Exact) -> Exact {
    let divisor = TWO.plus(x).unwrap_or(TWO).cut();
    let leading = x.times(DOUBLE_LOG2_E.rounded()).cut().over(divisor).cut();
    let rest = natural(x).plus(ratio(x).negated()).and_then(|rest| leading.plus(rest.times(DOUBLE_LOG2_E)));
    rest.unwrap_or(leading).cut()
}

/// x / (2 + x).
fn ratio(x: Exact) -> Exact {
    x.over(TWO.plus(x).unwrap_or(TWO))
}

/// Half of logₑ(1 + x), for x between √½ - 1 and √2 - 1. The first term left out is below 2^-132.
fn natural(x: Exact) -> Exact {
    let s = ratio(x);
    s.times(series(&INVERSES, (1, 2, 51), s.squared(), Terms::Added))
}
