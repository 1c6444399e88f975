//! The stack: PUSH POP PUSHA POPA ENTER LEAVE PUSHF POPF.
//!
//! The stack pointer moves last: an instruction that faults leaves it where it was.
//! SDM: vol. 2, the entries of the same names; vol. 1 §6.2 (stacks), §6.6 (ENTER and LEAVE).

use dragoman_state::{Gpr, Width};

use super::super::{
    BinaryOp, Machine,
    system::{flags_image, segments},
    table::{Row, code, helper, row},
};
use crate::{
    decode::{Attributes, Code, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic::*;
    const PLAIN: Attributes = Attributes::empty();
    const ENDS: Attributes = Attributes::ENDS_BLOCK;
    let mut rows = vec![
        row(Push,    push,                           PLAIN),
        row(Pop,     pop,                            PLAIN),
        row(Pusha,   pusha,                          PLAIN),
        row(Pushad,  pusha,                          PLAIN),
        row(Popa,    popa,                           PLAIN),
        row(Popad,   popa,                           PLAIN),
        row(Enter,   enter,                          PLAIN),
        row(Leave,   leave,                          PLAIN),
    ];
    for name in [Pushf, Pushfd, Pushfq] {
        rows.push(row(name, helper!(flags_image::pushf), PLAIN));
    }
    for name in [Popf, Popfd, Popfq] {
        rows.push(row(name, helper!(flags_image::popf), ENDS));
    }
    for form in [Code::Popw_ES, Code::Popw_SS, Code::Popw_DS, Code::Popw_FS, Code::Popw_GS, Code::Popd_ES, Code::Popd_SS,
                 Code::Popd_DS, Code::Popd_FS, Code::Popd_GS, Code::Popq_FS, Code::Popq_GS] {
        rows.push(code(form, helper!(segments::pop), ENDS));
    }
    rows
}

/// `PUSH src`. A segment register is pushed as a word into a slot of the operand's width: the rest of a 32-bit slot keeps
/// what it held, as on all recent processors; a 64-bit slot is filled with zeros.
fn push<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = i.read(m, 0)?;
    if i.operands[0].kind == crate::decode::Kind::Segment && i.width == Width::Dword {
        let below = i.stack_below(m, 4);
        m.store(i.stack_segment, below, Width::Word, value)?;
        m.set_gpr(Gpr::RSP, i.stack_width, below);
        return Ok(());
    }
    i.push(m, i.width, value)
}

/// `POP dst`. An address based on the stack pointer uses its value after the pop.
fn pop<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let old = m.gpr(Gpr::RSP, Width::Qword);
    let (value, above) = i.pop(m, i.width, 0)?;
    m.set_gpr(Gpr::RSP, i.stack_width, above);
    let written = i.write(m, 0, value);
    if written.is_err() {
        m.set_gpr(Gpr::RSP, Width::Qword, old);
    }
    written
}

/// `PUSHA`: eight registers, the stack pointer with its value before.
fn pusha<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    for n in 0..8u8 {
        let below = i.stack_below(m, i.width.bytes() * (u64::from(n) + 1));
        let value = m.gpr(Gpr(n), i.width);
        m.store(i.stack_segment, below, i.width, value)?;
    }
    let below = i.stack_below(m, i.width.bytes() * 8);
    m.set_gpr(Gpr::RSP, i.stack_width, below);
    Ok(())
}

/// `POPA`: eight registers; the stack pointer's slot is skipped.
fn popa<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let top = m.gpr(Gpr::RSP, i.stack_width);
    let zero = m.constant(0);
    let mut values = [zero; 8];
    for n in (0..8u8).rev() {
        let delta = m.constant(i.width.bytes() * u64::from(7 - n));
        let at = m.binary(BinaryOp::Add, i.stack_width, top, delta);
        values[usize::from(n)] = m.load(i.stack_segment, at, i.width)?;
    }
    for n in (0..8u8).filter(|n| Gpr(*n) != Gpr::RSP) {
        m.set_gpr(Gpr(n), i.width, values[usize::from(n)]);
    }
    let size = m.constant(i.width.bytes() * 8);
    let above = m.binary(BinaryOp::Add, i.stack_width, top, size);
    m.set_gpr(Gpr::RSP, i.stack_width, above);
    Ok(())
}

/// `ENTER size, level`: a stack frame with the display of `level` enclosing ones.
fn enter<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let (size, level) = (i.immediate & 0xffff, i.immediate >> 16 & 31);
    let slot = i.width.bytes();
    let frame = m.gpr(Gpr::RBP, i.width);
    let below = i.stack_below(m, slot);
    m.store(i.stack_segment, below, i.width, frame)?;
    let outer = m.gpr(Gpr::RBP, i.stack_width);
    for n in 1..level {
        let back = m.constant(slot * n);
        let from = m.binary(BinaryOp::Sub, i.stack_width, outer, back);
        let pointer = m.load(i.stack_segment, from, i.width)?;
        let to = i.stack_below(m, slot * (n + 1));
        m.store(i.stack_segment, to, i.width, pointer)?;
    }
    // The frame pointer is the stack pointer after the first push, at the operand's width.
    let new_frame = {
        let (top, one) = (m.gpr(Gpr::RSP, i.width), m.constant(slot));
        m.binary(BinaryOp::Sub, i.width, top, one)
    };
    if level > 0 {
        let to = i.stack_below(m, slot * (level + 1));
        m.store(i.stack_segment, to, i.width, new_frame)?;
    }
    let pushed = slot * if level > 0 { level + 1 } else { 1 };
    let bottom = i.stack_below(m, pushed + size);
    // The new stack top must be writable, although nothing is written there. Processors find that out last, with the frame
    // already below the stack pointer.
    m.load_to_modify(i.stack_segment, bottom, i.width)?;
    m.set_gpr(Gpr::RBP, i.width, new_frame);
    m.set_gpr(Gpr::RSP, i.stack_width, bottom);
    Ok(())
}

/// `LEAVE`: the stack pointer from the frame pointer, then POP of the frame pointer.
fn leave<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let top = m.gpr(Gpr::RBP, i.stack_width);
    let frame = m.load(i.stack_segment, top, i.width)?;
    let size = m.constant(i.width.bytes());
    let above = m.binary(BinaryOp::Add, i.stack_width, top, size);
    m.set_gpr(Gpr::RSP, i.stack_width, above);
    m.set_gpr(Gpr::RBP, i.width, frame);
    Ok(())
}
