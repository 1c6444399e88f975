//! Transcendental functions against arbitrary-precision arithmetic, by the bounds of SDM vol. 1 §8.3.10: rounded to nearest, a
//! result is within one unit in the last place, or 1.35 for a logarithm times a number other than one; otherwise half a unit
//! more. Trigonometric arguments are first reduced, exactly, by the processor's π of 66 bits.

use dashu_float::FBig;
use dashu_float::ops::Abs;
use dashu_float::round::mode::HalfEven;
use dragoman_float::x87::{f2xm1, fcos, fpatan, fptan, fsin, fyl2x, fyl2xp1};
use dragoman_float::{Environment, F80, Rounding};

use crate::cases::{Random, Tally, cases, f80};

type Big = FBig<HalfEven, 2>;

const PRECISION: usize = 192;
const ONE: F80 = f80(0x3fff, 1 << 63);

/// The number, exactly, computed with at [`PRECISION`].
fn big(x: F80) -> Big {
    let exponent = i32::from(x.sign_exponent & 0x7fff).max(1) - 16383 - 63;
    let magnitude = power(i128::from(x.significand), exponent);
    if x.sign_exponent >> 15 != 0 { -magnitude } else { magnitude }
}

/// n × 2^exponent.
fn power(n: i128, exponent: i32) -> Big {
    Big::from_parts(n.into(), exponent as isize).with_precision(PRECISION).value()
}

/// How far `result` is from `exact`, in units in the last place.
fn error(result: F80, exact: &Big) -> f64 {
    let unit = i32::from(result.sign_exponent & 0x7fff).max(1) - 16383 - 63;
    ((big(result) - exact) / power(1, unit)).abs().to_f64().value()
}

/// The quadrant, and what is left of an angle after it, by π/2 of 65 bits after the point.
fn reduce(x: F80) -> (u128, Big) {
    const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;
    let exponent = i32::from(x.sign_exponent & 0x7fff) - 16383 - 63;
    if exponent < -65 {
        return (0, big(f80(x.sign_exponent & 0x7fff, x.significand)));
    }
    let magnitude = u128::from(x.significand) << (exponent + 65);
    let (quadrant, rest) = (magnitude / PI_66, (magnitude % PI_66) as i128);
    if rest > PI_66 as i128 / 2 { (quadrant + 1, power(rest - PI_66 as i128, -65)) } else { (quadrant, power(rest, -65)) }
}

fn sine(x: F80) -> Big {
    let (quadrant, rest) = reduce(x);
    let value = if quadrant % 2 == 0 { rest.sin() } else { rest.cos() };
    if (quadrant & 2 != 0) != (x.sign_exponent >> 15 != 0) { -value } else { value }
}

fn cosine(x: F80) -> Big {
    let (quadrant, rest) = reduce(x);
    let value = if quadrant % 2 == 0 { rest.cos() } else { -rest.sin() };
    if quadrant & 2 != 0 { -value } else { value }
}

/// 2^exponent × a significand at random, `exponent` from a range, of either sign.
fn number(rng: &mut Random, exponents: std::ops::Range<i32>) -> F80 {
    let exponent = exponents.start + rng.below((exponents.end - exponents.start) as u64) as i32;
    let significand = match rng.below(4) {
        0 => rng.bits() & u64::MAX << rng.below(64),
        _ => rng.bits(),
    };
    f80((16383 + exponent) as u16 | rng.bits() as u16 & 0x8000, significand | 1 << 63)
}

fn magnitude(x: F80) -> F80 {
    f80(x.sign_exponent & 0x7fff, x.significand)
}

fn check(
    name: &str,
    operands: impl Fn(&mut Random) -> (F80, F80),
    compute: impl Fn(F80, F80, &mut Environment) -> F80,
    exact: impl Fn(F80, F80) -> Big,
) {
    let mut tally = Tally::new(format!("{name}, bound"));
    let mut rng = Random::new(31);
    let (mut worst, mut nearest, count) = (0f64, 0, cases(2_500));
    for _ in 0..count {
        let (a, b) = operands(&mut rng);
        let exact = exact(a, b);
        for field in 0..4 {
            let mut env = Environment { rounding: Rounding::from_field(field), ..Environment::default() };
            let result = compute(a, b, &mut env);
            let error = error(result, &exact);
            if field == 0 {
                worst = worst.max(error);
                nearest += u64::from(error <= 0.5);
            }
            let bound = if name.starts_with("fyl2x") && magnitude(b) != ONE { 1.35 } else { 1.0 };
            tally.case(error < bound + if field == 0 { 0.0 } else { 0.5 }, || {
                format!("{a:?} {b:?} {:?}: {result:?} is off by {error}", env.rounding)
            });
        }
    }
    println!("{name}: to nearest, {:.1}% correctly rounded, worst error {worst:.4}", 100.0 * nearest as f64 / count as f64);
}

#[test]
fn trigonometric_functions_are_within_one_unit() {
    let angle = |rng: &mut Random| match rng.below(4) {
        0 => (number(rng, -80..0), f80(0, 0)),
        1 => (number(rng, 2..63), f80(0, 0)),
        // Near multiples of π/2.
        2 => {
            let multiple = (rng.below(1 << 20) + 1) as f64 * std::f64::consts::FRAC_PI_2;
            let near = dragoman_float::convert::<F80, _>(dragoman_float::F64(multiple.to_bits()), &mut Environment::default());
            (f80(near.sign_exponent, near.significand | rng.below(2048)), f80(0, 0))
        }
        _ => (number(rng, -4..4), f80(0, 0)),
    };
    check("fsin", angle, |x, _, env| fsin(x, env).unwrap_or(x), |x, _| sine(x));
    check("fcos", angle, |x, _, env| fcos(x, env).unwrap_or(x), |x, _| cosine(x));
    check("fptan", angle, |x, _, env| fptan(x, env).map_or(x, |(tangent, _)| tangent), |x, _| sine(x) / cosine(x));
}

#[test]
fn exponentials_are_within_one_unit() {
    let two = || power(2, 0);
    let below_one = |rng: &mut Random| match rng.below(2) {
        0 => (number(rng, -80..0), f80(0, 0)),
        _ => (number(rng, -3..0), f80(0, 0)),
    };
    check("f2xm1", below_one, |x, _, env| f2xm1(x, env), |x, _| (big(x) * two().ln()).exp_m1());
}

#[test]
fn logarithms_are_within_one_unit() {
    let ln_2 = power(2, 0).ln();
    let factor = |rng: &mut Random| if rng.below(2) == 0 { ONE } else { number(rng, -8..8) };
    let positive = |rng: &mut Random| {
        let x = match rng.below(4) {
            0 => number(rng, -16382..16384),
            1 => f80(0x3fff, 1 << 63 | rng.bits() >> rng.below(63) >> 1 | 1),
            2 => f80(0x3ffe, !(rng.bits() >> rng.below(63) >> 1)),
            _ => number(rng, -3..3),
        };
        (magnitude(x), factor(rng))
    };
    let ln = |x: F80| match x.sign_exponent {
        0x3ffe | 0x3fff => (big(x) - power(1, 0)).ln_1p(),
        _ => big(x).ln(),
    };
    check("fyl2x", positive, fyl2x, |x, y| big(y) * ln(x) / &ln_2);
    let near_zero = |rng: &mut Random| match rng.below(2) {
        0 => (number(rng, -80..-1), factor(rng)),
        _ => (number(rng, -5..-1), factor(rng)),
    };
    check("fyl2xp1", near_zero, fyl2xp1, |x, y| big(y) * big(x).ln_1p() / &ln_2);
}

#[test]
fn arctangents_are_within_one_unit() {
    let point = |rng: &mut Random| match rng.below(2) {
        0 => (number(rng, -60..60), number(rng, -60..60)),
        _ => (number(rng, -4..4), number(rng, -4..4)),
    };
    check("fpatan", point, fpatan, |x, y| big(y).atan2(&big(x)));
}
