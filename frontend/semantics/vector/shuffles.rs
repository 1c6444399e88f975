//! Lanes moved about: UNPCK PUNPCK PACK SHUF PSHUF, and the sign masks.
//! SDM: vol. 2, the entries of the names in the tables.

use dragoman_state::Width;

use super::{
    super::{
        BinaryOp, Machine, ShiftOp,
        table::{Row, code, row},
    },
    AVX, MMX, SSE, VectorOp, in_parts,
    integer::{packed, packed_by, packed_of_one},
    lanes::Lane::{self, B, D, Q, W},
};
use crate::{
    decode::{Code, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use VectorOp as V;
    vec![
        code(Code::Punpcklbw_xmm_xmmm128,  |m, i| packed(m, i, V::UnpackLow(B)), SSE),
        row(Mnemonic::Vpunpcklbw,          |m, i| packed(m, i, V::UnpackLow(B)), AVX),
        code(Code::Punpcklbw_mm_mmm32,     |m, i| unpack_mmx(m, i, V::UnpackLow(B), 0), MMX),
        code(Code::Punpcklwd_xmm_xmmm128,  |m, i| packed(m, i, V::UnpackLow(W)), SSE),
        row(Mnemonic::Vpunpcklwd,          |m, i| packed(m, i, V::UnpackLow(W)), AVX),
        code(Code::Punpcklwd_mm_mmm32,     |m, i| unpack_mmx(m, i, V::UnpackLow(W), 0), MMX),
        code(Code::Punpckldq_xmm_xmmm128,  |m, i| packed(m, i, V::UnpackLow(D)), SSE),
        row(Mnemonic::Vpunpckldq,          |m, i| packed(m, i, V::UnpackLow(D)), AVX),
        code(Code::Punpckldq_mm_mmm32,     |m, i| unpack_mmx(m, i, V::UnpackLow(D), 0), MMX),
        code(Code::Punpckhbw_xmm_xmmm128,  |m, i| packed(m, i, V::UnpackHigh(B)), SSE),
        row(Mnemonic::Vpunpckhbw,          |m, i| packed(m, i, V::UnpackHigh(B)), AVX),
        code(Code::Punpckhbw_mm_mmm64,     |m, i| unpack_mmx(m, i, V::UnpackLow(B), 1), MMX),
        code(Code::Punpckhwd_xmm_xmmm128,  |m, i| packed(m, i, V::UnpackHigh(W)), SSE),
        row(Mnemonic::Vpunpckhwd,          |m, i| packed(m, i, V::UnpackHigh(W)), AVX),
        code(Code::Punpckhwd_mm_mmm64,     |m, i| unpack_mmx(m, i, V::UnpackLow(W), 1), MMX),
        code(Code::Punpckhdq_xmm_xmmm128,  |m, i| packed(m, i, V::UnpackHigh(D)), SSE),
        row(Mnemonic::Vpunpckhdq,          |m, i| packed(m, i, V::UnpackHigh(D)), AVX),
        code(Code::Punpckhdq_mm_mmm64,     |m, i| unpack_mmx(m, i, V::UnpackLow(D), 1), MMX),
        code(Code::Packsswb_xmm_xmmm128,   |m, i| packed(m, i, V::PackSignedWords), SSE),
        row(Mnemonic::Vpacksswb,           |m, i| packed(m, i, V::PackSignedWords), AVX),
        code(Code::Packsswb_mm_mmm64,      |m, i| pack_mmx(m, i, V::PackSignedWords), MMX),
        code(Code::Packssdw_xmm_xmmm128,   |m, i| packed(m, i, V::PackSignedDwords), SSE),
        row(Mnemonic::Vpackssdw,           |m, i| packed(m, i, V::PackSignedDwords), AVX),
        code(Code::Packssdw_mm_mmm64,      |m, i| pack_mmx(m, i, V::PackSignedDwords), MMX),
        code(Code::Packuswb_xmm_xmmm128,   |m, i| packed(m, i, V::PackUnsignedWords), SSE),
        row(Mnemonic::Vpackuswb,           |m, i| packed(m, i, V::PackUnsignedWords), AVX),
        code(Code::Packuswb_mm_mmm64,      |m, i| pack_mmx(m, i, V::PackUnsignedWords), MMX),
        row(Mnemonic::Punpcklqdq,          |m, i| packed(m, i, V::UnpackLow(Q)), SSE),
        row(Mnemonic::Vpunpcklqdq,         |m, i| packed(m, i, V::UnpackLow(Q)), AVX),
        row(Mnemonic::Punpckhqdq,          |m, i| packed(m, i, V::UnpackHigh(Q)), SSE),
        row(Mnemonic::Vpunpckhqdq,         |m, i| packed(m, i, V::UnpackHigh(Q)), AVX),
        row(Mnemonic::Unpcklps,            |m, i| packed(m, i, V::UnpackLow(D)), SSE),
        row(Mnemonic::Vunpcklps,           |m, i| packed(m, i, V::UnpackLow(D)), AVX),
        row(Mnemonic::Unpcklpd,            |m, i| packed(m, i, V::UnpackLow(Q)), SSE),
        row(Mnemonic::Vunpcklpd,           |m, i| packed(m, i, V::UnpackLow(Q)), AVX),
        row(Mnemonic::Unpckhps,            |m, i| packed(m, i, V::UnpackHigh(D)), SSE),
        row(Mnemonic::Vunpckhps,           |m, i| packed(m, i, V::UnpackHigh(D)), AVX),
        row(Mnemonic::Unpckhpd,            |m, i| packed(m, i, V::UnpackHigh(Q)), SSE),
        row(Mnemonic::Vunpckhpd,           |m, i| packed(m, i, V::UnpackHigh(Q)), AVX),
        row(Mnemonic::Pshufd,              |m, i| packed_of_one(m, i, V::ShuffleDwords(i.immediate as u8)), SSE),
        row(Mnemonic::Vpshufd,             |m, i| packed_of_one(m, i, V::ShuffleDwords(i.immediate as u8)), AVX),
        row(Mnemonic::Pshuflw,             |m, i| packed_of_one(m, i, V::ShuffleLowWords(i.immediate as u8)), SSE),
        row(Mnemonic::Vpshuflw,            |m, i| packed_of_one(m, i, V::ShuffleLowWords(i.immediate as u8)), AVX),
        row(Mnemonic::Pshufhw,             |m, i| packed_of_one(m, i, V::ShuffleHighWords(i.immediate as u8)), SSE),
        row(Mnemonic::Vpshufhw,            |m, i| packed_of_one(m, i, V::ShuffleHighWords(i.immediate as u8)), AVX),
        row(Mnemonic::Shufps,              |m, i| packed(m, i, V::ShuffleSingles(i.immediate as u8)), SSE),
        row(Mnemonic::Vshufps,             |m, i| packed(m, i, V::ShuffleSingles(i.immediate as u8)), AVX),
        row(Mnemonic::Shufpd,              |m, i| packed_by(m, i, |part| V::ShuffleDoubles(i.immediate as u8 >> (2 * part))), SSE),
        row(Mnemonic::Vshufpd,             |m, i| packed_by(m, i, |part| V::ShuffleDoubles(i.immediate as u8 >> (2 * part))), AVX),
        code(Code::Pshufw_mm_mmm64_imm8,   pshufw_mmx, MMX),
        row(Mnemonic::Movmskps,            |m, i| signs(m, i, D), SSE),
        row(Mnemonic::Vmovmskps,           |m, i| signs(m, i, D), AVX),
        row(Mnemonic::Movmskpd,            |m, i| signs(m, i, Q), SSE),
        row(Mnemonic::Vmovmskpd,           |m, i| signs(m, i, Q), AVX),
        code(Code::Pmovmskb_r32_xmm,       |m, i| signs(m, i, B), SSE),
        code(Code::Pmovmskb_r64_xmm,       |m, i| signs(m, i, B), SSE),
        row(Mnemonic::Vpmovmskb,           |m, i| signs(m, i, B), AVX),
        code(Code::Pmovmskb_r32_mm,        signs_mmx, MMX),
        code(Code::Pmovmskb_r64_mm,        signs_mmx, MMX),
    ]
}

/// Operand `n`, an MMX register or memory, as the low half of a vector.
fn wide<M: Machine>(m: &mut M, i: &Insn, n: usize) -> Result<M::Vec, Fault> {
    let (value, zero) = (i.read_mmx(m, n)?, m.constant(0));
    Ok(m.vector_of(value, zero))
}

fn finish_mmx<M: Machine>(m: &mut M, i: &Insn, result: M::Vec, half: usize) -> Result<(), Fault> {
    let result = m.quadword(result, half);
    m.set_mmx(i.operands[0].register, result);
    m.end_mmx();
    Ok(())
}

/// Lanes of two MMX registers, alternating: all of them make a vector, of which one half is wanted.
#[inline(always)]
fn unpack_mmx<M: Machine>(m: &mut M, i: &Insn, op: VectorOp, half: usize) -> Result<(), Fault> {
    m.begin_mmx()?;
    let (a, b) = (wide(m, i, 0)?, wide(m, i, 1)?);
    let all = m.vector_op(op, a, b);
    finish_mmx(m, i, all, half)
}

/// Both MMX operands side by side are one vector, whose lanes, or pairs of them, are to be packed.
#[inline(always)]
pub(super) fn pack_mmx<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    m.begin_mmx()?;
    let (a, b) = (i.read_mmx(m, 0)?, i.read_mmx(m, 1)?);
    let both = m.vector_of(a, b);
    let packed = m.vector_op(op, both, both);
    finish_mmx(m, i, packed, 0)
}

/// `PSHUFW dst, src, order`.
fn pshufw_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let src = wide(m, i, 1)?;
    let shuffled = m.vector_op(VectorOp::ShuffleLowWords(i.immediate as u8), src, src);
    finish_mmx(m, i, shuffled, 0)
}

/// `PMOVMSKB`, `MOVMSKPS`, `MOVMSKPD`: the sign bits of the lanes.
#[inline(always)]
fn signs<M: Machine>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    in_parts!(i, signs_of_parts::<M>(m, i, lane))
}

#[inline(always)]
fn signs_of_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    let src: [M::Vec; N] = i.register(m, 1);
    let mut mask = m.constant(0);
    for (n, part) in src.into_iter().enumerate() {
        let signs = m.vector_op(VectorOp::Signs(lane), part, part);
        let (signs, count, zero) = (m.quadword(signs, 0), m.constant(n as u64 * u64::from(128 / lane.bits())), m.constant(0));
        let signs = m.shift(ShiftOp::Shl, Width::Qword, signs, count, zero);
        mask = m.binary(BinaryOp::Or, Width::Qword, mask, signs);
    }
    i.write(m, 0, mask)
}

/// `PMOVMSKB` from an MMX register.
fn signs_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let src = wide(m, i, 1)?;
    let signs = m.vector_op(VectorOp::Signs(B), src, src);
    let mask = m.quadword(signs, 0);
    i.write(m, 0, mask)?;
    m.end_mmx();
    Ok(())
}
