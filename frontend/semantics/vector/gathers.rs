//! Gathers: each lane from an address of its own.
//!
//! A lane is read where its mask has its sign set, the lowest first, and its mask is cleared. Where one faults, those
//! before it are done: the instruction goes on from there when it is run again. What lies above 128-bit registers is
//! cleared by then, as in hardware: the mask's at once, the destination's with the first lane. SDM: vol. 2, VGATHERDPS/VGATHERQPS and their
//! kin.

use dragoman_state::Width;

use super::{
    super::{
        Cpu, Machine,
        table::{Row, helper, row},
    },
    AVX,
    masked::{is_selected, lane_of, lanes, read_lane, set_lane},
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 8] {
    [
        row(Mnemonic::Vgatherdps, helper!(doublewords_by_doublewords), AVX),
        row(Mnemonic::Vpgatherdd, helper!(doublewords_by_doublewords), AVX),
        row(Mnemonic::Vgatherqps, helper!(doublewords_by_quadwords),   AVX),
        row(Mnemonic::Vpgatherqd, helper!(doublewords_by_quadwords),   AVX),
        row(Mnemonic::Vgatherdpd, helper!(quadwords_by_doublewords),   AVX),
        row(Mnemonic::Vpgatherdq, helper!(quadwords_by_doublewords),   AVX),
        row(Mnemonic::Vgatherqpd, helper!(quadwords_by_quadwords),     AVX),
        row(Mnemonic::Vpgatherqq, helper!(quadwords_by_quadwords),     AVX),
    ]
}

fn doublewords_by_doublewords(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    gather(cpu, i, Width::Dword, Width::Dword)
}

fn doublewords_by_quadwords(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    gather(cpu, i, Width::Dword, Width::Qword)
}

fn quadwords_by_doublewords(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    gather(cpu, i, Width::Qword, Width::Dword)
}

fn quadwords_by_quadwords(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    gather(cpu, i, Width::Qword, Width::Qword)
}

/// `op dst, [base + indices * scale], mask`.
fn gather(cpu: &mut dyn Cpu, i: &Insn, lane: Width, index: Width) -> Result<(), Fault> {
    let [dst, indices, mask, _] = i.operands.map(|operand| operand.register);
    // As many as the wider of the two fills the registers with.
    let count = lanes(i, lane).min(lanes(i, index));
    // A mask is its sign alone, and stays all of its lane where the instruction is cut short.
    for n in 0..lanes(i, lane) {
        let spread = if is_selected(cpu, mask, lane, n) { u64::MAX } else { 0 };
        set_lane(cpu, mask, lane, n, spread);
    }
    let above = if i.is_wide() { 4 } else { 2 };
    cpu.state_mut().vectors.registers[usize::from(mask)][above..].fill(0);
    for n in 0..count {
        if is_selected(cpu, mask, lane, n) {
            let index = index.sign_extend(lane_of(cpu, indices, index, n));
            let value = read_lane(cpu, i, index << i.scale, lane)?;
            set_lane(cpu, dst, lane, n, value);
            set_lane(cpu, mask, lane, n, 0);
            cpu.state_mut().vectors.registers[usize::from(dst)][above..].fill(0);
        }
    }
    let registers = &mut cpu.state_mut().vectors.registers;
    registers[usize::from(mask)] = [0; 8];
    let written = count * lane.bytes() as usize / 8;
    registers[usize::from(dst)][written..].fill(0);
    Ok(())
}
