//! Integer arithmetic on vectors: the packed instructions that exist for MMX and for SSE2 registers.
//! SDM: vol. 2, the entries of the names in the tables.

use super::{
    super::{
        Machine,
        table::{Row, code},
    },
    MMX, SSE, VectorOp,
    lanes::Lane::{B, D, Q, W},
};
use crate::{
    decode::{Code, Insn, Kind},
    fault::Fault,
};

/// Rows for the MMX and the SSE2 encoding of one operation.
macro_rules! both {
    ($rows:ident, $op:expr, $mmx:ident, $sse:ident) => {
        $rows.push(code(Code::$mmx, |m: &mut M, i: &Insn| mmx(m, i, $op), MMX));
        $rows.push(code(Code::$sse, |m: &mut M, i: &Insn| sse(m, i, $op), SSE));
    };
}

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use VectorOp as V;
    let mut rows: Vec<Row<M>> = Vec::with_capacity(160);
    both!(rows, V::Add(B),               Paddb_mm_mmm64,   Paddb_xmm_xmmm128);
    both!(rows, V::Add(W),               Paddw_mm_mmm64,   Paddw_xmm_xmmm128);
    both!(rows, V::Add(D),               Paddd_mm_mmm64,   Paddd_xmm_xmmm128);
    both!(rows, V::Add(Q),               Paddq_mm_mmm64,   Paddq_xmm_xmmm128);
    both!(rows, V::Sub(B),               Psubb_mm_mmm64,   Psubb_xmm_xmmm128);
    both!(rows, V::Sub(W),               Psubw_mm_mmm64,   Psubw_xmm_xmmm128);
    both!(rows, V::Sub(D),               Psubd_mm_mmm64,   Psubd_xmm_xmmm128);
    both!(rows, V::Sub(Q),               Psubq_mm_mmm64,   Psubq_xmm_xmmm128);
    both!(rows, V::AddSigned(B),         Paddsb_mm_mmm64,  Paddsb_xmm_xmmm128);
    both!(rows, V::AddSigned(W),         Paddsw_mm_mmm64,  Paddsw_xmm_xmmm128);
    both!(rows, V::AddUnsigned(B),       Paddusb_mm_mmm64, Paddusb_xmm_xmmm128);
    both!(rows, V::AddUnsigned(W),       Paddusw_mm_mmm64, Paddusw_xmm_xmmm128);
    both!(rows, V::SubSigned(B),         Psubsb_mm_mmm64,  Psubsb_xmm_xmmm128);
    both!(rows, V::SubSigned(W),         Psubsw_mm_mmm64,  Psubsw_xmm_xmmm128);
    both!(rows, V::SubUnsigned(B),       Psubusb_mm_mmm64, Psubusb_xmm_xmmm128);
    both!(rows, V::SubUnsigned(W),       Psubusw_mm_mmm64, Psubusw_xmm_xmmm128);
    both!(rows, V::MultiplyLow,          Pmullw_mm_mmm64,  Pmullw_xmm_xmmm128);
    both!(rows, V::MultiplyHigh,         Pmulhw_mm_mmm64,  Pmulhw_xmm_xmmm128);
    both!(rows, V::MultiplyHighUnsigned, Pmulhuw_mm_mmm64, Pmulhuw_xmm_xmmm128);
    both!(rows, V::MultiplyWide,         Pmuludq_mm_mmm64, Pmuludq_xmm_xmmm128);
    both!(rows, V::MultiplyAdd,          Pmaddwd_mm_mmm64, Pmaddwd_xmm_xmmm128);
    both!(rows, V::SumOfDifferences,     Psadbw_mm_mmm64,  Psadbw_xmm_xmmm128);
    both!(rows, V::Average(B),           Pavgb_mm_mmm64,   Pavgb_xmm_xmmm128);
    both!(rows, V::Average(W),           Pavgw_mm_mmm64,   Pavgw_xmm_xmmm128);
    both!(rows, V::MaxUnsigned,          Pmaxub_mm_mmm64,  Pmaxub_xmm_xmmm128);
    both!(rows, V::MinUnsigned,          Pminub_mm_mmm64,  Pminub_xmm_xmmm128);
    both!(rows, V::MaxSigned,            Pmaxsw_mm_mmm64,  Pmaxsw_xmm_xmmm128);
    both!(rows, V::MinSigned,            Pminsw_mm_mmm64,  Pminsw_xmm_xmmm128);
    both!(rows, V::Equal(B),             Pcmpeqb_mm_mmm64, Pcmpeqb_xmm_xmmm128);
    both!(rows, V::Equal(W),             Pcmpeqw_mm_mmm64, Pcmpeqw_xmm_xmmm128);
    both!(rows, V::Equal(D),             Pcmpeqd_mm_mmm64, Pcmpeqd_xmm_xmmm128);
    both!(rows, V::Greater(B),           Pcmpgtb_mm_mmm64, Pcmpgtb_xmm_xmmm128);
    both!(rows, V::Greater(W),           Pcmpgtw_mm_mmm64, Pcmpgtw_xmm_xmmm128);
    both!(rows, V::Greater(D),           Pcmpgtd_mm_mmm64, Pcmpgtd_xmm_xmmm128);
    both!(rows, V::And,                  Pand_mm_mmm64,    Pand_xmm_xmmm128);
    both!(rows, V::AndNot,               Pandn_mm_mmm64,   Pandn_xmm_xmmm128);
    both!(rows, V::Or,                   Por_mm_mmm64,     Por_xmm_xmmm128);
    both!(rows, V::Xor,                  Pxor_mm_mmm64,    Pxor_xmm_xmmm128);
    both!(rows, V::ShiftLeft(W),         Psllw_mm_mmm64,   Psllw_xmm_xmmm128);
    both!(rows, V::ShiftLeft(D),         Pslld_mm_mmm64,   Pslld_xmm_xmmm128);
    both!(rows, V::ShiftLeft(Q),         Psllq_mm_mmm64,   Psllq_xmm_xmmm128);
    both!(rows, V::ShiftRight(W),        Psrlw_mm_mmm64,   Psrlw_xmm_xmmm128);
    both!(rows, V::ShiftRight(D),        Psrld_mm_mmm64,   Psrld_xmm_xmmm128);
    both!(rows, V::ShiftRight(Q),        Psrlq_mm_mmm64,   Psrlq_xmm_xmmm128);
    both!(rows, V::ShiftRightSigned(W),  Psraw_mm_mmm64,   Psraw_xmm_xmmm128);
    both!(rows, V::ShiftRightSigned(D),  Psrad_mm_mmm64,   Psrad_xmm_xmmm128);
    both!(rows, V::ShiftLeft(W),         Psllw_mm_imm8,    Psllw_xmm_imm8);
    both!(rows, V::ShiftLeft(D),         Pslld_mm_imm8,    Pslld_xmm_imm8);
    both!(rows, V::ShiftLeft(Q),         Psllq_mm_imm8,    Psllq_xmm_imm8);
    both!(rows, V::ShiftRight(W),        Psrlw_mm_imm8,    Psrlw_xmm_imm8);
    both!(rows, V::ShiftRight(D),        Psrld_mm_imm8,    Psrld_xmm_imm8);
    both!(rows, V::ShiftRight(Q),        Psrlq_mm_imm8,    Psrlq_xmm_imm8);
    both!(rows, V::ShiftRightSigned(W),  Psraw_mm_imm8,    Psraw_xmm_imm8);
    both!(rows, V::ShiftRightSigned(D),  Psrad_mm_imm8,    Psrad_xmm_imm8);
    rows.push(code(Code::Pslldq_xmm_imm8, |m, i| sse(m, i, V::ShiftBytesLeft),  SSE));
    rows.push(code(Code::Psrldq_xmm_imm8, |m, i| sse(m, i, V::ShiftBytesRight), SSE));
    for form in [Code::Andps_xmm_xmmm128, Code::Andpd_xmm_xmmm128]   { rows.push(code(form, |m, i| sse(m, i, V::And), SSE)); }
    for form in [Code::Andnps_xmm_xmmm128, Code::Andnpd_xmm_xmmm128] { rows.push(code(form, |m, i| sse(m, i, V::AndNot), SSE)); }
    for form in [Code::Orps_xmm_xmmm128, Code::Orpd_xmm_xmmm128]     { rows.push(code(form, |m, i| sse(m, i, V::Or), SSE)); }
    for form in [Code::Xorps_xmm_xmmm128, Code::Xorpd_xmm_xmmm128]   { rows.push(code(form, |m, i| sse(m, i, V::Xor), SSE)); }
    rows
}

/// `op dst, src` on SSE registers; src may be memory, or a count.
#[inline(always)]
pub(super) fn sse<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    let b = if i.operands[1].kind == Kind::Immediate {
        let (count, zero) = (m.constant(i.immediate), m.constant(0));
        m.vector_of(count, zero)
    } else {
        i.read_vector(m, 1)?
    };
    let a = m.vector(i.operands[0].register, 0);
    let result = m.vector_op(op, a, b);
    i.write_vector(m, result);
    Ok(())
}

/// `op dst, src` on MMX registers; src may be memory, or a count.
#[inline(always)]
pub(super) fn mmx<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    m.begin_mmx()?;
    let b = if i.operands[1].kind == Kind::Immediate { m.constant(i.immediate) } else { i.read_mmx(m, 1)? };
    let (a, zero) = (m.mmx(i.operands[0].register), m.constant(0));
    let (a, b) = (m.vector_of(a, zero), m.vector_of(b, zero));
    let result = m.vector_op(op, a, b);
    let result = m.quadword(result, 0);
    m.set_mmx(i.operands[0].register, result);
    m.end_mmx();
    Ok(())
}
