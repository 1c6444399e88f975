//! Bit manipulation: ANDN BEXTR BLSI BLSMSK BLSR (BMI1), BZHI MULX PDEP PEXT RORX SARX SHLX SHRX (BMI2).
//!
//! Encoded with VEX and yet of integers: there are none in real and virtual-8086 mode, and what the system enables of the
//! vector state does not matter to them.
//! SDM: vol. 2, the entries of the same names; §2.5.13 (exception type 13).

use dragoman_state::{Gpr, Width};

use super::super::{
    BinaryOp, FlagRule, Machine, ShiftOp, UnaryOp,
    table::{Row, row},
};
use crate::{
    decode::{Attributes, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 13] {
    const VEX: Attributes = Attributes::PROTECTED;
    [
        row(Mnemonic::Andn,   andn,                                       VEX),
        row(Mnemonic::Bextr,  bextr,                                      VEX),
        row(Mnemonic::Blsi,   blsi,                                       VEX),
        row(Mnemonic::Blsmsk, |m, i| less_one(m, i, BinaryOp::Xor),       VEX),
        row(Mnemonic::Blsr,   |m, i| less_one(m, i, BinaryOp::And),       VEX),
        row(Mnemonic::Bzhi,   bzhi,                                       VEX),
        row(Mnemonic::Mulx,   mulx,                                       VEX),
        row(Mnemonic::Pdep,   |m, i| rearrange(m, i, BinaryOp::Deposit),  VEX),
        row(Mnemonic::Pext,   |m, i| rearrange(m, i, BinaryOp::Extract),  VEX),
        row(Mnemonic::Rorx,   |m, i| shift(m, i, ShiftOp::Ror),           VEX),
        row(Mnemonic::Sarx,   |m, i| shift(m, i, ShiftOp::Sar),           VEX),
        row(Mnemonic::Shlx,   |m, i| shift(m, i, ShiftOp::Shl),           VEX),
        row(Mnemonic::Shrx,   |m, i| shift(m, i, ShiftOp::Shr),           VEX),
    ]
}

/// dst ← `result`; CF ← bit 0 of `carry`.
#[inline(always)]
fn finish<M: Machine>(m: &mut M, i: &Insn, carry: M::Val, result: M::Val) -> Result<(), Fault> {
    i.write(m, 0, result)?;
    m.set_flags(FlagRule::Field, i.width, result, carry, result);
    Ok(())
}

/// One where `value` is zero, else zero.
#[inline(always)]
fn is_zero<M: Machine>(m: &mut M, value: M::Val) -> M::Val {
    let zero = m.constant(0);
    m.equal(value, zero)
}

/// One where `value` is not zero, else zero.
#[inline(always)]
fn is_set<M: Machine>(m: &mut M, value: M::Val) -> M::Val {
    let (one, is_zero) = (m.constant(1), is_zero(m, value));
    m.binary(BinaryOp::Xor, Width::Byte, is_zero, one)
}

/// As much of operand 2 as counts: a register or an immediate.
#[inline(always)]
fn low_bits<M: Machine>(m: &mut M, i: &Insn, width: Width) -> Result<M::Val, Fault> {
    let operand = i.operands[2];
    if operand.kind == Kind::Gpr { Ok(m.gpr(Gpr(operand.register), width)) } else { i.read(m, 2) }
}

/// `ANDN dst, a, b`: b where a has zeros.
fn andn<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let a = i.read(m, 1)?;
    let b = i.read(m, 2)?;
    let inverse = m.unary(UnaryOp::Not, i.width, a);
    let result = m.binary(BinaryOp::And, i.width, inverse, b);
    let carry = m.constant(0);
    finish(m, i, carry, result)
}

/// `BEXTR dst, src, control`: of the flags only ZF follows from the result; so it is on processors with SF too, which the
/// manual leaves open.
fn bextr<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let control = low_bits(m, i, Width::Word)?;
    let result = m.binary(BinaryOp::Field, i.width, src, control);
    i.write(m, 0, result)?;
    let zero = m.constant(0);
    m.set_flags(FlagRule::Population, i.width, result, zero, result);
    Ok(())
}

/// `BLSI dst, src`: the lowest bit that is set. CF: there is one.
fn blsi<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let negative = m.unary(UnaryOp::Neg, i.width, src);
    let result = m.binary(BinaryOp::And, i.width, negative, src);
    let carry = is_set(m, src);
    finish(m, i, carry, result)
}

/// `BLSMSK`, `BLSR`: src and src - 1. CF: no bit of src is set.
#[inline(always)]
fn less_one<M: Machine>(m: &mut M, i: &Insn, op: BinaryOp) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let one = m.constant(1);
    let less = m.binary(BinaryOp::Sub, i.width, src, one);
    let result = m.binary(op, i.width, less, src);
    let carry = is_zero(m, src);
    finish(m, i, carry, result)
}

/// `BZHI dst, src, index`: the bits below the one that is named. CF: there is no such bit.
fn bzhi<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let index = low_bits(m, i, Width::Byte)?;
    let result = m.binary(BinaryOp::Below, i.width, src, index);
    let beyond = m.constant(u64::from(0x100 - i.width.bits()));
    let excess = m.binary(BinaryOp::And, Width::Byte, index, beyond);
    let carry = is_set(m, excess);
    finish(m, i, carry, result)
}

/// `MULX high, low, src`: (E/R)DX times src. Where both destinations are one, it holds the high half.
fn mulx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read(m, 2)?;
    let factor = m.gpr(Gpr::RDX, i.width);
    let (low, high) = m.multiply(false, i.width, factor, src);
    i.write(m, 1, low)?;
    i.write(m, 0, high)
}

/// `PDEP dst, src, mask`, `PEXT dst, src, mask`.
#[inline(always)]
fn rearrange<M: Machine>(m: &mut M, i: &Insn, op: BinaryOp) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let mask = i.read(m, 2)?;
    let result = m.binary(op, i.width, src, mask);
    i.write(m, 0, result)
}

/// `RORX`, `SARX`, `SHLX`, `SHRX dst, src, count`: no flags.
#[inline(always)]
fn shift<M: Machine>(m: &mut M, i: &Insn, op: ShiftOp) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let count = low_bits(m, i, Width::Byte)?;
    let (mask, zero) = (m.constant(u64::from(i.width.bits() - 1)), m.constant(0));
    let count = m.binary(BinaryOp::And, Width::Byte, count, mask);
    let result = m.shift(op, i.width, src, count, zero);
    i.write(m, 0, result)
}
