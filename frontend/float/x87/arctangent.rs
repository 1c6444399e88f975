//! FPATAN: the angle of a point.
//!
//! Rule of this file: the angle is computed in the first octant, where the lesser coordinate over the greater is its
//! tangent t, and then mirrored. Near zero the processor cuts t and adds the rest of the series t - t³/3 + t⁵/5 - … to that,
//! from 3/64 on it uses a table.
//! SDM: vol. 2 FPATAN and its table.

use dragoman_state::F80;

use super::wide::{INVERSES, Terms, series};
use super::{PI, inexact, reported_inexact};
use crate::arithmetic::note_denormals;
use crate::environment::Environment;
use crate::format::{Class, Operand, zero};
use crate::nan::propagate;
use crate::round::Exact;

const HALF_TURN: Exact = Exact { sign: false, exponent: 1, significand: PI }.rounded();
const QUARTER_TURN: Exact = Exact { exponent: 0, ..HALF_TURN };
const EIGHTH_TURN: Exact = Exact { exponent: -1, ..HALF_TURN };

/// The angle of the point (ST(0), ST(1)), between -π and π, which is left in ST(0) after a pop.
pub fn fpatan(st0: F80, st1: F80, env: &mut Environment) -> F80 {
    let (x, y) = (Operand::new(st0), Operand::new(st1));
    if let Some(nan) = propagate(x, y, env) {
        return nan;
    }
    note_denormals(x, y, env);
    let angle = match (y.class, x.class) {
        (Class::Zero, _) | (Class::Finite, Class::Infinity) if !x.sign => return zero(y.sign),
        (Class::Zero, _) | (Class::Finite, Class::Infinity) => HALF_TURN,
        (_, Class::Zero) | (Class::Infinity, Class::Finite) => QUARTER_TURN,
        (Class::Infinity, _) => mirrored(EIGHTH_TURN, x.sign),
        _ => {
            let (across, up) = (Exact { sign: false, ..x.into() }, Exact { sign: false, ..y.into() });
            if (up.exponent, up.significand) > (across.exponent, across.significand) {
                sum(QUARTER_TURN, arctangent(across.over(up)).negated_if(!x.sign))
            } else {
                let tangent = up.over(across);
                if !x.sign && tangent.exponent < -40 {
                    return reported_inexact(tangent.cut().negated_if(y.sign), env);
                }
                mirrored(arctangent(tangent), x.sign)
            }
        }
    };
    inexact(angle.negated_if(y.sign), env)
}

/// The angle, or what is missing to half a turn.
fn mirrored(angle: Exact, condition: bool) -> Exact {
    if condition { sum(HALF_TURN, angle.negated()) } else { angle }
}

/// A sum known not to be zero.
fn sum(a: Exact, b: Exact) -> Exact {
    a.plus(b).unwrap_or(a)
}

/// The angle whose tangent is `t`, between zero and one, as the processor has it.
fn arctangent(t: Exact) -> Exact {
    match Exact::normalized(false, 122, nearest(t, 5)) {
        Some(entry) if entry.exponent > -5 => exact_arctangent(t).tabulated(exact_arctangent(entry)),
        _ => {
            let leading = t.cut();
            small(t).plus(t.negated()).map_or(leading, |rest| sum(leading, rest))
        }
    }
}

/// The angle whose tangent is `t`, between zero and one: arctan t = arctan c + arctan((t - c) / (1 + ct)) for the nearest
/// eighth c.
fn exact_arctangent(t: Exact) -> Exact {
    /// arctan n/8 in units of 2^-127.
    const EIGHTHS: [u128; 9] = [
        0,
        0x0fea_dd4d_5617_b6e3_2c89_7989_f3e8_88ef,
        0x1f5b_75f9_2c80_dd62_adb8_f3de_bef4_42fc,
        0x2dec_3283_c9bd_e11c_e2a8_c848_b73f_9120,
        0x3b58_ce0a_c376_9ed1_5bf9_117b_2f0e_a340,
        0x4780_2eaf_7bfa_cfcd_ae41_af0b_32e2_1ba3,
        0x525e_3e8c_9a7b_8492_0cd4_3f95_22be_d64f,
        0x5c02_9f15_e118_cf39_e596_d2a9_0852_221e,
        0x6487_ed51_10b4_611a_6263_3145_c06e_0e68,
    ];
    let nearest = nearest(t, 3);
    let (Some(eighth), Some(angle)) = (
        Exact::normalized(false, 124, nearest),
        EIGHTHS.get(nearest as usize).and_then(|&angle| Exact::normalized(false, 0, angle)),
    ) else {
        return small(t);
    };
    match t.plus(eighth.negated()) {
        Some(difference) => sum(angle, small(difference.over(sum(Exact::ONE, t.times(eighth))))),
        None => angle,
    }
}

/// The multiple of 2^-`bits` nearest to a number between zero and one.
fn nearest(t: Exact, bits: u32) -> u128 {
    let doubled = t.significand.checked_shr((126 - t.exponent) as u32 - bits).unwrap_or(0);
    doubled.div_ceil(2)
}

/// Of a tangent within ±1/16: t(1 - t²/3 + t⁴/5 - …). The first term left out is below 2^-140.
fn small(t: Exact) -> Exact {
    t.times(series(&INVERSES, (1, 2, 33), t.squared(), Terms::Alternating))
}
