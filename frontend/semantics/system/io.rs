//! Port input and output: IN OUT INS OUTS.
//! SDM: vol. 2, the entries of the same names; vol. 1 §19.5 (protected-mode I/O).

use dragoman_state::{Gpr, Port, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        integer::strings::{Strings, repeat},
        table::{Row, helper, row},
    },
    tasks,
};
use crate::{
    decode::{Attributes, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic::*;
    const ENDS: Attributes = Attributes::ENDS_BLOCK;
    let mut rows = vec![row(In, helper!(input), ENDS), row(Out, helper!(output), ENDS)];
    for name in [Insb, Insw, Insd] { rows.push(row(name, helper!(ins), ENDS)); }
    for name in [Outsb, Outsw, Outsd] { rows.push(row(name, helper!(outs), ENDS)); }
    rows
}

/// #GP(0) where the running code may not use the port.
fn check(cpu: &mut dyn Cpu, port: Port, width: Width) -> Result<(), Fault> {
    let state = cpu.state();
    let is_open = !state.is_virtual_8086() && (state.is_real_mode() || state.cpl() <= state.rflags.iopl());
    if is_open { Ok(()) } else { tasks::check_port(cpu, port.0, width) }
}

/// The port that operand `n` names: DX or an immediate byte.
fn port(cpu: &dyn Cpu, i: &Insn, n: usize) -> Port {
    match i.operands[n].kind {
        Kind::Immediate => Port(i.immediate as u8 as u16),
        _ => Port(cpu.state().gpr[Gpr::RDX] as u16),
    }
}

/// `IN`.
fn input(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let (port, width) = (port(cpu, i, 1), i.operands[0].width);
    check(cpu, port, width)?;
    let value = cpu.port_in(port, width);
    cpu.write_gpr(Gpr::RAX, width, value.into());
    Ok(())
}

/// `OUT`.
fn output(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let (port, width) = (port(cpu, i, 0), i.operands[1].width);
    check(cpu, port, width)?;
    let value = width.truncate(cpu.state().gpr[Gpr::RAX]);
    cpu.port_out(port, width, value as u32);
    Ok(())
}

/// `INS`: the element at ES:DI ← the port. Memory is checked before the port is read, whose reading cannot be undone.
fn ins(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let port = Port(cpu.state().gpr[Gpr::RDX] as u16);
    check(cpu, port, i.width)?;
    let strings = Strings::new(cpu, i);
    repeat(cpu, i, |cpu, _| {
        let to = strings.destination(cpu, true)?;
        cpu.check_write(to, i.width.bytes(), Privilege::Current)?;
        let value = cpu.port_in(port, i.width);
        cpu.write(to, i.width, value.into(), Privilege::Current)?;
        strings.advance(cpu, Gpr::RDI, 1);
        Ok((1, false))
    })
}

/// `OUTS`: the port ← the element at SI.
fn outs(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let port = Port(cpu.state().gpr[Gpr::RDX] as u16);
    check(cpu, port, i.width)?;
    let strings = Strings::new(cpu, i);
    repeat(cpu, i, |cpu, _| {
        let from = strings.source(cpu)?;
        let value = cpu.read(from, i.width, Privilege::Current)?;
        cpu.port_out(port, i.width, value as u32);
        strings.advance(cpu, Gpr::RSI, 1);
        Ok((1, false))
    })
}
