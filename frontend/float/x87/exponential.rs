//! F2XM1: powers of two.
//!
//! Rule of this file: 2^x - 1 = t(1 + t/2! + t²/3! + …) with t = x logₑ 2. Below ¼ the processor cuts t and adds the rest of
//! the series to that, from there on it uses a table.
//! SDM: vol. 2 F2XM1.

use dragoman_state::F80;

use super::wide::{INVERSE_FACTORIALS, Terms, series};
use super::{LN_2, inexact, reported_inexact};
use crate::arithmetic::note_denormals;
use crate::environment::Environment;
use crate::format::{Class, Operand, infinity, zero};
use crate::nan::propagate_one;
use crate::round::{Exact, round};

/// 2^ST(0) - 1. Meant for ST(0) within ±1.
pub fn f2xm1(st0: F80, env: &mut Environment) -> F80 {
    let x = Operand::new(st0);
    if let Some(nan) = propagate_one(x, env) {
        return nan;
    }
    note_denormals(x, x, env);
    let exact = Exact::from(x);
    match x.class {
        Class::Zero => return zero(x.sign),
        Class::Infinity if x.sign => return round(Exact::ONE.negated(), env),
        Class::Infinity => return infinity(false),
        // 2^-1 - 1 = -½.
        _ if exact == Exact::ONE.negated() => return reported_inexact(Exact { exponent: -1, ..exact }, env),
        // ERRATUM: beyond ±1 the processor delivers its argument, which at 1 is right.
        _ if x.exponent >= 0 => return reported_inexact(exact, env),
        _ => {}
    }
    let leading = exact.times(LOGE_2.rounded());
    if x.exponent < -68 {
        return reported_inexact(leading, env);
    }
    let value = exponential(exact);
    if x.exponent >= -2 {
        return inexact(value.tabulated(exponential(exact.middle(4))), env);
    }
    let leading = leading.cut();
    let rest = value.plus(exact.times(LOGE_2).negated());
    inexact(rest.and_then(|rest| leading.plus(rest)).unwrap_or(leading), env)
}

const LOGE_2: Exact = Exact { sign: false, exponent: -1, significand: LN_2 };

/// 2^x - 1 for x below one in magnitude. The first term left out is below 2^-145.
fn exponential(x: Exact) -> Exact {
    let t = x.times(LOGE_2);
    let terms = if t.sign { Terms::Alternating } else { Terms::Added };
    t.times(series(&INVERSE_FACTORIALS, (1, 1, 33), t, terms))
}
