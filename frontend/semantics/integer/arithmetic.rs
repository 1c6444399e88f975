//! Binary integer arithmetic and logic: ADD ADC SUB SBB ADCX ADOX CMP AND OR XOR TEST INC DEC NEG NOT.
//!
//! Where LOCK is present, memory is read and written as one operation and the flags follow from what was read.
//! SDM: vol. 2, the entries of the same names; flags in vol. 1 §3.4.3.1.

use dragoman_state::{RFlags, Width};

use super::super::{
    AtomicOp, BinaryOp, FlagRule, Machine, UnaryOp,
    table::{Row, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 15] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Add,  add,     PLAIN),
        row(Mnemonic::Adc,  adc,     PLAIN),
        row(Mnemonic::Adcx, |m, i| chain(m, i, RFlags::CF, FlagRule::Adcx), PLAIN),
        row(Mnemonic::Adox, |m, i| chain(m, i, RFlags::OF, FlagRule::Adox), PLAIN),
        row(Mnemonic::Sub,  sub,     PLAIN),
        row(Mnemonic::Sbb,  sbb,     PLAIN),
        row(Mnemonic::Cmp,  cmp,     PLAIN),
        row(Mnemonic::And,  and,     PLAIN),
        row(Mnemonic::Or,   or,      PLAIN),
        row(Mnemonic::Xor,  xor,     PLAIN),
        row(Mnemonic::Test, test,    PLAIN),
        row(Mnemonic::Inc,  inc,     PLAIN),
        row(Mnemonic::Dec,  dec,     PLAIN),
        row(Mnemonic::Neg,  neg,     PLAIN),
        row(Mnemonic::Not,  not,     PLAIN),
    ]
}

/// dst ← dst op src, with the flags of `rule`.
#[inline(always)]
fn update<M: Machine>(m: &mut M, i: &Insn, op: BinaryOp, rule: FlagRule, src: M::Val) -> Result<(), Fault> {
    let (dst, result) = if i.is_locked() {
        let at = m.address(i);
        let old = m.atomic(AtomicOp::Binary(op), i.segment, at, i.width, src)?;
        (old, m.binary(op, i.width, old, src))
    } else {
        let old = i.read_to_modify(m, 0)?;
        let result = m.binary(op, i.width, old, src);
        i.write(m, 0, result)?;
        (old, result)
    };
    m.set_flags(rule, i.width, dst, src, result);
    Ok(())
}

/// `ADD dst, src`: dst ← dst + src.
fn add<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    update(m, i, BinaryOp::Add, FlagRule::Add, src)
}

/// `SUB dst, src`: dst ← dst - src.
fn sub<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    update(m, i, BinaryOp::Sub, FlagRule::Sub, src)
}

/// `AND dst, src`.
fn and<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    update(m, i, BinaryOp::And, FlagRule::Logic, src)
}

/// `OR dst, src`.
fn or<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    update(m, i, BinaryOp::Or, FlagRule::Logic, src)
}

/// `XOR dst, src`.
fn xor<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    update(m, i, BinaryOp::Xor, FlagRule::Logic, src)
}

/// dst ← dst op src op carry, in two steps that wrap as the whole does.
#[inline(always)]
fn update_with_carry<M: Machine>(m: &mut M, i: &Insn, op: BinaryOp, rule: FlagRule) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let carry = m.flag(RFlags::CF);
    let both = m.binary(BinaryOp::Add, i.width, src, carry);
    let (dst, result) = if i.is_locked() {
        let at = m.address(i);
        let old = m.atomic(AtomicOp::Binary(op), i.segment, at, i.width, both)?;
        (old, m.binary(op, i.width, old, both))
    } else {
        let old = i.read_to_modify(m, 0)?;
        let result = m.binary(op, i.width, old, both);
        i.write(m, 0, result)?;
        (old, result)
    };
    m.set_flags(rule, i.width, dst, src, result);
    Ok(())
}

/// `ADC dst, src`: dst ← dst + src + CF.
fn adc<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    update_with_carry(m, i, BinaryOp::Add, FlagRule::Adc)
}

/// `SBB dst, src`: dst ← dst - (src + CF).
fn sbb<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    update_with_carry(m, i, BinaryOp::Sub, FlagRule::Sbb)
}

/// `ADCX dst, src`, `ADOX dst, src`: dst ← dst + src + the flag, which alone is written: two chains of carries that do not
/// meet.
#[inline(always)]
fn chain<M: Machine>(m: &mut M, i: &Insn, flag: RFlags, rule: FlagRule) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let dst = i.read(m, 0)?;
    let carry = m.flag(flag);
    let both = m.binary(BinaryOp::Add, i.width, src, carry);
    let result = m.binary(BinaryOp::Add, i.width, dst, both);
    i.write(m, 0, result)?;
    m.set_flags(rule, i.width, dst, src, result);
    Ok(())
}

/// `CMP a, b`: the flags of a - b.
fn cmp<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let a = i.read(m, 0)?;
    let b = i.read(m, 1)?;
    let result = m.binary(BinaryOp::Sub, i.width, a, b);
    m.set_flags(FlagRule::Sub, i.width, a, b, result);
    Ok(())
}

/// `TEST a, b`: the flags of a AND b.
fn test<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let a = i.read(m, 0)?;
    let b = i.read(m, 1)?;
    let result = m.binary(BinaryOp::And, i.width, a, b);
    m.set_flags(FlagRule::Logic, i.width, a, b, result);
    Ok(())
}

/// `INC dst`: dst ← dst + 1; carry keeps its value.
fn inc<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let one = m.constant(1);
    update(m, i, BinaryOp::Add, FlagRule::Inc, one)
}

/// `DEC dst`: dst ← dst - 1; carry keeps its value.
fn dec<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let one = m.constant(1);
    update(m, i, BinaryOp::Sub, FlagRule::Dec, one)
}

/// `NEG dst`: dst ← 0 - dst.
fn neg<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let zero = m.constant(0);
    let (dst, result) = if i.is_locked() {
        let at = m.address(i);
        let old = m.atomic(AtomicOp::ReverseSub, i.segment, at, i.width, zero)?;
        (old, m.unary(UnaryOp::Neg, i.width, old))
    } else {
        let old = i.read_to_modify(m, 0)?;
        let result = m.unary(UnaryOp::Neg, i.width, old);
        i.write(m, 0, result)?;
        (old, result)
    };
    m.set_flags(FlagRule::Sub, i.width, zero, dst, result);
    Ok(())
}

/// `NOT dst`: every bit inverted; no flags.
fn not<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    if i.is_locked() {
        let (at, ones) = (m.address(i), m.constant(Width::mask(i.width)));
        m.atomic(AtomicOp::Binary(BinaryOp::Xor), i.segment, at, i.width, ones)?;
        return Ok(());
    }
    let old = i.read_to_modify(m, 0)?;
    let result = m.unary(UnaryOp::Not, i.width, old);
    i.write(m, 0, result)
}
