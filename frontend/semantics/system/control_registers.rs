//! Control and debug registers: MOV to and from them, CLTS, LMSW, SMSW.
//! SDM: vol. 2, MOV—Move to/from Control Registers, MOV—Move to/from Debug Registers; vol. 3 §2.5, §4.1 (mode changes),
//! §4.10.4 (what is invalidated), §17.2.

use dragoman_state::{Cr0, Cr4, Dr6, Dr7, Efer, Gpr, GuestPhys, SegmentIndex, VcpuState, Width};

use super::{
    super::{
        Cpu, Flush, Machine,
        table::{Row, code, helper, row},
    },
    objections::{Subject, refuse, refuse_where},
};
use crate::{
    decode::{Attributes, Code, Insn, Mnemonic},
    fault::Fault,
    model::{CpuModel, Feature},
    paging,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    const CPL0: Attributes = Attributes::CPL0;
    const ENDS: Attributes = Attributes::CPL0.union(Attributes::ENDS_BLOCK);
    let mut rows = vec![
        row(Mnemonic::Clts, helper!(clts), ENDS),
        row(Mnemonic::Lmsw, helper!(lmsw), ENDS),
        row(Mnemonic::Smsw, helper!(smsw), Attributes::empty()),
    ];
    for form in [Code::Mov_r32_cr, Code::Mov_r64_cr] { rows.push(code(form, helper!(read_control), CPL0)); }
    for form in [Code::Mov_cr_r32, Code::Mov_cr_r64] { rows.push(code(form, helper!(write_control), ENDS)); }
    for form in [Code::Mov_r32_dr, Code::Mov_r64_dr] { rows.push(code(form, helper!(read_debug), ENDS)); }
    for form in [Code::Mov_dr_r32, Code::Mov_dr_r64] { rows.push(code(form, helper!(write_debug), ENDS)); }
    rows
}

/// Why CR0 may not hold `value` with the other registers as they are; `None` where it may.
fn cr0_objection(state: &VcpuState, value: u64) -> Option<&'static str> {
    let cr0 = Cr0::from_bits_retain(value);
    let has = |flag| cr0.contains(flag);
    let leaves_paging = state.cr0.contains(Cr0::PG) && !has(Cr0::PG);
    let enters_long = has(Cr0::PG) && !state.cr0.contains(Cr0::PG) && state.efer.contains(Efer::LME);
    first_that_holds(&[
        (has(Cr0::PG) && !has(Cr0::PE), "sets CR0.PG without CR0.PE"),
        (has(Cr0::NW) && !has(Cr0::CD), "sets CR0.NW without CR0.CD"),
        (value >> 32 != 0, "sets reserved bits of CR0"),
        (leaves_paging && state.is_64bit(), "clears CR0.PG in 64-bit mode"),
        (leaves_paging && state.cr4.contains(Cr4::PCIDE), "clears CR0.PG while CR4.PCIDE is set"),
        (enters_long && !state.cr4.contains(Cr4::PAE), "sets CR0.PG with EFER.LME set and CR4.PAE clear"),
        (
            enters_long && state.segment(SegmentIndex::Cs).attributes.is_long(),
            "sets CR0.PG with EFER.LME set in a code segment with L = 1",
        ),
    ])
}

/// The bits of CR4 that `model` has.
fn cr4_bits(model: &CpuModel) -> Cr4 {
    let mut bits = Cr4::empty();
    for (bit, feature) in [
        (Cr4::VME | Cr4::PVI, Feature::Vme),
        (Cr4::TSD, Feature::Tsc),
        (Cr4::DE, Feature::De),
        (Cr4::PSE, Feature::Pse),
        (Cr4::PAE, Feature::Pae),
        (Cr4::MCE, Feature::Mce),
        (Cr4::PGE, Feature::Pge),
        (Cr4::PCE, Feature::Msr),
        (Cr4::OSFXSR, Feature::Fxsr),
        (Cr4::OSXMMEXCPT, Feature::Sse),
        (Cr4::UMIP, Feature::Umip),
        (Cr4::LA57, Feature::La57),
        (Cr4::FSGSBASE, Feature::Fsgsbase),
        (Cr4::PCIDE, Feature::Pcid),
        (Cr4::OSXSAVE, Feature::Xsave),
        (Cr4::SMEP, Feature::Smep),
        (Cr4::SMAP, Feature::Smap),
        (Cr4::PKE, Feature::Pku),
    ] {
        bits.set(bit, model.has(feature));
    }
    bits
}

/// Why CR4 may not hold `value` on `model` with the other registers as they are; `None` where it may.
fn cr4_objection(state: &VcpuState, model: &CpuModel, value: u64) -> Option<&'static str> {
    let cr4 = Cr4::from_bits_retain(value);
    let has = |flag| cr4.contains(flag);
    let enters_pcid = has(Cr4::PCIDE) && !state.cr4.contains(Cr4::PCIDE);
    let is_long = state.is_long_mode();
    first_that_holds(&[
        (value & !cr4_bits(model).bits() != 0, "sets bits of CR4 that this processor does not have"),
        (is_long && !has(Cr4::PAE), "clears CR4.PAE in long mode"),
        (is_long && has(Cr4::LA57) != state.cr4.contains(Cr4::LA57), "changes CR4.LA57 in long mode"),
        (enters_pcid && !is_long, "sets CR4.PCIDE outside long mode"),
        (enters_pcid && state.cr3 & 0xfff != 0, "sets CR4.PCIDE while the low bits of CR3 are not zero"),
    ])
}

/// Whether CR4 may hold `value` on `model` with the other registers as they are.
pub fn cr4_write_is_valid(state: &VcpuState, model: &CpuModel, value: u64) -> bool {
    cr4_objection(state, model, value).is_none()
}

fn first_that_holds(objections: &[(bool, &'static str)]) -> Option<&'static str> {
    objections.iter().find(|(holds, _)| *holds).map(|(_, text)| *text)
}

/// Reads the four page-directory pointers of PAE paging from the table at `cr3`; #GP(0) where one has reserved bits.
/// Does nothing in other paging modes.
pub(super) fn load_pdptes(cpu: &mut dyn Cpu, cr3: u64) -> Result<(), Fault> {
    let state = cpu.state();
    if !state.cr0.contains(Cr0::PG) || !state.cr4.contains(Cr4::PAE) || state.efer.contains(Efer::LME) {
        return Ok(());
    }
    let physical_bits = cpu.model().physical_bits();
    let mut pdptes = [0; 4];
    for (n, pdpte) in pdptes.iter_mut().enumerate() {
        *pdpte = cpu.read_physical(GuestPhys((cr3 & 0xffff_ffe0) + 8 * n as u64));
        let is_refused = paging::pdpte_has_reserved_bits(*pdpte, physical_bits);
        let text = "loads a page-directory pointer with reserved bits set";
        refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_refused, text)])?;
    }
    cpu.state_mut().pdptes = pdptes;
    Ok(())
}

fn set_cr0(cpu: &mut dyn Cpu, value: u64) -> Result<(), Fault> {
    const DEFINED: Cr0 = Cr0::all();
    if let Some(text) = cr0_objection(cpu.state(), value) {
        return Err(refuse(cpu, Fault::GP0, Subject::Instruction, text));
    }
    let state = cpu.state();
    let (old, old_efer) = (state.cr0, state.efer);
    let new = Cr0::from_bits_retain(value) & DEFINED | Cr0::ET;
    let changed = old ^ new;
    let state = cpu.state_mut();
    state.cr0 = new;
    if changed.contains(Cr0::PG) && old_efer.contains(Efer::LME) {
        state.efer.set(Efer::LMA, new.contains(Cr0::PG));
    }
    if changed.intersects(Cr0::PG) {
        let cr3 = state.cr3;
        if let Err(fault) = load_pdptes(cpu, cr3) {
            let state = cpu.state_mut();
            (state.cr0, state.efer) = (old, old_efer);
            return Err(fault);
        }
    }
    if changed.intersects(Cr0::PG | Cr0::WP | Cr0::PE) {
        cpu.flush(Flush::All);
    }
    Ok(())
}

fn set_cr3(cpu: &mut dyn Cpu, value: u64) -> Result<(), Fault> {
    const KEEP: u64 = 1 << 63;
    let state = cpu.state();
    let has_contexts = state.cr4.contains(Cr4::PCIDE);
    let keeps = has_contexts && value & KEEP != 0;
    let value = if has_contexts { value & !KEEP } else { value };
    let is_beyond = state.is_long_mode() && value >> cpu.model().physical_bits() != 0;
    let text = "sets bits of CR3 above the physical address width";
    refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_beyond, text)])?;
    load_pdptes(cpu, value)?;
    cpu.state_mut().cr3 = value;
    if keeps {
        cpu.switch_context();
    } else {
        cpu.flush(Flush::NotGlobal);
    }
    Ok(())
}

fn set_cr4(cpu: &mut dyn Cpu, value: u64) -> Result<(), Fault> {
    if let Some(text) = cr4_objection(cpu.state(), cpu.model(), value) {
        return Err(refuse(cpu, Fault::GP0, Subject::Instruction, text));
    }
    let old = cpu.state().cr4;
    let new = Cr4::from_bits_retain(value);
    let changed = old ^ new;
    cpu.state_mut().cr4 = new;
    if changed.intersects(Cr4::PAE | Cr4::PSE | Cr4::PGE | Cr4::SMEP) {
        let cr3 = cpu.state().cr3;
        if let Err(fault) = load_pdptes(cpu, cr3) {
            cpu.state_mut().cr4 = old;
            return Err(fault);
        }
    }
    if changed.intersects(Cr4::PAE | Cr4::PSE | Cr4::PGE | Cr4::SMEP | Cr4::SMAP | Cr4::LA57 | Cr4::PCIDE | Cr4::PKE) {
        cpu.flush(Flush::All);
    }
    Ok(())
}

fn width(cpu: &dyn Cpu) -> Width {
    if cpu.state().is_64bit() { Width::Qword } else { Width::Dword }
}

/// `MOV reg, CRn`.
fn read_control(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let state = cpu.state();
    let value = match i.operands[1].register {
        0 => state.cr0.bits(),
        2 => state.cr2,
        3 => state.cr3,
        4 => state.cr4.bits(),
        8 => u64::from(state.lapic.task_priority >> 4),
        _ => return Err(Fault::UD),
    };
    let width = width(cpu);
    cpu.write_gpr(Gpr(i.operands[0].register), width, value);
    Ok(())
}

/// `MOV CRn, reg`.
fn write_control(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = width(cpu).truncate(cpu.state().gpr[Gpr(i.operands[1].register)]);
    match i.operands[0].register {
        0 => set_cr0(cpu, value),
        2 => {
            cpu.state_mut().cr2 = value;
            Ok(())
        }
        3 => set_cr3(cpu, value),
        4 => set_cr4(cpu, value),
        8 if value > 15 => Err(refuse(cpu, Fault::GP0, Subject::Instruction, "sets reserved bits of CR8")),
        8 => {
            cpu.set_task_priority((value as u8) << 4);
            Ok(())
        }
        _ => Err(Fault::UD),
    }
}

/// The debug register that `number` means: 4 and 5 are 6 and 7 unless debug extensions are on.
fn debug_register(state: &VcpuState, number: u8) -> Result<u8, Fault> {
    match number {
        4 | 5 if state.cr4.contains(Cr4::DE) => Err(Fault::UD),
        4 | 5 => Ok(number + 2),
        0..=7 => Ok(number),
        _ => Err(Fault::UD),
    }
}

/// #DB where DR7 guards the debug registers.
fn check_guard(cpu: &mut dyn Cpu) -> Result<(), Fault> {
    if !cpu.state().dr7.contains(Dr7::GD) {
        return Ok(());
    }
    let state = cpu.state_mut();
    state.dr6 |= Dr6::BD;
    state.dr7.remove(Dr7::GD);
    Err(Fault::DB)
}

/// `MOV reg, DRn`.
fn read_debug(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let number = debug_register(cpu.state(), i.operands[1].register)?;
    check_guard(cpu)?;
    let state = cpu.state();
    let value = match number {
        0..=3 => state.breakpoints[usize::from(number)],
        6 => state.dr6.bits(),
        _ => state.dr7.bits(),
    };
    let width = width(cpu);
    cpu.write_gpr(Gpr(i.operands[0].register), width, value);
    Ok(())
}

/// `MOV DRn, reg`.
fn write_debug(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let number = debug_register(cpu.state(), i.operands[0].register)?;
    check_guard(cpu)?;
    let value = width(cpu).truncate(cpu.state().gpr[Gpr(i.operands[1].register)]);
    if number >= 6 && value >> 32 != 0 {
        return Err(Fault::GP0);
    }
    let state = cpu.state_mut();
    match number {
        0..=3 => state.breakpoints[usize::from(number)] = value,
        6 => {
            let writable = Dr6::B | Dr6::BD | Dr6::BS | Dr6::BT;
            state.dr6 = Dr6::from_bits_retain(value) & writable | Dr6::FIXED;
        }
        _ => state.dr7 = Dr7::from_bits_retain(value & 0xffff_2bff) | Dr7::FIXED,
    }
    Ok(())
}

/// `CLTS`.
fn clts(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    cpu.state_mut().cr0.remove(Cr0::TS);
    Ok(())
}

/// `LMSW src`: the low four bits of CR0; PE can be set and not cleared.
fn lmsw(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = cpu.read_integer(i, 0)? & 0xf;
    let old = cpu.state().cr0.bits();
    set_cr0(cpu, old & !0xe | value)
}

/// `SMSW dst`: the low bits of CR0.
fn smsw(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    refuse_user_mode(cpu.state())?;
    let value = cpu.state().cr0.bits();
    if i.is_memory(0) {
        let at = cpu.operand_address(i, 2, true)?;
        return cpu.write(at, Width::Word, value & 0xffff, super::super::Privilege::Current);
    }
    cpu.write_gpr(Gpr(i.operands[0].register), i.width, value);
    Ok(())
}

/// #GP(0) outside ring 0 where CR4 keeps user mode from reading system registers.
pub(super) fn refuse_user_mode(state: &VcpuState) -> Result<(), Fault> {
    if state.cr4.contains(Cr4::UMIP) && state.cpl() > 0 && !state.is_real_mode() { Err(Fault::GP0) } else { Ok(()) }
}
