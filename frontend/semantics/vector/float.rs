//! Floating-point vector operations as pure functions over 128 bits and MXCSR.
//! SDM: vol. 1 §11.5 (exceptions), vol. 2 (each operation).

use dragoman_float::{
    Environment, Exceptions, F16, F32, F64, Inexact, Integer, Interchange, Predicate, Relation, Rounding, add, compare,
    compare_quiet, convert, div, from_integer, half_to_single, max, min, mul, round_to_integral, sqrt, sub, to_integer,
};
use dragoman_state::{Cr4, Mxcsr, RFlags, Width};

use crate::fault::Fault;

use super::{
    across::{self, Across},
    dot_product,
};

/// How many lanes of which format an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Four single-precision lanes.
    Ps,
    /// Two double-precision lanes.
    Pd,
    /// The lowest lane, single precision; the others come from the first operand.
    Ss,
    /// The lowest lane, double precision; the other comes from the first operand.
    Sd,
}

/// Arithmetic on two operands, or of the second alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the operations' usual names say all there is to say")]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Sqrt,
}

/// A floating-point operation on vectors of 128 bits. The second operand is the source; the first gives the lanes that
/// are not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatOp {
    /// By lane.
    Arithmetic(Arithmetic, Shape),
    /// All ones where the predicate (three bits, or five) holds, by lane.
    Compare(u8, Shape),
    /// The flags of comparing the lowest lanes, as an image of RFLAGS; quiet NaNs signal unless told not to.
    Order {
        /// Double precision.
        is_double: bool,
        /// Quiet NaNs are no invalid operation.
        is_quiet: bool,
    },
    /// An estimate of the reciprocal.
    Reciprocal(Shape),
    /// An estimate of the reciprocal square root.
    ReciprocalRoot(Shape),
    /// Across lanes, all of double precision or all of single.
    Across {
        /// What is done.
        op: Across,
        /// Double precision.
        is_double: bool,
    },
    /// The sum of the products of the lanes that the high bits of the immediate choose, in those of the low bits; zero in the
    /// others. Of each part by itself.
    DotProduct {
        /// The choices.
        immediate: u8,
        /// Double precision.
        is_double: bool,
    },
    /// To the nearest integer in the same format, as the immediate's rounding control says.
    Round(u8, Shape),
    /// Single precision to double: two lanes, or the lowest.
    ToDouble {
        /// The lowest lane alone.
        is_scalar: bool,
    },
    /// Double precision to single: two lanes with zeros above, or the lowest.
    ToSingle {
        /// The lowest lane alone.
        is_scalar: bool,
    },
    /// Signed doublewords to single precision: so many lanes, the others from the first operand.
    DwordsToSingle(u8),
    /// Two signed doublewords to double precision.
    DwordsToDouble,
    /// Single precision to signed doublewords: so many lanes, zeros above.
    SingleToDwords {
        /// How many.
        lanes: u8,
        /// Towards zero, whatever MXCSR says.
        truncate: bool,
    },
    /// Two double-precision lanes to signed doublewords, zeros above.
    DoubleToDwords {
        /// Towards zero, whatever MXCSR says.
        truncate: bool,
    },
    /// Half precision to single: four lanes.
    HalfToSingle,
    /// Single precision to half: four lanes, zeros above. Bits 0 and 1 of the control are the rounding, unless bit 2 leaves
    /// it to MXCSR.
    SingleToHalf(u8),
    /// The lowest lane to a signed integer of the width, in the low quadword.
    ToInteger {
        /// Double precision.
        is_double: bool,
        /// 32 or 64 bits.
        width: Width,
        /// Towards zero, whatever MXCSR says.
        truncate: bool,
    },
    /// A signed integer of the width in the low quadword to the lowest lane.
    FromInteger {
        /// To double precision.
        is_double: bool,
        /// 32 or 64 bits.
        width: Width,
    },
}

/// An exception that is not masked: MXCSR holds its flag, and there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmasked;

/// The fault that an exception is which is not masked: #XM, or #UD where the system does not expect it.
#[cold]
pub fn fault(cr4: Cr4) -> Fault {
    if cr4.contains(Cr4::OSXMMEXCPT) { Fault::XM } else { Fault::UD }
}

/// A number format in the lanes of a vector.
pub(super) trait LaneFormat: Interchange {
    const BITS: u32;
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

impl LaneFormat for F32 {
    const BITS: u32 = 32;
    fn of(bits: u64) -> Self {
        Self(bits as u32)
    }
    fn bits(self) -> u64 {
        self.0.into()
    }
}

impl LaneFormat for F64 {
    const BITS: u32 = 64;
    fn of(bits: u64) -> Self {
        Self(bits)
    }
    fn bits(self) -> u64 {
        self.0
    }
}

#[inline(always)]
pub(super) fn lane<F: LaneFormat>(v: u128, n: u32) -> F {
    F::of(Width::truncate(if F::BITS == 32 { Width::Dword } else { Width::Qword }, (v >> (n * F::BITS)) as u64))
}

/// `v` with its lowest `BITS` replaced.
#[inline(always)]
pub(super) fn with_lowest<F: LaneFormat>(v: u128, value: F) -> u128 {
    v >> F::BITS << F::BITS | u128::from(value.bits())
}

/// Computes the lanes of the result from those of the operands.
#[inline(always)]
fn by_lane<F: LaneFormat>(
    is_scalar: bool,
    a: u128,
    b: u128,
    env: &mut Environment,
    f: impl Fn(F, F, &mut Environment) -> u64,
) -> u128 {
    if is_scalar {
        let value = f(lane(a, 0), lane(b, 0), env);
        return with_lowest(a, F::of(value));
    }
    (0..128 / F::BITS).rev().fold(0, |result, n| result << F::BITS | u128::from(f(lane(a, n), lane(b, n), env)))
}

#[inline(always)]
fn shaped(
    shape: Shape,
    a: u128,
    b: u128,
    env: &mut Environment,
    single: impl Fn(F32, F32, &mut Environment) -> u64,
    double: impl Fn(F64, F64, &mut Environment) -> u64,
) -> u128 {
    match shape {
        Shape::Ps | Shape::Ss => by_lane(shape == Shape::Ss, a, b, env, single),
        Shape::Pd | Shape::Sd => by_lane(shape == Shape::Sd, a, b, env, double),
    }
}

#[inline(always)]
fn arithmetic<F: LaneFormat>(op: Arithmetic, a: F, b: F, env: &mut Environment) -> u64 {
    let result: F = match op {
        Arithmetic::Add => add(a, b, env),
        Arithmetic::Sub => sub(a, b, env),
        Arithmetic::Mul => mul(a, b, env),
        Arithmetic::Div => div(a, b, env),
        Arithmetic::Min => min(a, b, env),
        Arithmetic::Max => max(a, b, env),
        Arithmetic::Sqrt => sqrt(b, env),
    };
    result.bits()
}

/// `a op b` for all parts of an instruction, and what it does to `mxcsr`.
#[inline(always)]
pub fn evaluate<const N: usize>(op: FloatOp, a: [u128; N], b: [u128; N], mxcsr: &mut Mxcsr) -> Result<[u128; N], Unmasked> {
    let mut env = Environment::from_mxcsr(*mxcsr);
    let result = match op {
        FloatOp::DotProduct { immediate, is_double } => dot_product::compute(immediate, is_double, a, b, &mut env),
        _ => std::array::from_fn(|n| compute(op, a[n], b[n], &mut env)),
    };
    if env.retire_mxcsr(mxcsr).is_empty() { Ok(result) } else { Err(Unmasked) }
}

#[inline(always)]
fn compute(op: FloatOp, a: u128, b: u128, env: &mut Environment) -> u128 {
    match op {
        FloatOp::Arithmetic(op, shape) => {
            shaped(shape, a, b, env, |a, b, env| arithmetic(op, a, b, env), |a, b, env| arithmetic(op, a, b, env))
        }
        FloatOp::Compare(predicate, shape) => {
            let predicate = Predicate::from_immediate(predicate);
            let mask = |holds: bool, bits: u64| if holds { bits } else { 0 };
            shaped(
                shape,
                a,
                b,
                env,
                |a, b, env| mask(predicate.holds(a, b, env), u32::MAX.into()),
                |a, b, env| mask(predicate.holds(a, b, env), u64::MAX),
            )
        }
        FloatOp::Order { is_double: true, is_quiet } => order::<F64>(a, b, is_quiet, env),
        FloatOp::Order { is_double: false, is_quiet } => order::<F32>(a, b, is_quiet, env),
        FloatOp::Reciprocal(shape) => by_lane(shape == Shape::Ss, a, b, env, |_, b: F32, _| estimate(b, |x| 1.0 / x)),
        FloatOp::ReciprocalRoot(shape) => by_lane(shape == Shape::Ss, a, b, env, |_, b: F32, _| estimate(b, |x| 1.0 / x.sqrt())),
        FloatOp::Round(control, shape) => {
            shaped(shape, a, b, env, |_, b, env| round(control, b, env), |_, b, env| round(control, b, env))
        }
        FloatOp::Across { op, is_double } => across::compute(op, is_double, a, b, env),
        FloatOp::DotProduct { immediate, is_double } => {
            let [result] = dot_product::compute(immediate, is_double, [a], [b], env);
            result
        }
        FloatOp::ToDouble { is_scalar: true } => {
            let value: F64 = convert(lane::<F32>(b, 0), env);
            with_lowest(a, value)
        }
        FloatOp::ToDouble { is_scalar: false } => {
            let double = |n, env: &mut Environment| convert::<F64, F32>(lane(b, n), env).bits();
            let (low, high) = (double(0, env), double(1, env));
            u128::from(high) << 64 | u128::from(low)
        }
        FloatOp::ToSingle { is_scalar: true } => {
            let value: F32 = convert(lane::<F64>(b, 0), env);
            with_lowest(a, value)
        }
        FloatOp::ToSingle { is_scalar: false } => {
            let single = |n, env: &mut Environment| u128::from(convert::<F32, F64>(lane(b, n), env).bits());
            let (low, high) = (single(0, env), single(1, env));
            high << 32 | low
        }
        FloatOp::DwordsToSingle(lanes) => (0..u32::from(lanes)).fold(a, |result, n| {
            let value: F32 = from_integer((b >> (32 * n)) as u32 as i32, env);
            result & !(0xffff_ffff << (32 * n)) | u128::from(value.bits()) << (32 * n)
        }),
        FloatOp::DwordsToDouble => (0..2).rev().fold(0, |result, n| {
            let value: F64 = from_integer((b >> (32 * n)) as u32 as i32, env);
            result << 64 | u128::from(value.bits())
        }),
        FloatOp::SingleToDwords { lanes, truncate } => {
            (0..u32::from(lanes)).fold(0, |result, n| result | u128::from(dword(lane::<F32>(b, n), truncate, env)) << (32 * n))
        }
        FloatOp::DoubleToDwords { truncate } => {
            (0..2).fold(0, |result, n| result | u128::from(dword(lane::<F64>(b, n), truncate, env)) << (32 * n))
        }
        FloatOp::HalfToSingle => (0..4).fold(0, |result, n| {
            let value = half_to_single(F16((b >> (16 * n)) as u16), env);
            result | u128::from(value.bits()) << (32 * n)
        }),
        FloatOp::SingleToHalf(control) => {
            (0..4).fold(0, |result, n| result | u128::from(half(control, lane(b, n), env)) << (16 * n))
        }
        FloatOp::ToInteger { is_double: true, width, truncate } => integer(lane::<F64>(b, 0), width, truncate, env),
        FloatOp::ToInteger { is_double: false, width, truncate } => integer(lane::<F32>(b, 0), width, truncate, env),
        FloatOp::FromInteger { is_double: true, width } => {
            let value: F64 = from_integer(width.sign_extend(b as u64) as i64, env);
            with_lowest(a, value)
        }
        FloatOp::FromInteger { is_double: false, width } => {
            let value: F32 = from_integer(width.sign_extend(b as u64) as i64, env);
            with_lowest(a, value)
        }
    }
}

fn rounding(truncate: bool, env: &Environment) -> Rounding {
    if truncate { Rounding::Zero } else { env.rounding }
}

fn signed<I: Integer>(value: impl LaneFormat, truncate: bool, env: &mut Environment) -> I {
    let rounding = rounding(truncate, env);
    to_integer(value, rounding, env)
}

fn dword(value: impl LaneFormat, truncate: bool, env: &mut Environment) -> u32 {
    signed::<i32>(value, truncate, env) as u32
}

fn integer(value: impl LaneFormat, width: Width, truncate: bool, env: &mut Environment) -> u128 {
    if width == Width::Qword { (signed::<i64>(value, truncate, env) as u64).into() } else { dword(value, truncate, env).into() }
}

/// ROUNDPS and its kin: bits 0 and 1 of the control are the rounding unless bit 2 leaves it to MXCSR; bit 3 keeps quiet
/// about inexact results.
fn round(control: u8, value: impl LaneFormat, env: &mut Environment) -> u64 {
    let rounding = if control & 4 != 0 { env.rounding } else { Rounding::from_field(control) };
    let inexact = if control & 8 != 0 { Inexact::Suppressed } else { Inexact::Reported };
    round_to_integral(value, rounding, inexact, env).bits()
}

/// VCVTPS2PH of one lane.
fn half(control: u8, value: F32, env: &mut Environment) -> u16 {
    let rounding = env.rounding;
    if control & 4 == 0 {
        env.rounding = Rounding::from_field(control);
    }
    let is_denormal = value.0 & 0x7f80_0000 == 0 && value.0 << 1 != 0 && !env.denormals_are_zero;
    if is_denormal && !env.masked.contains(Exceptions::UNDERFLOW) {
        // However few bits it has, and although there is to be no result: so do processors.
        env.raised |= Exceptions::PRECISION;
    }
    let F16(bits) = convert(value, env);
    env.rounding = rounding;
    bits
}

/// The flags of COMIS and UCOMIS, as an image of RFLAGS.
fn order<F: LaneFormat>(a: u128, b: u128, is_quiet: bool, env: &mut Environment) -> u128 {
    let (a, b): (F, F) = (lane(a, 0), lane(b, 0));
    let relation = if is_quiet { compare_quiet(a, b, env) } else { compare(a, b, env) };
    let flags = match relation {
        Relation::Less => RFlags::CF,
        Relation::Equal => RFlags::ZF,
        Relation::Greater => RFlags::empty(),
        Relation::Unordered => RFlags::ZF | RFlags::PF | RFlags::CF,
    };
    flags.bits().into()
}

/// RCPPS and RSQRTPS: twelve bits of `f`'s result. They raise no exception, take denormals as zeros and make none.
/// Processors differ in the last of the twelve bits; the manual bounds the relative error by 1.5 * 2^-12.
fn estimate(value: F32, f: impl Fn(f64) -> f64) -> u64 {
    const SIGN: u32 = 1 << 31;
    const QUIET: u32 = 1 << 22;
    const INDEFINITE: u32 = 0xffc0_0000;
    let bits = if value.0 & 0x7f80_0000 == 0 { value.0 & SIGN } else { value.0 };
    let x = f64::from(f32::from_bits(bits));
    if x.is_nan() {
        return (bits | QUIET).into();
    }
    let result = f(x);
    if result.is_nan() {
        return INDEFINITE.into();
    }
    let single = (result as f32).to_bits();
    let is_tiny = single & 0x7f80_0000 == 0;
    let is_infinite = single & 0x7fff_ffff == 0x7f80_0000;
    let kept = if is_tiny {
        single & SIGN
    } else if is_infinite {
        single
    } else {
        single.wrapping_add(0x400) & !0x7ff
    };
    kept.into()
}
