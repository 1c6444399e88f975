//! What only ring 0 sets: control registers and segments, as an operating system, or the lack of one, could have left them.

use dragoman_frontend::{
    model::{CpuModel, Feature},
    semantics::system::cr4_write_is_valid,
};
use dragoman_state::{Attributes, Cr0, Cr4, Efer, Segment, SegmentIndex, VcpuState};

use super::{
    descriptors::{Tables, any_selector, is_code, is_loadable, is_stack},
    page_tables::PageTables,
    pointers::{canonical, offset_in},
    recipe::{PageScheme, Recipe},
};
use crate::{
    Mode,
    generate::{Random, integer},
};

/// CR0, CR3, CR4 and EFER.
pub fn set_control(random: &mut Random, recipe: &Recipe, model: &CpuModel, pages: &PageTables, state: &mut VcpuState) {
    let mode = recipe.mode;
    let mut cr0 = Cr0::ET | state.cr0 & Cr0::PE;
    for (bit, one_in) in [(Cr0::MP, 2), (Cr0::EM, 16), (Cr0::TS, 8), (Cr0::NE, 2), (Cr0::WP, 2), (Cr0::AM, 2), (Cr0::CD, 4)] {
        cr0.set(bit, random.one_in(one_in));
    }
    cr0.set(Cr0::NW, cr0.contains(Cr0::CD) && random.one_in(2));
    cr0.set(Cr0::PG, recipe.paging != PageScheme::None);
    state.cr0 = cr0;
    let mut efer = Efer::empty();
    efer.set(Efer::SCE, model.has(Feature::Syscall) && !random.one_in(4));
    efer.set(Efer::NXE, model.has(Feature::Nx) && pages.uses_no_execute);
    let may_want_long = model.has(Feature::Lm) && recipe.paging == PageScheme::None && random.one_in(4);
    efer.set(Efer::LME, mode.is_long() || may_want_long);
    efer.set(Efer::LMA, mode.is_long());
    state.efer = efer;
    let needed = match recipe.paging {
        PageScheme::None | PageScheme::Bits32 => Cr4::empty(),
        PageScheme::Pse => Cr4::PSE,
        PageScheme::Pae | PageScheme::Level4 | PageScheme::Level5 => Cr4::PAE,
    };
    let is_fixed = |bit| match bit {
        Cr4::PAE => recipe.paging != PageScheme::None,
        Cr4::PSE => recipe.paging == PageScheme::Bits32,
        _ => false,
    };
    state.cr3 = pages.root;
    state.pdptes = pages.pointers;
    state.cr4 = needed;
    for bit in Cr4::all().iter().filter(|bit| !is_fixed(*bit)) {
        let wanted = state.cr4 | bit;
        let is_chosen = match bit {
            Cr4::OSFXSR => !random.one_in(8),
            Cr4::SMEP | Cr4::SMAP => random.one_in(8),
            _ => random.one_in(2),
        };
        if is_chosen && cr4_write_is_valid(state, model, wanted.bits()) {
            state.cr4 = wanted;
        }
    }
    // No model promises 57-bit addresses yet; paging knows them all the same.
    state.cr4.set(Cr4::LA57, recipe.paging == PageScheme::Level5);
    if state.cr4.contains(Cr4::PCIDE) {
        state.cr3 |= random.below(4);
    }
}

/// Limits, and now and then 32-bit code, that real mode keeps from protected mode.
pub fn become_unreal(random: &mut Random, state: &mut VcpuState) {
    const BIG: u32 = 0xc000;
    if !random.one_in(3) {
        return;
    }
    for index in [SegmentIndex::Ds, SegmentIndex::Es, SegmentIndex::Fs, SegmentIndex::Gs, SegmentIndex::Ss] {
        if random.one_in(2) {
            let segment = state.segment_mut(index);
            segment.limit = u32::MAX;
            segment.attributes = Attributes(segment.attributes.0 | BIG);
            if random.one_in(4) {
                segment.base = 0;
            }
        }
    }
    if random.one_in(4) {
        let code = state.segment_mut(SegmentIndex::Cs);
        (code.limit, code.attributes) = (u32::MAX, Attributes(0xc09b));
    }
}

/// GDTR, IDTR, LDTR and TR.
pub fn set_system_segments(random: &mut Random, mode: Mode, state: &mut VcpuState) {
    state.gdtr.limit = if random.one_in(8) { integer(random) as u16 } else { 0x7ff };
    if random.one_in(16) {
        state.idtr.limit = integer(random) as u16;
    }
    state.ldtr.limit = if random.one_in(4) { 0x5f } else { 0x7ff };
    if random.one_in(8) {
        state.ldtr = Segment::null(0);
    }
    let around = 0x68 + random.below(0x40) as u32;
    state.tr.limit = random.pick(&[0x67, 0x67, 0xff, 0xfff, around]);
    if !mode.is_long() && random.one_in(8) {
        state.tr.attributes = Attributes::TSS16_BUSY;
    }
}

/// Segment registers from the tables, where one is found that may be loaded.
pub fn set_segments(random: &mut Random, recipe: &Recipe, tables: &Tables, state: &mut VcpuState) {
    let (mode, cpl) = (recipe.mode, recipe.cpl);
    if mode == Mode::Vm86 {
        for segment in &mut state.segments {
            if random.one_in(8) {
                let any = random.bits() as u16;
                segment.selector = random.pick(&[0, 0xffff, 0x1000, 0xa000, any]);
                segment.base = u64::from(segment.selector) << 4;
            }
        }
        return;
    }
    let mut find = |is_good: &dyn Fn(&Segment) -> bool| {
        (0..8).map(|_| tables.segment(any_selector(random))).find(|segment| segment.selector & !3 != 0 && is_good(segment))
    };
    let is_long = mode.is_long();
    let data = [SegmentIndex::Ds, SegmentIndex::Es, SegmentIndex::Fs, SegmentIndex::Gs].map(|index| {
        let found = find(&|segment| is_loadable(segment, cpl));
        (index, found)
    });
    let stack = find(&|segment| is_stack(segment, cpl));
    let code = find(&|segment| is_code(segment, cpl, is_long));
    for (index, found) in data {
        match (random.below(4), found) {
            (0, Some(segment)) => *state.segment_mut(index) = segment,
            (1, _) if random.one_in(4) => *state.segment_mut(index) = Segment::null(random.below(4) as u16),
            _ => {}
        }
    }
    if let Some(segment) = stack.filter(|_| random.one_in(8)) {
        *state.segment_mut(SegmentIndex::Ss) = segment;
    }
    if let Some(segment) = code.filter(|_| random.one_in(12)) {
        *state.segment_mut(SegmentIndex::Cs) = segment;
    }
    if mode == Mode::Long64 {
        for index in [SegmentIndex::Fs, SegmentIndex::Gs] {
            if random.one_in(2) {
                state.segment_mut(index).base = canonical(offset_in(random, mode, recipe.paging));
            }
        }
    }
}
