//! Conversions between formats, and between integers and floating point.
//!
//! Those with an MMX operand check for x87 exceptions first, and make the x87 registers MMX registers last, unless their
//! MMX operand is in memory.
//! SDM: vol. 2, the entries of the names in the tables.

use super::{
    super::{
        Machine,
        table::{Row, code},
    },
    FloatOp, SSE,
    arithmetic::float,
};
use crate::{
    decode::{Code, Insn, Kind},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use FloatOp as F;
    vec![
        code(Code::Cvtps2pd_xmm_xmmm64,   |m, i| float(m, i, F::ToDouble { is_scalar: false }),  SSE),
        code(Code::Cvtss2sd_xmm_xmmm32,   |m, i| float(m, i, F::ToDouble { is_scalar: true }),   SSE),
        code(Code::Cvtpd2ps_xmm_xmmm128,  |m, i| float(m, i, F::ToSingle { is_scalar: false }),  SSE),
        code(Code::Cvtsd2ss_xmm_xmmm64,   |m, i| float(m, i, F::ToSingle { is_scalar: true }),   SSE),
        code(Code::Cvtdq2ps_xmm_xmmm128,  |m, i| float(m, i, F::DwordsToSingle(4)),              SSE),
        code(Code::Cvtdq2pd_xmm_xmmm64,   |m, i| float(m, i, F::DwordsToDouble),                 SSE),
        code(Code::Cvtps2dq_xmm_xmmm128,  |m, i| float(m, i, F::SingleToDwords { lanes: 4, truncate: false }), SSE),
        code(Code::Cvttps2dq_xmm_xmmm128, |m, i| float(m, i, F::SingleToDwords { lanes: 4, truncate: true }),  SSE),
        code(Code::Cvtpd2dq_xmm_xmmm128,  |m, i| float(m, i, F::DoubleToDwords { truncate: false }), SSE),
        code(Code::Cvttpd2dq_xmm_xmmm128, |m, i| float(m, i, F::DoubleToDwords { truncate: true }),  SSE),
        code(Code::Cvtsi2ss_xmm_rm32,     |m, i| from_integer(m, i, false),                      SSE),
        code(Code::Cvtsi2ss_xmm_rm64,     |m, i| from_integer(m, i, false),                      SSE),
        code(Code::Cvtsi2sd_xmm_rm32,     |m, i| from_integer(m, i, true),                       SSE),
        code(Code::Cvtsi2sd_xmm_rm64,     |m, i| from_integer(m, i, true),                       SSE),
        code(Code::Cvtss2si_r32_xmmm32,   |m, i| to_integer(m, i, false, false),                 SSE),
        code(Code::Cvtss2si_r64_xmmm32,   |m, i| to_integer(m, i, false, false),                 SSE),
        code(Code::Cvtsd2si_r32_xmmm64,   |m, i| to_integer(m, i, true, false),                  SSE),
        code(Code::Cvtsd2si_r64_xmmm64,   |m, i| to_integer(m, i, true, false),                  SSE),
        code(Code::Cvttss2si_r32_xmmm32,  |m, i| to_integer(m, i, false, true),                  SSE),
        code(Code::Cvttss2si_r64_xmmm32,  |m, i| to_integer(m, i, false, true),                  SSE),
        code(Code::Cvttsd2si_r32_xmmm64,  |m, i| to_integer(m, i, true, true),                   SSE),
        code(Code::Cvttsd2si_r64_xmmm64,  |m, i| to_integer(m, i, true, true),                   SSE),
        code(Code::Cvtpi2ps_xmm_mmm64,    |m, i| from_mmx(m, i, F::DwordsToSingle(2)),           SSE),
        code(Code::Cvtpi2pd_xmm_mmm64,    |m, i| from_mmx(m, i, F::DwordsToDouble),              SSE),
        code(Code::Cvtps2pi_mm_xmmm64,    |m, i| to_mmx(m, i, F::SingleToDwords { lanes: 2, truncate: false }), SSE),
        code(Code::Cvttps2pi_mm_xmmm64,   |m, i| to_mmx(m, i, F::SingleToDwords { lanes: 2, truncate: true }),  SSE),
        code(Code::Cvtpd2pi_mm_xmmm128,   |m, i| to_mmx(m, i, F::DoubleToDwords { truncate: false }), SSE),
        code(Code::Cvttpd2pi_mm_xmmm128,  |m, i| to_mmx(m, i, F::DoubleToDwords { truncate: true }),  SSE),
    ]
}

/// `CVTSI2SS`, `CVTSI2SD`: a general-purpose register or memory to the lowest lane.
#[inline(always)]
fn from_integer<M: Machine>(m: &mut M, i: &Insn, is_double: bool) -> Result<(), Fault> {
    let (value, zero) = (i.read(m, 1)?, m.constant(0));
    let b = m.vector_of(value, zero);
    let a = m.vector(i.operands[0].register, 0);
    let result = m.float_op(FloatOp::FromInteger { is_double, width: i.operands[1].width }, a, b)?;
    i.write_vector(m, result);
    Ok(())
}

/// `CVTSS2SI`, `CVTSD2SI` and their truncating kin: the lowest lane to a general-purpose register.
#[inline(always)]
fn to_integer<M: Machine>(m: &mut M, i: &Insn, is_double: bool, truncate: bool) -> Result<(), Fault> {
    let b = i.read_vector(m, 1)?;
    let result = m.float_op(FloatOp::ToInteger { is_double, width: i.width, truncate }, b, b)?;
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
    let a = m.vector(i.operands[0].register, 0);
    let result = m.float_op(op, a, b)?;
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
    let b = i.read_vector(m, 1)?;
    let result = m.float_op(op, b, b)?;
    let value = m.quadword(result, 0);
    m.set_mmx(i.operands[0].register, value);
    m.end_mmx();
    Ok(())
}
