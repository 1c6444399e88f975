//! The guest's page tables as KVM has read them: which pages they are, and which of them KVM must look at again.
//!
//! Rule of this file: a page that KVM may have read page tables from is watched from before it can be read there. The first
//! write to it is noted by the tracker; then it is watched anew if it is still a page table, and KVM has to look again if an entry
//! changed that led somewhere: of one that did not, nobody remembers anything. What page walks set in it, here or there, is no
//! news to the other.

use std::collections::HashMap;

use dragoman_state::{GuestPhys, PAGE_SIZE};

const PRESENT: u64 = 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const WRITABLE: u64 = 1 << 1;
/// What page walks set.
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// How many entries lead to user mode's half.
const USER_HALF: usize = 256;
/// The level of a top page.
const TOP: u8 = 4;
/// More tables than this are not remembered, and more top pages.
const MOST: usize = 1 << 15;
const MOST_TOPS: usize = 1 << 8;

/// Guest memory, as far as it is needed here.
pub(super) trait Memory {
    /// Has the first write to the page noted, from now on.
    fn watch(&mut self, page: GuestPhys);
    /// What is in the page; `None` where it is no RAM.
    fn read(&mut self, page: GuestPhys) -> Option<Bytes>;
}

#[derive(Clone, Copy, Debug)]
struct Place {
    level: u8,
    /// Where the entry is that led to it, where it is no top page.
    entry: Option<GuestPhys>,
}

/// What is in a page of memory.
type Bytes = [u8; PAGE_SIZE as usize];

/// A page of page tables, and what was in it when KVM could first read it.
struct Table {
    place: Place,
    bytes: Box<Bytes>,
}

/// The page tables that KVM may have read.
#[derive(Default)]
pub(super) struct PageTables {
    known: HashMap<u64, Table>,
    /// The top pages that were in force, as they were last.
    tops: HashMap<u64, Box<Bytes>>,
    is_replaced: bool,
}

/// One page's entry number `n`.
fn entry(bytes: &Bytes, n: usize) -> u64 {
    bytes[8 * n..8 * n + 8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Whether an entry that led somewhere leads elsewhere now, or otherwise. KVM may have set a flag meanwhile that the guest took
/// back, and has to set it again.
fn has_moved(before: &Bytes, now: &Bytes) -> bool {
    let has_moved = |n| {
        let (before, now) = (entry(before, n), entry(now, n));
        let lacks_flag = now & ACCESSED == 0 || now & WRITABLE != 0 && now & DIRTY == 0;
        before & PRESENT != 0 && ((before ^ now) & !(ACCESSED | DIRTY) != 0 || lacks_flag)
    };
    (0..2 * USER_HALF).any(has_moved)
}

/// Whether an entry of a top page that led to user mode's half leads elsewhere now.
fn has_lost(before: &Bytes, now: &Bytes) -> bool {
    let leads = |bytes, n| is_table(entry(bytes, n)).then_some(entry(bytes, n) & ADDRESS);
    (0..USER_HALF).any(|n| leads(before, n).is_some() && leads(before, n) != leads(now, n))
}

impl PageTables {
    /// Brings what is known up to date for entering user mode under the top page `root`, after `written` were written. Returns
    /// the pages that KVM must look at again; `None` where that is all it knows.
    pub fn update(&mut self, memory: &mut impl Memory, root: GuestPhys, written: &[GuestPhys]) -> Option<Vec<u64>> {
        let removed = written.iter().filter_map(|page| Some((page.0, self.known.remove(&page.page_number())?)));
        let mut changed: Vec<(u64, Table)> = removed.collect();
        // From the top, so that a table whose entry is gone is found to be none.
        changed.sort_unstable_by_key(|(_, table)| std::cmp::Reverse(table.place.level));
        for (page, table) in &changed {
            if let Some(at) = table.place.entry.filter(|at| self.leads(memory, *at, *page)) {
                self.visit(memory, GuestPhys(*page), Place { entry: Some(at), ..table.place });
            }
        }
        self.is_replaced = self.visit_root(memory, root);
        if self.known.len() > MOST {
            self.known.clear();
            self.visit(memory, root, Place { level: TOP, entry: None });
            return None;
        }
        let is_stale = |(page, table): &(u64, Table)| match self.known.get(&GuestPhys(*page).page_number()) {
            Some(now) => has_moved(&table.bytes, &now.bytes),
            // Whatever it becomes, it is not what it was.
            None => true,
        };
        Some(changed.iter().filter(|one| is_stale(one)).map(|(page, _)| *page).collect())
    }

    /// Whether the top page of the last update has since the one before lost an entry that led to user mode's half, as no address
    /// space does while it is one.
    pub fn is_replaced(&self) -> bool {
        self.is_replaced
    }

    /// Whether the entry at `at`, in a table that is known, leads to `page`.
    fn leads(&self, memory: &mut impl Memory, at: GuestPhys, page: u64) -> bool {
        let n = at.page_offset() / 8;
        self.known.contains_key(&at.page_number())
            && memory.read(at.page()).is_some_and(|bytes| is_table(entry(&bytes, n)) && entry(&bytes, n) & ADDRESS == page)
    }

    /// Reads what is not known of the tables below `root`; whether that has lost an entry since it was last in force.
    fn visit_root(&mut self, memory: &mut impl Memory, root: GuestPhys) -> bool {
        let was_known = self.known.contains_key(&root.page_number());
        self.visit(memory, root, Place { level: TOP, entry: None });
        let Some(now) = self.known.get(&root.page_number()).filter(|_| !was_known) else { return false };
        if self.tops.len() >= MOST_TOPS {
            self.tops.clear();
        }
        self.tops.insert(root.page_number(), now.bytes.clone()).is_some_and(|before| has_lost(&before, &now.bytes))
    }

    fn visit(&mut self, memory: &mut impl Memory, page: GuestPhys, place: Place) {
        // What was read as one level says as much of those below it; but of a top page only half was read.
        let is_read =
            |known: &Table| known.place.level == place.level || known.place.level > place.level && known.place.level != TOP;
        if self.known.get(&page.page_number()).is_some_and(is_read) || self.known.len() > MOST {
            return;
        }
        // Before it is read, so that no write comes between.
        memory.watch(page);
        let bytes = Box::new(memory.read(page).unwrap_or([0; PAGE_SIZE as usize]));
        let count = match place.level {
            1 => 0,
            TOP => USER_HALF,
            _ => 2 * USER_HALF,
        };
        let entries = (0..count).map(|n| (GuestPhys(page.0 + 8 * n as u64), entry(&bytes, n)));
        let tables: Vec<_> = entries.filter(|(_, value)| is_table(*value)).collect();
        self.known.insert(page.page_number(), Table { place, bytes });
        for (at, value) in tables {
            self.visit(memory, GuestPhys(value & ADDRESS), Place { level: place.level - 1, entry: Some(at) });
        }
    }
}

/// Whether an entry above the lowest level leads to a table that user mode can come to.
fn is_table(value: u64) -> bool {
    value & PRESENT != 0 && value & USER != 0 && value & LARGE == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight pages, and which of them are watched.
    #[derive(Default)]
    struct Small {
        words: HashMap<u64, u64>,
        watched: Vec<u64>,
        written: Vec<GuestPhys>,
    }

    impl Small {
        fn set(&mut self, at: u64, value: u64) {
            self.words.insert(at, value);
            if let Some(n) = self.watched.iter().position(|page| *page == at & !0xfff) {
                self.written.push(GuestPhys(self.watched.remove(n)));
            }
        }
    }

    impl Memory for Small {
        fn watch(&mut self, page: GuestPhys) {
            self.watched.push(page.0);
        }

        fn read(&mut self, page: GuestPhys) -> Option<[u8; 4096]> {
            let mut bytes = [0; 4096];
            for (at, value) in self.words.iter().filter(|(at, _)| **at & !0xfff == page.0) {
                let offset = (at & 0xfff) as usize;
                bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
            }
            (page.0 < 0x10_0000).then_some(bytes)
        }
    }

    fn update(tables: &mut PageTables, memory: &mut Small, root: u64) -> Vec<u64> {
        let written = std::mem::take(&mut memory.written);
        let mut stale = tables.update(memory, GuestPhys(root), &written).expect("there are few");
        stale.sort_unstable();
        stale
    }

    /// A top page at 0x1000 with a table of each level below it: 0x2000, 0x3000, 0x4000; and a large page.
    fn four_levels() -> (PageTables, Small) {
        let (mut tables, mut memory) = (PageTables::default(), Small::default());
        memory.words.extend([(0x1000, 0x2067), (0x2008, 0x3067), (0x3010, 0x4067), (0x3018, 0x20_00e7), (0x4000, 0x5067)]);
        memory.words.extend([(0x1800, 0x9067), (0x2010, 0x8003)]);
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
        memory.watched.sort_unstable();
        // Neither pages, nor what user mode does not come to.
        assert_eq!(memory.watched, [0x1000, 0x2000, 0x3000, 0x4000]);
        (tables, memory)
    }

    #[test]
    fn what_was_written_is_looked_at_again_and_watched_anew() {
        let (mut tables, mut memory) = four_levels();
        memory.set(0x4000, 0x5065);
        memory.set(0x4010, 0x7067);
        assert_eq!(update(&mut tables, &mut memory, 0x1000), [0x4000]);
        assert!(memory.watched.contains(&0x4000));
        // What is new where nothing was is read when it is needed, and flags of page walks mean nothing.
        memory.set(0x4018, 0x7007);
        memory.words.insert(0x4010, 0x7067);
        memory.words.insert(0x4018, 0x7067);
        memory.set(0x4020, 0x7007);
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
        assert!(memory.watched.contains(&0x4000));
        memory.set(0x4018, 0);
        assert_eq!(update(&mut tables, &mut memory, 0x1000), [0x4000]);
        // A flag that is taken back has to be set again.
        memory.words.insert(0x4020, 0x7067);
        memory.set(0x4010, 0x7067);
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
        memory.set(0x4010, 0x7027);
        assert_eq!(update(&mut tables, &mut memory, 0x1000), [0x4000]);
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
    }

    #[test]
    fn a_table_that_is_new_is_watched_and_one_that_is_gone_is_not() {
        let (mut tables, mut memory) = four_levels();
        memory.set(0x3010, 0x6007);
        memory.set(0x4000, 0xdead);
        assert_eq!(update(&mut tables, &mut memory, 0x1000), [0x3000, 0x4000]);
        assert!(memory.watched.contains(&0x6000) && !memory.watched.contains(&0x4000));
        // It comes back as a table of another level.
        memory.set(0x1008, 0x4007);
        memory.set(0x4008, 0xa007);
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
        assert!(memory.watched.contains(&0x4000) && memory.watched.contains(&0xa000));
        memory.set(0xa000, 0xb007);
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
        assert!(memory.watched.contains(&0xb000));
    }

    #[test]
    fn another_root_is_kept_up_to_date_while_it_is_not_in_force() {
        let (mut tables, mut memory) = four_levels();
        memory.words.extend([(0xc000, 0xd007), (0xd000, 0xe007)]);
        assert!(update(&mut tables, &mut memory, 0xc000).is_empty());
        memory.set(0x2008, 0x7067);
        assert_eq!(update(&mut tables, &mut memory, 0xc000), [0x2000]);
        assert!(memory.watched.contains(&0x7000));
        assert!(!tables.is_replaced());
        // Its top page is read again when it is entered.
        memory.set(0x1010, 0x8007);
        assert_eq!(update(&mut tables, &mut memory, 0xc000), [0x1000]);
        assert!(!memory.watched.contains(&0x1000));
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
        assert!(memory.watched.contains(&0x1000) && memory.watched.contains(&0x8000));
        // An entry more is the same address space; one that leads elsewhere is not.
        memory.set(0x1018, 0xd007);
        update(&mut tables, &mut memory, 0x1000);
        assert!(!tables.is_replaced());
        memory.set(0x1000, 0xd007);
        // Also where that is seen under another root.
        assert_eq!(update(&mut tables, &mut memory, 0xc000), [0x1000]);
        assert!(!tables.is_replaced());
        update(&mut tables, &mut memory, 0x1000);
        assert!(tables.is_replaced());
        update(&mut tables, &mut memory, 0x1000);
        assert!(!tables.is_replaced());
    }

    #[test]
    fn tables_that_lead_to_themselves_or_out_of_memory_come_to_an_end() {
        let (mut tables, mut memory) = (PageTables::default(), Small::default());
        memory.words.extend([(0x1000, 0x1007), (0x1008, 0x7_0000_0007), (0x1ff8, 0x2007)]);
        assert!(update(&mut tables, &mut memory, 0x1000).is_empty());
        assert!(memory.watched.contains(&0x2000));
    }
}
