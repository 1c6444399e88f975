//! FSIN, FCOS, FSINCOS, FPTAN.
//!
//! Rule of this file: the argument is reduced by the processor's own π, which has 66 bits. A sine near a multiple of the
//! true π therefore differs from the mathematical one as it does on the processor. A tangent is the quotient of sine and
//! cosine, each cut.
//! SDM: vol. 1 §8.3.8 (π), §8.3.10 (accuracy); vol. 2 FSIN, FCOS, FSINCOS, FPTAN.

use dragoman_state::F80;

use super::wide::{INVERSE_FACTORIALS, Terms, series};
use super::{inexact, reported_inexact};
use crate::arithmetic::note_denormals;
use crate::environment::Environment;
use crate::format::{Class, Operand, zero};
use crate::nan::{invalid, propagate_one};
use crate::round::{Exact, round};

/// sin ST(0); `None` where it is out of range, and then C2 is set and nothing else happens.
pub fn fsin(st0: F80, env: &mut Environment) -> Option<F80> {
    Some(Angle::new(st0, env)?.sine(env))
}

/// cos ST(0); `None` as in [`fsin`].
pub fn fcos(st0: F80, env: &mut Environment) -> Option<F80> {
    Some(Angle::new(st0, env)?.cosine(env))
}

/// The sine, which replaces ST(0), and the cosine, which is then pushed; `None` as in [`fsin`].
pub fn fsincos(st0: F80, env: &mut Environment) -> Option<(F80, F80)> {
    let angle = Angle::new(st0, env)?;
    Some((angle.sine(env), angle.cosine(env)))
}

/// The tangent, which replaces ST(0), and what is then pushed: one, or a NaN again. `None` as in [`fsin`].
pub fn fptan(st0: F80, env: &mut Environment) -> Option<(F80, F80)> {
    let angle = Angle::new(st0, env)?;
    let tangent = angle.tangent(env);
    let pushed = match angle {
        Angle::Nan(nan) => nan,
        _ => round(Exact::ONE, &mut Environment::default()),
    };
    Some((tangent, pushed))
}

/// π to 66 bits, in units of 2^-64.
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// An argument taken apart.
#[derive(Clone, Copy)]
enum Angle {
    /// It is no angle; this is delivered.
    Nan(F80),
    Zero {
        sign: bool,
    },
    /// Sine and tangent deliver it as it is.
    Tiny(Exact),
    /// ±(quadrant × π/2 + rest), the rest within ±π/4.
    Reduced {
        sign: bool,
        quadrant: u128,
        rest: Exact,
    },
}

impl Angle {
    fn new(st0: F80, env: &mut Environment) -> Option<Self> {
        let x = Operand::new(st0);
        if let Some(nan) = propagate_one(x, env) {
            return Some(Self::Nan(nan));
        }
        match x.class {
            Class::Zero => return Some(Self::Zero { sign: x.sign }),
            Class::Infinity => return Some(Self::Nan(invalid(env))),
            _ if x.exponent >= 63 => return None,
            _ => note_denormals(x, x, env),
        }
        if x.exponent < -68 {
            return Some(Self::Tiny(x.into()));
        }
        let mut quadrant = 0;
        let mut rest = Some(Exact { sign: false, ..x.into() });
        if x.exponent >= -2 {
            // In units of 2^-65, in which π/2 is what π is in units of 2^-64.
            let magnitude = u128::from(x.significand) << (x.exponent + 2);
            quadrant = magnitude / PI_66;
            let above = magnitude % PI_66;
            rest = if above > PI_66 / 2 {
                quadrant += 1;
                Exact::normalized(true, 62, PI_66 - above)
            } else {
                Exact::normalized(false, 62, above)
            };
        }
        // PI_66 is odd and has more bits than a significand, so that no argument is a multiple of it.
        rest.map(|rest| Self::Reduced { sign: x.sign, quadrant, rest })
    }

    fn sine(self, env: &mut Environment) -> F80 {
        match self {
            Self::Nan(nan) => nan,
            Self::Zero { sign } => zero(sign),
            Self::Tiny(x) => reported_inexact(x, env),
            Self::Reduced { sign, quadrant, rest } => {
                let value = if quadrant & 1 == 0 { sine(rest) } else { cosine(rest) };
                inexact(value.negated_if(sign != (quadrant & 2 != 0)), env)
            }
        }
    }

    fn cosine(self, env: &mut Environment) -> F80 {
        match self {
            Self::Nan(nan) => nan,
            Self::Zero { .. } => round(Exact::ONE, env),
            Self::Tiny(_) => reported_inexact(Exact::ONE, env),
            Self::Reduced { quadrant, rest, .. } => {
                let value = if quadrant & 1 == 0 { cosine(rest) } else { sine(rest).negated() };
                inexact(value.negated_if(quadrant & 2 != 0), env)
            }
        }
    }

    fn tangent(self, env: &mut Environment) -> F80 {
        match self {
            Self::Nan(nan) => nan,
            Self::Zero { sign } => zero(sign),
            Self::Tiny(x) => reported_inexact(x, env),
            Self::Reduced { sign, quadrant, rest } => {
                let (sine, cosine) = (sine(rest).cut(), cosine(rest).cut());
                let value = if quadrant & 1 == 0 { sine.over(cosine) } else { cosine.over(sine).negated() };
                reported_inexact(value.negated_if(sign), env)
            }
        }
    }
}

/// Of an angle within ±π/4, as the processor has it: from ¼ on by a table.
fn sine(x: Exact) -> Exact {
    let value = exact_sine(x);
    if x.exponent < -2 { value } else { value.tabulated(exact_sine(x.middle(2))) }
}

/// Likewise.
fn cosine(x: Exact) -> Exact {
    let value = exact_cosine(x);
    if x.exponent < -2 { value } else { value.tabulated(exact_cosine(x.middle(2))) }
}

/// x(1 - x²/3! + x⁴/5! - …) for x below one in magnitude. The first term left out is below 2^-132.
fn exact_sine(x: Exact) -> Exact {
    x.times(series(&INVERSE_FACTORIALS, (1, 2, 33), x.squared(), Terms::Alternating))
}

/// 1 - x²/2! + x⁴/4! - … for x below one in magnitude. The first term left out is below 2^-127.
fn exact_cosine(x: Exact) -> Exact {
    series(&INVERSE_FACTORIALS, (0, 2, 32), x.squared(), Terms::Alternating)
}
