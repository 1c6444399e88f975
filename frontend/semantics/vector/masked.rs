//! Masked moves: only lanes whose mask has its sign set are read or written, and only they can fault.
//! SDM: vol. 2, VMASKMOV, VPMASKMOV.

use dragoman_state::{GuestVirt, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, helper, row},
    },
    AVX,
};
use crate::{
    decode::{Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 4] {
    [
        row(Mnemonic::Vmaskmovps, helper!(doublewords), AVX),
        row(Mnemonic::Vmaskmovpd, helper!(quadwords),   AVX),
        row(Mnemonic::Vpmaskmovd, helper!(doublewords), AVX),
        row(Mnemonic::Vpmaskmovq, helper!(quadwords),   AVX),
    ]
}

fn doublewords(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    masked(cpu, i, Width::Dword)
}

fn quadwords(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    masked(cpu, i, Width::Qword)
}

fn masked(cpu: &mut dyn Cpu, i: &Insn, lane: Width) -> Result<(), Fault> {
    if i.operands[0].kind == Kind::Memory { store(cpu, i, lane) } else { load(cpu, i, lane) }
}

/// How many lanes the instruction has.
pub(super) fn lanes(i: &Insn, lane: Width) -> usize {
    (if i.is_wide() { 32 } else { 16 }) / lane.bytes() as usize
}

/// Lane `n` of vector register `register`.
pub(super) fn lane_of(cpu: &dyn Cpu, register: u8, lane: Width, n: usize) -> u64 {
    let bit = n * lane.bits() as usize;
    lane.truncate(cpu.state().vectors.registers[usize::from(register)][bit / 64] >> (bit % 64))
}

/// Replaces lane `n` of vector register `register`.
pub(super) fn set_lane(cpu: &mut dyn Cpu, register: u8, lane: Width, n: usize, value: u64) {
    let bit = n * lane.bits() as usize;
    let quadword = &mut cpu.state_mut().vectors.registers[usize::from(register)][bit / 64];
    *quadword = *quadword & !(lane.mask() << (bit % 64)) | lane.truncate(value) << (bit % 64);
}

/// Whether lane `n` of the mask is set.
pub(super) fn is_selected(cpu: &dyn Cpu, register: u8, lane: Width, n: usize) -> bool {
    lane.sign_extend(lane_of(cpu, register, lane, n)) >> 63 != 0
}

/// `op dst, mask, src`: lanes that are not selected become zero.
fn load(cpu: &mut dyn Cpu, i: &Insn, lane: Width) -> Result<(), Fault> {
    let mut values = [0; 8];
    for (n, value) in values.iter_mut().enumerate().take(lanes(i, lane)) {
        if is_selected(cpu, i.operands[1].register, lane, n) {
            *value = read_lane(cpu, i, n as u64 * lane.bytes(), lane)?;
        }
    }
    let register = i.operands[0].register;
    cpu.state_mut().vectors.registers[usize::from(register)] = [0; 8];
    for (n, value) in values.into_iter().enumerate().take(lanes(i, lane)) {
        set_lane(cpu, register, lane, n, value);
    }
    Ok(())
}

/// Reads one lane at `delta` bytes into the memory operand. It need not be aligned, even while other operands must be.
pub(super) fn read_lane(cpu: &mut dyn Cpu, i: &Insn, delta: u64, lane: Width) -> Result<u64, Fault> {
    match cpu.read_operand(i, delta, lane) {
        Err(Fault::AC) => (0..lane.bytes()).try_fold(0, |value, n| {
            let byte = cpu.read_operand(i, delta.wrapping_add(n), Width::Byte)?;
            Ok(value | byte << (8 * n))
        }),
        read => read,
    }
}

/// `op dst, mask, src`, dst in memory: all selected lanes or none.
fn store(cpu: &mut dyn Cpu, i: &Insn, lane: Width) -> Result<(), Fault> {
    let count = lanes(i, lane);
    let mask: [bool; 8] = std::array::from_fn(|n| n < count && is_selected(cpu, i.operands[1].register, lane, n));
    let selected = (0..count).filter(|n| mask[*n]);
    let (Some(lowest), Some(highest)) = (selected.clone().next(), selected.clone().next_back()) else { return Ok(()) };
    let address = |cpu: &dyn Cpu, n: usize| cpu.operand_address_at(i, n as u64 * lane.bytes(), lane.bytes(), true);
    for n in selected.clone() {
        address(cpu, n)?;
    }
    // All are in one page, or in two.
    let (first, last) = (address(cpu, lowest)?, GuestVirt(address(cpu, highest)?.0.wrapping_add(lane.bytes() - 1)));
    cpu.check_write(first, 1, Privilege::Current)?;
    cpu.check_write(last, 1, Privilege::Current)?;
    for n in selected {
        let (at, value) = (address(cpu, n)?, lane_of(cpu, i.operands[2].register, lane, n));
        write_lane(cpu, at, lane, value)?;
    }
    Ok(())
}

/// Writes one lane, which need not be aligned, even while other operands must be.
pub(super) fn write_lane(cpu: &mut dyn Cpu, at: GuestVirt, lane: Width, value: u64) -> Result<(), Fault> {
    if at.0 % lane.bytes() == 0 {
        return cpu.write(at, lane, value, Privilege::Current);
    }
    for n in 0..lane.bytes() {
        cpu.write(GuestVirt(at.0.wrapping_add(n)), Width::Byte, value >> (8 * n) & 0xff, Privilege::Current)?;
    }
    Ok(())
}
