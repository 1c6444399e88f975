//! What the functions of `frontend/float` answer to TestFloat's functions.
//!
//! Rule of this file: a name that is not known has no answer; the plan of all checks says which must have one.

use dragoman_float::{
    Environment, F16, F32, F64, F80, Fused, Inexact, Interchange, Predicate, Relation, add, compare, compare_quiet, convert, div,
    from_integer, fused, half_to_single, mul, round_to_integral, sqrt, sub, to_integer,
    x87::{Reduction, fprem1},
};

use crate::numbers::{Encoded, Float, Whole};

/// A function from operands to a result, all encoded; the rest is in the environment.
pub type Compute = fn(&[u128; 3], &mut Environment) -> u128;

/// What `function` is here. `exact` says that rounding to an integer reports what is inexact.
pub fn compute(function: &str, exact: bool) -> Option<Compute> {
    let (kind, operation) = function.split_once('_')?;
    if let Some(target) = operation.strip_prefix("to_") {
        return match (kind, target) {
            // Exact whatever MXCSR says, and so a function of its own.
            ("f16", "f32") => Some(|x, env| half_to_single(F16::decoded(x[0]), env).encoded()),
            ("f16", _) => from_float::<F16>(target),
            ("f32", _) => from_float::<F32>(target),
            ("f64", _) => from_float::<F64>(target),
            ("extF80", _) => from_float::<F80>(target),
            ("i32", _) => from_whole::<i32>(target),
            ("i64", _) => from_whole::<i64>(target),
            ("ui32", _) => from_whole::<u32>(target),
            ("ui64", _) => from_whole::<u64>(target),
            _ => None,
        };
    }
    match kind {
        "f16" => interchange::<F16>(operation).or_else(|| any::<F16>(operation, exact)),
        "f32" => interchange::<F32>(operation).or_else(|| any::<F32>(operation, exact)),
        "f64" => interchange::<F64>(operation).or_else(|| any::<F64>(operation, exact)),
        "extF80" if operation == "rem" => Some(remainder),
        "extF80" => any::<F80>(operation, exact),
        _ => None,
    }
}

fn any<F: Float>(operation: &str, exact: bool) -> Option<Compute> {
    Some(match operation {
        "add" => |x, env| add::<F>(F::decoded(x[0]), F::decoded(x[1]), env).encoded(),
        "sub" => |x, env| sub::<F>(F::decoded(x[0]), F::decoded(x[1]), env).encoded(),
        "mul" => |x, env| mul::<F>(F::decoded(x[0]), F::decoded(x[1]), env).encoded(),
        "div" => |x, env| div::<F>(F::decoded(x[0]), F::decoded(x[1]), env).encoded(),
        "sqrt" => |x, env| sqrt::<F>(F::decoded(x[0]), env).encoded(),
        "roundToInt" if exact => |x, env| round_to_integral(F::decoded(x[0]), env.rounding, Inexact::Reported, env).encoded(),
        "roundToInt" => |x, env| round_to_integral(F::decoded(x[0]), env.rounding, Inexact::Suppressed, env).encoded(),
        "eq" => |x, env| relation::<F, 0>(x, env, |is| is == Relation::Equal),
        "le" => |x, env| relation::<F, 2>(x, env, |is| matches!(is, Relation::Less | Relation::Equal)),
        "lt" => |x, env| relation::<F, 1>(x, env, |is| is == Relation::Less),
        "eq_signaling" => |x, env| relation::<F, 0x10>(x, env, |is| is == Relation::Equal),
        "le_quiet" => |x, env| relation::<F, 0x12>(x, env, |is| matches!(is, Relation::Less | Relation::Equal)),
        "lt_quiet" => |x, env| relation::<F, 0x11>(x, env, |is| is == Relation::Less),
        _ => return None,
    })
}

/// Asks twice: COMISS or UCOMISS, and CMPSS with its `PREDICATE`. Where they do not agree, the answer is no Boolean.
fn relation<F: Float, const PREDICATE: u8>(x: &[u128; 3], env: &mut Environment, holds: fn(Relation) -> bool) -> u128 {
    let (a, b) = (F::decoded(x[0]), F::decoded(x[1]));
    let mut other = *env;
    let quiet = matches!(PREDICATE, 0 | 0x11 | 0x12);
    let is = if quiet { compare_quiet(a, b, env) } else { compare(a, b, env) };
    let by_predicate = Predicate::from_immediate(PREDICATE).holds(a, b, &mut other);
    if by_predicate == holds(is) && other == *env { by_predicate.into() } else { u128::MAX }
}

fn interchange<F: Float + Interchange>(operation: &str) -> Option<Compute> {
    (operation == "mulAdd")
        .then_some(|x, env| fused(Fused::MultiplyAdd, F::decoded(x[0]), F::decoded(x[1]), F::decoded(x[2]), env).encoded())
}

fn from_float<F: Float>(target: &str) -> Option<Compute> {
    Some(match target {
        "f16" => |x, env| convert::<F16, F>(F::decoded(x[0]), env).encoded(),
        "f32" => |x, env| convert::<F32, F>(F::decoded(x[0]), env).encoded(),
        "f64" => |x, env| convert::<F64, F>(F::decoded(x[0]), env).encoded(),
        "extF80" => |x, env| convert::<F80, F>(F::decoded(x[0]), env).encoded(),
        "i32" => |x, env| to_integer::<i32>(F::decoded(x[0]), env.rounding, env).encoded(),
        "i64" => |x, env| to_integer::<i64>(F::decoded(x[0]), env.rounding, env).encoded(),
        "ui32" => |x, env| to_integer::<u32>(F::decoded(x[0]), env.rounding, env).encoded(),
        "ui64" => |x, env| to_integer::<u64>(F::decoded(x[0]), env.rounding, env).encoded(),
        _ => return None,
    })
}

fn from_whole<I: Whole>(target: &str) -> Option<Compute> {
    Some(match target {
        "f16" => |x, env| from_integer::<F16>(I::decoded(x[0]), env).encoded(),
        "f32" => |x, env| from_integer::<F32>(I::decoded(x[0]), env).encoded(),
        "f64" => |x, env| from_integer::<F64>(I::decoded(x[0]), env).encoded(),
        "extF80" => |x, env| from_integer::<F80>(I::decoded(x[0]), env).encoded(),
        _ => return None,
    })
}

/// FPREM1 until it is done, as programs use it.
fn remainder(x: &[u128; 3], env: &mut Environment) -> u128 {
    let mut dividend = F80::decoded(x[0]);
    loop {
        let step = fprem1(dividend, F80::decoded(x[1]), env);
        if step.reduction != Reduction::Incomplete {
            return step.value.encoded();
        }
        dividend = step.value;
    }
}
