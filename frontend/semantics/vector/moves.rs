//! Moves of vectors and parts of them.
//! SDM: vol. 2, the entries of the names in the tables.

use dragoman_state::{Gpr, GuestVirt, Width};

use super::{
    super::{
        Cpu, Machine, Privilege, segmentation,
        table::{Row, code, helper, row},
        x87,
    },
    AVX, MMX, SSE, VectorOp, in_parts,
    integer::{packed, packed_of_one},
    lanes::Lane::{D, Q},
};
use crate::{
    decode::{Code, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Code::*;
    use VectorOp as V;
    let mut rows: Vec<Row<M>> = vec![
        code(Movss_xmm_xmmm32,   |m, i| load_scalar(m, i, V::MergeLow(D)),  SSE),
        code(Movsd_xmm_xmmm64,   |m, i| load_scalar(m, i, V::MergeLow(Q)),  SSE),
        code(Movss_xmmm32_xmm,   |m, i| store_scalar(m, i, V::MergeLow(D)), SSE),
        code(Movsd_xmmm64_xmm,   |m, i| store_scalar(m, i, V::MergeLow(Q)), SSE),
        code(Movq_xmm_xmmm64,    |m, i| packed_of_one(m, i, V::LowQuadword), SSE),
        code(Movq_xmmm64_xmm,    store_low,                                 SSE),
        code(Movd_xmm_rm32,      to_vector,                                 SSE),
        code(Movq_xmm_rm64,      to_vector,                                 SSE),
        code(Movd_rm32_xmm,      from_vector,                               SSE),
        code(Movq_rm64_xmm,      from_vector,                               SSE),
        code(Movd_mm_rm32,       to_mmx,                                    MMX),
        code(Movq_mm_rm64,       to_mmx,                                    MMX),
        code(Movd_rm32_mm,       from_mmx,                                  MMX),
        code(Movq_rm64_mm,       from_mmx,                                  MMX),
        code(Movq_mm_mmm64,      load_mmx,                                  MMX),
        code(Movq_mmm64_mm,      store_mmx,                                 MMX),
        row(Mnemonic::Movntq,    store_mmx,                                 MMX),
        row(Mnemonic::Movq2dq,   movq2dq,                                   SSE),
        row(Mnemonic::Movdq2q,   movdq2q,                                   SSE),
        row(Mnemonic::Maskmovdqu, helper!(maskmovdqu),                      SSE),
        row(Mnemonic::Maskmovq,  helper!(maskmovq),                         MMX),
        row(Mnemonic::Movddup,   |m, i| packed_of_one(m, i, V::ShuffleDwords(0b01_00_01_00)), SSE),
        row(Mnemonic::Vmovddup,  |m, i| packed_of_one(m, i, V::ShuffleDwords(0b01_00_01_00)), AVX),
        row(Mnemonic::Movsldup,  |m, i| packed_of_one(m, i, V::ShuffleDwords(0b10_10_00_00)), SSE),
        row(Mnemonic::Vmovsldup, |m, i| packed_of_one(m, i, V::ShuffleDwords(0b10_10_00_00)), AVX),
        row(Mnemonic::Movshdup,  |m, i| packed_of_one(m, i, V::ShuffleDwords(0b11_11_01_01)), SSE),
        row(Mnemonic::Vmovshdup, |m, i| packed_of_one(m, i, V::ShuffleDwords(0b11_11_01_01)), AVX),
        row(Mnemonic::Movntss,   store_low,                                 SSE),
        row(Mnemonic::Movntsd,   store_low,                                 SSE),
        row(Mnemonic::Movlhps,   |m, i| packed(m, i, V::LowToHigh),         SSE),
        row(Mnemonic::Movhlps,   |m, i| packed(m, i, V::HighToLow),         SSE),
        row(Mnemonic::Vmovlhps,  |m, i| packed(m, i, V::LowToHigh),         AVX),
        row(Mnemonic::Vmovhlps,  |m, i| packed(m, i, V::HighToLow),         AVX),
        code(VEX_Vmovss_xmm_xmm_xmm,      |m, i| packed(m, i, V::MergeLow(D)), AVX),
        code(VEX_Vmovss_xmm_xmm_xmm_0F11, |m, i| packed(m, i, V::MergeLow(D)), AVX),
        code(VEX_Vmovsd_xmm_xmm_xmm,      |m, i| packed(m, i, V::MergeLow(Q)), AVX),
        code(VEX_Vmovsd_xmm_xmm_xmm_0F11, |m, i| packed(m, i, V::MergeLow(Q)), AVX),
        code(VEX_Vmovss_xmm_m32, load_low,                                  AVX),
        code(VEX_Vmovsd_xmm_m64, load_low,                                  AVX),
        code(VEX_Vmovss_m32_xmm, store_low,                                 AVX),
        code(VEX_Vmovsd_m64_xmm, store_low,                                 AVX),
        code(VEX_Vmovq_xmm_xmmm64, |m, i| packed_of_one(m, i, V::LowQuadword), AVX),
        code(VEX_Vmovq_xmmm64_xmm, store_low,                               AVX),
        code(VEX_Vmovd_xmm_rm32, to_vector,                                 AVX),
        code(VEX_Vmovq_xmm_rm64, to_vector,                                 AVX),
        code(VEX_Vmovd_rm32_xmm, from_vector,                               AVX),
        code(VEX_Vmovq_rm64_xmm, from_vector,                               AVX),
        row(Mnemonic::Vmaskmovdqu, helper!(maskmovdqu),                     AVX),
    ];
    for form in [Movlps_xmm_m64, Movlpd_xmm_m64]                   { rows.push(code(form, |m, i| packed(m, i, V::MergeLow(Q)), SSE)); }
    for form in [Movhps_xmm_m64, Movhpd_xmm_m64]                   { rows.push(code(form, |m, i| packed(m, i, V::LowToHigh), SSE)); }
    for form in [Movlps_m64_xmm, Movlpd_m64_xmm]                   { rows.push(code(form, |m, i| store_half(m, i, 0), SSE)); }
    for form in [Movhps_m64_xmm, Movhpd_m64_xmm]                   { rows.push(code(form, |m, i| store_half(m, i, 1), SSE)); }
    for form in [VEX_Vmovlps_xmm_xmm_m64, VEX_Vmovlpd_xmm_xmm_m64] { rows.push(code(form, |m, i| packed(m, i, V::MergeLow(Q)), AVX)); }
    for form in [VEX_Vmovhps_xmm_xmm_m64, VEX_Vmovhpd_xmm_xmm_m64] { rows.push(code(form, |m, i| packed(m, i, V::LowToHigh), AVX)); }
    for form in [VEX_Vmovlps_m64_xmm, VEX_Vmovlpd_m64_xmm]         { rows.push(code(form, |m, i| store_half(m, i, 0), AVX)); }
    for form in [VEX_Vmovhps_m64_xmm, VEX_Vmovhpd_m64_xmm]         { rows.push(code(form, |m, i| store_half(m, i, 1), AVX)); }
    for name in [Mnemonic::Movaps, Mnemonic::Movapd, Mnemonic::Movdqa, Mnemonic::Movntps, Mnemonic::Movntpd, Mnemonic::Movntdq, Mnemonic::Movntdqa] {
        rows.push(row(name, |m, i| move_whole(m, i, true), SSE));
    }
    for name in [Mnemonic::Movups, Mnemonic::Movupd, Mnemonic::Movdqu, Mnemonic::Lddqu] { rows.push(row(name, |m, i| move_whole(m, i, false), SSE)); }
    for name in [Mnemonic::Vmovaps, Mnemonic::Vmovapd, Mnemonic::Vmovdqa, Mnemonic::Vmovntps, Mnemonic::Vmovntpd, Mnemonic::Vmovntdq, Mnemonic::Vmovntdqa] {
        rows.push(row(name, |m, i| move_whole(m, i, true), AVX));
    }
    for name in [Mnemonic::Vmovups, Mnemonic::Vmovupd, Mnemonic::Vmovdqu, Mnemonic::Vlddqu] { rows.push(row(name, |m, i| move_whole(m, i, false), AVX)); }
    rows
}

/// A whole register, from or to a register or memory.
#[inline(always)]
pub(super) fn move_whole<M: Machine>(m: &mut M, i: &Insn, must_align: bool) -> Result<(), Fault> {
    in_parts!(i, move_parts::<M>(m, i, must_align))
}

#[inline(always)]
fn move_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, must_align: bool) -> Result<(), Fault> {
    let alignment = if must_align { 16 * N as u64 } else { 1 };
    let value: [M::Vec; N] = if i.operands[1].kind == Kind::Memory {
        let at = m.address(i);
        m.load_vector(i.segment, at, alignment)?
    } else {
        i.register(m, 1)
    };
    if i.operands[0].kind == Kind::Memory {
        let at = m.address(i);
        return m.store_vector(i.segment, at, alignment, value);
    }
    i.write_vector(m, value);
    Ok(())
}

/// A scalar from memory, zeros above.
#[inline(always)]
fn load_low<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let value = i.read_vector::<M, 1>(m, 1)?;
    i.write_vector(m, value);
    Ok(())
}

/// `MOVSS`, `MOVSD` to a register: from memory, zeros above; from a register, the rest stays.
#[inline(always)]
fn load_scalar<M: Machine>(m: &mut M, i: &Insn, merge: VectorOp) -> Result<(), Fault> {
    if i.operands[1].kind == Kind::Memory { load_low(m, i) } else { packed(m, i, merge) }
}

/// `MOVSS`, `MOVSD` from a register: to memory as much as the operand has; to a register by `merge`.
#[inline(always)]
fn store_scalar<M: Machine>(m: &mut M, i: &Insn, merge: VectorOp) -> Result<(), Fault> {
    if i.operands[0].kind == Kind::Memory { store_low(m, i) } else { packed(m, i, merge) }
}

/// The lowest lane to memory, as much as the operand has; the low quadword to a register, zeros above.
#[inline(always)]
fn store_low<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    if i.operands[0].kind != Kind::Memory {
        return packed_of_one(m, i, VectorOp::LowQuadword);
    }
    let src = m.vector(i.operands[1].register, 0);
    let low = m.quadword(src, 0);
    let at = m.address(i);
    m.store(i.segment, at, i.operands[0].width, low)
}

/// One half of a register to memory.
#[inline(always)]
fn store_half<M: Machine>(m: &mut M, i: &Insn, half: usize) -> Result<(), Fault> {
    let src = m.vector(i.operands[1].register, 0);
    let value = m.quadword(src, half);
    let at = m.address(i);
    m.store(i.segment, at, Width::Qword, value)
}

/// `MOVD`, `MOVQ` from a general-purpose register or memory, zeros above.
fn to_vector<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let (low, zero) = (i.read(m, 1)?, m.constant(0));
    let value = m.vector_of(low, zero);
    i.write_vector(m, [value]);
    Ok(())
}

/// `MOVD`, `MOVQ` to a general-purpose register or memory.
fn from_vector<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = m.vector(i.operands[1].register, 0);
    let low = m.quadword(src, 0);
    let low = m.sign_extend(Width::Qword, i.operands[0].width, low);
    i.write(m, 0, low)
}

fn to_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let value = i.read(m, 1)?;
    m.set_mmx(i.operands[0].register, value);
    m.end_mmx();
    Ok(())
}

fn from_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let value = m.mmx(i.operands[1].register);
    let value = m.sign_extend(Width::Qword, i.operands[0].width, value);
    i.write(m, 0, value)?;
    m.end_mmx();
    Ok(())
}

fn load_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let value = i.read_mmx(m, 1)?;
    m.set_mmx(i.operands[0].register, value);
    m.end_mmx();
    Ok(())
}

fn store_mmx<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let value = m.mmx(i.operands[1].register);
    if i.operands[0].kind == Kind::Mmx {
        m.set_mmx(i.operands[0].register, value);
    } else {
        let at = m.address(i);
        m.store(i.segment, at, Width::Qword, value)?;
    }
    m.end_mmx();
    Ok(())
}

/// `MOVQ2DQ`: an MMX register to a vector register, zeros above.
fn movq2dq<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let (low, zero) = (m.mmx(i.operands[1].register), m.constant(0));
    let value = m.vector_of(low, zero);
    i.write_vector(m, [value]);
    m.end_mmx();
    Ok(())
}

/// `MOVDQ2Q`: the low quadword of a vector register to an MMX register.
fn movdq2q<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    m.begin_mmx()?;
    let src = m.vector(i.operands[1].register, 0);
    let low = m.quadword(src, 0);
    m.set_mmx(i.operands[0].register, low);
    m.end_mmx();
    Ok(())
}

/// Writes the bytes of `value` whose mask has its sign set to memory at (E/R)DI; the others are not touched. All of them
/// must be writable where any is selected.
fn write_masked(cpu: &mut dyn Cpu, i: &Insn, value: &[u64], mask: &[u64]) -> Result<(), Fault> {
    let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let (value, mask) = (bytes(value), bytes(mask));
    if mask.iter().all(|byte| *byte < 0x80) {
        return Ok(());
    }
    let offset = i.address_width.truncate(cpu.state().gpr[Gpr::RDI]);
    let at = segmentation::linear(cpu.state(), i.segment, offset, value.len() as u64, true)?;
    cpu.check_write(at, value.len() as u64, Privilege::Current)?;
    for (n, byte) in value.iter().enumerate().filter(|(n, _)| mask[*n] >= 0x80) {
        cpu.write(GuestVirt(at.0.wrapping_add(n as u64)), Width::Byte, (*byte).into(), Privilege::Current)?;
    }
    Ok(())
}

/// `MASKMOVDQU value, mask`.
fn maskmovdqu(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let register = |cpu: &dyn Cpu, n: usize| cpu.state().vectors.registers[usize::from(i.operands[n].register)];
    let (value, mask) = (register(cpu, 1), register(cpu, 2));
    write_masked(cpu, i, &value[..2], &mask[..2])
}

/// `MASKMOVQ value, mask`.
fn maskmovq(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    x87::check_pending(cpu)?;
    let register = |cpu: &dyn Cpu, n: usize| cpu.state().x87.mmx(i.operands[n].register);
    let (value, mask) = (register(cpu, 1), register(cpu, 2));
    write_masked(cpu, i, &[value], &[mask])?;
    cpu.state_mut().x87.become_mmx();
    Ok(())
}
