//! What must be known of a guest page when somebody writes to it: whether code was decoded from it, and whether its
//! changes are being logged.
//!
//! Rule of this file: marking is by page, noticing by 64-byte granule. A vCPU's fast path never comes here: pages that
//! need attention have no entry in its table of writable pages.

use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

use dragoman_state::{GuestPhys, PAGE_SIZE};
use vm_memory::bitmap::{Bitmap, RefSlice, WithBitmapSlice};
use zerocopy::FromZeros;

use super::tables::TableWatch;

/// Who must hear that code changed. Called by the thread that wrote, after it wrote; must not block.
pub trait CodeListener: Send + Sync {
    /// `length` bytes from `at`, within one page, were overwritten; code had been decoded from some of them.
    fn code_written(&self, at: GuestPhys, length: u64);
}

/// The tracker of all of guest memory. Its tables are zero pages of the host until something is marked in them.
pub struct PageTracker {
    /// One word a page: bit n is set when code was decoded from bytes 64n to 64n + 63.
    code: Box<[AtomicU64]>,
    /// One bit a page.
    dirty: Box<[AtomicU64]>,
    is_logging: AtomicBool,
    listeners: RwLock<Vec<Arc<dyn CodeListener>>>,
    tables: TableWatch,
    /// Pages that came to hold code, while somebody wants to know.
    fresh_code: Mutex<Vec<GuestPhys>>,
    wants_fresh_code: AtomicBool,
}

impl PageTracker {
    /// A tracker for physical addresses below `end`.
    pub(super) fn new(end: u64) -> Self {
        let pages = end.div_ceil(PAGE_SIZE) as usize;
        let zeroed = |words| <[AtomicU64]>::new_box_zeroed_with_elems(words).unwrap_or_default();
        Self {
            code: zeroed(pages),
            dirty: zeroed(pages.div_ceil(64)),
            is_logging: AtomicBool::new(false),
            listeners: RwLock::default(),
            tables: TableWatch::default(),
            fresh_code: Mutex::default(),
            wants_fresh_code: AtomicBool::new(false),
        }
    }

    /// From now on `listener` hears of code that is overwritten.
    pub fn add_listener(&self, listener: Arc<dyn CodeListener>) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// The granules of the page at `page` from which code was decoded; zero where there is no code.
    #[inline]
    pub fn code_granules(&self, page: GuestPhys) -> u64 {
        self.code.get(page.page_number() as usize).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Marks the bytes of one page that code was decoded from. Returns whether the page held no code before: the
    /// caller must then see to it that no vCPU can write to it unnoticed any more.
    ///
    /// What the caller reads of these bytes afterwards holds every write that is not told to the listeners.
    pub fn mark_code(&self, at: GuestPhys, length: u64) -> bool {
        let Some(word) = self.code.get(at.page_number() as usize) else { return false };
        let tables = self.tables.lock();
        let is_first = word.fetch_or(granules(at, length), Ordering::AcqRel) == 0;
        let is_table = tables.is_some_and(|mut tables| tables.set_code(at, true));
        if (is_first || is_table) && self.wants_fresh_code.load(Ordering::Acquire) {
            self.fresh_code.lock().unwrap_or_else(PoisonError::into_inner).push(at.page());
        }
        // Whoever writes looks for marks behind the write; one of the two sees the other.
        fence(Ordering::SeqCst);
        is_first
    }

    /// Forgets that there is code in the page at `page`.
    pub fn clear_code(&self, page: GuestPhys) {
        let Some(word) = self.code.get(page.page_number() as usize) else { return };
        let tables = self.tables.lock();
        if !tables.is_some_and(|mut tables| tables.set_code(page, false)) {
            word.store(0, Ordering::Release);
        }
    }

    /// Forgets that there is code anywhere, and that page tables are watched. Nobody may keep any that was decoded or read: whoever
    /// does hears of no write to it.
    pub fn clear_all_code(&self) {
        self.forget_tables();
        for word in &self.code {
            // Most pages never held code, and cost no memory as long as they are only looked at.
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Release);
            }
        }
    }

    /// Has the first write to the page table at `page` noted ([`PageTracker::take_written_tables`]). Returns whether it was not
    /// watched yet: the caller must then see to it that no vCPU can write to it unnoticed any more. What the caller reads of it
    /// afterwards holds every write that is not noted.
    pub fn watch_table(&self, page: GuestPhys) -> bool {
        let Some(word) = self.code.get(page.page_number() as usize) else { return false };
        let mut tables = self.tables.lock_for_more();
        let is_new = tables.watch(page, word.load(Ordering::Acquire) != 0);
        word.store(u64::MAX, Ordering::Release);
        drop(tables);
        fence(Ordering::SeqCst);
        is_new
    }

    /// The page tables that were written since the last question, by whatever but page walks, which set flags in them. They are
    /// not watched any more.
    pub fn take_written_tables(&self) -> Vec<GuestPhys> {
        self.tables.lock().map_or_else(Vec::new, |mut tables| tables.take_written())
    }

    /// Watches no page table any more.
    pub fn forget_tables(&self) {
        let Some(mut tables) = self.tables.lock() else { return };
        for (page, _) in tables.clear().into_iter().filter(|(_, has_code)| !has_code) {
            if let Some(word) = self.code.get(page.page_number() as usize) {
                word.store(0, Ordering::Release);
            }
        }
    }

    /// From now on pages are noted that come to hold code ([`PageTracker::take_fresh_code`]). Returns those that do already.
    pub fn note_fresh_code(&self) -> Vec<GuestPhys> {
        self.wants_fresh_code.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        let marked = self.code.iter().enumerate().filter(|(_, word)| word.load(Ordering::Acquire) != 0);
        let pages = marked.map(|(n, _)| GuestPhys(n as u64 * PAGE_SIZE));
        let tables = self.tables.lock();
        pages.filter(|page| tables.as_ref().is_none_or(|tables| tables.has_code(*page) != Some(false))).collect()
    }

    /// The pages that came to hold code since the last question.
    pub fn take_fresh_code(&self) -> Vec<GuestPhys> {
        std::mem::take(&mut *self.fresh_code.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A page walk set flags in `length` bytes of a page table at `at`. Returns whether code was hit, whose owners were told.
    pub fn flags_set(&self, at: GuestPhys, length: u64) -> bool {
        let is_table_alone = self.tables.lock().is_some_and(|tables| tables.has_code(at) == Some(false));
        if is_table_alone {
            self.log(at);
            return false;
        }
        self.page_written(at, length)
    }

    /// Whether writes are being logged.
    #[inline]
    pub fn is_logging(&self) -> bool {
        self.is_logging.load(Ordering::Acquire)
    }

    /// Whether a write to the page at `page` must be reported: it holds code, or its first change is to be logged.
    #[inline]
    pub fn is_watched(&self, page: GuestPhys) -> bool {
        self.code_granules(page) != 0 || self.is_logging() && !self.is_dirty(page)
    }

    /// The host addresses of what [`PageTracker::is_watched`] looks at first: one word for each page, not zero where it holds
    /// code, and a byte that is not zero while writes are being logged. Both are good for as long as the tracker lives.
    pub fn watch_addresses(&self) -> (u64, u64) {
        (self.code.as_ptr().expose_provenance() as u64, self.is_logging.as_ptr().expose_provenance() as u64)
    }

    /// Starts a new log of written pages, all of them clean. Every vCPU must be at a safepoint and drop its table of
    /// writable pages before it runs on.
    pub fn start_log(&self) {
        for word in &self.dirty {
            word.store(0, Ordering::Relaxed);
        }
        self.is_logging.store(true, Ordering::Release);
    }

    /// Stops logging.
    pub fn stop_log(&self) {
        self.is_logging.store(false, Ordering::Release);
    }

    /// Whether the page at `page` was written since the log started.
    pub fn is_dirty(&self, page: GuestPhys) -> bool {
        let n = page.page_number() as usize;
        self.dirty.get(n / 64).is_some_and(|word| word.load(Ordering::Acquire) >> (n % 64) & 1 != 0)
    }

    /// The pages written since the log started, lowest first.
    pub fn dirty_pages(&self) -> impl Iterator<Item = GuestPhys> {
        self.dirty.iter().enumerate().flat_map(|(index, word)| {
            let word = word.load(Ordering::Acquire);
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| GuestPhys((index * 64 + bit) as u64 * PAGE_SIZE))
        })
    }

    /// `length` bytes from `at` were written: logs their pages and tells the listeners where code was hit. Returns
    /// whether it was.
    pub fn written(&self, at: GuestPhys, length: u64) -> bool {
        let end = at.0.saturating_add(length);
        let (mut from, mut hit) = (at.0, false);
        while from < end {
            let to = end.min((from | (PAGE_SIZE - 1)) + 1);
            hit |= self.page_written(GuestPhys(from), to - from);
            from = to;
        }
        hit
    }

    fn log(&self, at: GuestPhys) {
        let n = at.page_number() as usize;
        if self.is_logging() {
            if let Some(word) = self.dirty.get(n / 64) {
                word.fetch_or(1 << (n % 64), Ordering::AcqRel);
            }
        }
    }

    fn page_written(&self, at: GuestPhys, length: u64) -> bool {
        self.log(at);
        fence(Ordering::SeqCst);
        if self.code_granules(at) & granules(at, length) == 0 {
            return false;
        }
        if let Some(mut tables) = self.tables.lock() {
            if tables.write(at) == Some(false) {
                if let Some(word) = self.code.get(at.page_number() as usize) {
                    word.store(0, Ordering::Release);
                }
                return false;
            }
        }
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener.code_written(at, length);
        }
        true
    }
}

/// The granules that `length` bytes from `at` touch within its page.
fn granules(at: GuestPhys, length: u64) -> u64 {
    let first = at.page_offset() / 64;
    let last = (at.page_offset() + length.max(1) as usize - 1).min(PAGE_SIZE as usize - 1) / 64;
    (u64::MAX >> (63 - (last - first))) << first
}

/// One region's view of the tracker: what vm-memory calls after every write through the mapping.
#[derive(Clone)]
pub struct RegionTracker {
    tracker: Arc<PageTracker>,
    first: GuestPhys,
}

impl RegionTracker {
    pub(super) fn new(tracker: Arc<PageTracker>, first: GuestPhys) -> Self {
        Self { tracker, first }
    }
}

impl std::fmt::Debug for RegionTracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegionTracker from {}", self.first)
    }
}

impl<'a> WithBitmapSlice<'a> for RegionTracker {
    type S = RefSlice<'a, Self>;
}

impl Bitmap for RegionTracker {
    fn mark_dirty(&self, offset: usize, length: usize) {
        self.tracker.written(GuestPhys(self.first.0 + offset as u64), length as u64);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.tracker.is_dirty(GuestPhys(self.first.0 + offset as u64))
    }

    fn slice_at(&self, offset: usize) -> RefSlice<'_, Self> {
        RefSlice::new(self, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::memory::GuestRam;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(u64, u64)>>);
    impl CodeListener for Heard {
        fn code_written(&self, at: GuestPhys, length: u64) {
            self.0.lock().expect("not poisoned").push((at.0, length));
        }
    }

    #[test]
    fn the_first_write_to_a_table_is_noted_and_code_beside_it_is_kept() {
        let tracker = PageTracker::new(8 * PAGE_SIZE);
        let heard = Arc::new(Heard::default());
        tracker.add_listener(heard.clone());
        let (table, both, later) = (GuestPhys(0x1000), GuestPhys(0x2000), GuestPhys(0x3000));
        assert!(
            tracker.mark_code(both, 8) && tracker.watch_table(table) && tracker.watch_table(both) && tracker.watch_table(later)
        );
        assert!(!tracker.watch_table(table) && tracker.is_watched(table));
        tracker.mark_code(later, 8);
        // Flags that a walk sets are no news.
        assert!(!tracker.flags_set(table, 8) && tracker.is_watched(table));
        for page in [table, both, later] {
            tracker.written(GuestPhys(page.0 + 0x800), 8);
            tracker.written(GuestPhys(page.0 + 0x808), 8);
        }
        assert_eq!(tracker.take_written_tables(), [table, both, later]);
        assert_eq!(tracker.take_written_tables(), []);
        // Where there is code, all of the page is taken for it from then on.
        assert!(!tracker.is_watched(table) && tracker.is_watched(both) && tracker.is_watched(later));
        let told: Vec<_> = heard.0.lock().expect("not poisoned").iter().map(|(at, _)| at & !0xfff).collect();
        assert_eq!(told, [0x2000, 0x2000, 0x3000, 0x3000]);
        assert!(tracker.watch_table(table) && tracker.watch_table(both));
        tracker.clear_code(both);
        assert!(tracker.is_watched(both));
        tracker.forget_tables();
        assert!(!tracker.is_watched(table) && !tracker.is_watched(both));
    }

    #[test]
    fn pages_that_come_to_hold_code_are_noted_for_whom_wants_to_know() {
        let tracker = PageTracker::new(8 * PAGE_SIZE);
        tracker.mark_code(GuestPhys(0x1000), 8);
        assert_eq!(tracker.take_fresh_code(), []);
        assert_eq!(tracker.note_fresh_code(), [GuestPhys(0x1000)]);
        tracker.mark_code(GuestPhys(0x1040), 8);
        tracker.mark_code(GuestPhys(0x2040), 8);
        assert_eq!(tracker.take_fresh_code(), [GuestPhys(0x2000)]);
    }

    #[test]
    fn granules_cover_the_first_and_the_last_byte() {
        assert_eq!(granules(GuestPhys(0x1000), 1), 1);
        assert_eq!(granules(GuestPhys(0x103f), 2), 0b11);
        assert_eq!(granules(GuestPhys(0x1fff), 1), 1 << 63);
        assert_eq!(granules(GuestPhys(0x1000), 4096), u64::MAX);
    }

    #[test]
    fn a_write_through_the_mapping_into_code_is_heard_and_one_beside_it_is_not() {
        let ram = GuestRam::new(4 << 20).expect("small");
        let heard = Arc::new(Heard::default());
        ram.tracker().add_listener(heard.clone());
        assert!(ram.tracker().mark_code(GuestPhys(0x20_0040), 10));
        assert!(!ram.tracker().mark_code(GuestPhys(0x20_0080), 10), "the page had code already");
        ram.write(GuestPhys(0x20_0000), &[0; 64]).expect("RAM");
        assert!(heard.0.lock().expect("not poisoned").is_empty());
        ram.write(GuestPhys(0x1f_fff0), &[0; 128]).expect("RAM");
        assert_eq!(*heard.0.lock().expect("not poisoned"), [(0x20_0000, 112)]);
    }

    #[test]
    fn code_that_is_forgotten_everywhere_is_heard_of_no_more() {
        let ram = GuestRam::new(4 << 20).expect("small");
        let heard = Arc::new(Heard::default());
        ram.tracker().add_listener(heard.clone());
        for page in [0, 0x10_0000, 0x3f_f000] {
            ram.tracker().mark_code(GuestPhys(page), 64);
        }
        ram.tracker().clear_all_code();
        for page in [0, 0x10_0000, 0x3f_f000] {
            assert!(!ram.tracker().is_watched(GuestPhys(page)));
            ram.write(GuestPhys(page), &[1; 64]).expect("RAM");
        }
        assert!(heard.0.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn the_log_names_each_written_page_once() {
        let ram = GuestRam::new(4 << 20).expect("small");
        ram.write(GuestPhys(0x10_0000), &[1]).expect("RAM");
        ram.tracker().start_log();
        assert_eq!(ram.tracker().dirty_pages().count(), 0);
        assert!(ram.tracker().is_watched(GuestPhys(0x20_0000)));
        ram.write(GuestPhys(0x20_0fff), &[1, 2]).expect("RAM");
        assert_eq!(ram.tracker().dirty_pages().collect::<Vec<_>>(), [GuestPhys(0x20_0000), GuestPhys(0x20_1000)]);
        assert!(!ram.tracker().is_watched(GuestPhys(0x20_0000)));
        ram.tracker().stop_log();
        assert!(!ram.tracker().is_watched(GuestPhys(0x30_0000)));
    }
}
