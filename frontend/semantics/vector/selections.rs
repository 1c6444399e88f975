//! Bytes and lanes chosen from two vectors: PSHUFB PALIGNR, the blends, and SSE4a's bit fields.
//! SDM: vol. 2, the entries of the names in the tables; AMD APM: vol. 4, EXTRQ, INSERTQ.

use super::{
    super::{
        Machine,
        table::{Row, code, row},
    },
    AVX, MMX, SSE, TernaryOp, VectorOp, in_parts,
    integer::{packed, packed_by},
    lanes::Lane::{self, B, D, Q, W},
    rearrange::Rearrangement as R,
};
use crate::{
    decode::{Code, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use VectorOp::Rearrange;
    vec![
        code(Code::Pshufb_mm_mmm64,        pshufb_mmx,                                                      MMX),
        code(Code::Pshufb_xmm_xmmm128,     |m, i| packed(m, i, Rearrange(R::ShuffleBytes)),                 SSE),
        row(Mnemonic::Vpshufb,             |m, i| packed(m, i, Rearrange(R::ShuffleBytes)),                 AVX),
        code(Code::Palignr_mm_mmm64_imm8,  palignr_mmx,                                                     MMX),
        code(Code::Palignr_xmm_xmmm128_imm8, |m, i| packed(m, i, Rearrange(R::Align(i.immediate as u8))),   SSE),
        row(Mnemonic::Vpalignr,            |m, i| packed(m, i, Rearrange(R::Align(i.immediate as u8))),     AVX),
        row(Mnemonic::Pblendw,             |m, i| packed(m, i, Rearrange(R::Blend(W, i.immediate as u8))),  SSE),
        row(Mnemonic::Vpblendw,            |m, i| packed(m, i, Rearrange(R::Blend(W, i.immediate as u8))),  AVX),
        row(Mnemonic::Blendps,             |m, i| packed(m, i, Rearrange(R::Blend(D, i.immediate as u8))),  SSE),
        row(Mnemonic::Vblendps,            |m, i| blend_in_turn(m, i, D),                                   AVX),
        row(Mnemonic::Vpblendd,            |m, i| blend_in_turn(m, i, D),                                   AVX),
        row(Mnemonic::Blendpd,             |m, i| packed(m, i, Rearrange(R::Blend(Q, i.immediate as u8))),  SSE),
        row(Mnemonic::Vblendpd,            |m, i| blend_in_turn(m, i, Q),                                   AVX),
        row(Mnemonic::Pblendvb,            |m, i| blend_by_signs(m, i, B),                                  SSE),
        row(Mnemonic::Vpblendvb,           |m, i| blend_by_signs(m, i, B),                                  AVX),
        row(Mnemonic::Blendvps,            |m, i| blend_by_signs(m, i, D),                                  SSE),
        row(Mnemonic::Vblendvps,           |m, i| blend_by_signs(m, i, D),                                  AVX),
        row(Mnemonic::Blendvpd,            |m, i| blend_by_signs(m, i, Q),                                  SSE),
        row(Mnemonic::Vblendvpd,           |m, i| blend_by_signs(m, i, Q),                                  AVX),
        code(Code::Extrq_xmm_imm8_imm8,    |m, i| bit_field(m, i, R::ExtractBits),                          SSE),
        code(Code::Extrq_xmm_xmm,          |m, i| packed(m, i, Rearrange(R::ExtractBits)),                  SSE),
        code(Code::Insertq_xmm_xmm_imm8_imm8, |m, i| bit_field(m, i, R::InsertBits),                        SSE),
        code(Code::Insertq_xmm_xmm,        |m, i| packed(m, i, Rearrange(R::InsertBits)),                   SSE),
    ]
}

/// A blend whose immediate has bits of its own for each part.
#[inline(always)]
fn blend_in_turn<M: Machine>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    let count = (128 / lane.bits()) as u8;
    packed_by(m, i, |part| VectorOp::Rearrange(R::Blend(lane, i.immediate as u8 >> (count * part))))
}

/// `BLENDVPS dst, src` by XMM0, and `VBLENDVPS dst, a, src, signs`, and their kin.
#[inline(always)]
fn blend_by_signs<M: Machine>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    in_parts!(i, blend_parts::<M>(m, i, lane))
}

#[inline(always)]
fn blend_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    let (first, second) = i.sources();
    let b = i.read_vector::<M, N>(m, second)?;
    let a: [M::Vec; N] = i.register(m, first);
    let signs = if i.is_vex() { i.operands[3].register } else { 0 };
    let result: [M::Vec; N] = std::array::from_fn(|n| {
        let signs = m.vector(signs, n);
        m.ternary_op(TernaryOp::Blend(lane), a[n], b[n], signs)
    });
    i.write_vector(m, result);
    Ok(())
}

/// `PSHUFB` of MMX registers: with the first operand twice, the fourth bit of a choice makes no difference.
fn pshufb_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let (b, zero) = (i.read_mmx(m, 1)?, m.constant(0));
    let a = m.mmx(i.operands[0].register);
    let (twice, choices) = (m.vector_of(a, a), m.vector_of(b, zero));
    let result = m.vector_op(VectorOp::Rearrange(R::ShuffleBytes), twice, choices);
    let result = m.quadword(result, 0);
    m.set_mmx(i.operands[0].register, result);
    m.end_mmx();
    Ok(())
}

/// `PALIGNR` of MMX registers: both of them are one vector.
fn palignr_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let b = i.read_mmx(m, 1)?;
    let a = m.mmx(i.operands[0].register);
    let (count, zero) = (m.constant(i.immediate), m.constant(0));
    let (both, count) = (m.vector_of(b, a), m.vector_of(count, zero));
    let result = m.vector_op(VectorOp::ShiftBytesRight, both, count);
    let result = m.quadword(result, 0);
    m.set_mmx(i.operands[0].register, result);
    m.end_mmx();
    Ok(())
}

/// `EXTRQ dst, length, index` and `INSERTQ dst, src, length, index`: the field is where the forms with a register have it.
fn bit_field<M: Machine>(m: &mut M, i: &Insn, op: R) -> Result<(), Fault> {
    let [a] = i.register(m, 0);
    let field = m.constant(i.immediate);
    let low = if i.operands[1].kind == Kind::Vector {
        let [src] = i.register(m, 1);
        m.quadword(src, 0)
    } else {
        field
    };
    let b = m.vector_of(low, field);
    let result = m.vector_op(VectorOp::Rearrange(op), a, b);
    i.write_vector(m, [result]);
    Ok(())
}
