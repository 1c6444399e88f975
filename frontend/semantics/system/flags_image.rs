//! The flags as a whole: PUSHF POPF CLI STI CLAC STAC, and what IRET and SYSRET may change.
//!
//! Which bits a load changes depends on privilege: the I/O privilege level is ring 0's, the interrupt flag belongs to
//! whoever the I/O privilege level admits, and virtual-8086 extensions give tasks a virtual interrupt flag.
//! SDM: vol. 2, the entries of the same names; vol. 3 §20.3 (virtual-8086 mode), §20.4 (protected-mode virtual interrupts).

use dragoman_state::{Cr4, Gpr, InterruptShadow, RFlags, VcpuState, Width};

use super::{
    super::{
        Cpu, Machine,
        table::{Row, helper, row},
    },
    stacks::Stack,
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 4] {
    const ENDS: Attributes = Attributes::ENDS_BLOCK;
    [
        row(Mnemonic::Cli,  helper!(cli),  ENDS),
        row(Mnemonic::Sti,  helper!(sti),  ENDS),
        row(Mnemonic::Clac, helper!(clac), ENDS),
        row(Mnemonic::Stac, helper!(stac), ENDS),
    ]
}

/// The flags that exist.
pub(super) const DEFINED: RFlags = RFlags::all().difference(RFlags::FIXED);
/// Loads the flags of `image` that an operand of `width` holds and that `kept` does not name.
pub(super) fn load(cpu: &mut dyn Cpu, width: Width, image: u64, kept: RFlags) {
    let reach = if width == Width::Word { RFlags::from_bits_retain(0xffff) } else { RFlags::all() };
    let changed = (DEFINED & reach).difference(kept);
    let state = cpu.state_mut();
    state.rflags = state.rflags.difference(changed) | RFlags::from_bits_retain(image) & changed;
}

/// Loads the flags as IRET does at privilege level `cpl`, which is the level before the return.
pub(super) fn load_at(cpu: &mut dyn Cpu, cpl: u8, width: Width, image: u64) {
    let mut kept = RFlags::VM;
    if cpl > 0 {
        kept |= RFlags::IOPL | RFlags::VIF | RFlags::VIP;
    }
    if cpl > cpu.state().rflags.iopl() {
        kept |= RFlags::IF;
    }
    load(cpu, width, image, kept);
}

/// The 16-bit image that a task under virtual-8086 extensions sees: its virtual interrupt flag in the place of the
/// interrupt flag, and an I/O privilege level of 3.
pub(super) fn virtual_image(state: &VcpuState) -> u64 {
    let mut flags = RFlags::from_bits_retain(state.rflags.bits() & 0xffff) | RFlags::IOPL;
    flags.set(RFlags::IF, state.rflags.contains(RFlags::VIF));
    flags.bits()
}

/// #GP(0) where loading `image` into virtual flags would let a pending virtual interrupt in, or would single-step.
pub(super) fn virtual_interrupts(state: &VcpuState, image: u64) -> Result<(), Fault> {
    let image = RFlags::from_bits_retain(image);
    let lets_in = image.contains(RFlags::IF) && state.rflags.contains(RFlags::VIP);
    if lets_in || image.contains(RFlags::TF) { Err(Fault::GP0) } else { Ok(()) }
}

/// Loads a 16-bit image whose interrupt flag is virtual.
pub(super) fn load_virtual(cpu: &mut dyn Cpu, image: u64) {
    load(cpu, Width::Word, image, RFlags::IF | RFlags::IOPL);
    cpu.state_mut().rflags.set(RFlags::VIF, image & RFlags::IF.bits() != 0);
}

/// `PUSHF`, `PUSHFD`, `PUSHFQ`: VM and RF are pushed as zero.
pub(in super::super) fn pushf(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let state = cpu.state();
    let is_restricted = state.is_virtual_8086() && state.rflags.iopl() < 3;
    let image = if !is_restricted {
        state.rflags.difference(RFlags::VM | RFlags::RF).bits()
    } else if state.cr4.contains(Cr4::VME) && i.width == Width::Word {
        virtual_image(state)
    } else {
        return Err(Fault::GP0);
    };
    let mut stack = Stack::current(cpu);
    stack.push(cpu, i.width, image)?;
    stack.install_pointer(cpu);
    Ok(())
}

/// `POPF`, `POPFD`, `POPFQ`.
pub(in super::super) fn popf(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let state = cpu.state();
    let is_restricted = state.is_virtual_8086() && state.rflags.iopl() < 3;
    let is_virtual = is_restricted && state.cr4.contains(Cr4::VME) && i.width == Width::Word;
    if is_restricted && !is_virtual {
        return Err(Fault::GP0);
    }
    let mut stack = Stack::current(cpu);
    let image = stack.pop(cpu, i.width)?;
    if is_virtual {
        virtual_interrupts(cpu.state(), image)?;
        stack.install_pointer(cpu);
        load_virtual(cpu, image);
        return Ok(());
    }
    stack.install_pointer(cpu);
    let state = cpu.state();
    let mut kept = RFlags::VM | RFlags::VIF | RFlags::VIP;
    if state.is_virtual_8086() || state.cpl() > 0 {
        kept |= RFlags::IOPL;
    }
    if !state.is_real_mode() && state.cpl() > state.rflags.iopl() {
        kept |= RFlags::IF;
    }
    load(cpu, i.width, image & !RFlags::RF.bits(), kept);
    Ok(())
}

/// Whether the interrupt flag itself may be changed; else whether a virtual one stands in for it.
enum InterruptControl {
    Real,
    Virtual,
}

fn interrupt_control(state: &VcpuState) -> Result<InterruptControl, Fault> {
    if state.is_real_mode() || state.rflags.iopl() >= state.cpl() {
        return Ok(InterruptControl::Real);
    }
    let is_virtual =
        if state.is_virtual_8086() { state.cr4.contains(Cr4::VME) } else { state.cr4.contains(Cr4::PVI) && state.cpl() == 3 };
    if is_virtual { Ok(InterruptControl::Virtual) } else { Err(Fault::GP0) }
}

/// `CLI`.
fn cli(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let flag = match interrupt_control(cpu.state())? {
        InterruptControl::Real => RFlags::IF,
        InterruptControl::Virtual => RFlags::VIF,
    };
    cpu.state_mut().rflags.remove(flag);
    Ok(())
}

/// `STI`: interrupts are let in after the next instruction.
fn sti(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    match interrupt_control(cpu.state())? {
        InterruptControl::Real => {
            let state = cpu.state_mut();
            if !state.rflags.contains(RFlags::IF) {
                state.events.shadow = InterruptShadow::Sti;
            }
            state.rflags |= RFlags::IF;
        }
        InterruptControl::Virtual if cpu.state().rflags.contains(RFlags::VIP) => return Err(Fault::GP0),
        InterruptControl::Virtual => cpu.state_mut().rflags |= RFlags::VIF,
    }
    Ok(())
}

/// Elsewhere these are no instructions.
fn require_ring_0(cpu: &dyn Cpu) -> Result<(), Fault> {
    if cpu.state().cpl() == 0 { Ok(()) } else { Err(Fault::UD) }
}

/// `CLAC`: supervisor accesses to user pages fault under SMAP.
fn clac(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    require_ring_0(cpu)?;
    cpu.state_mut().rflags.remove(RFlags::AC);
    Ok(())
}

/// `STAC`: supervisor accesses to user pages are let through.
fn stac(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    require_ring_0(cpu)?;
    cpu.state_mut().rflags |= RFlags::AC;
    Ok(())
}

/// R11 after SYSCALL, and what SYSRET makes of it.
pub(super) fn load_from_r11(cpu: &mut dyn Cpu) {
    let state = cpu.state_mut();
    let image = RFlags::from_bits_retain(state.gpr[Gpr::R11]);
    state.rflags = image & DEFINED.difference(RFlags::RF | RFlags::VM) | RFlags::FIXED;
}
