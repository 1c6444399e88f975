//! Control transfer within a code segment: JMP Jcc CALL RET LOOP JrCXZ. Far transfers and interrupts are in the system
//! families.
//!
//! A target is checked before anything is written. The block's engine has set RIP to the next instruction.
//! SDM: vol. 2, the entries of the same names.

use dragoman_state::{Gpr, Width};

use super::super::{
    BinaryOp, Machine,
    system::far,
    table::{Row, code, helper, row},
};
use crate::{
    decode::{Attributes, Code, Condition, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic::*;
    const PLAIN: Attributes = Attributes::empty();
    let mut rows = vec![
        row(Jmp,    jmp,                            PLAIN),
        row(Call,   call,                           PLAIN),
        row(Ret,    ret,                            PLAIN),
        row(Loop,   |m, i| count_down(m, i, None),  PLAIN),
        row(Loope,  |m, i| count_down(m, i, Some(Condition::E)),  PLAIN),
        row(Loopne, |m, i| count_down(m, i, Some(Condition::Ne)), PLAIN),
        row(Jcxz,   jump_if_no_count,               PLAIN),
        row(Jecxz,  jump_if_no_count,               PLAIN),
        row(Jrcxz,  jump_if_no_count,               PLAIN),
    ];
    for name in [Ja, Jae, Jb, Jbe, Je, Jg, Jge, Jl, Jle, Jne, Jno, Jnp, Jns, Jo, Jp, Js] {
        rows.push(row(name, jcc, PLAIN));
    }
    for form in [Code::Jmp_ptr1616, Code::Jmp_ptr1632, Code::Jmp_m1616, Code::Jmp_m1632, Code::Jmp_m1664] {
        rows.push(code(form, helper!(far::jump), PLAIN));
    }
    for form in [Code::Call_ptr1616, Code::Call_ptr1632, Code::Call_m1616, Code::Call_m1632, Code::Call_m1664] {
        rows.push(code(form, helper!(far::call), PLAIN));
    }
    rows
}

/// Where a near transfer goes: its relative target, or its operand's value.
#[inline(always)]
fn target<M: Machine>(m: &mut M, i: &Insn) -> Result<M::Val, Fault> {
    let target = if i.operands[0].kind == crate::decode::Kind::Immediate { m.branch_target(i) } else { i.read(m, 0)? };
    m.check_target(target)?;
    Ok(target)
}

/// `JMP target`.
fn jmp<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let target = target(m, i)?;
    m.jump(target);
    Ok(())
}

/// `Jcc target`.
fn jcc<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let condition = m.condition(i.condition);
    let target = m.branch_target(i);
    m.branch(condition, target)
}

/// `CALL target`: pushes the next instruction's address.
fn call<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let target = target(m, i)?;
    let next = m.next_ip(i);
    i.push(m, i.width, next)?;
    m.jump(target);
    Ok(())
}

/// `RET`, `RET n`: pops the address, then `n` bytes.
fn ret<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let (target, above) = i.pop(m, i.width, i.immediate)?;
    m.check_target(target)?;
    m.set_gpr(Gpr::RSP, i.stack_width, above);
    m.jump(target);
    Ok(())
}

/// `LOOP`, `LOOPE`, `LOOPNE`: counts (E/R)CX down and jumps while it is not zero and the condition holds. The count is
/// not changed where the jump faults.
#[inline(always)]
fn count_down<M: Machine>(m: &mut M, i: &Insn, condition: Option<Condition>) -> Result<(), Fault> {
    let (old, one, zero) = (m.gpr(Gpr::RCX, i.address_width), m.constant(1), m.constant(0));
    let count = m.binary(BinaryOp::Sub, i.address_width, old, one);
    let done = m.equal(count, zero);
    let mut goes_on = m.binary(BinaryOp::Xor, Width::Byte, done, one);
    if let Some(condition) = condition {
        let holds = m.condition(condition);
        goes_on = m.binary(BinaryOp::And, Width::Byte, goes_on, holds);
    }
    let target = m.branch_target(i);
    m.branch(goes_on, target)?;
    m.set_gpr(Gpr::RCX, i.address_width, count);
    Ok(())
}

/// `JCXZ`, `JECXZ`, `JRCXZ`.
fn jump_if_no_count<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let (count, zero) = (m.gpr(Gpr::RCX, i.address_width), m.constant(0));
    let is_zero = m.equal(count, zero);
    let target = m.branch_target(i);
    m.branch(is_zero, target)
}
