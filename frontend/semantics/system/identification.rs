//! Who and when: CPUID RDTSC RDTSCP RDPMC RDPID.
//! SDM: vol. 2, the entries of the same names; vol. 3 §17.17 (time-stamp counter).

use dragoman_state::{Cr4, Gpr, VcpuState, Width};

use super::super::{
    Cpu, Machine,
    table::{Row, helper, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 5] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Cpuid,  helper!(cpuid),  PLAIN),
        row(Mnemonic::Rdtsc,  helper!(rdtsc),  PLAIN),
        row(Mnemonic::Rdtscp, helper!(rdtscp), PLAIN),
        row(Mnemonic::Rdpmc,  helper!(rdpmc),  PLAIN),
        row(Mnemonic::Rdpid,  helper!(rdpid),  PLAIN),
    ]
}

/// `CPUID`.
fn cpuid(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let state = cpu.state();
    let (leaf, subleaf) = (state.gpr[Gpr::RAX] as u32, state.gpr[Gpr::RCX] as u32);
    let values = cpu.model().cpuid(leaf, subleaf, state);
    for (register, value) in [Gpr::RAX, Gpr::RBX, Gpr::RCX, Gpr::RDX].into_iter().zip(values) {
        cpu.state_mut().gpr[register] = value.into();
    }
    Ok(())
}

/// EDX:EAX.
pub(super) fn pair(state: &VcpuState) -> u64 {
    state.gpr[Gpr::RAX] & 0xffff_ffff | state.gpr[Gpr::RDX] << 32
}

/// Writes EDX:EAX, clearing the upper halves.
pub(super) fn set_pair(cpu: &mut dyn Cpu, value: u64) {
    let state = cpu.state_mut();
    state.gpr[Gpr::RAX] = Width::Dword.truncate(value);
    state.gpr[Gpr::RDX] = value >> 32;
}

fn check_time(cpu: &dyn Cpu) -> Result<(), Fault> {
    let state = cpu.state();
    if state.cr4.contains(Cr4::TSD) && state.cpl() > 0 { Err(Fault::GP0) } else { Ok(()) }
}

/// `RDTSC`.
fn rdtsc(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    check_time(cpu)?;
    let value = cpu.time_stamp();
    set_pair(cpu, value);
    Ok(())
}

/// `RDTSCP`: RDTSC, and ECX ← TSC_AUX.
fn rdtscp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    rdtsc(cpu, i)?;
    let state = cpu.state_mut();
    state.gpr[Gpr::RCX] = Width::Dword.truncate(state.msrs.tsc_aux);
    Ok(())
}

/// `RDPMC`: no model here has performance counters.
fn rdpmc(_: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    Err(Fault::GP0)
}

/// `RDPID dst`: TSC_AUX.
fn rdpid(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = Width::Dword.truncate(cpu.state().msrs.tsc_aux);
    cpu.write_gpr(Gpr(i.operands[0].register), i.width, value);
    Ok(())
}
