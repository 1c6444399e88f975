//! Descriptor-table registers and questions about descriptors: LGDT LIDT SGDT SIDT LLDT LTR SLDT STR LAR LSL VERR VERW
//! ARPL.
//! SDM: vol. 2, the entries of the same names; vol. 3 §5.10 (pointer validation).

use dragoman_state::{Gpr, RFlags, Segment, TableRegister, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, helper, row},
    },
    control_registers::refuse_user_mode,
    descriptors::{Descriptor, Selector, fetch, fetch_system, is_canonical, kind, require_canonical, write_type},
    objections::{Subject, refuse_where},
    segments::NOT_PRESENT,
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 13] {
    const PLAIN: Attributes = Attributes::empty();
    const CPL0: Attributes = Attributes::CPL0;
    const PROT: Attributes = Attributes::PROTECTED;
    [
        row(Mnemonic::Lgdt, |m, i| m.call_helper(lgdt, i), CPL0),
        row(Mnemonic::Lidt, |m, i| m.call_helper(lidt, i), CPL0),
        row(Mnemonic::Sgdt, |m, i| m.call_helper(sgdt, i), PLAIN),
        row(Mnemonic::Sidt, |m, i| m.call_helper(sidt, i), PLAIN),
        row(Mnemonic::Lldt, helper!(lldt),                 PROT.union(CPL0)),
        row(Mnemonic::Ltr,  helper!(ltr),                  PROT.union(CPL0)),
        row(Mnemonic::Sldt, helper!(sldt),                 PROT),
        row(Mnemonic::Str,  helper!(str),                  PROT),
        row(Mnemonic::Lar,  helper!(lar),                  PROT),
        row(Mnemonic::Lsl,  helper!(lsl),                  PROT),
        row(Mnemonic::Verr, helper!(verr),                 PROT),
        row(Mnemonic::Verw, helper!(verw),                 PROT),
        row(Mnemonic::Arpl, helper!(arpl),                 PROT),
    ]
}

/// The pseudo-descriptor in memory: a word of limit, then the base, whose top byte a 16-bit operand leaves out.
fn load_table(cpu: &mut dyn Cpu, i: &Insn) -> Result<TableRegister, Fault> {
    let limit = cpu.read_operand(i, 0, Width::Word)? as u16;
    let base = match i.width {
        Width::Qword => cpu.read_operand(i, 2, Width::Qword)?,
        Width::Word => cpu.read_operand(i, 2, Width::Dword)? & 0xff_ffff,
        Width::Dword | Width::Byte => cpu.read_operand(i, 2, Width::Dword)?,
    };
    require_canonical_in_64bit(cpu, base)?;
    Ok(TableRegister { base, limit })
}

fn require_canonical_in_64bit(cpu: &dyn Cpu, at: u64) -> Result<(), Fault> {
    if cpu.state().is_64bit() { require_canonical(cpu.state(), at) } else { Ok(()) }
}

/// `LGDT`.
fn lgdt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    cpu.state_mut().gdtr = load_table(cpu, i)?;
    Ok(())
}

/// `LIDT`.
fn lidt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    cpu.state_mut().idtr = load_table(cpu, i)?;
    Ok(())
}

/// Writes a pseudo-descriptor: ten bytes in 64-bit mode, else six.
fn store_table(cpu: &mut dyn Cpu, i: &Insn, table: TableRegister) -> Result<(), Fault> {
    refuse_user_mode(cpu.state())?;
    let width = if cpu.state().is_64bit() { Width::Qword } else { Width::Dword };
    let at = cpu.operand_address(i, 2 + width.bytes(), true)?;
    cpu.check_write(at, 2 + width.bytes(), Privilege::Current)?;
    cpu.write(at, Width::Word, table.limit.into(), Privilege::Current)?;
    let after = dragoman_state::GuestVirt(at.0.wrapping_add(2));
    cpu.write(after, width, width.truncate(table.base), Privilege::Current)
}

/// `SGDT`.
fn sgdt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let table = cpu.state().gdtr;
    store_table(cpu, i, table)
}

/// `SIDT`.
fn sidt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let table = cpu.state().idtr;
    store_table(cpu, i, table)
}

/// The system descriptor of the global table that LLDT or LTR names, present and of one of `kinds`.
fn system_segment(cpu: &mut dyn Cpu, selector: Selector, kinds: &[u8]) -> Result<Descriptor, Fault> {
    let refused = Fault::gp(selector.error());
    let is_local = selector.0 & 4 != 0;
    refuse_where(cpu, refused, Subject::selector(selector), &[(is_local, "is in the local table, where it cannot be")])?;
    let descriptor = fetch_system(cpu, selector, refused)?;
    let rights = descriptor.attributes();
    let entry = Subject::entry(selector, descriptor);
    let is_other = rights.is_code_or_data() || !kinds.contains(&rights.kind());
    let text =
        if kinds == [kind::LDT] { "is no LDT" } else { "is no available task state segment: its type is another, or it is busy" };
    refuse_where(cpu, refused, entry, &[(is_other, text)])?;
    refuse_where(cpu, Fault::np(selector.error()), entry, &[(!rights.is_present(), NOT_PRESENT)])?;
    let is_far = cpu.state().is_long_mode() && !is_canonical(cpu.state(), descriptor.segment(selector).base);
    refuse_where(cpu, refused, entry, &[(is_far, "has a base that is not canonical")])?;
    Ok(descriptor)
}

/// `LLDT src`.
fn lldt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let selector = Selector(cpu.read_integer(i, 0)? as u16);
    let segment = if selector.is_null() {
        Segment::null(selector.0)
    } else {
        system_segment(cpu, selector, &[kind::LDT])?.segment(selector)
    };
    cpu.state_mut().ldtr = segment;
    Ok(())
}

/// `LTR src`: the task state segment becomes busy.
fn ltr(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    const BUSY: u64 = 1 << 41;
    let selector = Selector(cpu.read_integer(i, 0)? as u16);
    refuse_where(cpu, Fault::GP0, Subject::selector(selector), &[(selector.is_null(), "is null, and no task")])?;
    let kinds: &[u8] = if cpu.state().is_long_mode() { &[kind::TSS] } else { &[kind::TSS, kind::TSS16] };
    let mut descriptor = system_segment(cpu, selector, kinds)?;
    descriptor.low |= BUSY;
    write_type(cpu, selector, descriptor)?;
    cpu.state_mut().tr = descriptor.segment(selector);
    Ok(())
}

/// Writes a selector: a word to memory, zero-extended to a register.
fn store_selector(cpu: &mut dyn Cpu, i: &Insn, selector: u16) -> Result<(), Fault> {
    refuse_user_mode(cpu.state())?;
    if i.is_memory(0) {
        let at = cpu.operand_address(i, 2, true)?;
        return cpu.write(at, Width::Word, selector.into(), Privilege::Current);
    }
    cpu.write_gpr(Gpr(i.operands[0].register), i.width, selector.into());
    Ok(())
}

/// `SLDT dst`.
fn sldt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let selector = cpu.state().ldtr.selector;
    store_selector(cpu, i, selector)
}

/// `STR dst`.
fn str(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let selector = cpu.state().tr.selector;
    store_selector(cpu, i, selector)
}

/// The descriptor that `selector` names, where the running code may know of it.
fn visible(cpu: &mut dyn Cpu, selector: Selector) -> Result<Option<Descriptor>, Fault> {
    if selector.is_null() {
        return Ok(None);
    }
    // A table that ends before the descriptor is no fault here: it is the answer "not visible".
    const OUTSIDE: Fault = Fault::ts(0xfffc);
    let descriptor = match fetch(cpu, selector, OUTSIDE) {
        Err(OUTSIDE) => return Ok(None),
        fetched => fetched?,
    };
    let rights = descriptor.attributes();
    let is_shielded = rights.dpl() < cpu.state().cpl().max(selector.rpl()) && !rights.is_conforming();
    Ok((!is_shielded).then_some(descriptor))
}

fn set_zero(cpu: &mut dyn Cpu, value: bool) {
    cpu.state_mut().rflags.set(RFlags::ZF, value);
}

fn operand_selector(cpu: &mut dyn Cpu, i: &Insn, n: usize) -> Result<Selector, Fault> {
    let value = if i.is_memory(n) { cpu.read_operand(i, 0, Width::Word)? } else { cpu.read_integer(i, n)? };
    Ok(Selector(value as u16))
}

/// `LAR dst, src`: the access rights of a descriptor.
fn lar(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let selector = operand_selector(cpu, i, 1)?;
    let is_long = cpu.state().is_long_mode();
    let found = visible(cpu, selector)?.filter(|descriptor| {
        let rights = descriptor.attributes();
        rights.is_code_or_data()
            || match rights.kind() {
                kind::LDT | kind::TSS | kind::TSS_BUSY | kind::CALL_GATE => true,
                kind::TSS16 | kind::TSS16_BUSY | kind::CALL_GATE16 | kind::TASK_GATE => !is_long,
                _ => false,
            }
    });
    if let Some(descriptor) = found {
        let value = descriptor.low >> 32 & 0x00ff_ff00;
        cpu.write_gpr(Gpr(i.operands[0].register), i.width, value);
    }
    set_zero(cpu, found.is_some());
    Ok(())
}

/// `LSL dst, src`: the limit of a segment, in bytes.
fn lsl(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let selector = operand_selector(cpu, i, 1)?;
    let is_long = cpu.state().is_long_mode();
    let found = visible(cpu, selector)?.filter(|descriptor| {
        let rights = descriptor.attributes();
        rights.is_code_or_data()
            || match rights.kind() {
                kind::LDT | kind::TSS | kind::TSS_BUSY => true,
                kind::TSS16 | kind::TSS16_BUSY => !is_long,
                _ => false,
            }
    });
    if let Some(descriptor) = found {
        let limit = descriptor.segment(selector).limit;
        cpu.write_gpr(Gpr(i.operands[0].register), i.width, limit.into());
    }
    set_zero(cpu, found.is_some());
    Ok(())
}

/// `VERR src`: whether the segment may be read.
fn verr(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let selector = operand_selector(cpu, i, 0)?;
    let found = visible(cpu, selector)?;
    set_zero(cpu, found.is_some_and(|descriptor| descriptor.attributes().is_readable()));
    Ok(())
}

/// `VERW src`: whether the segment may be written.
fn verw(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let selector = operand_selector(cpu, i, 0)?;
    let found = visible(cpu, selector)?;
    set_zero(cpu, found.is_some_and(|descriptor| descriptor.attributes().is_writable()));
    Ok(())
}

/// `ARPL dst, src`: raises the requested privilege level of a selector to another's.
fn arpl(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let dst = Selector(cpu.read_integer(i, 0)? as u16);
    let src = Selector(cpu.read_integer(i, 1)? as u16);
    let raises = dst.rpl() < src.rpl();
    if raises {
        cpu.write_integer(i, 0, dst.with_rpl(src.rpl()).0.into())?;
    }
    set_zero(cpu, raises);
    Ok(())
}
