//! Extended state: XGETBV XSETBV, XSAVE XSAVEOPT XSAVEC XSAVES, XRSTOR XRSTORS.
//!
//! What is in its initial configuration is found out from what it holds, exactly, as a processor may. XSAVEOPT and XSAVES
//! do not remember which area was last restored from.
//! SDM: vol. 1 chapter 13; vol. 2, the entries of the same names.

mod restore;
mod save;

use dragoman_state::{Cr0, Cr4, F80, Gpr, GuestVirt, VcpuState, X87State, Xcr0};

use super::{
    super::{
        Cpu, Machine,
        legacy_region::vector_count,
        table::{Row, helper, row},
    },
    identification::{pair, set_pair},
    objections::{Subject, refuse_where},
};
use crate::{
    decode::{Attributes, Code, Insn, Mnemonic, Opcode},
    fault::Fault,
    model::{CpuModel, Feature, LEGACY_SIZE, StateComponent},
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 14] {
    const PLAIN: Attributes = Attributes::empty();
    const ENDS: Attributes = Attributes::ENDS_BLOCK;
    [
        row(Mnemonic::Xgetbv,     helper!(xgetbv),     PLAIN),
        row(Mnemonic::Xsetbv,     helper!(xsetbv),     ENDS),
        row(Mnemonic::Xsave,      helper!(save::xsave),      PLAIN),
        row(Mnemonic::Xsave64,    helper!(save::xsave),      PLAIN),
        row(Mnemonic::Xsaveopt,   helper!(save::xsaveopt),   PLAIN),
        row(Mnemonic::Xsaveopt64, helper!(save::xsaveopt),   PLAIN),
        row(Mnemonic::Xsavec,     helper!(save::xsavec),     PLAIN),
        row(Mnemonic::Xsavec64,   helper!(save::xsavec),     PLAIN),
        row(Mnemonic::Xsaves,     helper!(save::xsaves),     PLAIN),
        row(Mnemonic::Xsaves64,   helper!(save::xsaves),     PLAIN),
        row(Mnemonic::Xrstor,     helper!(restore::xrstor),     ENDS),
        row(Mnemonic::Xrstor64,   helper!(restore::xrstor),     ENDS),
        row(Mnemonic::Xrstors,    helper!(restore::xrstors),    ENDS),
        row(Mnemonic::Xrstors64,  helper!(restore::xrstors),    ENDS),
    ]
}

/// Of XCOMP_BV: the area has the compacted format.
const COMPACTED: u64 = 1 << 63;
/// The header's fields, as offsets into the area.
const XSTATE_BV: u64 = 512;
const XCOMP_BV: u64 = 520;
const HEADER_END: u64 = LEGACY_SIZE as u64;
const MXCSR: u64 = 24;

/// Why XCR0 may not hold `value` on `model`.
fn xcr0_objections(model: &CpuModel, value: u64) -> [(bool, &'static str); 3] {
    let has = |bit: Xcr0| value & bit.bits() != 0;
    [
        (value & !model.xcr0_bits().bits() != 0, "sets bits of XCR0 that this processor does not have"),
        (!has(Xcr0::X87), "clears bit 0 of XCR0, which must be set"),
        (has(Xcr0::AVX) && !has(Xcr0::SSE), "enables AVX state in XCR0 without SSE state"),
    ]
}

/// `XGETBV`: EDX:EAX ← XCR0; with ECX = 1, what of it is in use.
fn xgetbv(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let state = cpu.state();
    if !state.cr4.contains(Cr4::OSXSAVE) {
        return Err(Fault::UD);
    }
    let value = match state.gpr[Gpr::RCX] as u32 {
        0 => state.xcr0,
        1 if cpu.model().has(Feature::Xgetbv1) => state.xcr0 & in_use(state),
        _ => return Err(Fault::GP0),
    };
    set_pair(cpu, value.bits());
    Ok(())
}

/// `XSETBV`: XCR0 ← EDX:EAX.
fn xsetbv(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let state = cpu.state();
    if !state.cr4.contains(Cr4::OSXSAVE) {
        return Err(Fault::UD);
    }
    let value = pair(state);
    let is_misplaced = state.cpl() != 0 || state.gpr[Gpr::RCX] as u32 != 0;
    let [unknown, needed, alone] = xcr0_objections(cpu.model(), value);
    let misplaced = (is_misplaced, "writes an extended control register that it may not, or that does not exist");
    refuse_where(cpu, Fault::GP0, Subject::Instruction, &[misplaced, unknown, needed, alone])?;
    cpu.state_mut().xcr0 = Xcr0::from_bits_retain(value);
    Ok(())
}

/// XINUSE: the components that are not in their initial configuration.
fn in_use(state: &VcpuState) -> Xcr0 {
    let registers = &state.vectors.registers[..vector_count(state)];
    let mut used = Xcr0::empty();
    used.set(Xcr0::X87, state.x87 != X87State::initialised([F80::default(); 8]));
    used.set(Xcr0::SSE, registers.iter().any(|register| register[..2] != [0; 2]));
    used.set(Xcr0::AVX, registers.iter().any(|register| register[2..4] != [0; 2]));
    used.set(Xcr0::PKRU, state.pkru != 0);
    used
}

/// #UD where the system has not enabled the instructions, #NM where another task's state may still be in the registers.
fn check(cpu: &dyn Cpu) -> Result<(), Fault> {
    match cpu.state() {
        state if !state.cr4.contains(Cr4::OSXSAVE) => Err(Fault::UD),
        state if state.cr0.contains(Cr0::TS) => Err(Fault::NM),
        _ => Ok(()),
    }
}

fn check_supervisor(cpu: &dyn Cpu) -> Result<(), Fault> {
    if cpu.state().cpl() == 0 { Ok(()) } else { Err(Fault::GP0) }
}

/// RFBM: the components that EDX:EAX asks for and that are enabled. There are none of supervisors that IA32_XSS could enable.
fn requested(state: &VcpuState) -> Xcr0 {
    state.xcr0 & Xcr0::from_bits_retain(pair(state))
}

/// Whether the x87 unit's pointers have 64 bits in the area.
fn is_wide(i: &Insn) -> bool {
    use Code::*;
    let forms = [Xsave64_mem, Xsaveopt64_mem, Xsavec64_mem, Xsaves64_mem, Xrstor64_mem, Xrstors64_mem];
    forms.iter().any(|form| i.opcode == Opcode::of(*form))
}

/// Where the area is, of which `size` bytes are looked at.
fn area(cpu: &dyn Cpu, i: &Insn, size: u32, is_write: bool) -> Result<GuestVirt, Fault> {
    let at = cpu.operand_address(i, size.into(), is_write)?;
    if at.0 % 64 == 0 { Ok(at) } else { Err(Fault::GP0) }
}

fn place(at: GuestVirt, offset: u64) -> GuestVirt {
    GuestVirt(at.0.wrapping_add(offset))
}

/// The components of `held` beyond the legacy region, each with where it is.
fn extended(held: Xcr0, is_compacted: bool) -> impl Iterator<Item = (Xcr0, u64)> {
    let mut next = LEGACY_SIZE;
    StateComponent::ALL.into_iter().filter(move |one| held.contains(one.bit)).map(move |one| {
        let offset = if is_compacted { next } else { one.offset };
        next += one.size;
        (one.bit, offset.into())
    })
}

/// The most quadwords that a component has.
const MOST_WORDS: usize = 32;

/// How many quadwords a component has, with `count` vector registers.
fn component_words(component: Xcr0, count: usize) -> usize {
    if component == Xcr0::AVX { 2 * count } else { 1 }
}

fn component_word(state: &VcpuState, component: Xcr0, n: usize) -> u64 {
    if component == Xcr0::AVX { state.vectors.registers[n / 2][2 + n % 2] } else { state.pkru.into() }
}

fn set_component_word(state: &mut VcpuState, component: Xcr0, n: usize, value: u64) {
    if component == Xcr0::AVX {
        state.vectors.registers[n / 2][2 + n % 2] = value;
    } else {
        state.pkru = value as u32;
    }
}
