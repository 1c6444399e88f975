//! Remembered translations: a first level that the fast path probes, one small flat table for each kind of access and
//! each kind of privilege, and a second level behind it that survives changes of privilege and of address space.
//!
//! Rule of this file: what is forgotten is forgotten in both levels by whoever calls; translated code moves pages from the
//! second level to the first, and only those that are in it with the right to the access.

use std::{collections::HashSet, mem::offset_of, ops::RangeInclusive};

use dragoman_state::{GuestVirt, PAGE_SIZE};

pub(super) use dragoman_jit::pages::{Entry, Line};

/// A table of the first level.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Table {
    entries: [Entry; Entry::COUNT],
    /// A bit for each slot into which a page was put that is not global, and one for each with a page that is.
    used: [Slots; 2],
}

/// A bit for each slot.
type Slots = [u64; Entry::COUNT / 64];

/// What slot `n` holds when it holds nothing.
const fn nothing(n: usize) -> Entry {
    Entry { tag: (n as u64 ^ 1) * PAGE_SIZE, page: 0 }
}

/// A first level that holds nothing.
pub(super) static EMPTY: [View; 3] = {
    let mut entries = [nothing(0); Entry::COUNT];
    let mut n = 0;
    while n < Entry::COUNT {
        entries[n] = nothing(n);
        n += 1;
    }
    let table = Table { entries, used: [[0; Entry::COUNT / 64]; 2] };
    [View { read: table, write: table, fetch: table }; 3]
};

impl Table {
    /// How far from a table's start its entries are, and how far from those its bits.
    pub const ENTRIES: usize = offset_of!(Self, entries);
    pub const USED: usize = offset_of!(Self, used) - Self::ENTRIES;

    /// The entry that the page of `at` has to be in.
    #[inline(always)]
    pub fn slot(&self, at: u64) -> &Entry {
        &self.entries[Entry::number(at)]
    }

    /// Remembers a page.
    pub fn put(&mut self, entry: Entry, is_global: bool) {
        let n = Entry::number(entry.tag);
        self.entries[n] = entry;
        self.used[usize::from(is_global)][n / 64] |= 1 << (n % 64);
    }

    /// Forgets everything, in a time that depends on how much was put in.
    pub fn clear(&mut self) {
        self.forget_local();
        Self::empty(&mut self.entries, &mut self.used[1]);
    }

    /// Forgets all pages that are not global, and some that took a place of theirs.
    pub fn forget_local(&mut self) {
        Self::empty(&mut self.entries, &mut self.used[0]);
    }

    fn empty(entries: &mut [Entry; Entry::COUNT], slots: &mut Slots) {
        for (first, word) in (0..).step_by(64).zip(slots) {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let n = first + bits.trailing_zeros() as usize;
                entries[n] = nothing(n);
                bits &= bits - 1;
            }
        }
    }

    pub fn forget(&mut self, page: GuestVirt) {
        if self.slot(page.0).tag == page.0 {
            let n = Entry::number(page.0);
            self.entries[n] = nothing(n);
        }
    }
}

/// The first level for one kind of privilege.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub read: Table,
    pub write: Table,
    pub fetch: Table,
}

impl View {
    pub fn clear(&mut self) {
        self.read.clear();
        self.write.clear();
        self.fetch.clear();
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

/// How many process-context identifiers there are.
const CONTEXTS: usize = 4096;
/// The number of no address space.
const NO_SPACE: u32 = 0;
const FIRST_SPACE: u32 = 1;

/// The second level. What was remembered of one context, or of global pages, is forgotten by giving it another number.
pub(super) struct SecondLevel {
    lines: Box<[Line; Line::COUNT]>,
    /// Of the context in force.
    space: u32,
    /// Of global pages.
    global_space: u32,
    /// The last number given.
    last_space: u32,
    /// The numbers of contexts.
    spaces: Box<[u32; CONTEXTS]>,
    context: u16,
    large: LargePages,
}

impl SecondLevel {
    pub const LINES: usize = offset_of!(Self, lines);
    pub const SPACE: usize = offset_of!(Self, space);
    pub const GLOBAL_SPACE: usize = offset_of!(Self, global_space);

    pub fn new() -> Self {
        let nothing = Line { page: Line::NOWHERE, host: 0, at: 0, space: NO_SPACE, rights: 0, page_bits: 0, is_global: 0 };
        let mut level = Self {
            lines: boxed(nothing),
            space: NO_SPACE,
            global_space: FIRST_SPACE,
            last_space: FIRST_SPACE,
            spaces: boxed(NO_SPACE),
            context: 0,
            large: LargePages::default(),
        };
        level.set_context(0);
        level
    }

    /// What is remembered of the page of `at` in the context in force.
    #[inline]
    pub fn find(&self, at: GuestVirt) -> Option<&Line> {
        let line = &self.lines[Line::number(at.0)];
        let is_ours = line.space == self.space || line.space == self.global_space;
        (line.page == at.page().0 && is_ours).then_some(line)
    }

    /// Remembers `line`, whose space does not matter, of the context in force. Whether there was room: where there was not,
    /// everything else was forgotten, and the first level must forget everything too.
    #[must_use]
    pub fn insert(&mut self, line: Line) -> bool {
        let has_room = self.large.note(line.page, line.page_bits);
        if !has_room {
            self.clear();
            self.large.note(line.page, line.page_bits);
        }
        let space = if line.is_global == 0 { self.space } else { self.global_space };
        self.lines[Line::number(line.page)] = Line { space, ..line };
        has_room
    }

    /// Which context is in force.
    pub fn context(&self) -> u16 {
        self.context
    }

    /// From now on `context` is in force.
    pub fn set_context(&mut self, context: u16) {
        self.context = context;
        let known = self.spaces[usize::from(context) % CONTEXTS];
        if known != NO_SPACE {
            self.space = known;
        } else {
            self.forget_context(context);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.large = LargePages::default();
        self.spaces.fill(NO_SPACE);
        self.global_space = self.next_space();
        self.set_context(self.context);
    }

    /// Forgets everything that is not global.
    pub fn forget_contexts(&mut self) {
        self.spaces.fill(NO_SPACE);
        self.set_context(self.context);
    }

    /// Forgets what is not global of one context.
    pub fn forget_context(&mut self, context: u16) {
        let space = self.next_space();
        self.spaces[usize::from(context) % CONTEXTS] = space;
        if context == self.context {
            self.space = space;
        }
    }

    fn next_space(&mut self) -> u32 {
        if self.last_space == u32::MAX {
            // What lines of four billion flushes ago stood for would come to life again.
            self.lines.iter_mut().for_each(|line| line.page = Line::NOWHERE);
            self.spaces.fill(NO_SPACE);
            (self.global_space, self.space) = (FIRST_SPACE, FIRST_SPACE + 1);
            self.spaces[usize::from(self.context) % CONTEXTS] = self.space;
            self.last_space = self.space;
        }
        self.last_space += 1;
        self.last_space
    }

    /// As after four billion flushes.
    #[cfg(test)]
    pub fn use_up_spaces(&mut self) {
        self.last_space = u32::MAX;
    }

    /// Forgets a page of the context in force, or a global one.
    pub fn forget(&mut self, page: GuestVirt) {
        let line = &mut self.lines[Line::number(page.0)];
        if line.page == page.0 {
            line.page = Line::NOWHERE;
        }
    }

    /// Forgets a page of `context` that is not global.
    pub fn forget_in(&mut self, context: u16, page: GuestVirt) {
        let space = self.spaces[usize::from(context) % CONTEXTS];
        let line = &mut self.lines[Line::number(page.0)];
        if line.page == page.0 && line.space == space {
            line.page = Line::NOWHERE;
        }
    }

    /// How far around `page` a flush of it must reach: a larger page may have left pieces there.
    pub fn reach(&self, page: GuestVirt) -> Reach {
        self.large.reach(page)
    }
}

fn boxed<T: Copy, const N: usize>(value: T) -> Box<[T; N]> {
    vec![value; N].into_boxed_slice().try_into().unwrap_or_else(|_| Box::new([value; N]))
}

/// Which pages larger than 4 KiB may have left pieces in the second level.
#[derive(Default)]
struct LargePages {
    /// Regions of 4 MiB, by their numbers, that hold pages of 2 or 4 MiB.
    regions: HashSet<u64>,
    /// Pages of 1 GiB, by their numbers.
    huge: HashSet<u64>,
    /// The last region or page that was noted, with its size.
    last: Option<(u64, u8)>,
}

impl LargePages {
    const REGION_BITS: u8 = 22;
    const HUGE_BITS: u8 = 30;
    /// More than so many are not kept apart.
    const MOST: usize = 1 << 14;

    /// Notes that the page at `page` is part of one of `page_bits`. Whether there was room.
    fn note(&mut self, page: u64, page_bits: u8) -> bool {
        if page_bits <= PAGE_SIZE.trailing_zeros() as u8 {
            return true;
        }
        let bits = if page_bits <= Self::REGION_BITS { Self::REGION_BITS } else { Self::HUGE_BITS };
        let number = page >> bits;
        if self.last == Some((number, bits)) {
            return true;
        }
        let set = if bits == Self::REGION_BITS { &mut self.regions } else { &mut self.huge };
        let has_room = set.len() < Self::MOST || set.contains(&number);
        if has_room {
            set.insert(number);
            self.last = Some((number, bits));
        }
        has_room
    }

    fn reach(&self, page: GuestVirt) -> Reach {
        if self.huge.contains(&(page.0 >> Self::HUGE_BITS)) {
            return Reach::All;
        }
        if self.regions.contains(&(page.0 >> Self::REGION_BITS)) { Reach::Region } else { Reach::Page }
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

impl Reach {
    /// The pages of a flush of `page` that does not reach everything.
    pub fn pages(self, page: GuestVirt) -> RangeInclusive<u64> {
        const REST: u64 = (1 << LargePages::REGION_BITS) - 1;
        if self == Self::Page { page.0..=page.0 } else { page.0 & !REST..=page.0 | REST }
    }
}
