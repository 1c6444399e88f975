//! Addresses at which a random guest finds something: code, data, stacks, the processor's own tables, the ends of pages, and
//! every place where paging shows them again.

use super::{machine::RAM, recipe::PageScheme};
use crate::{
    Mode,
    generate::Random,
    layout::{self, ARENA_END, CODE, DATA, FRAMES, GDT, HANDLERS, IDT, LDT, PAGE, STACK, TSS},
};

/// Where the task state segments lie that tasks can be switched to.
pub const TASKS: u64 = 0x7_0000;
/// How many there are, one each 0x100 bytes.
pub const TASK_COUNT: u64 = 8;

/// The pages that are worth a visit.
const PAGES: [u64; 16] = [
    CODE,
    CODE,
    CODE + PAGE,
    DATA,
    DATA,
    DATA + PAGE,
    STACK,
    STACK,
    layout::FS,
    layout::GS,
    TASKS,
    GDT,
    IDT,
    TSS,
    HANDLERS,
    LDT & !(PAGE - 1),
];

/// Where the linear address space shows the first two mebibytes.
pub fn homes(mode: Mode, paging: PageScheme) -> &'static [u64] {
    match paging {
        _ if mode.is_segmented() => &[0],
        PageScheme::None => &[0],
        PageScheme::Bits32 | PageScheme::Pse => &[0, 0x8000_0000, 0xffc0_0000, 0xffe0_0000],
        PageScheme::Pae => &[0, 0xc000_0000, 0xffe0_0000],
        PageScheme::Level4 | PageScheme::Level5 if mode != Mode::Long64 => &[0, 0xc000_0000, 0xffe0_0000],
        PageScheme::Level4 => &[0, 0x7fff_ffe0_0000, 0xffff_8000_0000_0000, 0xffff_ffff_ffe0_0000],
        PageScheme::Level5 => &[0, 0x00ff_ffff_ffe0_0000, 0xff00_0000_0000_0000, 0xffff_ffff_ffe0_0000],
    }
}

/// A physical address.
pub fn physical(random: &mut Random) -> u64 {
    match random.below(32) {
        0 => RAM - random.below(32),
        1 => RAM + random.below(PAGE),
        2 => 0xa_0000 + random.below(0x2_0000),
        3 => 0xfee0_0000 + random.below(0x40) * 0x10,
        4 => FRAMES.start + random.below(6 * PAGE),
        5 => random.below(RAM),
        6 => layout::ARENA + random.below(ARENA_END - layout::ARENA),
        7 => random.below(0x400),
        _ => random.pick(&PAGES) + offset(random),
    }
}

/// An offset into a page, often near its end.
fn offset(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => PAGE - 1 - random.below(24),
        1..=4 => random.below(PAGE / 16) * 16,
        _ => random.below(PAGE),
    }
}

/// An offset that code of `mode` may use as a pointer.
pub fn offset_in(random: &mut Random, mode: Mode, paging: PageScheme) -> u64 {
    if mode.is_segmented() {
        return if random.one_in(8) { 0x1_0000 - random.below(24) } else { offset(random) + random.below(3) * PAGE };
    }
    let home = if random.one_in(3) { random.pick(homes(mode, paging)) } else { 0 };
    home.wrapping_add(physical(random)) & mode.register_mask()
}

/// The nearest address to `at` that is canonical under every paging mode.
pub fn canonical(at: u64) -> u64 {
    ((at << 16) as i64 >> 16) as u64
}
