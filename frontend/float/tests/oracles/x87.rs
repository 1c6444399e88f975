//! x87 instructions against the host processor: the delivered value and the whole status word, over all roundings and
//! precisions, with masked and unmasked exceptions, from any earlier condition codes and recorded exceptions.

use dragoman_float::x87::{Constant, Reduction, constant, fbld, fbstp, fprem, fprem1, fscale, fxam, fxtract};
use dragoman_float::{
    Environment, Exceptions, F32, F64, F80, Format, Inexact, Integer, Relation, Rounding, add, compare, compare_quiet, convert,
    div, from_integer, mul, round_to_integral, sqrt, sub, to_integer,
};
use dragoman_state::StatusWord;

use crate::cases::{Random, Sample, Tally, cases, f80, pairs};
use crate::processor::{self, Fpu};

pub type Host = fn(u16, u16, F80, F80, [u8; 10]) -> Fpu;

/// What an operation does to C0, C2 and C3, if anything.
pub type Codes = Option<Box<dyn Fn(&mut StatusWord)>>;

/// The condition codes but C1.
pub const CODES: StatusWord = StatusWord::C0.union(StatusWord::C2).union(StatusWord::C3);
const TOP: u16 = 7 << 11;
const EMPTY: F80 = f80(0, 0);

/// A control and a status word: any that may be, but with processors of other vendors those only that manuals agree on.
pub fn control(rng: &mut Random) -> (u16, u16) {
    let followed = processor::is_followed();
    let masks = match rng.below(3) {
        0 if followed => rng.bits() as u16 & 0x3f,
        _ => 0x3f,
    };
    let control = masks | 0x40 | (rng.below(4) as u16) << 8 | rng.pick(&[0, 0, 1, 2, 3]) << 10;
    let codes = if followed { rng.bits() as u16 & 0x4700 } else { 0 };
    let recorded = if rng.below(4) == 0 { rng.bits() as u16 & masks } else { 0 };
    (control, codes | recorded)
}

fn replace(codes: StatusWord) -> Codes {
    Some(Box::new(move |status| {
        status.remove(CODES);
        status.insert(codes & CODES);
    }))
}

fn record(reduction: Reduction) -> Codes {
    Some(Box::new(move |status| reduction.record(status)))
}

/// What an instruction of ours leaves.
pub struct Ours<T> {
    pub status: u16,
    pub value: T,
    pub unmasked: Exceptions,
}

/// Runs an operation as the semantics of an instruction would, without its stack.
pub fn ours<T>(control: u16, status: u16, compute: impl FnOnce(&mut Environment) -> (T, Codes)) -> Ours<T> {
    let mut status = StatusWord::from_bits_retain(status);
    let mut env = Environment::from_x87(control, status);
    let (value, codes) = compute(&mut env);
    let unmasked = env.retire_x87(&mut status);
    if let Some(record) = codes {
        record(&mut status);
    }
    Ours { status: status.bits(), value, unmasked }
}

/// An operation that replaces ST(0).
fn register<B: Sample>(
    name: &str,
    host: Host,
    operands: impl Fn(F80, B) -> (F80, [u8; 10]),
    related: fn(F80, &mut Random) -> Option<B>,
    compute: impl Fn(F80, B, &mut Environment) -> (F80, Codes),
) {
    let mut tally = Tally::new(name);
    let mut rng = Random::new(11);
    for (a, b) in pairs::<F80, B>(12, cases(150_000), related) {
        let (control, status) = control(&mut rng);
        let (st1, memory) = operands(a, b);
        let theirs = host(control, status, a, st1, memory);
        if name.starts_with("fprem") && theirs.status & 0x400 != 0 && !processor::is_followed() {
            continue; // how far an incomplete step goes is each processor's choice
        }
        let ours = ours(control, status, |env| compute(a, b, env));
        let value = if ours.unmasked.intersects(Exceptions::BEFORE_COMPUTATION) { a } else { ours.value };
        let their_status = theirs.status & !TOP;
        tally.case(value == theirs.st[0] && ours.status == their_status, || {
            format!(
                "{a:x?} {b:x?} cw {control:03x} sw {status:04x}: {value:?} {:04x}, host {:?} {their_status:04x}",
                ours.status, theirs.st[0]
            )
        });
    }
}

fn binary(name: &str, host: Host, compute: impl Fn(F80, F80, &mut Environment) -> F80) {
    coded(name, host, |a, b, env| (compute(a, b, env), None));
}

fn coded(name: &str, host: Host, compute: impl Fn(F80, F80, &mut Environment) -> (F80, Codes)) {
    register(name, host, |_, b| (b, [0; 10]), |a, rng| Some(a.neighbour(rng)), compute);
}

fn unary(name: &str, host: Host, compute: impl Fn(F80, &mut Environment) -> F80) {
    binary(name, host, |a, _, env| compute(a, env));
}

fn bytes(value: u64) -> [u8; 10] {
    let mut memory = [0; 10];
    memory[..8].copy_from_slice(&value.to_le_bytes());
    memory
}

#[test]
fn basic_arithmetic() {
    binary("fadd", processor::fadd, add);
    binary("fsub", processor::fsub, sub);
    binary("fsubr", processor::fsubr, |a, b, env| sub(b, a, env));
    binary("fmul", processor::fmul, mul);
    binary("fdiv", processor::fdiv, div);
    binary("fdivr", processor::fdivr, |a, b, env| div(b, a, env));
    unary("fsqrt", processor::fsqrt, sqrt);
}

/// A number of a narrower format near a register's.
fn narrowed<R: Sample + Format>(a: F80, rng: &mut Random) -> Option<R> {
    Some(convert::<R, F80>(a.neighbour(rng), &mut Environment::default()))
}

#[test]
fn arithmetic_with_memory() {
    type Compute<B> = fn(F80, B, &mut Environment) -> F80;
    let single: [(&str, Host, Compute<F32>); 4] = [
        ("fadd m32", processor::fadd_m32, |a, b, env| add(a, b, env)),
        ("fsubr m32", processor::fsubr_m32, |a, b, env| sub(b, a, env)),
        ("fmul m32", processor::fmul_m32, |a, b, env| mul(a, b, env)),
        ("fdivr m32", processor::fdivr_m32, |a, b, env| div(b, a, env)),
    ];
    for (name, host, compute) in single {
        register(name, host, |_, b: F32| (EMPTY, bytes(b.0.into())), narrowed, |a, b, env| (compute(a, b, env), None));
    }
    let double: [(&str, Host, Compute<F64>); 4] = [
        ("fadd m64", processor::fadd_m64, |a, b, env| add(a, b, env)),
        ("fsubr m64", processor::fsubr_m64, |a, b, env| sub(b, a, env)),
        ("fmul m64", processor::fmul_m64, |a, b, env| mul(a, b, env)),
        ("fdivr m64", processor::fdivr_m64, |a, b, env| div(b, a, env)),
    ];
    for (name, host, compute) in double {
        register(name, host, |_, b: F64| (EMPTY, bytes(b.0)), narrowed, |a, b, env| (compute(a, b, env), None));
    }
}

#[test]
fn comparisons() {
    fn codes(relation: Relation) -> Codes {
        replace(relation.condition_codes())
    }
    coded("fcom", processor::fcom, |a, b, env| (a, codes(compare(a, b, env))));
    coded("fucom", processor::fucom, |a, b, env| (a, codes(compare_quiet(a, b, env))));
    register::<F32>(
        "fcom m32",
        processor::fcom_m32,
        |_, b| (EMPTY, bytes(b.0.into())),
        narrowed,
        |a, b, env| (a, codes(compare(a, b, env))),
    );
    register::<F64>(
        "fcom m64",
        processor::fcom_m64,
        |_, b| (EMPTY, bytes(b.0)),
        narrowed,
        |a, b, env| (a, codes(compare(a, b, env))),
    );
    coded("fxam", processor::fxam, |a, _, env| {
        let codes = fxam(a);
        env.c1 = codes.contains(StatusWord::C1);
        (a, replace(codes))
    });
}

#[test]
fn rounding_scaling_and_remainders() {
    unary("frndint", processor::frndint, |a, env| round_to_integral(a, env.rounding, Inexact::Reported, env));
    binary("fscale", processor::fscale, fscale);
    coded("fprem", processor::fprem, |a, b, env| {
        let remainder = fprem(a, b, env);
        (remainder.value, record(remainder.reduction))
    });
    coded("fprem1", processor::fprem1, |a, b, env| {
        let remainder = fprem1(a, b, env);
        (remainder.value, record(remainder.reduction))
    });
    let mut tally = Tally::new("fxtract");
    let mut rng = Random::new(13);
    for (a, _) in pairs::<F80, F80>(14, cases(150_000), |_, _| None) {
        let (control, status) = control(&mut rng);
        let theirs = processor::fxtract(control, status, a, EMPTY, [0; 10]);
        let ours = ours(control, status, |env| (fxtract(a, env), None));
        let withheld = ours.unmasked.intersects(Exceptions::BEFORE_COMPUTATION);
        let values = if withheld { [a, EMPTY] } else { [ours.value.significand, ours.value.exponent] };
        tally.case(values == theirs.st[..2] && ours.status == theirs.status & !TOP, || {
            format!("{a:?} cw {control:03x} sw {status:04x}: {values:?} {:04x}, host {theirs:x?}", ours.status)
        });
    }
}

/// An operation that pushes its result.
fn push(name: &str, host: Host, compute: impl Fn(u64, &mut Environment) -> F80) {
    let mut tally = Tally::new(name);
    let mut rng = Random::new(15);
    let mut shift = Random::new(16);
    for (F64(double), F32(single)) in pairs::<F64, F32>(17, cases(150_000), |_, _| None) {
        let (control, status) = control(&mut rng);
        let bits = match shift.below(3) {
            0 => double,
            1 => u64::from(single) | double << 32,
            _ => (double as i64 >> shift.below(64)) as u64,
        };
        let theirs = host(control, status, EMPTY, EMPTY, bytes(bits));
        let ours = ours(control, status, |env| (compute(bits, env), None));
        let pushed = theirs.status & TOP == 5 << 11;
        let expected = (!ours.unmasked.intersects(Exceptions::INVALID)).then_some(ours.value);
        tally.case(expected == pushed.then_some(theirs.st[0]) && ours.status == theirs.status & !TOP, || {
            format!("{bits:x} cw {control:03x} sw {status:04x}: {expected:?} {:04x}, host {theirs:x?}", ours.status)
        });
    }
}

#[test]
fn loads() {
    push("fld m32", processor::fld_m32, |bits, env| convert(F32(bits as u32), env));
    push("fld m64", processor::fld_m64, |bits, env| convert(F64(bits), env));
    push("fild m16", processor::fild_m16, |bits, env| from_integer(bits as i16, env));
    push("fild m32", processor::fild_m32, |bits, env| from_integer(bits as i32, env));
    push("fild m64", processor::fild_m64, |bits, env| from_integer(bits as i64, env));
    let constants: [(&str, Host, Constant); 7] = [
        ("fld1", processor::fld1, Constant::One),
        ("fldl2t", processor::fldl2t, Constant::Log2Ten),
        ("fldl2e", processor::fldl2e, Constant::Log2E),
        ("fldpi", processor::fldpi, Constant::Pi),
        ("fldlg2", processor::fldlg2, Constant::Log10Two),
        ("fldln2", processor::fldln2, Constant::LnTwo),
        ("fldz", processor::fldz, Constant::Zero),
    ];
    for (name, host, which) in constants {
        push(name, host, |_, env| constant(which, env.rounding));
    }
}

/// An operation that stores `size` bytes.
fn store(name: &str, host: Host, size: usize, compute: impl Fn(F80, &mut Environment) -> [u8; 10]) {
    let mut tally = Tally::new(name);
    let mut rng = Random::new(18);
    // Halfway between a register's range and an integer's or a narrower format's.
    let sources = pairs::<F80, F64>(19, cases(100_000), |_, _| None).flat_map(|(a, b)| {
        let near = convert::<F80, F64>(b, &mut Environment::default());
        [a, near, f80(near.sign_exponent, near.significand ^ 0x400)]
    });
    for a in sources {
        const UNWRITTEN: [u8; 10] = [0xa5; 10];
        let (control, status) = control(&mut rng);
        let theirs = host(control, status, a, EMPTY, UNWRITTEN);
        let ours = ours(control, status, |env| (compute(a, env), None));
        let mut memory = UNWRITTEN;
        if !ours.unmasked.intersects(Exceptions::BEFORE_STORE) {
            memory[..size].copy_from_slice(&ours.value[..size]);
        }
        tally.case(memory == theirs.memory && ours.status == theirs.status & !TOP, || {
            format!("{a:?} cw {control:03x} sw {status:04x}: {memory:x?} {:04x}, host {theirs:x?}", ours.status)
        });
    }
}

#[test]
fn stores() {
    fn integer<I: Integer>(a: F80, truncate: bool, env: &mut Environment) -> [u8; 10] {
        let rounding = if truncate { Rounding::Zero } else { env.rounding };
        bytes(to_integer::<I>(a, rounding, env).into() as u64)
    }
    store("fst m32", processor::fst_m32, 4, |a, env| bytes(convert::<F32, _>(a, env).0.into()));
    store("fst m64", processor::fst_m64, 8, |a, env| bytes(convert::<F64, _>(a, env).0));
    store("fist m16", processor::fist_m16, 2, |a, env| integer::<i16>(a, false, env));
    store("fist m32", processor::fist_m32, 4, |a, env| integer::<i32>(a, false, env));
    store("fistp m64", processor::fistp_m64, 8, |a, env| integer::<i64>(a, false, env));
    store("fisttp m16", processor::fisttp_m16, 2, |a, env| integer::<i16>(a, true, env));
    store("fisttp m32", processor::fisttp_m32, 4, |a, env| integer::<i32>(a, true, env));
    store("fisttp m64", processor::fisttp_m64, 8, |a, env| integer::<i64>(a, true, env));
    store("fbstp", processor::fbstp, 10, fbstp);
}

#[test]
fn decimal_loads() {
    let mut tally = Tally::new("fbld");
    let mut rng = Random::new(20);
    for n in 0..cases(200_000) {
        let mut decimal = [0; 10];
        for byte in &mut decimal {
            let digits = rng.below(100) as u8;
            *byte = if rng.below(3) == 0 { 0 } else { digits / 10 * 16 + digits % 10 };
            if n % 8 == 0 && processor::is_followed() {
                *byte = rng.bits() as u8;
            }
        }
        let (control, status) = control(&mut rng);
        let theirs = processor::fbld(control, status, EMPTY, EMPTY, decimal);
        let ours = ours(control, status, |env| (fbld(decimal, env), None));
        tally.case(ours.value == theirs.st[0] && ours.status == theirs.status & !TOP, || {
            format!("{decimal:x?} cw {control:03x} sw {status:04x}: {:?} {:04x}, host {theirs:x?}", ours.value, ours.status)
        });
    }
}
