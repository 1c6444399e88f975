//! Basic arithmetic against LLVM's soft floating point, on any host.
//!
//! Rule of this file: NaNs are compared as NaNs only, since payloads are x86's own. LLVM knows no denormal exception, calls
//! tiny what is still denormal after rounding, which differs where rounding reaches the smallest normal number, and does not
//! call it overflow where the largest number is delivered.

use dragoman_float::{
    Environment, Exceptions, F32, F64, F80, Format, Fused, Inexact, Relation, Rounding, add, compare_quiet, convert, div, fused,
    mul, round_to_integral, sub, to_integer,
};
use rustc_apfloat::ieee::{Double, Single, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round, Status, StatusAnd};

use crate::cases::{Random, Sample, Tally, cases, pairs};

trait Soft: Sample + Format {
    type Llvm: Float;
    fn to_llvm(self) -> Self::Llvm;
    fn from_llvm(number: Self::Llvm) -> Self;
    /// The x87's encodings that stand for nothing, or for what another one stands for.
    fn is_odd(self) -> bool {
        false
    }
}

impl Soft for F32 {
    type Llvm = Single;
    fn to_llvm(self) -> Single {
        Single::from_bits(self.0.into())
    }
    fn from_llvm(number: Single) -> Self {
        Self(number.to_bits() as u32)
    }
}

impl Soft for F64 {
    type Llvm = Double;
    fn to_llvm(self) -> Double {
        Double::from_bits(self.0.into())
    }
    fn from_llvm(number: Double) -> Self {
        Self(number.to_bits() as u64)
    }
}

impl Soft for F80 {
    type Llvm = X87DoubleExtended;
    fn to_llvm(self) -> X87DoubleExtended {
        X87DoubleExtended::from_bits(u128::from(self.sign_exponent) << 64 | u128::from(self.significand))
    }
    fn from_llvm(number: X87DoubleExtended) -> Self {
        let bits = number.to_bits();
        Self { significand: bits as u64, sign_exponent: (bits >> 64) as u16 }
    }
    fn is_odd(self) -> bool {
        (self.sign_exponent & 0x7fff != 0) != (self.significand >> 63 != 0)
    }
}

const ROUNDS: [(Rounding, Round); 4] = [
    (Rounding::Nearest, Round::NearestTiesToEven),
    (Rounding::Down, Round::TowardNegative),
    (Rounding::Up, Round::TowardPositive),
    (Rounding::Zero, Round::TowardZero),
];

fn exceptions(status: Status) -> Exceptions {
    let pairs = [
        (Status::INVALID_OP, Exceptions::INVALID),
        (Status::DIV_BY_ZERO, Exceptions::ZERO_DIVIDE),
        (Status::OVERFLOW, Exceptions::OVERFLOW),
        (Status::UNDERFLOW, Exceptions::UNDERFLOW),
        (Status::INEXACT, Exceptions::PRECISION),
    ];
    pairs.into_iter().filter(|&(theirs, _)| status.contains(theirs)).map(|(_, ours)| ours).collect()
}

/// Compares a delivered number and its exceptions.
fn number<R: Soft>(tally: &mut Tally, ours: R, env: &Environment, theirs: StatusAnd<R::Llvm>, describe: impl Fn() -> String) {
    let value = theirs.value;
    let mut ignored = Exceptions::DENORMAL;
    if value.is_smallest_normalized() {
        ignored |= Exceptions::UNDERFLOW;
    }
    if value.is_largest() {
        ignored |= Exceptions::OVERFLOW;
    }
    let same = if value.is_nan() { ours.to_llvm().is_nan() } else { ours == R::from_llvm(value) };
    let holds = same && (value.is_nan() || env.raised - ignored == exceptions(theirs.status) - ignored);
    tally.case(holds, || {
        format!("{}: {ours:x?} {:?}, LLVM {:x?} {:?}", describe(), env.raised, R::from_llvm(value), theirs.status)
    });
}

type Ours<R> = fn(R, R, &mut Environment) -> R;
type Theirs<R> = fn(<R as Soft>::Llvm, <R as Soft>::Llvm, Round) -> StatusAnd<<R as Soft>::Llvm>;

fn binary<R: Soft>(name: &str, compute: Ours<R>, reference: Theirs<R>) {
    let mut tally = Tally::new(name);
    let mut rng = Random::new(41);
    for (a, b) in pairs::<R, R>(42, cases(100_000), |a, rng| Some(a.neighbour(rng))) {
        if a.is_odd() || b.is_odd() {
            continue;
        }
        let (rounding, round) = rng.pick(&ROUNDS);
        let mut env = Environment { rounding, ..Environment::default() };
        // Inexact before, the host's arithmetic may answer.
        let before = if rng.below(2) == 0 { Exceptions::PRECISION } else { Exceptions::empty() };
        env.raised = before;
        let ours = compute(a, b, &mut env);
        let mut theirs = reference(a.to_llvm(), b.to_llvm(), round);
        if !before.is_empty() {
            theirs.status |= Status::INEXACT;
        }
        number::<R>(&mut tally, ours, &env, theirs, || format!("{a:x?} {b:x?} {rounding:?}"));
    }
}

fn arithmetic<R: Soft>(format: &str) {
    binary::<R>(&format!("{format} sum"), |a, b, env| add(a, b, env), |a, b, round| a.add_r(b, round));
    binary::<R>(&format!("{format} difference"), |a, b, env| sub(a, b, env), |a, b, round| a.sub_r(b, round));
    binary::<R>(&format!("{format} product"), |a, b, env| mul(a, b, env), |a, b, round| a.mul_r(b, round));
    binary::<R>(&format!("{format} quotient"), |a, b, env| div(a, b, env), |a, b, round| a.div_r(b, round));
    binary::<R>(
        &format!("{format} integral"),
        |a, _, env| round_to_integral(a, env.rounding, Inexact::Reported, env),
        |a, _, round| a.round_to_integral(round),
    );
}

#[test]
fn basic_arithmetic() {
    arithmetic::<F32>("F32");
    arithmetic::<F64>("F64");
    arithmetic::<F80>("F80");
}

#[test]
fn fused_multiplication_and_addition() {
    binary::<F32>(
        "F32 fused",
        |a, b, env| fused(Fused::MultiplyAdd, a, b, F32(a.0.wrapping_add(b.0)), env),
        |a, b, round| {
            let c = (F32::from_llvm(a).0).wrapping_add(F32::from_llvm(b).0);
            a.mul_add_r(b, F32(c).to_llvm(), round)
        },
    );
    binary::<F64>(
        "F64 fused",
        |a, b, env| fused(Fused::MultiplyAdd, a, b, F64(a.0.wrapping_add(b.0)), env),
        |a, b, round| {
            let c = (F64::from_llvm(a).0).wrapping_add(F64::from_llvm(b).0);
            a.mul_add_r(b, F64(c).to_llvm(), round)
        },
    );
}

fn conversion<A: Soft, R: Soft>(name: &str)
where
    A::Llvm: FloatConvert<R::Llvm>,
{
    let mut tally = Tally::new(name);
    let mut rng = Random::new(43);
    for (a, _) in pairs::<A, A>(44, cases(100_000), |_, _| None) {
        if a.is_odd() {
            continue;
        }
        let (rounding, round) = rng.pick(&ROUNDS);
        let mut env = Environment { rounding, ..Environment::default() };
        let ours = convert::<R, A>(a, &mut env);
        let theirs = a.to_llvm().convert_r(round, &mut false);
        number::<R>(&mut tally, ours, &env, theirs, || format!("{a:x?} {rounding:?}"));
    }
}

#[test]
fn conversions() {
    conversion::<F32, F64>("F32 to F64");
    conversion::<F32, F80>("F32 to F80");
    conversion::<F64, F32>("F64 to F32");
    conversion::<F64, F80>("F64 to F80");
    conversion::<F80, F32>("F80 to F32");
    conversion::<F80, F64>("F80 to F64");
}

fn integers<A: Soft>(name: &str) {
    let mut tally = Tally::new(name);
    let mut rng = Random::new(45);
    for (a, _) in pairs::<A, A>(46, cases(100_000), |_, _| None) {
        if a.is_odd() {
            continue;
        }
        let (rounding, round) = rng.pick(&ROUNDS);
        let mut env = Environment { rounding, ..Environment::default() };
        let ours: i64 = to_integer(a, rounding, &mut env);
        let theirs = a.to_llvm().to_i128_r(64, round, &mut false);
        let expected = if theirs.status.contains(Status::INVALID_OP) { i64::MIN } else { theirs.value as i64 };
        tally.case(ours == expected && env.raised == exceptions(theirs.status), || {
            format!("{a:x?} {rounding:?}: {ours} {:?}, LLVM {expected} {:?}", env.raised, theirs.status)
        });
    }
}

#[test]
fn conversions_to_integers() {
    integers::<F32>("F32 to i64");
    integers::<F64>("F64 to i64");
    integers::<F80>("F80 to i64");
}

#[test]
fn comparisons() {
    fn compared<A: Soft>(name: &str) {
        let mut tally = Tally::new(name);
        for (a, b) in pairs::<A, A>(47, cases(100_000), |a, rng| Some(a.neighbour(rng))) {
            if a.is_odd() || b.is_odd() {
                continue;
            }
            let ours = compare_quiet(a, b, &mut Environment::default());
            let theirs = a.to_llvm().partial_cmp(&b.to_llvm());
            let expected = theirs.map_or(Relation::Unordered, |ordering| match ordering {
                std::cmp::Ordering::Less => Relation::Less,
                std::cmp::Ordering::Equal => Relation::Equal,
                std::cmp::Ordering::Greater => Relation::Greater,
            });
            tally.case(ours == expected, || format!("{a:x?} {b:x?}: {ours:?}, LLVM {expected:?}"));
        }
    }
    compared::<F32>("F32 compared");
    compared::<F64>("F64 compared");
    compared::<F80>("F80 compared");
}
