//! Saving: XSAVE XSAVEOPT XSAVEC XSAVES. SDM: vol. 1 §13.7, §13.9 to §13.11.

use dragoman_state::{GuestVirt, Mxcsr, Width, Xcr0};

use super::{
    super::super::{
        Cpu, Privilege,
        legacy_region::{MXCSR_WORD, XMM_WORD, image, vector_count},
    },
    COMPACTED, MXCSR, XCOMP_BV, XSTATE_BV, area, check, check_supervisor, component_word, component_words, extended, in_use,
    is_wide, place, requested,
};
use crate::{decode::Insn, fault::Fault, model::StateComponent};

/// `XSAVE`, `XSAVE64`: all that is asked for.
pub(super) fn xsave(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    save_standard(cpu, i, false)
}

/// `XSAVEOPT`, `XSAVEOPT64`: what of it is in use.
pub(super) fn xsaveopt(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    save_standard(cpu, i, true)
}

/// `XSAVEC`, `XSAVEC64`.
pub(super) fn xsavec(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    save_compacted(cpu, i)
}

/// `XSAVES`, `XSAVES64`.
pub(super) fn xsaves(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    check_supervisor(cpu)?;
    save_compacted(cpu, i)
}

/// In the standard format, the components that are asked for, or those of them that are in use; MXCSR goes with SSE and AVX
/// state, whether or not it is used.
fn save_standard(cpu: &mut dyn Cpu, i: &Insn, only_used: bool) -> Result<(), Fault> {
    let (asked, used) = (requested(cpu.state()), in_use(cpu.state()));
    let has_mxcsr = asked.intersects(Xcr0::SSE | Xcr0::AVX);
    let at = begin(cpu, i, StateComponent::standard_size(asked), asked, has_mxcsr)?;
    let old = cpu.read(place(at, XSTATE_BV), Width::Qword, Privilege::Current)?;
    let written = if only_used { asked & used } else { asked };
    write_components(cpu, i, at, written, has_mxcsr, extended(asked, false))?;
    let bits = old & !asked.bits() | (asked & used).bits();
    cpu.write(place(at, XSTATE_BV), Width::Qword, bits, Privilege::Current)
}

/// In the compacted format, what is asked for and in use; MXCSR is part of the SSE state, and puts it in use.
fn save_compacted(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let (asked, mut used) = (requested(cpu.state()), in_use(cpu.state()));
    if cpu.state().vectors.mxcsr != Mxcsr::RESET {
        used |= Xcr0::SSE;
    }
    let written = asked & used;
    let at = begin(cpu, i, StateComponent::compacted_size(asked), asked, asked.contains(Xcr0::SSE))?;
    write_components(cpu, i, at, written, written.contains(Xcr0::SSE), extended(asked, true))?;
    cpu.write(place(at, XSTATE_BV), Width::Qword, written.bits(), Privilege::Current)?;
    cpu.write(place(at, XCOMP_BV), Width::Qword, asked.bits() | COMPACTED, Privilege::Current)
}

/// Where the area of `size` bytes is. All of it that is written can be: processors look at its end before anything else.
fn begin(cpu: &mut dyn Cpu, i: &Insn, size: u32, asked: Xcr0, has_mxcsr: bool) -> Result<GuestVirt, Fault> {
    let at = area(cpu, i, size, true)?;
    cpu.check_write(place(at, u64::from(size) - 1), 1, Privilege::Current)?;
    let first = match (asked.contains(Xcr0::X87), has_mxcsr) {
        (true, _) => 0,
        (_, true) => MXCSR,
        _ => XSTATE_BV,
    };
    cpu.check_write(place(at, first), 1, Privilege::Current)?;
    Ok(at)
}

fn write_components(
    cpu: &mut dyn Cpu,
    i: &Insn,
    at: GuestVirt,
    written: Xcr0,
    has_mxcsr: bool,
    extended: impl Iterator<Item = (Xcr0, u64)>,
) -> Result<(), Fault> {
    let (image, count) = (image(cpu.state(), is_wide(i)), vector_count(cpu.state()));
    let is_written = |n: usize| match n {
        MXCSR_WORD => has_mxcsr,
        0..XMM_WORD => written.contains(Xcr0::X87),
        _ => written.contains(Xcr0::SSE) && n < XMM_WORD + 2 * count,
    };
    for (n, word) in image.iter().enumerate().filter(|(n, _)| is_written(*n)) {
        cpu.write(place(at, 8 * n as u64), Width::Qword, *word, Privilege::Current)?;
    }
    for (component, offset) in extended.filter(|(component, _)| written.contains(*component)) {
        for n in 0..component_words(component, count) {
            let value = component_word(cpu.state(), component, n);
            cpu.write(place(at, offset + 8 * n as u64), Width::Qword, value, Privilege::Current)?;
        }
    }
    Ok(())
}
