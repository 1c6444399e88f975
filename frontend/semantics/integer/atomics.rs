//! Read-modify-write for several processors: CMPXCHG XADD CMPXCHG8B CMPXCHG16B, and the fences.
//! SDM: vol. 2, the entries of the same names; vol. 3 §9.1 (locked atomic operations).

use dragoman_state::{Gpr, Width};

use super::super::{
    AtomicOp, BinaryOp, Cpu, FlagRule, Machine, effective_address, segmentation,
    table::{Row, helper, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 8] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Cmpxchg,    cmpxchg,              PLAIN),
        row(Mnemonic::Cmpxchg8b,  cmpxchg8b,            PLAIN),
        row(Mnemonic::Cmpxchg16b, helper!(cmpxchg16b),  PLAIN),
        row(Mnemonic::Xadd,       xadd,                 PLAIN),
        row(Mnemonic::Lfence,     fence,                PLAIN),
        row(Mnemonic::Mfence,     fence,                PLAIN),
        row(Mnemonic::Sfence,     fence,                PLAIN),
        row(Mnemonic::Serialize,  fence,                Attributes::ENDS_BLOCK),
    ]
}

/// `CMPXCHG dst, src`: where the accumulator equals dst, dst ← src; else the accumulator ← dst. Memory is written either
/// way.
fn cmpxchg<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let expected = m.gpr(Gpr::RAX, i.width);
    // A register is written only where it is to change, which a 32-bit write would show in its upper half.
    let whole = if i.width == Width::Dword { Width::Qword } else { i.width };
    let (dst, is_equal) = if i.is_locked() {
        let at = m.address(i);
        let dst = m.compare_exchange(i.segment, at, i.width, expected, src)?;
        (dst, m.equal(dst, expected))
    } else {
        let dst = i.read_to_modify(m, 0)?;
        let is_equal = m.equal(dst, expected);
        if i.is_memory(0) || whole == i.width {
            let value = m.select(is_equal, src, dst);
            i.write(m, 0, value)?;
        } else {
            let register = Gpr(i.operands[0].register);
            let old = m.gpr(register, whole);
            let value = m.select(is_equal, src, old);
            m.set_gpr(register, whole, value);
        }
        (dst, is_equal)
    };
    let old = m.gpr(Gpr::RAX, whole);
    let accumulator = m.select(is_equal, old, dst);
    m.set_gpr(Gpr::RAX, whole, accumulator);
    let result = m.binary(BinaryOp::Sub, i.width, expected, dst);
    m.set_flags(FlagRule::Sub, i.width, expected, dst, result);
    Ok(())
}

/// `XADD dst, src`: dst ← dst + src, src ← the old dst.
fn xadd<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let (dst, result) = if i.is_locked() {
        let at = m.address(i);
        let old = m.atomic(AtomicOp::Binary(BinaryOp::Add), i.segment, at, i.width, src)?;
        let result = m.binary(BinaryOp::Add, i.width, old, src);
        i.write(m, 1, old)?;
        (old, result)
    } else if i.is_memory(0) {
        let old = i.read_to_modify(m, 0)?;
        let result = m.binary(BinaryOp::Add, i.width, old, src);
        i.write(m, 0, result)?;
        i.write(m, 1, old)?;
        (old, result)
    } else {
        // Where both are one register, the sum stays.
        let old = i.read(m, 0)?;
        let result = m.binary(BinaryOp::Add, i.width, old, src);
        i.write(m, 1, old)?;
        i.write(m, 0, result)?;
        (old, result)
    };
    m.set_flags(FlagRule::Add, i.width, dst, src, result);
    Ok(())
}

/// `EDX:EAX` or `ECX:EBX` as one number.
fn pair<M: Machine>(m: &mut M, high: Gpr, low: Gpr) -> M::Val {
    let (high, low) = (m.gpr(high, Width::Dword), m.gpr(low, Width::Dword));
    let (count, zero) = (m.constant(32), m.constant(0));
    let high = m.shift(super::super::ShiftOp::Shl, Width::Qword, high, count, zero);
    m.binary(BinaryOp::Or, Width::Qword, high, low)
}

/// `CMPXCHG8B m64`: where EDX:EAX equals memory, memory ← ECX:EBX and ZF is set; else EDX:EAX ← memory.
fn cmpxchg8b<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let expected = pair(m, Gpr::RDX, Gpr::RAX);
    let new = pair(m, Gpr::RCX, Gpr::RBX);
    let at = m.address(i);
    let old = if i.is_locked() {
        m.compare_exchange(i.segment, at, Width::Qword, expected, new)?
    } else {
        let old = m.load_to_modify(i.segment, at, Width::Qword)?;
        let is_equal = m.equal(old, expected);
        let value = m.select(is_equal, new, old);
        m.store(i.segment, at, Width::Qword, value)?;
        old
    };
    let is_equal = m.equal(old, expected);
    let (count, zero) = (m.constant(32), m.constant(0));
    let high = m.shift(super::super::ShiftOp::Shr, Width::Qword, old, count, zero);
    let mask = m.constant(Width::Dword.mask());
    let low = m.binary(BinaryOp::And, Width::Qword, old, mask);
    for (register, part) in [(Gpr::RAX, low), (Gpr::RDX, high)] {
        let whole = m.gpr(register, Width::Qword);
        let value = m.select(is_equal, whole, part);
        m.set_gpr(register, Width::Qword, value);
    }
    m.set_flags(FlagRule::Equal, Width::Qword, expected, old, is_equal);
    Ok(())
}

/// `CMPXCHG16B m128`: as CMPXCHG8B with 64-bit registers; memory must be aligned to 16 bytes, which is found out before
/// whether its address is canonical.
fn cmpxchg16b(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let at = segmentation::linear(cpu.state(), i.segment, effective_address(cpu.state(), i), 16, true)?;
    if at.0 % 16 != 0 {
        return Err(Fault::GP0);
    }
    let at = cpu.operand_address(i, 16, true)?;
    let wide = |cpu: &dyn Cpu, high, low| u128::from(cpu.state().gpr[high]) << 64 | u128::from(cpu.state().gpr[low]);
    let (expected, new) = (wide(cpu, Gpr::RDX, Gpr::RAX), wide(cpu, Gpr::RCX, Gpr::RBX));
    let old = cpu.compare_exchange_16(at, expected, new, i.is_locked())?;
    let state = cpu.state_mut();
    if old != expected {
        state.gpr[Gpr::RAX] = old as u64;
        state.gpr[Gpr::RDX] = (old >> 64) as u64;
    }
    state.rflags.set(dragoman_state::RFlags::ZF, old == expected);
    Ok(())
}

/// `LFENCE`, `MFENCE`, `SFENCE`.
fn fence<M: Machine>(m: &mut M, _: &Insn) -> Result<(), Fault> {
    m.fence();
    Ok(())
}
