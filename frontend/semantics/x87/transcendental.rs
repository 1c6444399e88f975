//! Transcendental functions: F2XM1 FYL2X FYL2XP1 FPATAN FPTAN FSIN FCOS FSINCOS.

use dragoman_float::{
    Environment, F80,
    x87::{f2xm1, fcos, fpatan, fptan, fsin, fsincos, fyl2x, fyl2xp1},
};
use dragoman_state::StatusWord;

use super::{
    super::{
        Cpu, Machine,
        table::{Row, helper, row},
    },
    X87,
    arithmetic::unary,
    unit::{INDEFINITE, Unit},
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 8] {
    use Mnemonic as N;
    [
        row(N::F2xm1,   helper!(f2xm1_),   X87),
        row(N::Fyl2x,   helper!(fyl2x_),   X87),
        row(N::Fyl2xp1, helper!(fyl2xp1_), X87),
        row(N::Fpatan,  helper!(fpatan_),  X87),
        row(N::Fptan,   helper!(fptan_),   X87),
        row(N::Fsin,    helper!(fsin_),    X87),
        row(N::Fcos,    helper!(fcos_),    X87),
        row(N::Fsincos, helper!(fsincos_), X87),
    ]
}

/// `F2XM1`.
fn f2xm1_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    unary(cpu, i, f2xm1)
}

/// ST(1) ← f(ST(0), ST(1)), then a pop.
fn of_two(cpu: &mut dyn Cpu, i: &Insn, f: impl FnOnce(F80, F80, &mut Environment) -> F80) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    let is_done = match (unit.st(0), unit.st(1)) {
        (Some(a), Some(b)) => {
            let result = f(a, b, &mut unit.env);
            unit.finish_result(1, result)
        }
        _ => {
            let goes_on = unit.underflow();
            if goes_on {
                unit.set(1, INDEFINITE);
            }
            goes_on
        }
    };
    if is_done {
        unit.pop();
    }
    unit.commit(cpu, i);
    Ok(())
}

/// `FYL2X`.
fn fyl2x_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_two(cpu, i, fyl2x)
}

/// `FYL2XP1`.
fn fyl2xp1_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_two(cpu, i, fyl2xp1)
}

/// `FPATAN`.
fn fpatan_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_two(cpu, i, fpatan)
}

/// ST(0) ← f(ST(0)); out of range, C2 is set and nothing else happens.
fn of_angle(cpu: &mut dyn Cpu, i: &Insn, f: impl FnOnce(F80, &mut Environment) -> Option<F80>) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    unit.x87.status.remove(StatusWord::C2);
    match unit.st(0) {
        None => {
            if unit.underflow() {
                unit.set(0, INDEFINITE);
            }
        }
        Some(angle) => {
            let result = f(angle, &mut unit.env);
            unit.x87.status.set(StatusWord::C2, result.is_none());
            if unit.retire_is_clean() {
                if let Some(value) = result {
                    unit.set(0, value);
                }
            }
        }
    }
    unit.commit(cpu, i);
    Ok(())
}

/// `FSIN`.
fn fsin_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_angle(cpu, i, fsin)
}

/// `FCOS`.
fn fcos_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_angle(cpu, i, fcos)
}

/// ST(0) ← the first of f(ST(0)), then a push of the second; out of range, C2 is set and nothing else happens.
fn of_angle_twice(cpu: &mut dyn Cpu, i: &Insn, f: impl FnOnce(F80, &mut Environment) -> Option<(F80, F80)>) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    unit.x87.status.remove(StatusWord::C2);
    let result = match unit.st(0) {
        None => unit.underflow().then_some((INDEFINITE, INDEFINITE)),
        Some(_) if !unit.has_room() => unit.overflow().then_some((INDEFINITE, INDEFINITE)),
        Some(angle) => {
            let result = f(angle, &mut unit.env);
            unit.x87.status.set(StatusWord::C2, result.is_none());
            result.filter(|_| unit.retire_is_clean())
        }
    };
    if let Some((replaced, pushed)) = result {
        unit.set(0, replaced);
        unit.push(pushed);
    }
    unit.commit(cpu, i);
    Ok(())
}

/// `FPTAN`.
fn fptan_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_angle_twice(cpu, i, fptan)
}

/// `FSINCOS`.
fn fsincos_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    of_angle_twice(cpu, i, fsincos)
}
