//! Conversions between formats, and between integers and floating point.
//!
//! Those with an MMX operand check for x87 exceptions first, and make the x87 registers MMX registers last, unless their
//! MMX operand is in memory.
//! SDM: vol. 2, the entries of the names in the tables.

use super::{
    super::{
        Machine,
        table::{Row, row},
    },
    AVX, FloatOp, SSE, VectorOp,
    arithmetic::{float, float_of_one},
};
use crate::{
    decode::{Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use FloatOp as F;
    vec![
        row(Mnemonic::Cvtps2pd,   |m, i| widen(m, i, F::ToDouble { is_scalar: false }), SSE),
        row(Mnemonic::Vcvtps2pd,  |m, i| widen(m, i, F::ToDouble { is_scalar: false }), AVX),
        row(Mnemonic::Cvtss2sd,   |m, i| float(m, i, F::ToDouble { is_scalar: true }),  SSE),
        row(Mnemonic::Vcvtss2sd,  |m, i| float(m, i, F::ToDouble { is_scalar: true }),  AVX),
        row(Mnemonic::Cvtpd2ps,   |m, i| narrow(m, i, F::ToSingle { is_scalar: false }), SSE),
        row(Mnemonic::Vcvtpd2ps,  |m, i| narrow(m, i, F::ToSingle { is_scalar: false }), AVX),
        row(Mnemonic::Cvtsd2ss,   |m, i| float(m, i, F::ToSingle { is_scalar: true }),  SSE),
        row(Mnemonic::Vcvtsd2ss,  |m, i| float(m, i, F::ToSingle { is_scalar: true }),  AVX),
        row(Mnemonic::Cvtdq2ps,   |m, i| float_of_one(m, i, F::DwordsToSingle(4)), SSE),
        row(Mnemonic::Vcvtdq2ps,  |m, i| float_of_one(m, i, F::DwordsToSingle(4)), AVX),
        row(Mnemonic::Cvtdq2pd,   |m, i| widen(m, i, F::DwordsToDouble), SSE),
        row(Mnemonic::Vcvtdq2pd,  |m, i| widen(m, i, F::DwordsToDouble), AVX),
        row(Mnemonic::Cvtps2dq,   |m, i| float_of_one(m, i, F::SingleToDwords { lanes: 4, truncate: false }), SSE),
        row(Mnemonic::Vcvtps2dq,  |m, i| float_of_one(m, i, F::SingleToDwords { lanes: 4, truncate: false }), AVX),
        row(Mnemonic::Cvttps2dq,  |m, i| float_of_one(m, i, F::SingleToDwords { lanes: 4, truncate: true }),  SSE),
        row(Mnemonic::Vcvttps2dq, |m, i| float_of_one(m, i, F::SingleToDwords { lanes: 4, truncate: true }),  AVX),
        row(Mnemonic::Cvtpd2dq,   |m, i| narrow(m, i, F::DoubleToDwords { truncate: false }), SSE),
        row(Mnemonic::Vcvtpd2dq,  |m, i| narrow(m, i, F::DoubleToDwords { truncate: false }), AVX),
        row(Mnemonic::Cvttpd2dq,  |m, i| narrow(m, i, F::DoubleToDwords { truncate: true }),  SSE),
        row(Mnemonic::Vcvttpd2dq, |m, i| narrow(m, i, F::DoubleToDwords { truncate: true }),  AVX),
        row(Mnemonic::Cvtsi2ss,   |m, i| from_integer(m, i, false), SSE),
        row(Mnemonic::Vcvtsi2ss,  |m, i| from_integer(m, i, false), AVX),
        row(Mnemonic::Cvtsi2sd,   |m, i| from_integer(m, i, true),  SSE),
        row(Mnemonic::Vcvtsi2sd,  |m, i| from_integer(m, i, true),  AVX),
        row(Mnemonic::Cvtss2si,   |m, i| to_integer(m, i, false, false), SSE),
        row(Mnemonic::Vcvtss2si,  |m, i| to_integer(m, i, false, false), AVX),
        row(Mnemonic::Cvtsd2si,   |m, i| to_integer(m, i, true, false),  SSE),
        row(Mnemonic::Vcvtsd2si,  |m, i| to_integer(m, i, true, false),  AVX),
        row(Mnemonic::Cvttss2si,  |m, i| to_integer(m, i, false, true),  SSE),
        row(Mnemonic::Vcvttss2si, |m, i| to_integer(m, i, false, true),  AVX),
        row(Mnemonic::Cvttsd2si,  |m, i| to_integer(m, i, true, true),   SSE),
        row(Mnemonic::Vcvttsd2si, |m, i| to_integer(m, i, true, true),   AVX),
        row(Mnemonic::Cvtpi2ps,   |m, i| from_mmx(m, i, F::DwordsToSingle(2)), SSE),
        row(Mnemonic::Cvtpi2pd,   |m, i| from_mmx(m, i, F::DwordsToDouble),    SSE),
        row(Mnemonic::Cvtps2pi,   |m, i| to_mmx(m, i, F::SingleToDwords { lanes: 2, truncate: false }), SSE),
        row(Mnemonic::Cvttps2pi,  |m, i| to_mmx(m, i, F::SingleToDwords { lanes: 2, truncate: true }),  SSE),
        row(Mnemonic::Cvtpd2pi,   |m, i| to_mmx(m, i, F::DoubleToDwords { truncate: false }), SSE),
        row(Mnemonic::Cvttpd2pi,  |m, i| to_mmx(m, i, F::DoubleToDwords { truncate: true }),  SSE),
    ]
}

/// To lanes twice as wide: as many of the source's as the destination holds.
#[inline(always)]
pub(super) fn widen<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let [b] = i.read_vector::<M, 1>(m, 1)?;
    if i.is_wide() {
        let above = m.vector_op(VectorOp::HighToLow, b, b);
        let result = m.float_op(op, [b, above], [b, above])?;
        i.write_vector(m, result);
    } else {
        let result = m.float_op(op, [b], [b])?;
        i.write_vector(m, result);
    }
    Ok(())
}

/// To lanes half as wide, zeros above.
#[inline(always)]
pub(super) fn narrow<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let result = if i.is_wide() {
        let b = i.read_vector::<M, 2>(m, 1)?;
        let [low, high] = m.float_op(op, b, b)?;
        m.vector_op(VectorOp::LowToHigh, low, high)
    } else {
        let b = i.read_vector::<M, 1>(m, 1)?;
        let [low] = m.float_op(op, b, b)?;
        low
    };
    i.write_vector(m, [result]);
    Ok(())
}

/// `CVTSI2SS`, `CVTSI2SD`: a general-purpose register or memory to the lowest lane.
#[inline(always)]
fn from_integer<M: Machine>(m: &mut M, i: &Insn, is_double: bool) -> Result<(), Fault> {
    let (first, second) = i.sources();
    let (value, zero) = (i.read(m, second)?, m.constant(0));
    let b = m.vector_of(value, zero);
    let a = i.register(m, first);
    let result = m.float_op(FloatOp::FromInteger { is_double, width: i.operands[second].width }, a, [b])?;
    i.write_vector(m, result);
    Ok(())
}

/// `CVTSS2SI`, `CVTSD2SI` and their truncating kin: the lowest lane to a general-purpose register.
#[inline(always)]
fn to_integer<M: Machine>(m: &mut M, i: &Insn, is_double: bool, truncate: bool) -> Result<(), Fault> {
    let b = i.read_vector::<M, 1>(m, 1)?;
    let [result] = m.float_op(FloatOp::ToInteger { is_double, width: i.width, truncate }, b, b)?;
    let value = m.quadword(result, 0);
    i.write(m, 0, value)
}

/// `CVTPI2PS`, `CVTPI2PD`: two doublewords of an MMX register or memory.
#[inline(always)]
fn from_mmx<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let is_register = i.operands[1].kind == Kind::Mmx;
    // With memory, no MMX register is in it, and the x87 unit is left alone.
    if is_register {
        m.begin_mmx()?;
    }
    let (value, zero) = (i.read_mmx(m, 1)?, m.constant(0));
    let b = m.vector_of(value, zero);
    let a = i.register(m, 0);
    let result = m.float_op(op, a, [b])?;
    i.write_vector(m, result);
    if is_register {
        m.end_mmx();
    }
    Ok(())
}

/// `CVTPS2PI`, `CVTPD2PI` and their truncating kin: to two doublewords of an MMX register.
#[inline(always)]
fn to_mmx<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    m.begin_mmx()?;
    let b = i.read_vector::<M, 1>(m, 1)?;
    let [result] = m.float_op(op, b, b)?;
    let value = m.quadword(result, 0);
    m.set_mmx(i.operands[0].register, value);
    m.end_mmx();
    Ok(())
}
