//! Single lanes in and out of vectors, and low lanes made wider: PEXTR PINSR EXTRACTPS INSERTPS PMOVSX PMOVZX.
//! SDM: vol. 2, the entries of the names in the tables.

use dragoman_state::{Gpr, Width};

use super::{
    super::{
        BinaryOp, Machine, ShiftOp,
        table::{Row, code, row},
    },
    AVX, MMX, SSE, VectorOp, in_parts,
    lanes::Lane::{self, B, D, Q, W},
    rearrange::Rearrangement,
};
use crate::{
    decode::{Code, Insn, Kind, Mnemonic},
    fault::Fault,
};

/// Rows for the old and the VEX encoding of one extension.
macro_rules! extension {
    ($rows:ident, $is_signed:literal, $from:ident, $to:ident, $sse:ident $vex:ident) => {
        $rows.push(row(Mnemonic::$sse, |m: &mut M, i: &Insn| extend(m, i, $is_signed, $from, $to), SSE));
        $rows.push(row(Mnemonic::$vex, |m: &mut M, i: &Insn| extend(m, i, $is_signed, $from, $to), AVX));
    };
}

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    let mut rows: Vec<Row<M>> = vec![
        row(Mnemonic::Pinsrb,     |m, i| insert(m, i, B),  SSE),
        row(Mnemonic::Vpinsrb,    |m, i| insert(m, i, B),  AVX),
        row(Mnemonic::Pinsrw,     |m, i| insert(m, i, W),  SSE),
        row(Mnemonic::Vpinsrw,    |m, i| insert(m, i, W),  AVX),
        row(Mnemonic::Pinsrd,     |m, i| insert(m, i, D),  SSE),
        row(Mnemonic::Vpinsrd,    |m, i| insert(m, i, D),  AVX),
        row(Mnemonic::Pinsrq,     |m, i| insert(m, i, Q),  SSE),
        row(Mnemonic::Vpinsrq,    |m, i| insert(m, i, Q),  AVX),
        row(Mnemonic::Pextrb,     |m, i| extract(m, i, B), SSE),
        row(Mnemonic::Vpextrb,    |m, i| extract(m, i, B), AVX),
        row(Mnemonic::Pextrw,     |m, i| extract(m, i, W), SSE),
        row(Mnemonic::Vpextrw,    |m, i| extract(m, i, W), AVX),
        row(Mnemonic::Pextrd,     |m, i| extract(m, i, D), SSE),
        row(Mnemonic::Vpextrd,    |m, i| extract(m, i, D), AVX),
        row(Mnemonic::Pextrq,     |m, i| extract(m, i, Q), SSE),
        row(Mnemonic::Vpextrq,    |m, i| extract(m, i, Q), AVX),
        row(Mnemonic::Extractps,  |m, i| extract(m, i, D), SSE),
        row(Mnemonic::Vextractps, |m, i| extract(m, i, D), AVX),
        row(Mnemonic::Insertps,   insert_single,           SSE),
        row(Mnemonic::Vinsertps,  insert_single,           AVX),
        code(Code::Pinsrw_mm_r32m16_imm8, pinsrw_mmx,      MMX),
        code(Code::Pinsrw_mm_r64m16_imm8, pinsrw_mmx,      MMX),
        code(Code::Pextrw_r32_mm_imm8,    pextrw_mmx,      MMX),
        code(Code::Pextrw_r64_mm_imm8,    pextrw_mmx,      MMX),
    ];
    extension!(rows, true,  B, W, Pmovsxbw Vpmovsxbw);
    extension!(rows, true,  B, D, Pmovsxbd Vpmovsxbd);
    extension!(rows, true,  B, Q, Pmovsxbq Vpmovsxbq);
    extension!(rows, true,  W, D, Pmovsxwd Vpmovsxwd);
    extension!(rows, true,  W, Q, Pmovsxwq Vpmovsxwq);
    extension!(rows, true,  D, Q, Pmovsxdq Vpmovsxdq);
    extension!(rows, false, B, W, Pmovzxbw Vpmovzxbw);
    extension!(rows, false, B, D, Pmovzxbd Vpmovzxbd);
    extension!(rows, false, B, Q, Pmovzxbq Vpmovzxbq);
    extension!(rows, false, W, D, Pmovzxwd Vpmovzxwd);
    extension!(rows, false, W, Q, Pmovzxwq Vpmovzxwq);
    extension!(rows, false, D, Q, Pmovzxdq Vpmovzxdq);
    rows
}

const fn width(lane: Lane) -> Width {
    match lane {
        B => Width::Byte,
        W => Width::Word,
        D => Width::Dword,
        Q => Width::Qword,
    }
}

/// The source of an insertion, operand `n`: a lane in memory, or the low bits of a register.
fn source_lane<M: Machine>(m: &mut M, i: &Insn, n: usize, lane: Lane) -> Result<M::Val, Fault> {
    if i.operands[n].kind == Kind::Memory {
        let at = m.address(i);
        return m.load(i.segment, at, width(lane));
    }
    Ok(m.gpr(Gpr(i.operands[n].register), width(lane)))
}

/// `quadword` with the lane that starts at bit `at` replaced.
fn insert_lane<M: Machine>(m: &mut M, quadword: M::Val, value: M::Val, lane: Lane, at: u64) -> M::Val {
    let (count, zero, hole) = (m.constant(at), m.constant(0), m.constant(!((lane.mask() as u64) << at)));
    let rest = m.binary(BinaryOp::And, Width::Qword, quadword, hole);
    let value = m.shift(ShiftOp::Shl, Width::Qword, value, count, zero);
    m.binary(BinaryOp::Or, Width::Qword, rest, value)
}

/// The lane of `quadword` that starts at bit `at`.
fn extract_lane<M: Machine>(m: &mut M, quadword: M::Val, lane: Lane, at: u64) -> M::Val {
    let (count, zero, mask) = (m.constant(at), m.constant(0), m.constant(lane.mask() as u64));
    let shifted = m.shift(ShiftOp::Shr, Width::Qword, quadword, count, zero);
    m.binary(BinaryOp::And, Width::Qword, shifted, mask)
}

/// The bit at which the lane starts that the immediate chooses of a vector of so many bits.
fn chosen(i: &Insn, lane: Lane, bits: u64) -> u64 {
    i.immediate * u64::from(lane.bits()) % bits
}

/// `PINSRW dst, src, n` and `VPINSRW dst, a, src, n`, and their kin.
#[inline(always)]
fn insert<M: Machine>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    let (first, second) = i.sources();
    let value = source_lane(m, i, second, lane)?;
    let at = chosen(i, lane, 128);
    let [old] = i.register(m, first);
    let mut halves = [m.quadword(old, 0), m.quadword(old, 1)];
    let half = &mut halves[(at / 64) as usize];
    *half = insert_lane(m, *half, value, lane, at % 64);
    let result = m.vector_of(halves[0], halves[1]);
    i.write_vector(m, [result]);
    Ok(())
}

/// `PEXTRW dst, src, n` and its kin: to memory the lane, to a register with zeros above.
#[inline(always)]
fn extract<M: Machine>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    let at = chosen(i, lane, 128);
    let src = m.vector(i.operands[1].register, 0);
    let half = m.quadword(src, (at / 64) as usize);
    let value = extract_lane(m, half, lane, at % 64);
    i.write(m, 0, value)
}

/// `PINSRW` to an MMX register.
fn pinsrw_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let word = source_lane(m, i, 1, W)?;
    let old = m.mmx(i.operands[0].register);
    let result = insert_lane(m, old, word, W, chosen(i, W, 64));
    m.set_mmx(i.operands[0].register, result);
    m.end_mmx();
    Ok(())
}

/// `PEXTRW` from an MMX register.
fn pextrw_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let src = m.mmx(i.operands[1].register);
    let word = extract_lane(m, src, W, chosen(i, W, 64));
    i.write(m, 0, word)?;
    m.end_mmx();
    Ok(())
}

/// `INSERTPS dst, src, immediate`. Memory holds the doubleword itself.
fn insert_single<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let (first, second) = i.sources();
    let chosen = if i.operands[second].kind == Kind::Memory { 0x3f } else { 0xff };
    let [b] = i.read_vector(m, second)?;
    let [a] = i.register(m, first);
    let result = m.vector_op(VectorOp::Rearrange(Rearrangement::InsertSingle(i.immediate as u8 & chosen)), a, b);
    i.write_vector(m, [result]);
    Ok(())
}

/// `PMOVSX`, `PMOVZX`: as many low lanes as there is room for.
#[inline(always)]
fn extend<M: Machine>(m: &mut M, i: &Insn, is_signed: bool, from: Lane, to: Lane) -> Result<(), Fault> {
    in_parts!(i, extend_parts::<M>(m, i, is_signed, from, to))
}

#[inline(always)]
fn extend_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, is_signed: bool, from: Lane, to: Lane) -> Result<(), Fault> {
    let [src] = i.read_vector(m, 1)?;
    let bytes = 16 * u64::from(from.bits()) / u64::from(to.bits());
    let result: [M::Vec; N] = std::array::from_fn(|n| {
        let (count, zero) = (m.constant(bytes * n as u64), m.constant(0));
        let count = m.vector_of(count, zero);
        let lanes = if n == 0 { src } else { m.vector_op(VectorOp::ShiftBytesRight, src, count) };
        m.vector_op(VectorOp::Rearrange(Rearrangement::Extend { is_signed, from, to }), lanes, lanes)
    });
    i.write_vector(m, result);
    Ok(())
}
