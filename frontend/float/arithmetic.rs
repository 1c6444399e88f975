//! Sum, difference, product, quotient, square root.
//!
//! Rule of this file: in every operation NaNs come first, then what is invalid, then division by zero, then denormal
//! operands, then the result.
//! SDM: vol. 1 §4.9.2 (precedence), §8.3.5, §11.4.1.2; vol. 2 ADDPS, SUBPS, MULPS, DIVPS, SQRTPS, FADD to FSQRT.

use crate::environment::{Environment, Exceptions, Rounding};
use crate::format::{Class, Format, Operand, infinity, zero};
use crate::host;
use crate::nan::{invalid, propagate, propagate_one};
use crate::round::{Exact, round_arithmetic, shift_right_sticky};

/// a + b.
#[inline]
pub fn add<R: Format>(a: impl Format, b: impl Format, env: &mut Environment) -> R {
    if let Some(sum) = host::add(a, b, env) {
        return sum;
    }
    let b = env.operand(b);
    sum(env.operand(a), b, b.sign, env)
}

/// a - b.
#[inline]
pub fn sub<R: Format>(a: impl Format, b: impl Format, env: &mut Environment) -> R {
    if let Some(difference) = host::sub(a, b, env) {
        return difference;
    }
    let b = env.operand(b);
    sum(env.operand(a), b, !b.sign, env)
}

/// a ± |b| by `b_sign`; the sign of `b` itself matters only where it is a NaN.
fn sum<R: Format>(a: Operand, b: Operand, b_sign: bool, env: &mut Environment) -> R {
    if let Some(nan) = propagate(a, b, env) {
        return nan;
    }
    if a.class == Class::Infinity && b.class == Class::Infinity && a.sign != b_sign {
        return invalid(env);
    }
    note_denormals(a, b, env);
    let b = Operand { sign: b_sign, ..b };
    match (a.class, b.class) {
        (Class::Infinity, _) => infinity(a.sign),
        (_, Class::Infinity) => infinity(b.sign),
        (Class::Zero, Class::Zero) if a.sign == b.sign => zero(a.sign),
        (Class::Zero, Class::Zero) => cancelled(env),
        (Class::Zero, _) => round_arithmetic(b.into(), env),
        (_, Class::Zero) => round_arithmetic(a.into(), env),
        _ => match finite_sum(a.into(), b.into()) {
            Some(exact) => round_arithmetic(exact, env),
            None => cancelled(env),
        },
    }
}

/// The zero that x - x is.
pub(crate) fn cancelled<R: Format>(env: &Environment) -> R {
    zero(env.rounding == Rounding::Down)
}

/// The sum; `None` where it is zero. The lowest bit of either number does not count.
pub(crate) fn finite_sum(a: Exact, b: Exact) -> Option<Exact> {
    let (large, small) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    // One bit of headroom. Whenever the sticky bit is in play the exponents differ by at least two, so that at most
    // one leading bit cancels and it stays far below the bits that are kept.
    let (x, y) = (large.significand >> 1, small.significand >> 1);
    let y = shift_right_sticky(y, large.exponent.abs_diff(small.exponent));
    let (sign, magnitude) = if large.sign == small.sign {
        (large.sign, x + y)
    } else if x >= y {
        (large.sign, x - y)
    } else {
        (small.sign, y - x)
    };
    Exact::normalized(sign, large.exponent + 1, magnitude)
}

/// a × b.
#[inline]
pub fn mul<R: Format>(a: impl Format, b: impl Format, env: &mut Environment) -> R {
    if let Some(product) = host::mul(a, b, env) {
        return product;
    }
    product(env.operand(a), env.operand(b), env)
}

fn product<R: Format>(a: Operand, b: Operand, env: &mut Environment) -> R {
    if let Some(nan) = propagate(a, b, env) {
        return nan;
    }
    let sign = a.sign != b.sign;
    match (a.class, b.class) {
        (Class::Zero, Class::Infinity) | (Class::Infinity, Class::Zero) => return invalid(env),
        _ => note_denormals(a, b, env),
    }
    match (a.class, b.class) {
        (Class::Infinity, _) | (_, Class::Infinity) => infinity(sign),
        (Class::Zero, _) | (_, Class::Zero) => zero(sign),
        _ => round_arithmetic(finite_product(a, b), env),
    }
}

/// The exact product of two finite numbers.
pub(crate) fn finite_product(a: Operand, b: Operand) -> Exact {
    let product = u128::from(a.significand) * u128::from(b.significand);
    let zeros = product.leading_zeros();
    Exact { sign: a.sign != b.sign, exponent: a.exponent + b.exponent + 1 - zeros as i32, significand: product << zeros }
}

/// a ÷ b.
#[inline]
pub fn div<R: Format>(a: impl Format, b: impl Format, env: &mut Environment) -> R {
    if let Some(quotient) = host::div(a, b, env) {
        return quotient;
    }
    quotient(env.operand(a), env.operand(b), env)
}

fn quotient<R: Format>(a: Operand, b: Operand, env: &mut Environment) -> R {
    if let Some(nan) = propagate(a, b, env) {
        return nan;
    }
    let sign = a.sign != b.sign;
    match (a.class, b.class) {
        (Class::Zero, Class::Zero) | (Class::Infinity, Class::Infinity) => return invalid(env),
        (Class::Finite, Class::Zero) => {
            env.raise(Exceptions::ZERO_DIVIDE);
            return infinity(sign);
        }
        _ => note_denormals(a, b, env),
    }
    match (a.class, b.class) {
        (Class::Infinity, _) => infinity(sign),
        (Class::Zero, _) | (_, Class::Infinity) => zero(sign),
        _ => {
            let less = a.significand < b.significand;
            let dividend = u128::from(a.significand) << if less { 64 } else { 63 };
            let divisor = u128::from(b.significand);
            let exponent = a.exponent - b.exponent - i32::from(less);
            let significand = with_tail(dividend / divisor, (dividend % divisor) * 2, divisor);
            round_arithmetic(Exact { sign, exponent, significand }, env)
        }
    }
}

/// √a.
#[inline]
pub fn sqrt<R: Format>(a: impl Format, env: &mut Environment) -> R {
    if let Some(root) = host::sqrt(a, env) {
        return root;
    }
    root(env.operand(a), env)
}

fn root<R: Format>(a: Operand, env: &mut Environment) -> R {
    if let Some(nan) = propagate_one(a, env) {
        return nan;
    }
    match a.class {
        Class::Zero => zero(a.sign),
        _ if a.sign => invalid(env),
        Class::Infinity => infinity(false),
        _ => {
            note_denormals(a, a, env);
            let radicand = u128::from(a.significand) << if a.exponent & 1 == 0 { 63 } else { 64 };
            let root = radicand.isqrt();
            // (root + ½)² is root² + root + ¼: a remainder above root lies above the middle, and none lies on it.
            let significand = with_tail(root, (radicand - root * root) * 2, root * 2 + 1);
            round_arithmetic(Exact { sign: false, exponent: a.exponent >> 1, significand }, env)
        }
    }
}

/// Appends to 64 exact bits what rounding needs to know of the rest, which compares with half a unit as `twice` compares
/// with `unit`.
fn with_tail(bits: u128, twice: u128, unit: u128) -> u128 {
    bits << 64 | u128::from(twice >= unit) << 63 | u128::from(twice != 0 && twice != unit)
}

pub(crate) fn note_denormals(a: Operand, b: Operand, env: &mut Environment) {
    if a.denormal || b.denormal {
        env.raise(Exceptions::DENORMAL);
    }
}

impl From<Operand> for Exact {
    fn from(a: Operand) -> Self {
        Self { sign: a.sign, exponent: a.exponent, significand: u128::from(a.significand) << 64 }
    }
}
