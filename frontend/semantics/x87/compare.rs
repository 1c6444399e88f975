//! Comparisons: FCOM FUCOM FCOMI FUCOMI FICOM with their popping forms, FTST FXAM.

use dragoman_float::{Relation, compare, compare_quiet, x87::fxam};
use dragoman_state::{F80, RFlags, StatusWord};

use super::{
    super::{
        Cpu, Machine,
        table::{Row, helper, row},
    },
    X87,
    arithmetic::CONDITIONS,
    unit::{Source, Unit, read_memory, registers},
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 14] {
    use Mnemonic as N;
    [
        row(N::Fcom,    helper!(fcom),    X87),
        row(N::Fcomp,   helper!(fcomp),   X87),
        row(N::Fcompp,  helper!(fcompp),  X87),
        row(N::Fucom,   helper!(fucom),   X87),
        row(N::Fucomp,  helper!(fucomp),  X87),
        row(N::Fucompp, helper!(fucompp), X87),
        row(N::Ficom,   helper!(ficom),   X87),
        row(N::Ficomp,  helper!(ficomp),  X87),
        row(N::Fcomi,   helper!(fcomi),   X87),
        row(N::Fcomip,  helper!(fcomip),  X87),
        row(N::Fucomi,  helper!(fucomi),  X87),
        row(N::Fucomip, helper!(fucomip), X87),
        row(N::Ftst,    helper!(ftst),    X87),
        row(N::Fxam,    helper!(fxam_),   X87),
    ]
}

/// How a comparison is made and where its outcome goes.
#[derive(Clone, Copy)]
struct Comparison {
    /// Quiet NaNs are no invalid operation.
    is_quiet: bool,
    /// The outcome goes to ZF, PF and CF, not to the condition codes.
    to_flags: bool,
    pops: u8,
}

/// What ST(0) is compared with.
enum With {
    Source(Source),
    /// A register that is empty.
    Nothing,
}

fn relate(unit: &mut Unit, a: F80, b: Source, is_quiet: bool) -> Relation {
    let env = &mut unit.env;
    match (b, is_quiet) {
        (Source::Single(b), false) => compare(a, b, env),
        (Source::Double(b), false) => compare(a, b, env),
        (b, false) => compare(a, b.exact(), env),
        (b, true) => compare_quiet(a, b.exact(), env),
    }
}

fn run(cpu: &mut dyn Cpu, i: &Insn, mut unit: Unit, with: With, how: Comparison) {
    let c1 = unit.x87.status & StatusWord::C1;
    let (relation, goes_on) = match (unit.st(0), with) {
        (Some(a), With::Source(b)) => {
            let relation = relate(&mut unit, a, b, how.is_quiet);
            let goes_on = unit.retire_is_clean();
            unit.x87.status = unit.x87.status.difference(StatusWord::C1) | c1;
            (relation, goes_on)
        }
        _ => (Relation::Unordered, unit.underflow()),
    };
    // The outcome is written whatever is to be reported; only the pop waits for a clean comparison.
    if how.to_flags {
        set_flags(cpu, relation);
    } else {
        set_conditions(&mut unit, relation);
        unit.x87.status.remove(StatusWord::C1);
    }
    if goes_on {
        for _ in 0..how.pops {
            unit.pop();
        }
    }
    unit.commit(cpu, i);
}

fn set_conditions(unit: &mut Unit, relation: Relation) {
    unit.x87.status.remove(CONDITIONS);
    unit.x87.status |= match relation {
        Relation::Less => StatusWord::C0,
        Relation::Equal => StatusWord::C3,
        Relation::Greater => StatusWord::empty(),
        Relation::Unordered => StatusWord::C0 | StatusWord::C2 | StatusWord::C3,
    };
}

fn set_flags(cpu: &mut dyn Cpu, relation: Relation) {
    let flags = match relation {
        Relation::Less => RFlags::CF,
        Relation::Equal => RFlags::ZF,
        Relation::Greater => RFlags::empty(),
        Relation::Unordered => RFlags::ZF | RFlags::PF | RFlags::CF,
    };
    let state = cpu.state_mut();
    state.rflags = state.rflags.difference(RFlags::ARITHMETIC) | flags;
}

/// Compares with a register, or with memory.
fn with_operand(cpu: &mut dyn Cpu, i: &Insn, is_integer: bool, how: Comparison) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    let with = if i.is_memory(0) {
        With::Source(read_memory(cpu, i, is_integer)?)
    } else {
        match unit.st(registers(i).1) {
            Some(value) => With::Source(Source::Register(value)),
            None => With::Nothing,
        }
    };
    run(cpu, i, unit, with, how);
    Ok(())
}

const fn to_conditions(is_quiet: bool, pops: u8) -> Comparison {
    Comparison { is_quiet, to_flags: false, pops }
}

const fn to_flags(is_quiet: bool, pops: u8) -> Comparison {
    Comparison { is_quiet, to_flags: true, pops }
}

/// `FCOM`.
fn fcom(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_conditions(false, 0))
}

/// `FCOMP`.
fn fcomp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_conditions(false, 1))
}

/// `FCOMPP`: with ST(1).
fn fcompp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_second(cpu, i, to_conditions(false, 2))
}

/// `FUCOM`.
fn fucom(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_conditions(true, 0))
}

/// `FUCOMP`.
fn fucomp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_conditions(true, 1))
}

/// `FUCOMPP`: with ST(1).
fn fucompp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_second(cpu, i, to_conditions(true, 2))
}

fn with_second(cpu: &mut dyn Cpu, i: &Insn, how: Comparison) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    let with = unit.st(1).map_or(With::Nothing, |value| With::Source(Source::Register(value)));
    run(cpu, i, unit, with, how);
    Ok(())
}

/// `FICOM`.
fn ficom(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, true, to_conditions(false, 0))
}

/// `FICOMP`.
fn ficomp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, true, to_conditions(false, 1))
}

/// `FCOMI`.
fn fcomi(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_flags(false, 0))
}

/// `FCOMIP`.
fn fcomip(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_flags(false, 1))
}

/// `FUCOMI`.
fn fucomi(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_flags(true, 0))
}

/// `FUCOMIP`.
fn fucomip(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    with_operand(cpu, i, false, to_flags(true, 1))
}

/// `FTST`: ST(0) compared with zero.
fn ftst(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    run(cpu, i, unit, With::Source(Source::Integer(0)), to_conditions(false, 0));
    Ok(())
}

/// `FXAM`: what ST(0) is.
fn fxam_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    let sign = unit.raw(0).sign_exponent & 0x8000 != 0;
    let mut class = match unit.st(0) {
        Some(value) => fxam(value),
        None => StatusWord::C3 | StatusWord::C0,
    };
    class.set(StatusWord::C1, sign);
    unit.x87.status.remove(CONDITIONS);
    unit.x87.status |= class;
    unit.commit(cpu, i);
    Ok(())
}
