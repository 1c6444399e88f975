//! Caches and translations that software manages, and stopping: INVD WBINVD CLFLUSH INVLPG INVPCID HLT.
//! SDM: vol. 2, the entries of the same names; vol. 3 §4.10.4 (invalidation).

use dragoman_state::{Activity, Attributes as Rights, Cr4, Gpr, GuestVirt, Segment, Width};

use super::{
    super::{
        Cpu, Flush, Machine, Privilege,
        memory::effective_address,
        segmentation,
        table::{Row, helper, row},
    },
    descriptors::is_canonical,
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 9] {
    const CPL0: Attributes = Attributes::CPL0;
    const ENDS: Attributes = Attributes::CPL0.union(Attributes::ENDS_BLOCK);
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Hlt,        helper!(hlt),     ENDS),
        row(Mnemonic::Invd,       helper!(nothing), CPL0),
        row(Mnemonic::Wbinvd,     helper!(nothing), CPL0),
        row(Mnemonic::Wbnoinvd,   helper!(nothing), CPL0),
        row(Mnemonic::Clflush,    helper!(clflush), PLAIN),
        row(Mnemonic::Clflushopt, helper!(clflush), PLAIN),
        row(Mnemonic::Clwb,       helper!(clflush), PLAIN),
        row(Mnemonic::Invlpg,     helper!(invlpg),  ENDS),
        row(Mnemonic::Invpcid,    helper!(invpcid), ENDS),
    ]
}

/// `HLT`: nothing until an interrupt.
fn hlt(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    cpu.state_mut().events.activity = Activity::Halted;
    Ok(())
}

/// `INVD`, `WBINVD`: memory is always coherent here.
fn nothing(_: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    Ok(())
}

/// `CLFLUSH` and its kin: a read of the line as far as faults go, which code that can only be executed allows too.
fn clflush(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    const READABLE: u32 = 1 << 1;
    let segment = *cpu.state().segment(i.segment.index());
    if !i.segment.is_checked() || !segment.attributes.is_code() {
        return cpu.read_operand(i, 0, Width::Byte).map(|_| ());
    }
    let readable = Segment { attributes: Rights(segment.attributes.0 | READABLE), ..segment };
    let at = segmentation::linear_in(&readable, effective_address(cpu.state(), i), 1, false, Fault::GP0)?;
    cpu.read(at, Width::Byte, Privilege::Current).map(|_| ())
}

/// `INVLPG`: forgets the translation of one page. An address that is not canonical has none.
fn invlpg(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let offset = effective_address(cpu.state(), i);
    let base = if i.segment.is_flat() { 0 } else { cpu.state().segment(i.segment.index()).base };
    let at = base.wrapping_add(offset);
    let at = if cpu.state().is_64bit() { at } else { at & 0xffff_ffff };
    if is_canonical(cpu.state(), at) {
        cpu.flush(Flush::Page(GuestVirt(at)));
    }
    Ok(())
}

/// `INVPCID type, descriptor`.
fn invpcid(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let wide = if cpu.state().is_64bit() { Width::Qword } else { Width::Dword };
    let kind = wide.truncate(cpu.state().gpr[Gpr(i.operands[0].register)]);
    let at = cpu.operand_address(i, 16, false)?;
    let context = cpu.read(at, Width::Qword, Privilege::Current)?;
    let address = cpu.read(GuestVirt(at.0.wrapping_add(8)), Width::Qword, Privilege::Current)?;
    let state = cpu.state();
    let has_contexts = state.cr4.contains(Cr4::PCIDE);
    let is_bad = match kind {
        0 => context >> 12 != 0 || !is_canonical(state, address) || !has_contexts && context != 0,
        1 => context >> 12 != 0 || !has_contexts && context != 0,
        2 | 3 => context >> 12 != 0,
        _ => true,
    };
    if is_bad {
        return Err(Fault::GP0);
    }
    let context = context as u16;
    cpu.flush(match kind {
        0 => Flush::ContextPage(context, GuestVirt(address)),
        1 => Flush::Context(context),
        2 => Flush::All,
        _ => Flush::AllNotGlobal,
    });
    Ok(())
}
