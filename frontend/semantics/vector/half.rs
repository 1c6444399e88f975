//! Half precision: VCVTPH2PS VCVTPS2PH.
//!
//! Their operands in memory need not be aligned, those of eight bytes either, even while all others must be.
//! SDM: vol. 2, the entries of the same names; §2.9.9 (exceptions of type 11).

use dragoman_state::{GuestVirt, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, row},
    },
    AVX, FloatOp,
    conversions::{narrow, widen},
    float,
    masked::{read_lane, write_lane},
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 2] {
    [
        row(Mnemonic::Vcvtph2ps, to_single, AVX),
        row(Mnemonic::Vcvtps2ph, to_half,   AVX),
    ]
}

/// `VCVTPH2PS dst, src`.
fn to_single<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    if i.is_memory(1) && !i.is_wide() {
        return m.call_helper(single_from_memory, i);
    }
    widen(m, i, FloatOp::HalfToSingle)
}

/// `VCVTPS2PH dst, src, control`.
fn to_half<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    if i.is_memory(0) {
        return m.call_helper(half_to_memory, i);
    }
    narrow(m, i, op(i))
}

/// The low two bits of the immediate are the rounding, unless bit 2 leaves it to MXCSR.
fn op(i: &Insn) -> FloatOp {
    FloatOp::SingleToHalf(i.immediate as u8 & 7)
}

/// Four lanes of memory.
fn single_from_memory(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let halves = u128::from(read_lane(cpu, i, 0, Width::Qword)?);
    let state = cpu.state_mut();
    let computed = float::evaluate(FloatOp::HalfToSingle, [halves], [halves], &mut state.vectors.mxcsr);
    let [singles] = computed.map_err(|float::Unmasked| float::fault(state.cr4))?;
    let register = &mut state.vectors.registers[usize::from(i.operands[0].register)];
    *register = [singles as u64, (singles >> 64) as u64, 0, 0, 0, 0, 0, 0];
    Ok(())
}

/// Four lanes to memory, or eight. MXCSR takes up their exceptions even where memory then refuses them, as on processors.
fn half_to_memory(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let state = cpu.state_mut();
    let [a, b, c, d, ..] = state.vectors.registers[usize::from(i.operands[1].register)];
    let singles = [u128::from(b) << 64 | u128::from(a), u128::from(d) << 64 | u128::from(c)];
    let mxcsr = &mut state.vectors.mxcsr;
    let computed = if i.is_wide() {
        float::evaluate(op(i), singles, singles, mxcsr)
    } else {
        float::evaluate(op(i), [singles[0]], [singles[0]], mxcsr).map(|[low]| [low, 0])
    };
    let halves = computed.map_err(|float::Unmasked| float::fault(state.cr4))?;
    let count = if i.is_wide() { 2 } else { 1 };
    let at = cpu.operand_address(i, 8 * count as u64, true)?;
    let byte = |n: usize| GuestVirt(at.0.wrapping_add(n as u64));
    // Byte by byte, because an access that is not aligned could be refused for that.
    for n in 0..8 * count {
        cpu.check_write(byte(n), 1, Privilege::Current)?;
    }
    for (n, part) in halves.into_iter().enumerate().take(count) {
        write_lane(cpu, byte(8 * n), Width::Qword, part as u64)?;
    }
    Ok(())
}
