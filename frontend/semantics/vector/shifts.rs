//! Shifts of vectors: all lanes by one count, each lane by its own, and whole registers by bytes.
//! SDM: vol. 2, PSLLW/PSLLD/PSLLQ and their kin, PSLLDQ, PSRLDQ, VPSLLVD/VPSLLVQ and their kin.

use super::{
    super::{
        Machine,
        table::{Row, code, row},
    },
    AVX, MMX, SSE, VectorOp, in_parts,
    integer::{mmx, mmx_with, packed},
    lanes::Lane::{D, Q, W},
};
use crate::{
    decode::{Code, Insn, Kind, Mnemonic},
    fault::Fault,
};

/// Rows for one operation: by a vector's low quadword and by an immediate, on MMX, SSE2 and AVX registers.
macro_rules! by_one_count {
    ($rows:ident, $op:expr, $mmx:ident $mmx_count:ident, $sse:ident $sse_count:ident, $vex:ident) => {
        $rows.push(code(Code::$mmx, |m: &mut M, i: &Insn| mmx(m, i, $op), MMX));
        $rows.push(code(Code::$mmx_count, |m: &mut M, i: &Insn| mmx_by_immediate(m, i, $op), MMX));
        $rows.push(code(Code::$sse, |m: &mut M, i: &Insn| shift(m, i, $op), SSE));
        $rows.push(code(Code::$sse_count, |m: &mut M, i: &Insn| shift(m, i, $op), SSE));
        $rows.push(row(Mnemonic::$vex, |m: &mut M, i: &Insn| shift(m, i, $op), AVX));
    };
}

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use VectorOp as V;
    let mut rows: Vec<Row<M>> = vec![
        row(Mnemonic::Pslldq,  |m, i| shift(m, i, V::ShiftBytesLeft),  SSE),
        row(Mnemonic::Psrldq,  |m, i| shift(m, i, V::ShiftBytesRight), SSE),
        row(Mnemonic::Vpslldq, |m, i| shift(m, i, V::ShiftBytesLeft),  AVX),
        row(Mnemonic::Vpsrldq, |m, i| shift(m, i, V::ShiftBytesRight), AVX),
        row(Mnemonic::Vpsllvd, |m, i| packed(m, i, V::ShiftLeftEach(D)),        AVX),
        row(Mnemonic::Vpsllvq, |m, i| packed(m, i, V::ShiftLeftEach(Q)),        AVX),
        row(Mnemonic::Vpsrlvd, |m, i| packed(m, i, V::ShiftRightEach(D)),       AVX),
        row(Mnemonic::Vpsrlvq, |m, i| packed(m, i, V::ShiftRightEach(Q)),       AVX),
        row(Mnemonic::Vpsravd, |m, i| packed(m, i, V::ShiftRightSignedEach(D)), AVX),
    ];
    by_one_count!(rows, V::ShiftLeft(W),        Psllw_mm_mmm64 Psllw_mm_imm8, Psllw_xmm_xmmm128 Psllw_xmm_imm8, Vpsllw);
    by_one_count!(rows, V::ShiftLeft(D),        Pslld_mm_mmm64 Pslld_mm_imm8, Pslld_xmm_xmmm128 Pslld_xmm_imm8, Vpslld);
    by_one_count!(rows, V::ShiftLeft(Q),        Psllq_mm_mmm64 Psllq_mm_imm8, Psllq_xmm_xmmm128 Psllq_xmm_imm8, Vpsllq);
    by_one_count!(rows, V::ShiftRight(W),       Psrlw_mm_mmm64 Psrlw_mm_imm8, Psrlw_xmm_xmmm128 Psrlw_xmm_imm8, Vpsrlw);
    by_one_count!(rows, V::ShiftRight(D),       Psrld_mm_mmm64 Psrld_mm_imm8, Psrld_xmm_xmmm128 Psrld_xmm_imm8, Vpsrld);
    by_one_count!(rows, V::ShiftRight(Q),       Psrlq_mm_mmm64 Psrlq_mm_imm8, Psrlq_xmm_xmmm128 Psrlq_xmm_imm8, Vpsrlq);
    by_one_count!(rows, V::ShiftRightSigned(W), Psraw_mm_mmm64 Psraw_mm_imm8, Psraw_xmm_xmmm128 Psraw_xmm_imm8, Vpsraw);
    by_one_count!(rows, V::ShiftRightSigned(D), Psrad_mm_mmm64 Psrad_mm_imm8, Psrad_xmm_xmmm128 Psrad_xmm_imm8, Vpsrad);
    rows
}

/// All lanes of all parts by one count: an immediate, or the low quadword of a register or of sixteen bytes.
#[inline(always)]
fn shift<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    in_parts!(i, shift_parts::<M>(m, i, op))
}

#[inline(always)]
fn shift_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    let (first, second) = i.sources();
    let count = if i.operands[second].kind == Kind::Immediate {
        let (count, zero) = (m.constant(i.immediate), m.constant(0));
        m.vector_of(count, zero)
    } else {
        let [count] = i.read_vector::<M, 1>(m, second)?;
        count
    };
    let a: [M::Vec; N] = i.register(m, first);
    let result: [M::Vec; N] = a.map(|part| m.vector_op(op, part, count));
    i.write_vector(m, result);
    Ok(())
}

#[inline(always)]
fn mmx_by_immediate<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    m.begin_mmx()?;
    let count = m.constant(i.immediate);
    mmx_with(m, i, op, count)
}
