//! The stack and the control registers: FXCH FCMOVcc FFREE FINCSTP FDECSTP FLDCW FNSTCW FNSTSW FNCLEX FNINIT FNOP WAIT.

use dragoman_state::{Gpr, StatusWord, Width, X87State};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, helper, row},
    },
    X87, check_pending, follow_summary,
    unit::{INDEFINITE, Unit, registers},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic as N;
    let mut rows = vec![
        row(N::Fxch,     helper!(fxch),    X87),
        row(N::Ffree,    helper!(ffree),   X87),
        row(N::Ffreep,   helper!(ffreep),  X87),
        row(N::Fincstp,  helper!(fincstp), X87),
        row(N::Fdecstp,  helper!(fdecstp), X87),
        row(N::Fldcw,    helper!(fldcw),   X87),
        row(N::Fnstcw,   helper!(fnstcw),  X87),
        row(N::Fnstsw,   helper!(fnstsw),  X87),
        row(N::Fnclex,   helper!(fnclex),  X87),
        row(N::Fninit,   helper!(fninit),  X87),
        row(N::Fnop,     helper!(fnop),    X87),
        row(N::Wait,     helper!(wait),    Attributes::WAIT),
    ];
    // Instructions of the 8087 and 287 that later units take as FNOP.
    for name in [N::Fneni, N::Fndisi, N::Fnsetpm] { rows.push(row(name, helper!(ignored), X87)); }
    for name in [N::Fcmovb, N::Fcmove, N::Fcmovbe, N::Fcmovu, N::Fcmovnb, N::Fcmovne, N::Fcmovnbe, N::Fcmovnu] {
        rows.push(row(name, |m: &mut M, i: &Insn| {
            // The condition is the machine's to know; the move is the unit's.
            m.call_helper(fcmov, i)
        }, X87));
    }
    rows
}

/// `FXCH`: ST(0) and ST(i) change places; what is missing is the indefinite value.
fn fxch(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    let n = registers(i).1;
    let (a, b) = (unit.st(0), unit.st(n));
    if a.is_some() && b.is_some() || unit.underflow() {
        unit.set(0, b.unwrap_or(INDEFINITE));
        unit.set(n, a.unwrap_or(INDEFINITE));
    }
    if a.is_some() && b.is_some() {
        unit.x87.status.remove(StatusWord::C1);
    }
    unit.commit(cpu, i);
    Ok(())
}

/// `FCMOVcc`: ST(0) ← ST(i) where the condition holds.
fn fcmov(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    let n = registers(i).1;
    let holds = super::super::LazyFlags::literal(cpu.state().rflags).condition(i.condition);
    match (unit.st(0), unit.st(n)) {
        (Some(_), Some(value)) => {
            if holds {
                unit.set(0, value);
            }
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

/// `FFREE`: ST(i) is empty.
fn ffree(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    unit.free(registers(i).0);
    unit.x87.status.remove(StatusWord::C1);
    unit.commit(cpu, i);
    Ok(())
}

/// `FFREEP`: ST(i) is empty, and the stack is popped.
fn ffreep(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    unit.free(registers(i).0);
    unit.x87.status.remove(StatusWord::C1);
    unit.pop();
    unit.commit(cpu, i);
    Ok(())
}

fn turn(cpu: &mut dyn Cpu, i: &Insn, by: usize) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    unit.x87.set_top(unit.x87.top() + by);
    unit.x87.status.remove(StatusWord::C1);
    unit.commit(cpu, i);
    Ok(())
}

/// `FINCSTP`: the top of the stack moves up; no tag changes.
fn fincstp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    turn(cpu, i, 1)
}

/// `FDECSTP`: the top of the stack moves down; no tag changes.
fn fdecstp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    turn(cpu, i, 7)
}

/// The bits of the control word that exist; bit 6 reads as one.
pub(super) fn control_word(value: u16) -> u16 {
    value & 0x1f7f | 0x40
}

/// `FLDCW m16`.
fn fldcw(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    unit.x87.control = control_word(cpu.read_operand(i, 0, Width::Word)? as u16);
    unit.x87.refresh_summary();
    unit.commit_control(cpu);
    Ok(())
}

fn store_word(cpu: &mut dyn Cpu, i: &Insn, value: u16) -> Result<(), Fault> {
    if !i.is_memory(0) {
        cpu.write_gpr(Gpr::RAX, Width::Word, value.into());
        return Ok(());
    }
    let at = cpu.operand_address(i, 2, true)?;
    cpu.write(at, Width::Word, value.into(), Privilege::Current)
}

/// `FNSTCW m16`.
fn fnstcw(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = cpu.state().x87.control;
    store_word(cpu, i, value)
}

/// `FNSTSW m16`, `FNSTSW AX`.
fn fnstsw(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = cpu.state().x87.status.bits();
    store_word(cpu, i, value)
}

/// `FNCLEX`: all exceptions are forgotten.
fn fnclex(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let exceptions = StatusWord::from_bits_retain(0x7f) | StatusWord::ES | StatusWord::B;
    cpu.state_mut().x87.status.remove(exceptions);
    follow_summary(cpu);
    Ok(())
}

/// `FNINIT`.
fn fninit(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let registers = cpu.state().x87.registers;
    cpu.state_mut().x87 = X87State::initialised(registers);
    follow_summary(cpu);
    Ok(())
}

/// `FNOP`.
fn fnop(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    Unit::begin(cpu)?.commit(cpu, i);
    Ok(())
}

fn ignored(_: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    Ok(())
}

/// `WAIT`: exceptions of earlier instructions are reported.
fn wait(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    check_pending(cpu)
}
