//! Model-specific registers: RDMSR WRMSR.
//!
//! A register that the model does not have is #GP(0), and so is a value it cannot hold. Nothing is silently ignored but
//! what the manual says is.
//! SDM: vol. 4 §2.1; vol. 3 §11.11 (memory types), §11.12 (PAT), §11.4.4 (APIC base), §17.17.3 (TSC_ADJUST).

use dragoman_state::{ApicBase, Cr0, Efer, Gpr, MTRR_FIXED, MTRR_VARIABLE, Msrs, SegmentIndex};

use super::{
    super::{
        ApicAccess, Cpu, Flush, Machine,
        table::{Row, helper, row},
    },
    descriptors::require_canonical,
    identification::{pair, set_pair},
    objections::{Subject, refuse, refuse_where},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
    model::{Feature, Vendor},
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 2] {
    const ENDS: Attributes = Attributes::CPL0.union(Attributes::ENDS_BLOCK);
    [
        row(Mnemonic::Rdmsr, helper!(rdmsr), ENDS),
        row(Mnemonic::Wrmsr, helper!(wrmsr), ENDS),
    ]
}

mod index {
    pub const TSC: u32 = 0x10;
    pub const APIC_BASE: u32 = 0x1b;
    pub const PLATFORM_ID: u32 = 0x17;
    pub const FEATURE_CONTROL: u32 = 0x3a;
    pub const TSC_ADJUST: u32 = 0x3b;
    pub const SPEC_CTRL: u32 = 0x48;
    pub const PRED_CMD: u32 = 0x49;
    pub const BIOS_UPDT_TRIG: u32 = 0x79;
    pub const BIOS_SIGN_ID: u32 = 0x8b;
    pub const MTRRCAP: u32 = 0xfe;
    pub const ARCH_CAPABILITIES: u32 = 0x10a;
    pub const FLUSH_CMD: u32 = 0x10b;
    pub const SYSENTER_CS: u32 = 0x174;
    pub const SYSENTER_ESP: u32 = 0x175;
    pub const SYSENTER_EIP: u32 = 0x176;
    pub const MCG_CAP: u32 = 0x179;
    pub const MCG_STATUS: u32 = 0x17a;
    pub const MISC_ENABLE: u32 = 0x1a0;
    pub const DEBUGCTL: u32 = 0x1d9;
    pub const MTRR_VARIABLE: u32 = 0x200;
    pub const PAT: u32 = 0x277;
    pub const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub const TSC_DEADLINE: u32 = 0x6e0;
    pub const XSS: u32 = 0xda0;
    pub const X2APIC: u32 = 0x800;
    pub const X2APIC_LAST: u32 = 0x8ff;
    pub const EFER: u32 = 0xc000_0080;
    pub const STAR: u32 = 0xc000_0081;
    pub const LSTAR: u32 = 0xc000_0082;
    pub const CSTAR: u32 = 0xc000_0083;
    pub const FMASK: u32 = 0xc000_0084;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
    pub const SYSCFG: u32 = 0xc001_0010;
    pub const HWCR: u32 = 0xc001_0015;
    pub const DE_CFG: u32 = 0xc001_1029;
}

/// Of HWCR: the time-stamp counter has the frequency of the highest performance state. The only bit there is.
const TSC_AT_P0: u64 = 1 << 24;
/// Of DE_CFG: LFENCE waits for all before it. The only bit there is.
const LFENCE_SERIALISES: u64 = 1 << 1;

/// The place of a fixed-range memory-type register among ours, where `msr` is one.
fn fixed_range(msr: u32) -> Option<usize> {
    match msr {
        0x250 => Some(0),
        0x258 | 0x259 => Some((msr - 0x258) as usize + 1),
        0x268..=0x26f => Some((msr - 0x268) as usize + 3),
        _ => None,
    }
}

/// The feature that brings a register, where one does.
fn feature_of(msr: u32) -> Option<Feature> {
    Some(match msr {
        index::APIC_BASE => Feature::Apic,
        index::TSC => Feature::Tsc,
        index::TSC_AUX => Feature::Rdtscp,
        index::TSC_ADJUST => Feature::TscAdjust,
        index::SPEC_CTRL | index::PRED_CMD => Feature::SpecCtrl,
        index::ARCH_CAPABILITIES => Feature::ArchCapabilities,
        index::FLUSH_CMD => Feature::FlushL1d,
        index::SYSENTER_CS | index::SYSENTER_ESP | index::SYSENTER_EIP => Feature::Sep,
        index::MCG_CAP | index::MCG_STATUS => Feature::Mca,
        index::MTRRCAP | index::MTRR_DEF_TYPE | index::MTRR_VARIABLE..=0x20f | 0x250..=0x26f => Feature::Mtrr,
        index::PAT => Feature::Pat,
        index::TSC_DEADLINE => Feature::TscDeadline,
        index::MISC_ENABLE => Feature::Sse2,
        index::FEATURE_CONTROL => Feature::Lm,
        index::XSS => Feature::Xsaves,
        index::X2APIC..=index::X2APIC_LAST => Feature::X2apic,
        index::STAR | index::LSTAR | index::CSTAR | index::FMASK => Feature::Lm,
        index::FS_BASE | index::GS_BASE | index::KERNEL_GS_BASE => Feature::Lm,
        _ => return None,
    })
}

const NO_REGISTER: &str = "reads a model-specific register that this processor does not have";
const NO_VALUE: &str = "writes a model-specific register that this processor does not have, or a value that it cannot hold";

/// The vendor whose processors alone have a register, where there is one.
fn vendor_of(msr: u32) -> Option<Vendor> {
    match msr {
        index::PLATFORM_ID | index::FEATURE_CONTROL | index::BIOS_UPDT_TRIG | index::MISC_ENABLE => Some(Vendor::Intel),
        index::SYSCFG | index::HWCR | index::DE_CFG => Some(Vendor::Amd),
        _ => None,
    }
}

fn check_presence(cpu: &dyn Cpu, msr: u32) -> Result<(), Fault> {
    if vendor_of(msr).is_some_and(|vendor| vendor != cpu.model().vendor()) {
        return Err(Fault::GP0);
    }
    match feature_of(msr) {
        Some(feature) if !cpu.model().has(feature) => Err(Fault::GP0),
        _ => Ok(()),
    }
}

/// `RDMSR`: EDX:EAX ← the register that ECX names.
fn rdmsr(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let msr = cpu.state().gpr[Gpr::RCX] as u32;
    let value = read(cpu, msr).map_err(|fault| refuse(cpu, fault, Subject::Instruction, NO_REGISTER))?;
    set_pair(cpu, value);
    Ok(())
}

/// `WRMSR`: the register that ECX names ← EDX:EAX.
fn wrmsr(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let state = cpu.state();
    let msr = state.gpr[Gpr::RCX] as u32;
    let value = pair(state);
    if msr == index::EFER {
        return set_efer(cpu, value);
    }
    write(cpu, msr, value).map_err(|fault| refuse(cpu, fault, Subject::Instruction, NO_VALUE))
}

fn read(cpu: &mut dyn Cpu, msr: u32) -> Result<u64, Fault> {
    check_presence(cpu, msr)?;
    if let Some(n) = fixed_range(msr) {
        return Ok(cpu.state().msrs.mtrr_fixed[n % MTRR_FIXED]);
    }
    let (state, msrs) = (cpu.state(), &cpu.state().msrs);
    Ok(match msr {
        index::TSC => cpu.time_stamp(),
        index::APIC_BASE => msrs.apic_base.bits(),
        // The slot that microcode updates are chosen by: the first.
        index::PLATFORM_ID => 0,
        index::FEATURE_CONTROL => msrs.feature_control,
        index::TSC_ADJUST => msrs.tsc_adjust,
        index::SPEC_CTRL => msrs.spec_ctrl,
        index::BIOS_SIGN_ID => cpu.model().microcode_revision() << 32,
        index::MTRRCAP => 0x500 | MTRR_VARIABLE as u64, // fixed ranges, write combining
        index::ARCH_CAPABILITIES => cpu.model().arch_capabilities(),
        index::SYSENTER_CS => msrs.sysenter_cs,
        index::SYSENTER_ESP => msrs.sysenter_esp,
        index::SYSENTER_EIP => msrs.sysenter_eip,
        index::MCG_CAP => 0,
        index::MCG_STATUS => msrs.mcg_status,
        index::MISC_ENABLE => msrs.misc_enable,
        index::DEBUGCTL => msrs.debugctl,
        index::MTRR_VARIABLE..=0x20f => {
            let n = (msr - index::MTRR_VARIABLE) as usize;
            msrs.mtrr_variable[n / 2][n % 2]
        }
        index::PAT => msrs.pat,
        index::MTRR_DEF_TYPE => msrs.mtrr_default_type,
        index::TSC_DEADLINE => state.lapic.tsc_deadline,
        index::XSS => msrs.xss,
        index::X2APIC..=index::X2APIC_LAST => return cpu.apic_register((msr & 0xff) as u8, ApicAccess::Read),
        index::EFER if cpu.model().has(Feature::Syscall) || cpu.model().has(Feature::Nx) => state.efer.bits(),
        index::STAR => msrs.star,
        index::LSTAR => msrs.lstar,
        index::CSTAR => msrs.cstar,
        index::FMASK => msrs.fmask,
        index::FS_BASE => state.segment(SegmentIndex::Fs).base,
        index::GS_BASE => state.segment(SegmentIndex::Gs).base,
        index::KERNEL_GS_BASE => msrs.kernel_gs_base,
        index::TSC_AUX => msrs.tsc_aux,
        // Memory is as the memory-type registers say.
        index::SYSCFG => 0,
        index::HWCR => TSC_AT_P0,
        index::DE_CFG => LFENCE_SERIALISES,
        _ => return Err(Fault::GP0),
    })
}

/// `value`, where the register can hold only the bits of `mask`.
fn within(value: u64, mask: u64) -> Result<u64, Fault> {
    if value & !mask == 0 { Ok(value) } else { Err(Fault::GP0) }
}

/// Whether each byte of `value` is a memory type; the page-attribute table knows one more.
fn are_memory_types(value: u64, in_pat: bool) -> bool {
    value.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4 | 5 | 6) || in_pat && *kind == 7)
}

fn write(cpu: &mut dyn Cpu, msr: u32, value: u64) -> Result<(), Fault> {
    check_presence(cpu, msr)?;
    if let Some(n) = fixed_range(msr) {
        if !are_memory_types(value, false) {
            return Err(Fault::GP0);
        }
        cpu.state_mut().msrs.mtrr_fixed[n % MTRR_FIXED] = value;
        return Ok(());
    }
    let physical = (1 << cpu.model().physical_bits()) - 1;
    let canonical = require_canonical(cpu.state(), value).map(|()| value);
    let msrs = &mut cpu.state_mut().msrs;
    match msr {
        index::TSC => {
            let now = cpu.time_stamp();
            set_time(cpu, now, value);
        }
        index::APIC_BASE => return set_apic_base(cpu, within(value, physical & !0x2ff)?),
        index::TSC_ADJUST => {
            let change = value.wrapping_sub(msrs.tsc_adjust);
            let now = cpu.time_stamp();
            set_time(cpu, now, now.wrapping_add(change));
        }
        index::SPEC_CTRL => msrs.spec_ctrl = within(value, 0x407)?,
        index::PRED_CMD | index::FLUSH_CMD => {
            within(value, 1)?;
        }
        index::BIOS_UPDT_TRIG | index::BIOS_SIGN_ID => {}
        index::SYSENTER_CS => msrs.sysenter_cs = value & 0xffff_ffff,
        index::SYSENTER_ESP => msrs.sysenter_esp = canonical?,
        index::SYSENTER_EIP => msrs.sysenter_eip = canonical?,
        index::MCG_STATUS => msrs.mcg_status = within(value, 7)?,
        index::MISC_ENABLE => msrs.misc_enable = value,
        index::DEBUGCTL => msrs.debugctl = within(value, Msrs::BTF | Msrs::LBR)?,
        index::MTRR_VARIABLE..=0x20f => {
            let n = (msr - index::MTRR_VARIABLE) as usize;
            let mask = if n % 2 == 0 { physical & !0xf00 } else { physical & !0x7ff };
            if n % 2 == 0 && !are_memory_types(value & 0xff, false) {
                return Err(Fault::GP0);
            }
            msrs.mtrr_variable[n / 2][n % 2] = within(value, mask)?;
        }
        index::PAT if are_memory_types(value, true) => msrs.pat = value,
        index::MTRR_DEF_TYPE if are_memory_types(value & 0xff, false) => msrs.mtrr_default_type = within(value, 0xcff)?,
        index::TSC_DEADLINE => cpu.set_tsc_deadline(value),
        // No component is a supervisor's.
        index::XSS => msrs.xss = within(value, 0)?,
        index::X2APIC..=index::X2APIC_LAST => {
            return cpu.apic_register((msr & 0xff) as u8, ApicAccess::Write(value)).map(|_| ());
        }
        index::STAR => msrs.star = value,
        index::LSTAR => msrs.lstar = canonical?,
        index::CSTAR => msrs.cstar = canonical?,
        index::FMASK => msrs.fmask = within(value, 0xffff_ffff)?,
        index::FS_BASE => cpu.state_mut().segment_mut(SegmentIndex::Fs).base = canonical?,
        index::GS_BASE => cpu.state_mut().segment_mut(SegmentIndex::Gs).base = canonical?,
        index::KERNEL_GS_BASE => msrs.kernel_gs_base = canonical?,
        index::TSC_AUX => msrs.tsc_aux = within(value, 0xffff_ffff)?,
        index::SYSCFG if value == 0 => {}
        index::HWCR if value == TSC_AT_P0 => {}
        index::DE_CFG if value == LFENCE_SERIALISES => {}
        _ => return Err(Fault::GP0),
    }
    Ok(())
}

/// Makes the time-stamp counter `new`, where it is `now`; the adjustment register moves with it.
fn set_time(cpu: &mut dyn Cpu, now: u64, new: u64) {
    let msrs = &mut cpu.state_mut().msrs;
    msrs.tsc_adjust = msrs.tsc_adjust.wrapping_add(new.wrapping_sub(now));
    cpu.set_time_stamp(new);
}

fn set_apic_base(cpu: &mut dyn Cpu, value: u64) -> Result<(), Fault> {
    let new = ApicBase::from_bits_retain(value);
    if new.contains(ApicBase::EXTD) && !cpu.model().has(Feature::X2apic) {
        return Err(Fault::GP0);
    }
    cpu.set_apic_base(value)
}

fn set_efer(cpu: &mut dyn Cpu, value: u64) -> Result<(), Fault> {
    let model = cpu.model();
    let mut known = Efer::empty();
    known.set(Efer::SCE, model.has(Feature::Syscall));
    known.set(Efer::LME | Efer::LMA, model.has(Feature::Lm));
    known.set(Efer::NXE, model.has(Feature::Nx));
    let is_unknown = value & !known.bits() != 0;
    let text = "sets bits of EFER that this processor does not have";
    refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_unknown, text)])?;
    let new = Efer::from_bits_retain(value);
    let state = cpu.state();
    let (old, has_paging) = (state.efer, state.cr0.contains(Cr0::PG));
    let is_late = has_paging && (old ^ new).contains(Efer::LME);
    refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_late, "changes EFER.LME while paging is on")])?;
    cpu.state_mut().efer = new.difference(Efer::LMA) | old & Efer::LMA;
    if (old ^ new).contains(Efer::NXE) {
        cpu.flush(Flush::All);
    }
    Ok(())
}
