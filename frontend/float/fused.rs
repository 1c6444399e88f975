//! Multiplication and addition rounded once: the FMA extension.
//!
//! Rule of this file: of several NaNs the first of (multiplicand, multiplier, addend) survives. The 132, 213 and 231 forms
//! of an instruction differ only in which operand is which, so their order is the caller's.
//! SDM: vol. 1 §14.5.3 (FMA), Table 14-17 (special cases); vol. 2 VFMADD132PS and its relatives.

use crate::arithmetic::{cancelled, finite_product, finite_sum};
use crate::environment::{Environment, Exceptions};
use crate::format::{Class, Interchange, Operand, infinity, zero};
use crate::nan::{invalid, propagate_three};
use crate::round::round;

/// Which signs are turned. NaNs keep theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fused {
    /// VFMADD: a × b + c.
    MultiplyAdd,
    /// VFMSUB: a × b - c.
    MultiplySubtract,
    /// VFNMADD: -(a × b) + c.
    NegateMultiplyAdd,
    /// VFNMSUB: -(a × b) - c.
    NegateMultiplySubtract,
}

/// ±(a × b) ± c, rounded once.
pub fn fused<R: Interchange>(signs: Fused, a: R, b: R, c: R, env: &mut Environment) -> R {
    let (a, b, c) = (env.operand(a), env.operand(b), env.operand(c));
    if let Some(nan) = propagate_three(a, b, c, env) {
        return nan;
    }
    let sign = (a.sign != b.sign) != matches!(signs, Fused::NegateMultiplyAdd | Fused::NegateMultiplySubtract);
    let c = Operand { sign: c.sign != matches!(signs, Fused::MultiplySubtract | Fused::NegateMultiplySubtract), ..c };
    let product = match (a.class, b.class) {
        (Class::Zero, Class::Infinity) | (Class::Infinity, Class::Zero) => return invalid(env),
        (Class::Infinity, _) | (_, Class::Infinity) => Class::Infinity,
        (Class::Zero, _) | (_, Class::Zero) => Class::Zero,
        _ => Class::Finite,
    };
    if product == Class::Infinity && c.class == Class::Infinity && sign != c.sign {
        return invalid(env);
    }
    if a.denormal || b.denormal || c.denormal {
        env.raise(Exceptions::DENORMAL);
    }
    match (product, c.class) {
        (Class::Infinity, _) => infinity(sign),
        (_, Class::Infinity) => infinity(c.sign),
        (Class::Zero, Class::Zero) if sign == c.sign => zero(sign),
        (Class::Zero, Class::Zero) => cancelled(env),
        (Class::Zero, _) => round(c.into(), env),
        _ => {
            let mut exact = finite_product(a, b);
            exact.sign = sign;
            if c.class == Class::Finite {
                // No format with an implied leading bit has more than 53 bits, so the product's low 22 are clear.
                match finite_sum(exact, c.into()) {
                    Some(sum) => exact = sum,
                    None => return cancelled(env),
                }
            }
            round(exact, env)
        }
    }
}
