//! Shifts and rotates: SHL SHR SAR SAL ROL ROR RCL RCR SHLD SHRD.
//!
//! Counts are masked to five bits, or six at 64. A masked count of zero leaves the flags alone and still writes the
//! destination, with its old value: the write must be permitted, and clears the upper half of a 32-bit register.
//! SDM: vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD.

use dragoman_state::{RFlags, Width};

use super::super::{
    BinaryOp, FlagRule, Machine, ShiftOp,
    table::{Row, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 10] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Shl,  |m, i| shift(m, i, ShiftOp::Shl, FlagRule::Shl), PLAIN),
        row(Mnemonic::Sal,  |m, i| shift(m, i, ShiftOp::Shl, FlagRule::Shl), PLAIN),
        row(Mnemonic::Shr,  |m, i| shift(m, i, ShiftOp::Shr, FlagRule::Shr), PLAIN),
        row(Mnemonic::Sar,  |m, i| shift(m, i, ShiftOp::Sar, FlagRule::Sar), PLAIN),
        row(Mnemonic::Rol,  |m, i| shift(m, i, ShiftOp::Rol, FlagRule::Rol), PLAIN),
        row(Mnemonic::Ror,  |m, i| shift(m, i, ShiftOp::Ror, FlagRule::Ror), PLAIN),
        row(Mnemonic::Rcl,  |m, i| shift(m, i, ShiftOp::Rcl, FlagRule::Rcl), PLAIN),
        row(Mnemonic::Rcr,  |m, i| shift(m, i, ShiftOp::Rcr, FlagRule::Rcr), PLAIN),
        row(Mnemonic::Shld, |m, i| double(m, i, ShiftOp::Shld, FlagRule::Shld), PLAIN),
        row(Mnemonic::Shrd, |m, i| double(m, i, ShiftOp::Shrd, FlagRule::Shrd), PLAIN),
    ]
}

/// Operand `n`, masked as the width asks.
#[inline(always)]
fn count<M: Machine>(m: &mut M, i: &Insn, n: usize) -> Result<M::Val, Fault> {
    let raw = i.read(m, n)?;
    let mask = m.constant(if i.width == Width::Qword { 63 } else { 31 });
    Ok(m.binary(BinaryOp::And, Width::Byte, raw, mask))
}

/// `op dst, count`.
#[inline(always)]
fn shift<M: Machine>(m: &mut M, i: &Insn, op: ShiftOp, rule: FlagRule) -> Result<(), Fault> {
    let count = count(m, i, 1)?;
    let extra = match op {
        ShiftOp::Rcl | ShiftOp::Rcr => m.flag(RFlags::CF),
        _ => m.constant(0),
    };
    finish(m, i, op, rule, count, extra)
}

/// `op dst, src, count`: bits of src come in as bits of dst go out.
#[inline(always)]
fn double<M: Machine>(m: &mut M, i: &Insn, op: ShiftOp, rule: FlagRule) -> Result<(), Fault> {
    let count = count(m, i, 2)?;
    let src = i.read(m, 1)?;
    finish(m, i, op, rule, count, src)
}

#[inline(always)]
fn finish<M: Machine>(m: &mut M, i: &Insn, op: ShiftOp, rule: FlagRule, count: M::Val, extra: M::Val) -> Result<(), Fault> {
    let dst = i.read_to_modify(m, 0)?;
    let result = m.shift(op, i.width, dst, count, extra);
    i.write(m, 0, result)?;
    m.set_flags(rule, i.width, dst, count, result);
    Ok(())
}
