//! Descriptor tables and gates of a random guest: the test stand's own, with everything that is free in them
//! filled with descriptors that may be good for something.
//! SDM: vol. 3 §3.4.5 (segment descriptors), §3.5 (system descriptors), §6.11 (gates).

use dragoman_state::{Attributes, Segment};

use super::{
    handlers::{fill_task_state, handlers, tasks},
    pointers::{self, TASK_COUNT, TASKS},
    recipe::Recipe,
};
use crate::{
    Mode,
    engine::tables,
    generate::Random,
    layout::{self, CODE, GDT, HANDLERS, IDT, LDT, PAGE, TSS, descriptor, selector},
};

/// The bytes of each of the two tables of descriptors.
const TABLE: u64 = LDT - GDT;
/// The descriptors from here on are random.
const FIRST_RANDOM: u64 = 0xa8;
/// The selectors of tasks begin here, outside long mode.
const FIRST_TASK: u64 = FIRST_RANDOM;

/// The processor's own pages, for one scene.
pub struct Tables {
    /// The pages: where, and what they hold.
    pub memory: Vec<(u64, Vec<u8>)>,
    descriptors: Vec<u8>,
}

impl Tables {
    /// Tables for the guest of `recipe`, whose page tables are at `root`.
    pub fn new(random: &mut Random, recipe: &Recipe, root: u64) -> Self {
        let mode = recipe.mode;
        let mut memory = tables::pages(mode);
        for (at, page) in &mut memory {
            match *at {
                GDT => fill_descriptors(random, mode, page),
                IDT => spoil_gates(random, mode, page),
                TSS => fill_task_state(random, mode, page),
                HANDLERS => *page = handlers(random, mode, recipe.manner),
                _ => {}
            }
        }
        if !mode.is_long() {
            memory.push((TASKS, tasks(random, root)));
        }
        let descriptors = memory.iter().find(|(at, _)| *at == GDT).map_or_else(Vec::new, |(_, page)| page.clone());
        Self { memory, descriptors }
    }

    /// What a segment register would hold after `selector` was loaded, whether it may be or not.
    pub fn segment(&self, selector: u16) -> Segment {
        let table = if selector & 4 != 0 { TABLE as usize } else { 0 };
        let at = table + usize::from(selector & !7) % TABLE as usize;
        let bytes = self.descriptors.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 8]);
        let mut segment = Segment::from_descriptor(selector, u64::from_le_bytes(bytes));
        segment.attributes.0 |= 1; // accessed
        segment
    }
}

/// A selector, with any requested privilege level: mostly of something.
pub fn any_selector(random: &mut Random) -> u16 {
    let index = match random.below(8) {
        0 => random.below(0x2000) << 3,
        1 => 0,
        2..=4 => random.below(0x16) << 3,
        _ => random.below(TABLE / 8) << 3,
    };
    index as u16 | if random.one_in(4) { 4 } else { 0 } | random.pick(&[0, 0, 3, 3, 1, 2])
}

/// A selector of code, as gates have it.
fn code_selector(random: &mut Random, mode: Mode) -> u16 {
    if random.one_in(4) {
        return any_selector(random);
    }
    let user = if mode == Mode::Long64 { selector::USER_CODE64 } else { selector::USER_CODE32 };
    random.pick(&[selector::KERNEL_CODE, selector::KERNEL_CODE, 0x08, user])
}

/// Fills both tables with descriptors where they hold none, and spoils a few that are there.
fn fill_descriptors(random: &mut Random, mode: Mode, page: &mut [u8]) {
    for n in 1..PAGE / 8 {
        let bytes = &mut page[8 * n as usize..][..8];
        let is_free = bytes.iter().all(|byte| *byte == 0) && (n * 8 >= FIRST_RANDOM);
        if is_free {
            bytes.copy_from_slice(&one_descriptor(random, mode, n * 8).to_le_bytes());
        } else if random.one_in(256) {
            bytes[random.below(8) as usize] ^= 1 << random.below(8);
        }
    }
}

fn one_descriptor(random: &mut Random, mode: Mode, at: u64) -> u64 {
    if !mode.is_long() && (FIRST_TASK..FIRST_TASK + 8 * TASK_COUNT).contains(&at) {
        let (n, is_wide) = ((at - FIRST_TASK) / 8, random.one_in(2));
        let rights = if is_wide { 0x89 } else { 0x81 } | random.pick(&[0, 0x60]);
        return descriptor(TASKS + 0x100 * n, if random.one_in(8) { 0x2a } else { 0x7f }, rights, 0);
    }
    let level = random.pick(&[0_u8, 0, 0x60, 0x60, 0x20, 0x40]);
    let present = if random.one_in(16) { 0 } else { 0x80 };
    match random.below(16) {
        0 => random.bits(),
        // Upper halves of system descriptors in long mode are zero as a rule.
        1..=2 => 0,
        3..=5 => gate(random, mode, present | level),
        6 => descriptor(random.pick(&[LDT, layout::DATA, GDT]), random.pick(&[0x7ff, 0x5f, 7]), present | level | 2, 0),
        7 => descriptor(TSS, random.pick(&[0x67, 0x2b, 0xfff]), present | level | random.pick(&[1, 3, 9, 11]), 0),
        _ => {
            let base = match random.below(4) {
                0 => 0,
                1 => random.pick(&[layout::CODE, layout::DATA, layout::STACK, layout::FS, layout::GS]),
                2 => random.pick(&[0xffff_f000, 0xffff_fff8, 0x8000_0000, 0xfee0_0000]),
                _ => pointers::physical(random),
            };
            let limit = match random.below(4) {
                0 => 0xf_ffff,
                1 => 0xffff,
                _ => random.bits() as u32 & (0xf_ffff >> random.below(18)),
            };
            let kind = 0x10 | random.below(16) as u8;
            descriptor(base & 0xffff_ffff, limit, present | level | kind, random.bits() as u8 & 0xf)
        }
    }
}

/// A gate of any kind with `rights`.
fn gate(random: &mut Random, mode: Mode, rights: u8) -> u64 {
    let kind = random.pick(&[4_u64, 5, 6, 7, 12, 12, 14, 15]);
    let to = if kind == 5 { task_selector(random) } else { code_selector(random, mode) };
    let offset = random.pick(&[HANDLERS, CODE, 0]) + random.below(0x80);
    let parameters = if random.one_in(2) { 0 } else { random.below(32) };
    offset & 0xffff | u64::from(to) << 16 | parameters << 32 | (u64::from(rights) | kind) << 40 | (offset >> 16 & 0xffff) << 48
}

/// The selector of a task state segment, outside long mode.
pub fn task_selector(random: &mut Random) -> u16 {
    (FIRST_TASK + 8 * random.below(TASK_COUNT)) as u16
}

/// Changes some of the gates that lead to handlers.
fn spoil_gates(random: &mut Random, mode: Mode, page: &mut [u8]) {
    let (size, is_open) = (if mode.is_long() { 16 } else { 8 }, random.one_in(4));
    for vector in 0..256 {
        let gate = &mut page[size * vector..][..size];
        if is_open {
            gate[5] |= 0x60;
        }
        if !random.one_in(32) {
            continue;
        }
        match random.below(8) {
            0..=1 => gate[5] = gate[5] & 0xf0 | random.below(16) as u8,
            2 => gate[5] |= 1, // a trap gate
            3..=4 => gate[2..4].copy_from_slice(&code_selector(random, mode).to_le_bytes()),
            5 => gate[4] = random.bits() as u8,
            6 if !mode.is_long() => {
                gate[2..4].copy_from_slice(&task_selector(random).to_le_bytes());
                gate[5] = 0xe5;
            }
            _ => gate[random.below(size as u64) as usize] ^= 1 << random.below(8),
        }
    }
}

/// Whether a segment register of privilege level `cpl` can hold `segment` as data.
pub fn is_loadable(segment: &Segment, cpl: u8) -> bool {
    let rights = segment.attributes;
    let rpl = (segment.selector & 3) as u8;
    rights.is_present() && rights.is_readable() && (rights.is_conforming() || rights.dpl() >= cpl.max(rpl))
}

/// Whether SS can hold `segment` at privilege level `cpl`.
pub fn is_stack(segment: &Segment, cpl: u8) -> bool {
    let rights: Attributes = segment.attributes;
    rights.is_present() && rights.is_writable() && rights.dpl() == cpl && (segment.selector & 3) as u8 == cpl
}

/// Whether CS can hold `segment` at privilege level `cpl`.
pub fn is_code(segment: &Segment, cpl: u8, is_long: bool) -> bool {
    let rights = segment.attributes;
    let is_level = if rights.is_conforming() { rights.dpl() <= cpl } else { rights.dpl() == cpl };
    let is_possible = !(is_long && rights.is_long() && rights.is_big());
    rights.is_present() && rights.is_code() && is_level && is_possible && (segment.selector & 3) as u8 == cpl
}
