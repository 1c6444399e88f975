//! Single bits: BT BTS BTR BTC BSF BSR, and POPCNT LZCNT TZCNT, which count them; CRC32, which divides them.
//!
//! A bit number in a register selects a bit of a string in memory that reaches far beyond the operand; an immediate one
//! stays within it.
//! SDM: vol. 2, the entries of the same names; vol. 1 §3.1.1.9 (bit addressing).

use dragoman_state::{Gpr, Width};

use super::super::{
    AtomicOp, BinaryOp, FlagRule, Machine, ShiftOp, UnaryOp,
    table::{Row, row},
};
use crate::{
    decode::{Attributes, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 10] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Bt,     bt,                                                       PLAIN),
        row(Mnemonic::Bts,    |m, i| update(m, i, Change::Set),                         PLAIN),
        row(Mnemonic::Btr,    |m, i| update(m, i, Change::Reset),                       PLAIN),
        row(Mnemonic::Btc,    |m, i| update(m, i, Change::Complement),                  PLAIN),
        row(Mnemonic::Bsf,    |m, i| scan(m, i, true),                                  PLAIN),
        row(Mnemonic::Bsr,    |m, i| scan(m, i, false),                                 PLAIN),
        row(Mnemonic::Tzcnt,  |m, i| count(m, i, UnaryOp::TrailingZeros, FlagRule::Count), PLAIN),
        row(Mnemonic::Lzcnt,  |m, i| count(m, i, UnaryOp::LeadingZeros, FlagRule::Count),  PLAIN),
        row(Mnemonic::Popcnt, |m, i| count(m, i, UnaryOp::Population, FlagRule::Population), PLAIN),
        row(Mnemonic::Crc32,  crc32,                                                    PLAIN),
    ]
}

/// The offset of the operand-sized piece of memory that holds the bit, and the bit's number within it.
fn locate<M: Machine>(m: &mut M, i: &Insn) -> Result<(M::Val, M::Val), Fault> {
    let number = i.read(m, 1)?;
    let mask = m.constant(u64::from(i.width.bits() - 1));
    let bit = m.binary(BinaryOp::And, i.width, number, mask);
    let at = m.address(i);
    if i.operands[1].kind == Kind::Immediate {
        return Ok((at, bit));
    }
    // The bit number is signed: pieces before the operand are reached too.
    let number = m.sign_extend(i.width, Width::Qword, number);
    let (count, zero) = (m.constant(u64::from(i.width.bits().trailing_zeros())), m.constant(0));
    let piece = m.shift(ShiftOp::Sar, Width::Qword, number, count, zero);
    let size = m.constant(u64::from(i.width.bytes().trailing_zeros()));
    let delta = m.shift(ShiftOp::Shl, Width::Qword, piece, size, zero);
    Ok((m.binary(BinaryOp::Add, i.address_width, at, delta), bit))
}

/// The bit's number within a register operand.
fn register_bit<M: Machine>(m: &mut M, i: &Insn) -> Result<M::Val, Fault> {
    let number = i.read(m, 1)?;
    let mask = m.constant(u64::from(i.width.bits() - 1));
    Ok(m.binary(BinaryOp::And, i.width, number, mask))
}

/// CF ← the bit.
#[inline(always)]
fn set_carry<M: Machine>(m: &mut M, i: &Insn, value: M::Val, bit: M::Val) {
    let zero = m.constant(0);
    let shifted = m.shift(ShiftOp::Shr, i.width, value, bit, zero);
    m.set_flags(FlagRule::Bit, i.width, value, shifted, zero);
}

/// `BT string, number`.
fn bt<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let (value, bit) = if i.is_memory(0) {
        let (at, bit) = locate(m, i)?;
        (m.load(i.segment, at, i.width)?, bit)
    } else {
        (i.read(m, 0)?, register_bit(m, i)?)
    };
    set_carry(m, i, value, bit);
    Ok(())
}

/// What becomes of the bit.
#[derive(Clone, Copy)]
enum Change {
    Set,
    Reset,
    Complement,
}

/// `BTS`, `BTR`, `BTC`: CF ← the bit, then the bit is changed.
#[inline(always)]
fn update<M: Machine>(m: &mut M, i: &Insn, change: Change) -> Result<(), Fault> {
    let place = if i.is_memory(0) { Some(locate(m, i)?) } else { None };
    let bit = match place {
        Some((_, bit)) => bit,
        None => register_bit(m, i)?,
    };
    let (one, zero) = (m.constant(1), m.constant(0));
    let single = m.shift(ShiftOp::Shl, i.width, one, bit, zero);
    let (op, operand) = match change {
        Change::Set => (BinaryOp::Or, single),
        Change::Reset => (BinaryOp::And, m.unary(UnaryOp::Not, i.width, single)),
        Change::Complement => (BinaryOp::Xor, single),
    };
    let old = match place {
        Some((at, _)) if i.is_locked() => m.atomic(AtomicOp::Binary(op), i.segment, at, i.width, operand)?,
        Some((at, _)) => {
            let old = m.load_to_modify(i.segment, at, i.width)?;
            let new = m.binary(op, i.width, old, operand);
            m.store(i.segment, at, i.width, new)?;
            old
        }
        None => {
            let old = i.read(m, 0)?;
            let new = m.binary(op, i.width, old, operand);
            i.write(m, 0, new)?;
            old
        }
    };
    set_carry(m, i, old, bit);
    Ok(())
}

/// `BSF`, `BSR`: the number of the lowest or highest bit that is set. Where none is, ZF is set and the destination keeps
/// its value; a 32-bit destination keeps its upper half too.
#[inline(always)]
fn scan<M: Machine>(m: &mut M, i: &Insn, forward: bool) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let found = if forward {
        m.unary(UnaryOp::TrailingZeros, i.width, src)
    } else {
        let zeros = m.unary(UnaryOp::LeadingZeros, i.width, src);
        let highest = m.constant(u64::from(i.width.bits() - 1));
        m.binary(BinaryOp::Sub, i.width, highest, zeros)
    };
    let zero = m.constant(0);
    let is_empty = m.equal(src, zero);
    let register = Gpr(i.operands[0].register);
    let whole = if i.width == Width::Word { Width::Word } else { Width::Qword };
    let old = m.gpr(register, whole);
    let value = m.select(is_empty, old, found);
    m.set_gpr(register, whole, value);
    m.set_flags(FlagRule::Scan, i.width, src, zero, found);
    Ok(())
}

/// `TZCNT`, `LZCNT`, `POPCNT`.
#[inline(always)]
fn count<M: Machine>(m: &mut M, i: &Insn, op: UnaryOp, rule: FlagRule) -> Result<(), Fault> {
    let src = i.read(m, 1)?;
    let result = m.unary(op, i.width, src);
    i.write(m, 0, result)?;
    let zero = m.constant(0);
    m.set_flags(rule, i.width, src, zero, result);
    Ok(())
}

/// `CRC32 sum, src`: sum is of 32 bits, whatever the width of src and of the destination. No flags.
fn crc32<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let data = i.read(m, 1)?;
    let register = Gpr(i.operands[0].register);
    let sum = m.gpr(register, Width::Dword);
    let result = m.binary(BinaryOp::Checksum, i.operands[1].width, sum, data);
    m.set_gpr(register, Width::Dword, result);
    Ok(())
}
