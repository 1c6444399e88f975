//! Waiting for a write: MONITOR MWAIT.
//!
//! A processor may leave MWAIT for reasons of its own. Here it leaves whenever something is to be done, and after a moment in
//! any case, which bounds how late a write by another processor is seen: nothing watches the line that MONITOR named.
//! SDM: vol. 2, the entries of the same names; vol. 3 §9.10.3.

use dragoman_state::{Gpr, Msrs, Width};

use super::super::{
    Cpu, Machine, Privilege, segmentation,
    table::{Row, helper, row},
};
use crate::{
    decode::{Attributes, Code, Insn, Mnemonic, Opcode},
    fault::Fault,
    model::Vendor,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 2] {
    [
        row(Mnemonic::Monitor, helper!(monitor), Attributes::empty()),
        row(Mnemonic::Mwait,   helper!(mwait),   Attributes::ENDS_BLOCK),
    ]
}

/// #UD outside ring 0, and where the system has disabled the two; #GP(0) where ECX asks for what is not in `extensions`.
fn check(cpu: &dyn Cpu, extensions: u64) -> Result<(), Fault> {
    let state = cpu.state();
    let is_disabled = cpu.model().vendor() == Vendor::Intel && state.msrs.misc_enable & Msrs::MONITOR == 0;
    if state.cpl() != 0 || is_disabled {
        return Err(Fault::UD);
    }
    let width = if state.is_64bit() { Width::Qword } else { Width::Dword };
    if width.truncate(state.gpr[Gpr::RCX]) & !extensions != 0 { Err(Fault::GP0) } else { Ok(()) }
}

/// `MONITOR`: the line at DS:(E/R)AX; a read of a byte as far as faults go.
fn monitor(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    check(cpu, 0)?;
    let width = match i.opcode {
        opcode if opcode == Opcode::of(Code::Monitorw) => Width::Word,
        opcode if opcode == Opcode::of(Code::Monitord) => Width::Dword,
        _ => Width::Qword,
    };
    let offset = width.truncate(cpu.state().gpr[Gpr::RAX]);
    let at = segmentation::canonical(cpu.state(), i.segment, offset, 1, false)?;
    cpu.read(at, Width::Byte, Privilege::Current).map(|_| ())
}

/// `MWAIT`: ECX bit 0 has interrupts end it that are not let in; here they do so always.
fn mwait(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    const BREAKS_ON_MASKED: u64 = 1;
    check(cpu, BREAKS_ON_MASKED)?;
    cpu.doze();
    Ok(())
}
