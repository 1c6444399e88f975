//! Moves: MOV MOVBE MOVZX MOVSX MOVSXD MOVNTI CMOVcc LEA XCHG BSWAP XLAT CBW CWD and their wider kin, SETcc, NOP, prefetches.
//! MOV to and from segment, control and debug registers is in the system families.
//! SDM: vol. 2, the entries of the same names.

use dragoman_state::{Gpr, Width};

use super::super::{
    AtomicOp, BinaryOp, Machine, ShiftOp, UnaryOp,
    table::{Row, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic::*;
    const PLAIN: Attributes = Attributes::empty();
    let mut rows = vec![
        row(Mov,     mov,          PLAIN),
        row(Movnti,  mov,          PLAIN),
        row(Movbe,   movbe,        PLAIN),
        row(Movzx,   movzx,        PLAIN),
        row(Movsx,   movsx,        PLAIN),
        row(Movsxd,  movsx,        PLAIN),
        row(Lea,     lea,          PLAIN),
        row(Xchg,    xchg,         PLAIN),
        row(Bswap,   bswap,        PLAIN),
        row(Xlatb,   xlat,         PLAIN),
        row(Cbw,     widen,        PLAIN),
        row(Cwde,    widen,        PLAIN),
        row(Cdqe,    widen,        PLAIN),
        row(Cwd,     spread,       PLAIN),
        row(Cdq,     spread,       PLAIN),
        row(Cqo,     spread,       PLAIN),
    ];
    for name in [Cmova, Cmovae, Cmovb, Cmovbe, Cmove, Cmovg, Cmovge, Cmovl, Cmovle, Cmovne, Cmovno, Cmovnp, Cmovns, Cmovo, Cmovp, Cmovs] {
        rows.push(row(name, cmovcc, PLAIN));
    }
    for name in [Seta, Setae, Setb, Setbe, Sete, Setg, Setge, Setl, Setle, Setne, Setno, Setnp, Setns, Seto, Setp, Sets] {
        rows.push(row(name, setcc, PLAIN));
    }
    // Hints: no effect on architectural state, and no fault whatever they name.
    for name in [Nop, Reservednop, Pause, Prefetch, Prefetchw, Prefetchnta, Prefetcht0, Prefetcht1, Prefetcht2, Prefetchwt1, Endbr32, Endbr64] {
        rows.push(row(name, nop, PLAIN));
    }
    rows
}

/// `MOV dst, src`.
fn mov<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = i.read(m, 1)?;
    i.write(m, 0, value)
}

/// `MOVBE dst, src`: bytes in opposite order; one of the two is memory.
fn movbe<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = i.read(m, 1)?;
    let swapped = m.unary(UnaryOp::ByteSwap, i.width, value);
    i.write(m, 0, swapped)
}

/// `MOVZX dst, src`: the narrower source, zeros above.
fn movzx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = i.read(m, 1)?;
    i.write(m, 0, value)
}

/// `MOVSX dst, src`: the narrower source, its sign above.
fn movsx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = i.read(m, 1)?;
    let value = m.sign_extend(i.operands[1].width, i.width, value);
    i.write(m, 0, value)
}

/// `CMOVcc dst, src`: the source is read whatever the condition; the upper half of a 32-bit destination is cleared
/// whatever the condition.
fn cmovcc<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let dst = i.read(m, 0)?;
    let condition = m.condition(i.condition);
    let value = m.select(condition, src, dst);
    i.write(m, 0, value)
}

/// `SETcc dst`: one where the condition holds, else zero.
fn setcc<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = m.condition(i.condition);
    i.write(m, 0, value)
}

/// `LEA dst, address`: the offset itself, truncated to the destination.
fn lea<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let at = m.address(i);
    let (zero, at) = (m.constant(0), at);
    let value = m.binary(BinaryOp::Add, i.width, at, zero);
    i.write(m, 0, value)
}

/// `XCHG a, b`: with memory it locks, prefix or not.
fn xchg<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let b = i.read(m, 1)?;
    if i.is_memory(0) {
        let at = m.address(i);
        let old = m.atomic(AtomicOp::Exchange, i.segment, at, i.width, b)?;
        return i.write(m, 1, old);
    }
    let a = i.read(m, 0)?;
    i.write(m, 0, b)?;
    i.write(m, 1, a)
}

/// `BSWAP dst`: bytes in opposite order. Of 16 bits: zero, as processors do although the manual leaves it undefined.
fn bswap<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = if i.width == Width::Word {
        m.constant(0)
    } else {
        let old = i.read(m, 0)?;
        m.unary(UnaryOp::ByteSwap, i.width, old)
    };
    i.write(m, 0, value)
}

/// `XLAT`: AL ← the byte at (E/R)BX + AL.
fn xlat<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let table = m.gpr(Gpr(3), i.address_width);
    let entry = m.gpr(Gpr::RAX, Width::Byte);
    let at = m.binary(BinaryOp::Add, i.address_width, table, entry);
    let value = m.load(i.segment, at, Width::Byte)?;
    m.set_gpr(Gpr::RAX, Width::Byte, value);
    Ok(())
}

/// `CBW`, `CWDE`, `CDQE`: the accumulator, extended from half its width.
fn widen<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let half = match i.width {
        Width::Qword => Width::Dword,
        Width::Dword => Width::Word,
        Width::Word | Width::Byte => Width::Byte,
    };
    let value = m.gpr(Gpr::RAX, half);
    let value = m.sign_extend(half, i.width, value);
    m.set_gpr(Gpr::RAX, i.width, value);
    Ok(())
}

/// `CWD`, `CDQ`, `CQO`: the accumulator's sign in every bit of (E/R)DX.
fn spread<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = m.gpr(Gpr::RAX, i.width);
    let (count, zero) = (m.constant(u64::from(i.width.bits() - 1)), m.constant(0));
    let sign = m.shift(ShiftOp::Sar, i.width, value, count, zero);
    m.set_gpr(Gpr::RDX, i.width, sign);
    Ok(())
}

/// Nothing.
fn nop<M: Machine>(_: &mut M, _: &Insn) -> Result<(), Fault> {
    Ok(())
}
