//! Page tables that show a random guest its own memory, in several places, with something wrong here and there. They lie in
//! that memory, so that the guest can change them.
//!
//! One table of pages serves every place; the tables above it lead to it, to large pages, to themselves and into the void.
//! SDM: vol. 3 §4.3 (32-bit paging), §4.4 (PAE), §4.5 (4- and 5-level).

use super::{machine::RAM, recipe::PageScheme};
use crate::{
    generate::Random,
    layout::{CODE, FRAMES, PAGE, SYSTEM},
};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const TABLE: u64 = PRESENT | WRITABLE | USER;

/// The tables, by level.
const PAGES: u64 = FRAMES.start;
const DIRECTORY: u64 = PAGES + PAGE;
const POINTERS: u64 = DIRECTORY + PAGE;
const LEVEL4: u64 = POINTERS + PAGE;
const LEVEL5: u64 = LEVEL4 + PAGE;

/// What a scene's tables are made of.
pub struct PageTables {
    /// What CR3 holds.
    pub root: u64,
    /// What CR3 leads to under PAE paging.
    pub pointers: [u64; 4],
    /// Whether entries may forbid execution.
    pub uses_no_execute: bool,
    /// The tables.
    pub memory: Vec<(u64, Vec<u8>)>,
}

impl PageTables {
    /// Tables for `scheme`. Where `is_user`, ring 3 reaches every page but, most times, the processor's own.
    pub fn new(random: &mut Random, scheme: PageScheme, is_user: bool) -> Self {
        let mut tables = Self { root: 0, pointers: [0; 4], uses_no_execute: random.one_in(2), memory: Vec::new() };
        let is_open = random.one_in(4);
        let leaf = |tables: &Self, random: &mut Random, n| tables.leaf(random, n, scheme, is_user, is_open);
        match scheme {
            PageScheme::None => {}
            PageScheme::Bits32 | PageScheme::Pse => {
                // A table of pages spans four mebibytes: memory, and the same again.
                let pages = (0..1024).map(|n| leaf(&tables, random, n)).collect::<Vec<_>>();
                let large = if scheme == PageScheme::Pse { LARGE } else { 0 };
                let mut directory = vec![0; 1024];
                for n in [0, 0x200, 0x3ff] {
                    directory[n] = PAGES | TABLE;
                }
                let odd = [random.below(1 << 22) << 10, PAGES, random.bits()];
                directory[1] = TABLE | large | random.pick(&odd) & 0xffff_ff00;
                directory[2] = DIRECTORY | TABLE;
                directory[3] = random.bits() & 0xffff_ffff;
                tables.put(PAGES, &pages, 4);
                tables.put(DIRECTORY, &directory, 4);
                tables.root = DIRECTORY;
            }
            PageScheme::Pae | PageScheme::Level4 | PageScheme::Level5 => {
                let pages = (0..512).map(|n| leaf(&tables, random, n)).collect::<Vec<_>>();
                let mut directory = vec![0; 512];
                directory[0] = PAGES | TABLE;
                directory[511] = PAGES | TABLE;
                directory[1] = TABLE | LARGE | if random.one_in(2) { 0 } else { random.bits() & 0x3ff_ffff & !0x1f_ffff };
                directory[2] = DIRECTORY | TABLE;
                directory[3] = random.bits();
                directory[4] = TABLE | LARGE | GLOBAL | random.bits() & 0xf_ffff_ffe0_0000;
                tables.put(PAGES, &pages, 8);
                tables.put(DIRECTORY, &directory, 8);
                tables.put_above(random, scheme);
            }
        }
        tables
    }

    /// The levels above page directories.
    fn put_above(&mut self, random: &mut Random, scheme: PageScheme) {
        if scheme == PageScheme::Pae {
            self.pointers = [DIRECTORY | PRESENT, if random.one_in(2) { 0 } else { PAGES | PRESENT }, 0, DIRECTORY | PRESENT];
            let pointers = self.pointers;
            // It need not begin a page.
            self.root = POINTERS + 32 * random.below(PAGE / 32);
            self.put(self.root, &pointers, 8);
            return;
        }
        let mut pointers = vec![0; 512];
        for n in [0, 3, 511] {
            pointers[n] = DIRECTORY | TABLE;
        }
        pointers[1] = TABLE | LARGE | if random.one_in(2) { 0 } else { random.bits() & 0xf_ffff_ffff_ff00 };
        pointers[2] = POINTERS | TABLE;
        pointers[4] = random.bits();
        self.put(POINTERS, &pointers, 8);
        let mut tops = vec![(LEVEL4, POINTERS)];
        if scheme == PageScheme::Level5 {
            tops.push((LEVEL5, LEVEL4));
        }
        for (table, below) in tops {
            let mut entries = vec![0; 512];
            for n in [0, 255, 256, 511] {
                entries[n] = below | TABLE;
            }
            entries[1] = table | TABLE;
            entries[2] = random.bits();
            entries[3] = below | TABLE | LARGE;
            self.put(table, &entries, 8);
            self.root = table;
        }
    }

    fn put(&mut self, at: u64, entries: &[u64], size: usize) {
        self.memory.push((at, entries.iter().flat_map(|entry| entry.to_le_bytes().into_iter().take(size)).collect()));
    }

    /// Entry `n` of the table of pages: the `n`th page of memory, unless it is spoilt.
    fn leaf(&self, random: &mut Random, n: u64, scheme: PageScheme, is_user: bool, is_open: bool) -> u64 {
        let frame = n * PAGE % RAM;
        let is_system = SYSTEM.contains(&frame);
        let is_vital = is_system || frame == CODE;
        let user = if is_user && (!is_system || is_open) { USER } else { 0 };
        let entry = frame | PRESENT | WRITABLE | user;
        if !random.one_in(if is_vital { 200 } else { 16 }) {
            return entry;
        }
        let is_wide = !matches!(scheme, PageScheme::Bits32 | PageScheme::Pse);
        match random.below(16) {
            0..=1 => entry & !PRESENT,
            2..=4 => entry & !WRITABLE,
            5..=6 => entry ^ USER,
            7 if is_wide && self.uses_no_execute => entry | NO_EXECUTE,
            8 => entry | GLOBAL,
            9 => random.pick(&[0xa_0000, 0xfee0_0000, 0xc000_0000, RAM, 0x3f_f000]) | PRESENT | WRITABLE | user,
            10..=12 => random.below(RAM) & !(PAGE - 1) | PRESENT | WRITABLE | user,
            13 if is_wide => entry | 1 << (46 + random.below(17)),
            14 => entry ^ 1 << random.below(12),
            15 => random.bits(),
            _ => entry,
        }
    }
}
