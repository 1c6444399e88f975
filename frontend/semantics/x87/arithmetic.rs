//! Basic arithmetic: FADD FSUB FSUBR FMUL FDIV FDIVR with their popping and integer forms, FSQRT FABS FCHS FRNDINT FSCALE
//! FXTRACT FPREM FPREM1.

use dragoman_float::{
    Environment, F80, Format, Inexact, add, div, mul, round_to_integral, sqrt, sub,
    x87::{fprem, fprem1, fscale, fxtract},
};
use dragoman_state::StatusWord;

use super::{
    super::{
        Cpu, Machine,
        table::{Row, helper, row},
    },
    X87,
    unit::{INDEFINITE, Source, Unit, read_memory, registers},
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic as N;
    let mut rows = vec![
        row(N::Fsqrt,   helper!(fsqrt),      X87),
        row(N::Fabs,    helper!(fabs),       X87),
        row(N::Fchs,    helper!(fchs),       X87),
        row(N::Frndint, helper!(frndint),    X87),
        row(N::Fscale,  helper!(fscale_),    X87),
        row(N::Fxtract, helper!(fxtract_),   X87),
        row(N::Fprem,   helper!(fprem_),     X87),
        row(N::Fprem1,  helper!(fprem1_),    X87),
    ];
    for name in [N::Fadd,  N::Faddp,  N::Fiadd]  { rows.push(row(name, helper!(fadd),  X87)); }
    for name in [N::Fsub,  N::Fsubp,  N::Fisub]  { rows.push(row(name, helper!(fsub),  X87)); }
    for name in [N::Fsubr, N::Fsubrp, N::Fisubr] { rows.push(row(name, helper!(fsubr), X87)); }
    for name in [N::Fmul,  N::Fmulp,  N::Fimul]  { rows.push(row(name, helper!(fmul),  X87)); }
    for name in [N::Fdiv,  N::Fdivp,  N::Fidiv]  { rows.push(row(name, helper!(fdiv),  X87)); }
    for name in [N::Fdivr, N::Fdivrp, N::Fidivr] { rows.push(row(name, helper!(fdivr), X87)); }
    rows
}

/// An operation on two numbers.
#[derive(Clone, Copy)]
enum Operation {
    Add,
    Sub,
    Mul,
    Div,
}

fn apply(op: Operation, a: impl Format, b: impl Format, env: &mut Environment) -> F80 {
    match op {
        Operation::Add => add(a, b, env),
        Operation::Sub => sub(a, b, env),
        Operation::Mul => mul(a, b, env),
        Operation::Div => div(a, b, env),
    }
}

/// `dst op src`, or `src op dst`.
fn compute(op: Operation, is_reversed: bool, dst: F80, src: Source, env: &mut Environment) -> F80 {
    macro_rules! ordered {
        ($src:expr) => {
            if is_reversed { apply(op, $src, dst, env) } else { apply(op, dst, $src, env) }
        };
    }
    match src {
        Source::Single(src) => ordered!(src),
        Source::Double(src) => ordered!(src),
        Source::Register(_) | Source::Integer(_) => ordered!(src.exact()),
    }
}

fn is_popping(i: &Insn) -> bool {
    use crate::decode::{Code, Opcode};
    [
        Code::Faddp_sti_st0,
        Code::Fsubp_sti_st0,
        Code::Fsubrp_sti_st0,
        Code::Fmulp_sti_st0,
        Code::Fdivp_sti_st0,
        Code::Fdivrp_sti_st0,
    ]
    .iter()
    .any(|form| i.opcode == Opcode::of(*form))
}

fn is_integer(i: &Insn) -> bool {
    use crate::decode::{Code, Opcode};
    [
        Code::Fiadd_m16int,
        Code::Fiadd_m32int,
        Code::Fisub_m16int,
        Code::Fisub_m32int,
        Code::Fisubr_m16int,
        Code::Fisubr_m32int,
        Code::Fimul_m16int,
        Code::Fimul_m32int,
        Code::Fidiv_m16int,
        Code::Fidiv_m32int,
        Code::Fidivr_m16int,
        Code::Fidivr_m32int,
    ]
    .iter()
    .any(|form| i.opcode == Opcode::of(*form))
}

fn binary(cpu: &mut dyn Cpu, i: &Insn, op: Operation, is_reversed: bool) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    let (dst, other) = registers(i);
    let src = if i.is_memory(0) { Some(read_memory(cpu, i, is_integer(i))?) } else { unit.st(other).map(Source::Register) };
    let is_done = match (unit.st(dst), src) {
        (Some(a), Some(b)) => {
            let result = compute(op, is_reversed, a, b, &mut unit.env);
            unit.finish_result(dst, result)
        }
        _ => {
            let goes_on = unit.underflow();
            if goes_on {
                unit.set(dst, INDEFINITE);
            }
            goes_on
        }
    };
    if is_done && is_popping(i) {
        unit.pop();
    }
    unit.commit(cpu, i);
    Ok(())
}

/// `FADD`, `FADDP`, `FIADD`: dst ← dst + src.
fn fadd(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    binary(cpu, i, Operation::Add, false)
}

/// `FSUB`, `FSUBP`, `FISUB`: dst ← dst - src.
fn fsub(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    binary(cpu, i, Operation::Sub, false)
}

/// `FSUBR`, `FSUBRP`, `FISUBR`: dst ← src - dst.
fn fsubr(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    binary(cpu, i, Operation::Sub, true)
}

/// `FMUL`, `FMULP`, `FIMUL`: dst ← dst × src.
fn fmul(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    binary(cpu, i, Operation::Mul, false)
}

/// `FDIV`, `FDIVP`, `FIDIV`: dst ← dst ÷ src.
fn fdiv(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    binary(cpu, i, Operation::Div, false)
}

/// `FDIVR`, `FDIVRP`, `FIDIVR`: dst ← src ÷ dst.
fn fdivr(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    binary(cpu, i, Operation::Div, true)
}

/// ST(0) ← f(ST(0)).
pub(super) fn unary(cpu: &mut dyn Cpu, i: &Insn, f: impl FnOnce(F80, &mut Environment) -> F80) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    match unit.st(0) {
        Some(a) => {
            let result = f(a, &mut unit.env);
            unit.finish_result(0, result);
        }
        None => {
            if unit.underflow() {
                unit.set(0, INDEFINITE);
            }
        }
    }
    unit.commit(cpu, i);
    Ok(())
}

/// ST(0) ← f(ST(0), ST(1)).
fn of_two(cpu: &mut dyn Cpu, i: &Insn, f: impl FnOnce(&mut Unit, F80, F80) -> F80) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    of_two_in(unit, cpu, i, f)
}

fn of_two_in(mut unit: Unit, cpu: &mut dyn Cpu, i: &Insn, f: impl FnOnce(&mut Unit, F80, F80) -> F80) -> Result<(), Fault> {
    match (unit.st(0), unit.st(1)) {
        (Some(a), Some(b)) => {
            let result = f(&mut unit, a, b);
            unit.finish_result(0, result);
        }
        _ => {
            if unit.underflow() {
                unit.set(0, INDEFINITE);
            }
        }
    }
    unit.commit(cpu, i);
    Ok(())
}

/// `FSQRT`.
fn fsqrt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    unary(cpu, i, sqrt)
}

/// `FABS`: the sign is cleared, whatever the register holds.
fn fabs(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    unary(cpu, i, |a, env| {
        env.c1 = false;
        F80 { sign_exponent: a.sign_exponent & 0x7fff, ..a }
    })
}

/// `FCHS`: the sign is inverted, whatever the register holds.
fn fchs(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    unary(cpu, i, |a, env| {
        env.c1 = false;
        F80 { sign_exponent: a.sign_exponent ^ 0x8000, ..a }
    })
}

/// `FRNDINT`.
fn frndint(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    unary(cpu, i, |a, env| {
        let rounding = env.rounding;
        round_to_integral(a, rounding, Inexact::Reported, env)
    })
}

/// `FSCALE`.
fn fscale_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_two(cpu, i, |unit, a, b| fscale(a, b, &mut unit.env))
}

/// A unit that begins a reduction: C2 will tell whether it is complete.
fn begin_reduction(cpu: &mut dyn Cpu) -> Result<Unit, Fault> {
    let mut unit = Unit::begin(cpu)?;
    unit.x87.status.remove(StatusWord::C2);
    Ok(unit)
}

/// `FPREM`.
fn fprem_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let unit = begin_reduction(cpu)?;
    of_two_in(unit, cpu, i, |unit, a, b| {
        let remainder = fprem(a, b, &mut unit.env);
        remainder.reduction.record(&mut unit.x87.status);
        remainder.value
    })
}

/// `FPREM1`.
fn fprem1_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let unit = begin_reduction(cpu)?;
    of_two_in(unit, cpu, i, |unit, a, b| {
        let remainder = fprem1(a, b, &mut unit.env);
        remainder.reduction.record(&mut unit.x87.status);
        remainder.value
    })
}

/// `FXTRACT`: ST(0) becomes its exponent, and its significand is pushed.
fn fxtract_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    match unit.st(0) {
        None => {
            if unit.underflow() {
                unit.set(0, INDEFINITE);
                unit.push(INDEFINITE);
            }
        }
        Some(_) if !unit.has_room() => {
            if unit.overflow() {
                unit.set(0, INDEFINITE);
                unit.push(INDEFINITE);
            }
        }
        Some(a) => {
            let parts = fxtract(a, &mut unit.env);
            if unit.retire_is_clean() {
                unit.set(0, parts.exponent);
                unit.push(parts.significand);
            }
        }
    }
    unit.commit(cpu, i);
    Ok(())
}

/// The condition codes that comparisons and examinations write.
pub(super) const CONDITIONS: StatusWord = StatusWord::C0.union(StatusWord::C1).union(StatusWord::C2).union(StatusWord::C3);
