//! Restoring: XRSTOR XRSTORS. SDM: vol. 1 §13.8, §13.12.

use dragoman_state::{F80, GuestVirt, Mxcsr, Width, X87State, Xcr0};

use super::{
    super::super::{
        Cpu, Flush, Privilege,
        legacy_region::{IMAGE_WORDS, MXCSR_WORD, XMM_WORD, checked_mxcsr, load_vectors, read_x87, vector_count},
    },
    COMPACTED, HEADER_END, MOST_WORDS, XCOMP_BV, XSTATE_BV, area, check, check_supervisor, component_words, extended, is_wide,
    place, requested, set_component_word,
};
use crate::{
    decode::Insn,
    fault::Fault,
    model::{Feature, LEGACY_SIZE, StateComponent},
};

/// `XRSTOR`, `XRSTOR64`.
pub(super) fn xrstor(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    let header = Header::read(cpu, i)?;
    if header.is_compacted() && !cpu.model().has(Feature::Xsavec) {
        return Err(Fault::GP0);
    }
    restore(cpu, i, &header)
}

/// `XRSTORS`, `XRSTORS64`: from an area of compacted format alone.
pub(super) fn xrstors(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    check_supervisor(cpu)?;
    let header = Header::read(cpu, i)?;
    if !header.is_compacted() {
        return Err(Fault::GP0);
    }
    restore(cpu, i, &header)
}

/// What an area says of itself.
struct Header {
    at: GuestVirt,
    xstate_bv: u64,
    xcomp_bv: u64,
}

impl Header {
    /// Reads it, and looks for the end of the area. SDM: vol. 1 §13.8.1, §13.8.2 (what is #GP).
    fn read(cpu: &mut dyn Cpu, i: &Insn) -> Result<Self, Fault> {
        let at = area(cpu, i, LEGACY_SIZE, false)?;
        let xcomp_bv = cpu.read(place(at, XCOMP_BV), Width::Qword, Privilege::Current)?;
        let header = Self { at, xstate_bv: 0, xcomp_bv };
        let size = if header.is_compacted() {
            // As far as the last component that is asked for.
            let asked = requested(cpu.state()).bits();
            let last = 63 - (asked & xcomp_bv | 1).leading_zeros();
            StateComponent::compacted_size(Xcr0::from_bits_retain(xcomp_bv & ((2 << last) - 1)))
        } else {
            StateComponent::standard_size(requested(cpu.state()))
        };
        area(cpu, i, size, false)?;
        cpu.read(place(at, u64::from(size) - 1), Width::Byte, Privilege::Current)?;
        let xstate_bv = cpu.read(place(at, XSTATE_BV), Width::Qword, Privilege::Current)?;
        let header = Self { xstate_bv, ..header };
        let enabled = cpu.state().xcr0.bits();
        let (known, reserved_end) = if header.is_compacted() { (xcomp_bv & !COMPACTED, HEADER_END) } else { (enabled, 536) };
        let mut is_bad = xstate_bv & !known != 0 || xcomp_bv & !COMPACTED & !enabled != 0;
        let mut offset = XCOMP_BV + 8;
        while offset < reserved_end {
            is_bad |= cpu.read(place(at, offset), Width::Qword, Privilege::Current)? != 0;
            offset += 8;
        }
        if is_bad || !header.is_compacted() && xcomp_bv != 0 { Err(Fault::GP0) } else { Ok(header) }
    }

    fn is_compacted(&self) -> bool {
        self.xcomp_bv & COMPACTED != 0
    }
}

/// Makes the components that are asked for what the area holds, or, where it holds none, what they are initially.
fn restore(cpu: &mut dyn Cpu, i: &Insn, header: &Header) -> Result<(), Fault> {
    let asked = requested(cpu.state());
    let loaded = asked & Xcr0::from_bits_retain(header.xstate_bv);
    // In the standard format MXCSR is there even where the area holds no SSE state.
    let has_mxcsr = match header.is_compacted() {
        true => loaded.contains(Xcr0::SSE),
        false => asked.intersects(Xcr0::SSE | Xcr0::AVX),
    };
    let count = vector_count(cpu.state());
    let held = if header.is_compacted() { Xcr0::from_bits_retain(header.xcomp_bv) } else { asked };
    // Everything is read before anything changes.
    let mut image = [0; IMAGE_WORDS];
    for (n, word) in image.iter_mut().enumerate() {
        let is_read = match n {
            MXCSR_WORD => has_mxcsr,
            0..XMM_WORD => loaded.contains(Xcr0::X87),
            _ => loaded.contains(Xcr0::SSE) && n < XMM_WORD + 2 * count,
        };
        if is_read {
            *word = cpu.read(place(header.at, 8 * n as u64), Width::Qword, Privilege::Current)?;
        }
    }
    let mxcsr = if has_mxcsr { checked_mxcsr(image[MXCSR_WORD] as u32)? } else { Mxcsr::RESET };
    let components = StateComponent::ALL.map(|one| one.bit);
    let mut values = [[0; MOST_WORDS]; StateComponent::ALL.len()];
    for (component, values) in components.into_iter().zip(&mut values).filter(|(bit, _)| (asked & loaded).contains(*bit)) {
        let Some((_, offset)) = extended(held, header.is_compacted()).find(|(bit, _)| *bit == component) else { continue };
        for (n, value) in values.iter_mut().enumerate().take(component_words(component, count)) {
            *value = cpu.read(place(header.at, offset + 8 * n as u64), Width::Qword, Privilege::Current)?;
        }
    }
    install(cpu, asked, loaded, &image, is_wide(i));
    let state = cpu.state_mut();
    if has_mxcsr || asked.contains(Xcr0::SSE) {
        state.vectors.mxcsr = mxcsr;
    }
    let rights = state.pkru;
    for (component, values) in components.into_iter().zip(values).filter(|(bit, _)| asked.contains(*bit)) {
        for (n, value) in values.into_iter().enumerate().take(component_words(component, count)) {
            set_component_word(state, component, n, value);
        }
    }
    if state.pkru != rights {
        // What is remembered of pages was allowed by the rights as they were.
        cpu.flush(Flush::All);
    }
    Ok(())
}

/// Writes the x87 unit and the XMM registers: from `image`, or as they are initially.
fn install(cpu: &mut dyn Cpu, asked: Xcr0, loaded: Xcr0, image: &[u64; IMAGE_WORDS], is_wide: bool) {
    let state = cpu.state_mut();
    if loaded.contains(Xcr0::X87) {
        state.x87 = read_x87(image, is_wide);
    } else if asked.contains(Xcr0::X87) {
        state.x87 = X87State::initialised([F80::default(); 8]);
    }
    if asked.contains(Xcr0::SSE) {
        // Where nothing was read, the image is zero, and so are the registers initially.
        load_vectors(state, image);
    }
}
