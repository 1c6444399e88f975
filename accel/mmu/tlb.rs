//! Remembered translations: a first level that the fast path probes, one small flat table for each kind of access and
//! each kind of privilege, and a second level behind it that survives changes of privilege and, for global pages, of
//! address space.

use dragoman_frontend::paging::{Rights, Translation};
use dragoman_state::{GuestPhys, GuestVirt, PAGE_SIZE};

/// An entry of the first level. `repr(C)`, because translated code probes it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Entry {
    /// The page's linear address; where the fast path may not be taken, that of a page which belongs in another slot, and
    /// so matches nothing.
    pub tag: u64,
    /// The page's host address; in a table for fetches, its physical address.
    pub page: u64,
}

/// How many entries a table of the first level has.
pub(super) const ENTRIES: usize = 1024;

/// A table of the first level. `repr(C)`, because translated code finds the entries at its start.
#[derive(Clone)]
#[repr(C)]
pub(super) struct Table {
    entries: [Entry; ENTRIES],
    /// The slots that pages which are not global were put into.
    local: Vec<u16>,
}

impl Table {
    const EMPTY: [Entry; ENTRIES] = {
        let mut entries = [Entry { tag: 0, page: 0 }; ENTRIES];
        let mut n = 0;
        while n < ENTRIES {
            entries[n].tag = (n as u64 ^ 1) * PAGE_SIZE;
            n += 1;
        }
        entries
    };

    pub fn new() -> Self {
        Self { entries: Self::EMPTY, local: Vec::new() }
    }

    fn number(at: u64) -> usize {
        (at / PAGE_SIZE) as usize % ENTRIES
    }

    /// The entry that the page of `at` has to be in.
    #[inline(always)]
    pub fn slot(&self, at: u64) -> &Entry {
        &self.entries[Self::number(at)]
    }

    /// Remembers a page.
    pub fn put(&mut self, entry: Entry, is_global: bool) {
        let n = Self::number(entry.tag);
        self.entries[n] = entry;
        if !is_global {
            if self.local.len() == ENTRIES {
                self.forget_local();
                self.entries[n] = entry;
            }
            self.local.push(n as u16);
        }
    }

    pub fn clear(&mut self) {
        self.entries = Self::EMPTY;
        self.local.clear();
    }

    /// Forgets all pages that are not global.
    pub fn forget_local(&mut self) {
        for n in self.local.drain(..).map(usize::from) {
            self.entries[n] = Self::EMPTY[n];
        }
    }

    pub fn forget(&mut self, page: GuestVirt) {
        if self.slot(page.0).tag == page.0 {
            let n = Self::number(page.0);
            self.entries[n] = Self::EMPTY[n];
        }
    }

    /// Forgets the pages that are at the host address `page`.
    pub fn forget_host(&mut self, page: u64) {
        for (entry, empty) in self.entries.iter_mut().zip(&Self::EMPTY) {
            if entry.page == page {
                *entry = *empty;
            }
        }
    }
}

/// The first level for one kind of privilege.
#[derive(Clone)]
pub(super) struct View {
    pub read: Table,
    pub write: Table,
    pub fetch: Table,
    /// Whether anything was put in since it was last cleared.
    pub is_used: bool,
}

impl View {
    pub fn new() -> Self {
        Self { read: Table::new(), write: Table::new(), fetch: Table::new(), is_used: false }
    }

    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_used) {
            self.read.clear();
            self.write.clear();
            self.fetch.clear();
        }
    }

    pub fn forget_local(&mut self) {
        self.read.forget_local();
        self.write.forget_local();
        self.fetch.forget_local();
    }

    pub fn forget(&mut self, page: GuestVirt) {
        self.read.forget(page);
        self.write.forget(page);
        self.fetch.forget(page);
    }
}

/// An entry of the second level: a translation of one 4 KiB page, whatever the size of the page it is part of.
#[derive(Clone, Copy)]
struct Line {
    page: u64,
    at: GuestPhys,
    rights: Rights,
    is_global: bool,
    is_dirty: bool,
    page_bits: u8,
    context: u16,
    generation: u32,
}

const LINES: usize = 4096;

/// The second level. Flushing it is counting up a generation.
pub(super) struct SecondLevel {
    lines: Box<[Line]>,
    generation: u32,
    global_generation: u32,
    /// Which regions of 2 MiB (by their number modulo 64) may hold pieces of a larger page.
    large_regions: u64,
}

impl SecondLevel {
    pub fn new() -> Self {
        let nothing = Line {
            page: 1,
            at: GuestPhys(0),
            rights: Rights { is_writable: false, is_user: false, is_executable: false, key: 0 },
            is_global: false,
            is_dirty: false,
            page_bits: 12,
            context: 0,
            generation: 0,
        };
        Self { lines: vec![nothing; LINES].into(), generation: 1, global_generation: 1, large_regions: 0 }
    }

    fn slot(page: u64) -> usize {
        let n = page / PAGE_SIZE;
        // User and kernel addresses that differ in high bits alone must not meet in one line.
        (n ^ n >> 12 ^ n >> 24) as usize % LINES
    }

    /// What is remembered of the page of `at` in `context`.
    pub fn find(&self, at: GuestVirt, context: u16) -> Option<Translation> {
        let line = &self.lines[Self::slot(at.page().0)];
        let generation = if line.is_global { self.global_generation } else { self.generation };
        let is_ours = line.is_global || line.context == context;
        (line.page == at.page().0 && line.generation == generation && is_ours).then(|| Translation {
            at: GuestPhys(line.at.0 | at.page_offset() as u64),
            page_bits: line.page_bits,
            rights: line.rights,
            is_global: line.is_global,
            is_dirty: line.is_dirty,
        })
    }

    /// Remembers what a walk for `at` in `context` found.
    pub fn insert(&mut self, at: GuestVirt, context: u16, found: &Translation) {
        let generation = if found.is_global { self.global_generation } else { self.generation };
        if found.page_bits > 12 {
            self.large_regions |= region_bit(at.0);
        }
        self.lines[Self::slot(at.page().0)] = Line {
            page: at.page().0,
            at: found.at.page(),
            rights: found.rights,
            is_global: found.is_global,
            is_dirty: found.is_dirty,
            page_bits: found.page_bits,
            context,
            generation,
        };
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.clear_not_global();
        self.global_generation = self.global_generation.wrapping_add(1);
        self.large_regions = 0;
    }

    /// Forgets everything that is not global.
    pub fn clear_not_global(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Lines of four billion flushes ago would come to life again.
            self.lines.iter_mut().for_each(|line| line.page = 1);
            self.generation = 1;
        }
    }

    /// Forgets one context, and with it every other that is not global.
    pub fn forget(&mut self, page: GuestVirt) {
        let line = &mut self.lines[Self::slot(page.0)];
        if line.page == page.0 {
            line.page = 1;
        }
    }

    /// How far around `page` a flush of it must reach: a larger page may have left pieces there.
    pub fn reach(&self, page: GuestVirt) -> Reach {
        if self.large_regions & region_bit(page.0) == 0 {
            return Reach::Page;
        }
        let same_region = |line: &&Line| line.page >> 30 == page.0 >> 30 && line.page_bits == 30;
        if self.lines.iter().any(|line| same_region(&line)) { Reach::All } else { Reach::Region }
    }
}

/// How much a flush of one page forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// That page.
    Page,
    /// The 4 MiB around it, which hold any page of 2 or 4 MiB that it can be part of.
    Region,
    /// Everything.
    All,
}

fn region_bit(address: u64) -> u64 {
    1 << (address >> 22 & 63)
}
