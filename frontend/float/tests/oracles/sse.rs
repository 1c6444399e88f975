//! Scalar SSE, FMA and F16C against the host processor: results and MXCSR, over all roundings, DAZ, FTZ and flags that
//! were set before.

use dragoman_float::{
    Environment, F16, F32, F64, Format, Fused, Inexact, Integer, Predicate, Rounding, add, compare, compare_quiet, convert, div,
    from_integer, fused, half_to_single, max, min, mul, round_to_integral, sqrt, sub, to_integer,
};
use dragoman_state::Mxcsr;

use crate::cases::{Random, Sample, Tally, cases, pairs};
use crate::processor::{self, Simd};

trait Lane: Sample + Format {
    fn lane(self) -> u64;
}

impl Lane for F16 {
    fn lane(self) -> u64 {
        self.0.into()
    }
}

impl Lane for F32 {
    fn lane(self) -> u64 {
        self.0.into()
    }
}

impl Lane for F64 {
    fn lane(self) -> u64 {
        self.0
    }
}

/// Everything masked; rounding, DAZ, FTZ and earlier flags at random, none and inexact among the likelier.
fn control(rng: &mut Random) -> u32 {
    let flags = match rng.below(4) {
        0 => 0x20,
        1 => rng.bits() as u32 & 0x3f,
        _ => 0,
    };
    0x1f80 | flags | rng.pick(&[0u32, 0, 1, 2, 3]) << 13 | rng.pick(&[0u32, 0x40, 0x8000, 0x8040])
}

fn ours(mxcsr: u32, compute: impl FnOnce(&mut Environment) -> u64) -> Simd {
    let mut mxcsr = Mxcsr::from_bits_retain(mxcsr);
    let mut env = Environment::from_mxcsr(mxcsr);
    let value = compute(&mut env);
    assert!(env.retire_mxcsr(&mut mxcsr).is_empty());
    Simd { value, mxcsr: mxcsr.bits() }
}

/// Compares `compute` with an instruction that leaves a result under `mask`.
fn binary<A: Lane>(name: &str, mask: u64, host: impl Fn(u64, u64, u32) -> Simd, compute: impl Fn(A, A, &mut Environment) -> u64) {
    let mut tally = Tally::new(name);
    let mut rng = Random::new(1);
    for (a, b) in pairs::<A, A>(2, cases(150_000), |a, rng| Some(a.neighbour(rng))) {
        let mxcsr = control(&mut rng);
        let theirs = host(a.lane(), b.lane(), mxcsr);
        let theirs = Simd { value: theirs.value & mask, ..theirs };
        let ours = ours(mxcsr, |env| compute(a, b, env));
        tally.case(ours == theirs, || format!("{a:x?} {b:x?} mxcsr {mxcsr:04x}: {ours:x?}, host {theirs:x?}"));
    }
}

fn unary<A: Lane>(name: &str, mask: u64, host: impl Fn(u64, u64, u32) -> Simd, compute: impl Fn(A, &mut Environment) -> u64) {
    binary::<A>(name, mask, host, |a, _, env| compute(a, env));
}

const D: u64 = 0xffff_ffff;
const Q: u64 = u64::MAX;

#[test]
fn basic_arithmetic() {
    binary("addss", D, processor::addss, |a: F32, b, env| add::<F32>(a, b, env).lane());
    binary("addsd", Q, processor::addsd, |a: F64, b, env| add::<F64>(a, b, env).lane());
    binary("subss", D, processor::subss, |a: F32, b, env| sub::<F32>(a, b, env).lane());
    binary("subsd", Q, processor::subsd, |a: F64, b, env| sub::<F64>(a, b, env).lane());
    binary("mulss", D, processor::mulss, |a: F32, b, env| mul::<F32>(a, b, env).lane());
    binary("mulsd", Q, processor::mulsd, |a: F64, b, env| mul::<F64>(a, b, env).lane());
    binary("divss", D, processor::divss, |a: F32, b, env| div::<F32>(a, b, env).lane());
    binary("divsd", Q, processor::divsd, |a: F64, b, env| div::<F64>(a, b, env).lane());
    unary("sqrtss", D, processor::sqrtss, |a: F32, env| sqrt::<F32>(a, env).lane());
    unary("sqrtsd", Q, processor::sqrtsd, |a: F64, env| sqrt::<F64>(a, env).lane());
}

#[test]
fn minimum_and_maximum() {
    binary("minss", D, processor::minss, |a: F32, b, env| min(a, b, env).lane());
    binary("minsd", Q, processor::minsd, |a: F64, b, env| min(a, b, env).lane());
    binary("maxss", D, processor::maxss, |a: F32, b, env| max(a, b, env).lane());
    binary("maxsd", Q, processor::maxsd, |a: F64, b, env| max(a, b, env).lane());
}

#[test]
fn comparisons() {
    const FLAGS: u64 = 0x8d5;
    binary("comiss", FLAGS, processor::comiss, |a: F32, b, env| compare(a, b, env).flags().bits());
    binary("comisd", FLAGS, processor::comisd, |a: F64, b, env| compare(a, b, env).flags().bits());
    binary("ucomiss", FLAGS, processor::ucomiss, |a: F32, b, env| compare_quiet(a, b, env).flags().bits());
    binary("ucomisd", FLAGS, processor::ucomisd, |a: F64, b, env| compare_quiet(a, b, env).flags().bits());
    if !is_x86_feature_detected!("avx") {
        return;
    }
    let all_ones = |holds: bool, mask: u64| if holds { mask } else { 0 };
    for n in 0..32 {
        let predicate = Predicate::from_immediate(n);
        let host = move |a, b, mxcsr| processor::vcmpss(n, a, b, mxcsr);
        binary(&format!("vcmpss {n}"), D, host, |a: F32, b, env| all_ones(predicate.holds(a, b, env), D));
        let host = move |a, b, mxcsr| processor::vcmpsd(n, a, b, mxcsr);
        binary(&format!("vcmpsd {n}"), Q, host, |a: F64, b, env| all_ones(predicate.holds(a, b, env), Q));
    }
}

#[test]
fn conversions_between_formats() {
    unary("cvtss2sd", Q, processor::cvtss2sd, |a: F32, env| convert::<F64, _>(a, env).lane());
    unary("cvtsd2ss", D, processor::cvtsd2ss, |a: F64, env| convert::<F32, _>(a, env).lane());
    if is_x86_feature_detected!("f16c") {
        unary("vcvtph2ps", D, processor::vcvtph2ps, |a: F16, env| half_to_single(a, env).lane());
        unary("vcvtps2ph", 0xffff, processor::vcvtps2ph, |a: F32, env| convert::<F16, _>(a, env).lane());
    }
}

#[test]
fn rounding_to_integral() {
    use Inexact::{Reported, Suppressed};
    unary("roundss", D, processor::roundss, |a: F32, env| round_to_integral(a, env.rounding, Reported, env).lane());
    unary("roundsd", Q, processor::roundsd, |a: F64, env| round_to_integral(a, env.rounding, Reported, env).lane());
    unary("roundsd 12", Q, processor::roundsd_quietly, |a: F64, env| round_to_integral(a, env.rounding, Suppressed, env).lane());
    let fixed = [processor::roundsd_nearest, processor::roundsd_down, processor::roundsd_up, processor::roundsd_zero];
    for (n, host) in fixed.into_iter().enumerate() {
        let rounding = Rounding::from_field(n as u8);
        unary(&format!("roundsd {n}"), Q, host, |a: F64, env| round_to_integral(a, rounding, Reported, env).lane());
    }
}

#[test]
fn half_precision() {
    if !processor::has_half_precision() {
        return;
    }
    const W: u64 = 0xffff;
    binary("vaddsh", W, processor::vaddsh, |a: F16, b, env| add::<F16>(a, b, env).lane());
    binary("vmulsh", W, processor::vmulsh, |a: F16, b, env| mul::<F16>(a, b, env).lane());
    binary("vdivsh", W, processor::vdivsh, |a: F16, b, env| div::<F16>(a, b, env).lane());
    unary("vsqrtsh", W, processor::vsqrtsh, |a: F16, env| sqrt::<F16>(a, env).lane());
    binary("vminsh", W, processor::vminsh, |a: F16, b, env| min(a, b, env).lane());
    unary("vcvtsh2sd", Q, processor::vcvtsh2sd, |a: F16, env| convert::<F64, _>(a, env).lane());
    unary("vcvtsd2sh", W, processor::vcvtsd2sh, |a: F64, env| convert::<F16, _>(a, env).lane());
    fma("vfmadd213sh", W, processor::vfmadd213sh, |x: F16, y, z, env| fused(Fused::MultiplyAdd, y, x, z, env));
}

/// The bits of an integer as a register holds it.
fn register<I: Integer>(integer: I, mask: u64) -> u64 {
    integer.into() as u64 & mask
}

#[test]
fn conversions_to_integers() {
    fn si<I: Integer, A: Lane>(name: &str, mask: u64, host: fn(u64, u64, u32) -> Simd) {
        unary(name, mask, host, |a: A, env| register(to_integer::<I>(a, env.rounding, env), mask));
    }
    fn tsi<I: Integer, A: Lane>(name: &str, mask: u64, host: fn(u64, u64, u32) -> Simd) {
        unary(name, mask, host, |a: A, env| register(to_integer::<I>(a, Rounding::Zero, env), mask));
    }
    si::<i32, F32>("cvtss2si r32", D, processor::cvtss2si32);
    si::<i64, F32>("cvtss2si r64", Q, processor::cvtss2si64);
    si::<i32, F64>("cvtsd2si r32", D, processor::cvtsd2si32);
    si::<i64, F64>("cvtsd2si r64", Q, processor::cvtsd2si64);
    tsi::<i32, F32>("cvttss2si r32", D, processor::cvttss2si32);
    tsi::<i64, F32>("cvttss2si r64", Q, processor::cvttss2si64);
    tsi::<i32, F64>("cvttsd2si r32", D, processor::cvttsd2si32);
    tsi::<i64, F64>("cvttsd2si r64", Q, processor::cvttsd2si64);
    if is_x86_feature_detected!("avx512f") {
        si::<u32, F64>("vcvtsd2usi r32", D, processor::vcvtsd2usi32);
        si::<u64, F32>("vcvtss2usi r64", Q, processor::vcvtss2usi64);
        tsi::<u64, F64>("vcvttsd2usi r64", Q, processor::vcvttsd2usi64);
        tsi::<u32, F32>("vcvttss2usi r32", D, processor::vcvttss2usi32);
    }
}

#[test]
fn conversions_from_integers() {
    fn from<I: Integer, R: Lane>(name: &str, mask: u64, host: fn(u64, u64, u32) -> Simd, integer: fn(u64) -> I) {
        // The encodings of double precision numbers are integers as good as any; halved they spread over all lengths.
        let mut rng = Random::new(3);
        let mut shift = move || rng.below(64);
        let mut tally = Tally::new(name);
        let mut rng = Random::new(4);
        for (a, _) in pairs::<F64, F64>(5, cases(150_000), |_, _| None) {
            let bits = (a.0 as i64 >> shift()) as u64;
            let mxcsr = control(&mut rng);
            let theirs = host(bits, 0, mxcsr);
            let theirs = Simd { value: theirs.value & mask, ..theirs };
            let ours = ours(mxcsr, |env| from_integer::<R>(integer(bits), env).lane());
            tally.case(ours == theirs, || format!("{bits:x} mxcsr {mxcsr:04x}: {ours:x?}, host {theirs:x?}"));
        }
    }
    from::<i32, F32>("cvtsi2ss r32", D, processor::cvtsi2ss32, |bits| bits as i32);
    from::<i64, F32>("cvtsi2ss r64", D, processor::cvtsi2ss64, |bits| bits as i64);
    from::<i32, F64>("cvtsi2sd r32", Q, processor::cvtsi2sd32, |bits| bits as i32);
    from::<i64, F64>("cvtsi2sd r64", Q, processor::cvtsi2sd64, |bits| bits as i64);
    if is_x86_feature_detected!("avx512f") {
        from::<u64, F64>("vcvtusi2sd r64", Q, processor::vcvtusi2sd64, |bits| bits);
        from::<u64, F32>("vcvtusi2ss r64", D, processor::vcvtusi2ss64, |bits| bits);
        from::<u32, F32>("vcvtusi2ss r32", D, processor::vcvtusi2ss32, |bits| bits as u32);
    }
}

fn fma<A: Lane>(name: &str, mask: u64, host: fn(u64, u64, u64, u32) -> Simd, compute: fn(A, A, A, &mut Environment) -> A) {
    let mut tally = Tally::new(name);
    let mut rng = Random::new(6);
    let mut check = |a: A, b: A, c: A, rng: &mut Random| {
        let mxcsr = control(rng);
        let theirs = host(a.lane(), b.lane(), c.lane(), mxcsr);
        let theirs = Simd { value: theirs.value & mask, ..theirs };
        let ours = ours(mxcsr, |env| compute(a, b, c, env).lane());
        tally.case(ours == theirs, || format!("{a:x?} {b:x?} {c:x?} mxcsr {mxcsr:04x}: {ours:x?}, host {theirs:x?}"));
    };
    for (a, b) in pairs::<A, A>(7, cases(100_000), |a, rng| Some(a.neighbour(rng))) {
        let c = A::random(&mut rng);
        check(a, b, c, &mut rng);
        // An addend that nearly cancels the product, whichever two operands make it.
        let mut env = Environment::default();
        let product: A = mul(a, b, &mut env);
        let near = product.neighbour(&mut rng);
        check(a, b, near, &mut rng);
        check(near, a, b, &mut rng);
        check(a, near, b, &mut rng);
    }
    for &a in A::SPECIAL {
        for (b, c) in pairs::<A, A>(8, 0, |_, _| None) {
            check(a, b, c, &mut rng);
        }
    }
}

#[test]
fn fused_multiplication_and_addition() {
    use Fused::{MultiplyAdd, MultiplySubtract, NegateMultiplyAdd, NegateMultiplySubtract};
    if !is_x86_feature_detected!("fma") {
        return;
    }
    fma("vfmadd132ss", D, processor::vfmadd132ss, |x: F32, y, z, env| fused(MultiplyAdd, x, z, y, env));
    fma("vfmadd213ss", D, processor::vfmadd213ss, |x: F32, y, z, env| fused(MultiplyAdd, y, x, z, env));
    fma("vfmadd231ss", D, processor::vfmadd231ss, |x: F32, y, z, env| fused(MultiplyAdd, y, z, x, env));
    fma("vfnmsub231ss", D, processor::vfnmsub231ss, |x: F32, y, z, env| fused(NegateMultiplySubtract, y, z, x, env));
    fma("vfmadd132sd", Q, processor::vfmadd132sd, |x: F64, y, z, env| fused(MultiplyAdd, x, z, y, env));
    fma("vfmadd213sd", Q, processor::vfmadd213sd, |x: F64, y, z, env| fused(MultiplyAdd, y, x, z, env));
    fma("vfmadd231sd", Q, processor::vfmadd231sd, |x: F64, y, z, env| fused(MultiplyAdd, y, z, x, env));
    fma("vfmsub213sd", Q, processor::vfmsub213sd, |x: F64, y, z, env| fused(MultiplySubtract, y, x, z, env));
    fma("vfnmadd213sd", Q, processor::vfnmadd213sd, |x: F64, y, z, env| fused(NegateMultiplyAdd, y, x, z, env));
    fma("vfnmsub213sd", Q, processor::vfnmsub213sd, |x: F64, y, z, env| fused(NegateMultiplySubtract, y, x, z, env));
}
