//! Fast system calls: SYSCALL SYSRET SYSENTER SYSEXIT.
//! SDM: vol. 2, the entries of the same names; vol. 3 §5.8.7, §5.8.8.

use dragoman_state::{Attributes as Rights, Efer, Gpr, RFlags, Segment, SegmentIndex, Width};

use super::{
    super::{
        Cpu, Machine,
        table::{Row, helper, row},
    },
    descriptors::{is_canonical, require_canonical},
    flags_image::load_from_r11,
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
    model::Vendor,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 6] {
    const PLAIN: Attributes = Attributes::PROTECTED;
    [
        row(Mnemonic::Syscall,  helper!(syscall),  Attributes::empty()),
        row(Mnemonic::Sysret,   helper!(sysret),   PLAIN),
        row(Mnemonic::Sysretq,  helper!(sysret),   PLAIN),
        row(Mnemonic::Sysenter, helper!(sysenter), Attributes::empty()),
        row(Mnemonic::Sysexit,  helper!(sysexit),  Attributes::CPL0),
        row(Mnemonic::Sysexitq, helper!(sysexit),  Attributes::CPL0),
    ]
}

/// A flat code segment; `is_64bit` selects L, else D.
fn flat_code(selector: u16, dpl: u8, is_64bit: bool) -> Segment {
    let rights = Rights(if is_64bit { 0xa09b } else { 0xc09b }).with_dpl(dpl);
    Segment { base: 0, limit: u32::MAX, attributes: rights, selector }
}

/// A flat, writable stack segment.
fn flat_stack(selector: u16, dpl: u8) -> Segment {
    Segment { base: 0, limit: u32::MAX, attributes: Rights(0xc093).with_dpl(dpl), selector }
}

fn enter(cpu: &mut dyn Cpu, code: Segment, stack: Segment) {
    let state = cpu.state_mut();
    *state.segment_mut(SegmentIndex::Cs) = code;
    *state.segment_mut(SegmentIndex::Ss) = stack;
}

/// Whether the processor is AMD's, on which the pair of SYSCALL and SYSRET is for all modes, and SYSENTER not for long mode.
/// APM: vol. 2 §6.1.
fn is_amd(cpu: &dyn Cpu) -> bool {
    cpu.model().vendor() == Vendor::Amd
}

/// `SYSCALL`: to ring 0 at the address in LSTAR, or CSTAR from compatibility code; RCX and R11 keep RIP and the flags. In
/// legacy mode: at the address in STAR.
fn syscall(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let is_amd = is_amd(cpu);
    let state = cpu.state_mut();
    if !(state.is_64bit() || is_amd) || !state.efer.contains(Efer::SCE) {
        return Err(Fault::UD);
    }
    let (is_64bit, is_long) = (state.is_64bit(), state.is_long_mode());
    let selector = (state.msrs.star >> 32) as u16 & !3;
    state.gpr[Gpr::RCX] = state.rip;
    if is_long {
        state.gpr[Gpr::R11] = state.rflags.difference(RFlags::RF).bits();
        state.rflags = state.rflags.difference(RFlags::from_bits_retain(state.msrs.fmask) | RFlags::RF) | RFlags::FIXED;
        state.rip = if is_64bit { state.msrs.lstar } else { state.msrs.cstar };
    } else {
        state.rflags.remove(RFlags::IF | RFlags::RF | RFlags::VM);
        state.rip = state.msrs.star & 0xffff_ffff;
    }
    enter(cpu, flat_code(selector, 0, is_long), flat_stack(selector.wrapping_add(8), 0));
    Ok(())
}

/// `SYSRET`: to ring 3 at RCX with the flags in R11; 64-bit code with an operand of 64 bits, else compatibility code. In
/// legacy mode the flags stay, but that interrupts are let in.
fn sysret(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let is_amd = is_amd(cpu);
    let state = cpu.state();
    if !(state.is_64bit() || is_amd) || !state.efer.contains(Efer::SCE) {
        return Err(Fault::UD);
    }
    if state.cpl() != 0 {
        return Err(Fault::GP0);
    }
    let is_64bit = i.width == Width::Qword;
    let target = i.width.truncate(state.gpr[Gpr::RCX]);
    if is_64bit && !is_amd {
        require_canonical(state, target)?;
    }
    let base = (state.msrs.star >> 48) as u16;
    let code = base.wrapping_add(if is_64bit { 16 } else { 0 }) | 3;
    if state.is_long_mode() {
        load_from_r11(cpu);
    } else {
        cpu.state_mut().rflags.insert(RFlags::IF);
    }
    cpu.state_mut().rip = target;
    enter(cpu, flat_code(code, 3, is_64bit), flat_stack(base.wrapping_add(8) | 3, 3));
    Ok(())
}

/// `SYSENTER`: to ring 0 at the address and stack in the SYSENTER registers.
fn sysenter(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    if is_amd(cpu) && cpu.state().is_long_mode() {
        return Err(Fault::UD);
    }
    let state = cpu.state_mut();
    let selector = state.msrs.sysenter_cs as u16 & !3;
    if state.is_real_mode() || selector == 0 {
        return Err(Fault::GP0);
    }
    let is_long = state.is_long_mode();
    let width = if is_long { Width::Qword } else { Width::Dword };
    state.rflags.remove(RFlags::VM | RFlags::IF | RFlags::RF);
    state.gpr[Gpr::RSP] = width.truncate(state.msrs.sysenter_esp);
    state.rip = width.truncate(state.msrs.sysenter_eip);
    enter(cpu, flat_code(selector, 0, is_long), flat_stack(selector.wrapping_add(8), 0));
    Ok(())
}

/// `SYSEXIT`: to ring 3 at RDX with the stack pointer in RCX.
fn sysexit(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    if is_amd(cpu) && cpu.state().is_long_mode() {
        return Err(Fault::UD);
    }
    let state = cpu.state();
    let base = state.msrs.sysenter_cs as u16 & !3;
    if state.is_real_mode() || base == 0 {
        return Err(Fault::GP0);
    }
    let is_64bit = i.width == Width::Qword;
    let width = if is_64bit { Width::Qword } else { Width::Dword };
    let (target, pointer) = (width.truncate(state.gpr[Gpr::RDX]), width.truncate(state.gpr[Gpr::RCX]));
    if is_64bit && !(is_canonical(state, target) && is_canonical(state, pointer)) {
        return Err(Fault::GP0);
    }
    let code = base.wrapping_add(if is_64bit { 32 } else { 16 }) | 3;
    let state = cpu.state_mut();
    state.rip = target;
    state.gpr[Gpr::RSP] = pointer;
    enter(cpu, flat_code(code, 3, is_64bit), flat_stack(code.wrapping_add(8), 3));
    Ok(())
}
