//! The software MMU: from a linear address to a byte of guest memory, or to something that is none.
//!
//! Rule of this folder: the fast path is one probe of a small table. Everything that needs more (a page walk, a page of
//! code that is written, a page whose changes are logged, memory-mapped I/O, an access across two pages) has no entry
//! there, and takes the slow path below. Unsafe is in `host.rs` alone.
//! SDM: vol. 3 §4.10 (what may be remembered, and for how long).

mod host;
mod tlb;

use std::{mem::offset_of, sync::Arc};

use dragoman_devices::memory::GuestRam;
use dragoman_frontend::{
    paging::{Access, AccessKind, PageFault, PageTables, Paging, PagingMode, Translation, walk},
    semantics::Flush,
};
use dragoman_jit::{Tables, pages};
use dragoman_state::{Cr4, GuestPhys, GuestVirt, PAGE_SIZE, VcpuState, Width};
use host::HostPtr;
use tlb::{Entry, Line, Reach, SecondLevel, Table, View};

/// On whose behalf memory is accessed, which decides which table of the first level is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ViewIndex {
    /// Rings 0 to 2, kept from ring 3's pages where supervisor-mode access prevention is on; also the processor itself.
    Supervisor = 0,
    /// Ring 3.
    User = 1,
    /// Rings 0 to 2 while RFLAGS.AC lifts the prevention.
    Lifted = 2,
}

impl ViewIndex {
    const ALL: [Self; 3] = [Self::Supervisor, Self::User, Self::Lifted];

    fn access(self, kind: AccessKind) -> Access {
        Access { kind, is_user: self == Self::User, is_guarded: self != Self::Lifted }
    }
}

/// Why an access cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFault {
    /// The address is not canonical.
    NotCanonical,
    /// A page fault at the address given.
    Page(PageFault, GuestVirt),
}

/// Where an access within one page goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To guest memory.
    Ram(RamPlace),
    /// To memory that can only be read: writes are lost.
    Rom(RamPlace),
    /// To the bus.
    Io(GuestPhys),
}

/// A byte of guest memory that an access was found to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamPlace {
    host: HostPtr,
    /// Its physical address.
    pub at: GuestPhys,
}

impl RamPlace {
    /// The byte `n` bytes on, within the same page.
    #[must_use]
    pub fn plus(self, n: u64) -> Self {
        Self { host: self.host.plus(n), at: GuestPhys(self.at.0 + n) }
    }
}

/// In an entry for fetches: the page is not global. No physical address is as long.
const LOCAL_CODE: u64 = 1 << 63;

/// Which translations were forgotten.
#[derive(Clone, Debug, Default)]
pub struct Forgotten {
    /// All of them.
    pub is_all: bool,
    /// All of pages that are not global.
    pub is_local: bool,
    /// Those of so many bytes from an address: the last one's offset from the first.
    pub ranges: Vec<(GuestVirt, u64)>,
}

impl Forgotten {
    /// More than this are as good as all.
    const MOST: usize = 16;

    fn add(&mut self, start: GuestVirt, last: u64) {
        if self.ranges.len() == Self::MOST {
            self.is_all = true;
            self.ranges.clear();
        }
        if !self.is_all {
            self.ranges.push((start, last));
        }
    }

    /// Whether nothing was.
    pub fn is_nothing(&self) -> bool {
        !self.is_all && !self.is_local && self.ranges.is_empty()
    }
}

/// The software MMU of one processor.
pub struct Mmu {
    views: [View; 3],
    second: SecondLevel,
    paging: Paging,
    linear_bits: u32,
    /// Whether the first level is to know no data, so that every access is seen.
    is_careful: bool,
    /// A walk set a flag in an entry that code was decoded from.
    has_marked_code: bool,
    /// What was forgotten since somebody asked.
    forgotten: Forgotten,
    /// Where translated code finds out whether a page is watched: both are the tracker's.
    code_words: u64,
    logging: u64,
    ram: Arc<GuestRam>,
}

impl Mmu {
    /// An MMU over `ram` that remembers nothing, under `paging`.
    pub fn new(ram: Arc<GuestRam>, paging: Paging) -> Self {
        let (code_words, logging) = ram.tracker().watch_addresses();
        Self {
            views: tlb::EMPTY,
            second: SecondLevel::new(),
            paging,
            linear_bits: 48,
            is_careful: false,
            has_marked_code: false,
            forgotten: Forgotten::default(),
            code_words,
            logging,
            ram,
        }
    }

    /// Guest memory.
    pub fn ram(&self) -> &Arc<GuestRam> {
        &self.ram
    }

    /// Takes over what `state` says of paging. The first level forgets nothing: that is [`Mmu::flush`]'s.
    pub fn set_paging(&mut self, paging: Paging, state: &VcpuState) {
        if !self.paging.permits_as(&paging) {
            // What the second level knows of rights follows from it.
            self.second.clear();
        }
        self.paging = paging;
        self.linear_bits = state.linear_bits();
        self.second.set_context(if state.cr4.contains(Cr4::PCIDE) { (state.cr3 & 0xfff) as u16 } else { 0 });
    }

    /// Whether every access to data comes through the slow path from now on.
    pub fn set_careful(&mut self, is_careful: bool) {
        if is_careful && !self.is_careful {
            self.clear_views();
        }
        self.is_careful = is_careful;
    }

    /// Whether a walk since the last question set a flag in an entry that code was decoded from: the blocks are stale, and
    /// their owners have been told.
    pub fn take_marked_code(&mut self) -> bool {
        std::mem::take(&mut self.has_marked_code)
    }

    /// Whether every access to data comes through the slow path.
    pub fn is_careful(&self) -> bool {
        self.is_careful
    }

    /// What was forgotten since the last question: who remembers what follows from translations forgets it too.
    pub fn take_forgotten(&mut self) -> Forgotten {
        std::mem::take(&mut self.forgotten)
    }

    /// Whether the page that the code at `at` was just fetched from is global.
    pub fn is_code_global(&self, view: ViewIndex, at: u64) -> bool {
        let entry = self.views[view as usize].fetch.slot(at);
        at.wrapping_sub(entry.tag) < PAGE_SIZE && entry.page & LOCAL_CODE == 0
    }

    /// Where the tables of a view are; `place` makes an offset from an MMU what translated code knows it by.
    pub fn tables(view: ViewIndex, place: impl Fn(usize) -> i32) -> Tables {
        let view = offset_of!(Self, views) + view as usize * size_of::<View>();
        Tables {
            read: place(view + offset_of!(View, read) + Table::ENTRIES),
            write: place(view + offset_of!(View, write) + Table::ENTRIES),
            used: Table::USED as i32,
            fetch: place(view + offset_of!(View, fetch) + Table::ENTRIES),
        }
    }

    /// Where the second level is, in the same way.
    pub fn second_level(place: impl Fn(usize) -> i32) -> pages::SecondLevel {
        let second = |offset| place(offset_of!(Self, second) + offset);
        pages::SecondLevel {
            lines: second(SecondLevel::LINES),
            space: second(SecondLevel::SPACE),
            global_space: second(SecondLevel::GLOBAL_SPACE),
            code: place(offset_of!(Self, code_words)),
            logging: place(offset_of!(Self, logging)),
        }
    }

    // The fast path

    /// Reads `width` bits at `at`, where the first level knows the page.
    #[inline(always)]
    pub fn load_fast(&self, view: ViewIndex, at: u64, width: Width) -> Option<u64> {
        Self::known(self.views[view as usize].read.slot(at), at, width).map(|place| place.load(width))
    }

    /// Writes `width` bits at `at`, where the first level knows the page as one that needs no attention.
    #[inline(always)]
    pub fn store_fast(&self, view: ViewIndex, at: u64, width: Width, value: u64) -> bool {
        let place = Self::known(self.views[view as usize].write.slot(at), at, width);
        if let Some(place) = place {
            place.store(width, value);
        }
        place.is_some()
    }

    /// Whether the first level knows all of `length` bytes at `at` as memory that can be written without attention.
    #[inline(always)]
    pub fn can_store_fast(&self, view: ViewIndex, at: u64, length: u64) -> bool {
        Self::known_offset(self.views[view as usize].write.slot(at), at, length).is_some()
    }

    /// Reads `width` bits at `at` that may be written without attention.
    #[inline(always)]
    pub fn load_to_modify_fast(&self, view: ViewIndex, at: u64, width: Width) -> Option<u64> {
        Self::known(self.views[view as usize].write.slot(at), at, width).map(|place| place.load(width))
    }

    /// Where an access goes whose bytes are all in the entry's page.
    #[inline(always)]
    fn known(entry: &Entry, at: u64, width: Width) -> Option<HostPtr> {
        Self::known_offset(entry, at, width.bytes()).map(|offset| HostPtr::at(entry.page.wrapping_add(offset)))
    }

    /// Where in the entry's page an access to `length` bytes at `at` begins, where it has all of them. One that runs into the next
    /// page is found in the slot of its first byte, and so is one that begins before the entry's page: both are too far from its
    /// start.
    #[inline(always)]
    fn known_offset(entry: &Entry, at: u64, length: u64) -> Option<u64> {
        let offset = at.wrapping_sub(entry.tag);
        (length <= PAGE_SIZE && offset <= PAGE_SIZE - length).then_some(offset)
    }

    /// The physical address of the code at `at`, where the first level knows the page.
    #[inline(always)]
    pub fn fetch_fast(&self, view: ViewIndex, at: u64) -> Option<GuestPhys> {
        let entry = self.views[view as usize].fetch.slot(at);
        let offset = at.wrapping_sub(entry.tag);
        (offset < PAGE_SIZE).then(|| GuestPhys((entry.page & !LOCAL_CODE) + offset))
    }

    // The slow path

    /// Where an access at `at` goes that is in one page. Permission is checked, flags in the page tables are set, and the
    /// fast path learns of it where it may.
    pub fn locate(&mut self, view: ViewIndex, kind: AccessKind, at: GuestVirt) -> Result<Place, MemoryFault> {
        let line = self.translate(view, kind, at, Marks::All)?;
        let physical = GuestPhys(line.at | at.page_offset() as u64);
        if line.rights & Line::IS_MEMORY == 0 {
            return Ok(Place::Io(physical));
        }
        let place = RamPlace { host: HostPtr::at(line.host + at.page_offset() as u64), at: physical };
        if kind == AccessKind::Write && line.rights & Line::IS_WRITABLE_MEMORY == 0 {
            return Ok(Place::Rom(place));
        }
        if !self.is_careful {
            self.learn(view, kind, &line);
        }
        Ok(Place::Ram(place))
    }

    /// Has the fast path learn the page of `at`, for an access to it that is going to be made but may be refused for
    /// reasons of its own; whether it knows it now. Where a write would have to mark the page, it stays unknown.
    pub fn find(&mut self, view: ViewIndex, kind: AccessKind, at: GuestVirt) -> bool {
        let Ok(line) = self.translate(view, kind, at, Marks::Accessed) else { return false };
        let wanted = if kind == AccessKind::Write { Line::IS_WRITABLE_MEMORY } else { Line::IS_MEMORY };
        line.rights & wanted != 0 && !self.is_careful && self.learn(view, kind, &line)
    }

    /// The physical address of the code at `at`.
    pub fn fetch(&mut self, view: ViewIndex, at: GuestVirt) -> Result<GuestPhys, MemoryFault> {
        let line = self.translate(view, AccessKind::Execute, at, Marks::All)?;
        let local = if line.is_global == 0 { LOCAL_CODE } else { 0 };
        let entry = Entry { tag: line.page, page: line.at | local };
        self.views[view as usize].fetch.put(entry, line.is_global != 0);
        Ok(GuestPhys(line.at | at.page_offset() as u64))
    }

    /// What is known of the page of `at`, where the access is permitted. Under [`Marks::Accessed`], also a fault where there
    /// is none but the page would have to be marked dirty.
    fn translate(&mut self, view: ViewIndex, kind: AccessKind, at: GuestVirt, marks: Marks) -> Result<Line, MemoryFault> {
        if self.paging.mode != PagingMode::None && !at.is_canonical(self.linear_bits) {
            return Err(MemoryFault::NotCanonical);
        }
        // What is remembered may be older than the tables: only a walk may refuse.
        if let Some(known) = self.second.find(at).filter(|known| known.rights & Line::may(view as usize, kind as usize) != 0) {
            return Ok(*known);
        }
        let mut tables = Walked::new(&self.ram, marks);
        let found = walk(&self.paging, &mut tables, at, view.access(kind));
        self.has_marked_code |= tables.has_marked_code;
        let is_refused = tables.is_refused;
        let found = found.map_err(|fault| MemoryFault::Page(fault, at))?;
        if is_refused {
            return Err(MemoryFault::Page(PageFault(0), at));
        }
        let line = self.line(at, &found);
        if !self.second.insert(line) {
            self.clear_views();
        }
        Ok(line)
    }

    /// What is to be remembered of the page of `at`, which a walk found.
    fn line(&self, at: GuestVirt, found: &Translation) -> Line {
        let page = found.at.page();
        let host = self.ram.host_page(page).map_or(0, |host| HostPtr::in_page(host, 0).address());
        let mut rights = 0;
        for view in ViewIndex::ALL {
            for kind in [AccessKind::Read, AccessKind::Write, AccessKind::Execute] {
                let needs_mark = kind == AccessKind::Write && !found.is_dirty;
                if !needs_mark && self.paging.permits(found.rights, view.access(kind)).is_ok() {
                    rights |= Line::may(view as usize, kind as usize);
                }
            }
        }
        if host != 0 {
            rights |= Line::IS_MEMORY;
            if self.ram.is_writable(page) {
                rights |= Line::IS_WRITABLE_MEMORY;
            }
        }
        let (page_bits, is_global) = (found.page_bits, found.is_global.into());
        Line { page: at.page().0, host, at: page.0, space: 0, rights, page_bits, is_global }
    }

    /// Puts memory into the first level, where it may be accessed unnoticed; whether it is there.
    fn learn(&mut self, view: ViewIndex, kind: AccessKind, line: &Line) -> bool {
        if kind == AccessKind::Write && self.ram.tracker().is_watched(GuestPhys(line.at)) {
            return false;
        }
        let view = &mut self.views[view as usize];
        let table = match kind {
            AccessKind::Write => &mut view.write,
            AccessKind::Read => &mut view.read,
            AccessKind::Execute => return false,
        };
        table.put(Entry { tag: line.page, page: line.host }, line.is_global != 0);
        true
    }

    // Guest memory, once located

    /// Reads `width` bits of guest memory, which end within the page.
    pub fn load(&self, place: RamPlace, width: Width) -> u64 {
        place.host.load(width)
    }

    /// Writes `width` bits of guest memory, which end within the page. Returns whether code was overwritten: the blocks
    /// decoded from it are stale, and their owners have been told.
    pub fn store(&self, place: RamPlace, width: Width, value: u64) -> bool {
        place.host.store(width, value);
        self.written(place, width.bytes())
    }

    /// Tells the tracker of a write that went past the fast path.
    fn written(&self, place: RamPlace, length: u64) -> bool {
        let tracker = self.ram.tracker();
        tracker.is_watched(place.at) && tracker.written(place.at, length)
    }

    /// Replaces `width` bits by what `change` makes of them, as one operation; returns what was there, and whether code
    /// was overwritten. `None` where the host cannot do it at this address.
    pub fn update(&self, place: RamPlace, width: Width, change: impl Fn(u64) -> u64) -> Option<(u64, bool)> {
        let mut old = place.host.load(width);
        loop {
            let was = place.host.compare_exchange(width, old, change(old))?;
            if was == old {
                return Some((old, self.written(place, width.bytes())));
            }
            old = was;
        }
    }

    /// The same for sixteen bytes: `new` where they equal `old`.
    pub fn compare_exchange_16(&self, place: RamPlace, old: u128, new: u128) -> Option<(u128, bool)> {
        place.host.compare_exchange_16(old, new).map(|was| (was, self.written(place, 16)))
    }

    /// Copies `bytes` bytes between two places, upwards; both ranges end within their pages. Returns whether code was
    /// overwritten.
    pub fn copy(&self, to: RamPlace, from: RamPlace, bytes: u64) -> bool {
        to.host.copy_from(from.host, bytes);
        self.written(to, bytes)
    }

    /// Writes `count` elements of `width`, which end within the page. Returns whether code was overwritten.
    pub fn fill(&self, to: RamPlace, width: Width, value: u64, count: u64) -> bool {
        to.host.fill(width, value, count);
        self.written(to, count * width.bytes())
    }

    /// Copies code at the physical address `at` into `bytes`, which end within its page. All ones where there is no
    /// memory.
    pub fn read_code(&self, at: GuestPhys, bytes: &mut [u8]) {
        match self.ram.host_page(at) {
            Some(page) => HostPtr::in_page(page, at.page_offset()).read_bytes(bytes),
            None => bytes.fill(0xff),
        }
    }

    /// Whether the code at the physical address `at` is `bytes`, of which there are as many as [`Mmu::read_code`] may read, 512
    /// at most.
    pub fn is_code(&self, at: GuestPhys, bytes: &[u8]) -> bool {
        let mut now = [0; 512];
        let now = &mut now[..bytes.len()];
        self.read_code(at, now);
        now == bytes
    }

    /// Reads eight bytes at the aligned physical address `at`; zero where there is no memory.
    pub fn read_physical(&self, at: GuestPhys) -> u64 {
        Walked::new(&self.ram, Marks::All).read_entry(at)
    }

    // Forgetting

    /// Forgets translations.
    pub fn flush(&mut self, what: Flush) {
        let context = self.second.context();
        match what {
            Flush::All => {
                self.second.clear();
                self.clear_views();
            }
            Flush::NotGlobal => {
                self.second.forget_context(context);
                self.forget_local();
            }
            Flush::AllNotGlobal => {
                self.second.forget_contexts();
                self.forget_local();
            }
            Flush::Context(other) => {
                self.second.forget_context(other);
                if other == context {
                    self.forget_local();
                }
            }
            Flush::ContextPage(other, page) if other != context => self.flush_page_of(other, page.page()),
            Flush::Page(page) | Flush::ContextPage(_, page) => self.flush_page(page.page()),
        }
    }

    /// The first level holds one context at a time.
    pub fn switch_context(&mut self) {
        self.forget_local();
    }

    fn forget_local(&mut self) {
        self.forgotten.is_local = true;
        self.views.iter_mut().for_each(View::forget_local);
    }

    fn clear_views(&mut self) {
        self.forgotten.is_all = true;
        self.views.iter_mut().for_each(View::clear);
    }

    fn flush_page(&mut self, page: GuestVirt) {
        let pages = match self.second.reach(page) {
            Reach::All => return self.flush(Flush::All),
            reach => reach.pages(page),
        };
        self.forgotten.add(GuestVirt(*pages.start()), (pages.end() - pages.start()) | (PAGE_SIZE - 1));
        for page in pages.step_by(PAGE_SIZE as usize).map(GuestVirt) {
            self.views.iter_mut().for_each(|view| view.forget(page));
            self.second.forget(page);
        }
    }

    /// The same for a page of a context that is not in force, of which the first level knows nothing.
    fn flush_page_of(&mut self, context: u16, page: GuestVirt) {
        match self.second.reach(page) {
            Reach::All => self.second.forget_context(context),
            reach => {
                for page in reach.pages(page).step_by(PAGE_SIZE as usize).map(GuestVirt) {
                    self.second.forget_in(context, page);
                }
            }
        }
    }

    /// Lets no write reach the page at the physical address `page` without the tracker hearing of it. All that can be
    /// written is looked for anew: that costs less than finding out who knows the page.
    pub fn protect(&mut self, page: GuestPhys) {
        if self.ram.is_writable(page) {
            self.drop_write_entries();
        }
    }

    /// Lets no write reach any page without the tracker hearing of it first.
    pub fn drop_write_entries(&mut self) {
        self.views.iter_mut().for_each(|view| view.write.clear());
    }
}

/// Which flags a walk may set in page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marks {
    All,
    Accessed,
}

/// Guest memory as page walks see it.
struct Walked<'a> {
    ram: &'a GuestRam,
    marks: Marks,
    /// A flag was set in an entry that code was decoded from.
    has_marked_code: bool,
    /// A flag was not set that should have been.
    is_refused: bool,
}

impl<'a> Walked<'a> {
    fn new(ram: &'a GuestRam, marks: Marks) -> Self {
        Self { ram, marks, has_marked_code: false, is_refused: false }
    }

    fn place(&self, at: GuestPhys) -> Option<HostPtr> {
        Some(HostPtr::in_page(self.ram.host_page(at)?, at.page_offset()))
    }

    fn replace(&mut self, at: GuestPhys, width: Width, old: u64, new: u64) -> bool {
        const DIRTY: u64 = 1 << 6;
        if self.marks == Marks::Accessed && new & !old & DIRTY != 0 {
            self.is_refused = true;
            return true;
        }
        let Some(place) = self.place(at).filter(|_| self.ram.is_writable(at)) else { return true };
        let is_replaced = place.compare_exchange(width, old, new) == Some(old);
        if is_replaced && self.ram.tracker().is_watched(at) {
            self.has_marked_code |= self.ram.tracker().flags_set(at, width.bytes());
        }
        is_replaced
    }
}

impl PageTables for Walked<'_> {
    fn read_entry(&mut self, at: GuestPhys) -> u64 {
        self.place(at).map_or(0, |place| place.load(Width::Qword))
    }

    fn read_short_entry(&mut self, at: GuestPhys) -> u32 {
        self.place(at).map_or(0, |place| place.load(Width::Dword) as u32)
    }

    fn replace_entry(&mut self, at: GuestPhys, old: u64, new: u64) -> bool {
        self.replace(at, Width::Qword, old, new)
    }

    fn replace_short_entry(&mut self, at: GuestPhys, old: u32, new: u32) -> bool {
        self.replace(at, Width::Dword, old.into(), new.into())
    }
}

#[cfg(test)]
mod tests;
