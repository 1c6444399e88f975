//! What must be known of a guest page when somebody writes to it: whether code was decoded from it, and whether its
//! changes are being logged.
//!
//! Rule of this file: marking is by page, noticing by 64-byte granule. A vCPU's fast path never comes here: pages that
//! need attention have no entry in its table of writable pages.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

use dragoman_state::{GuestPhys, PAGE_SIZE};
use vm_memory::bitmap::{Bitmap, RefSlice, WithBitmapSlice};
use zerocopy::FromZeros;

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
        let is_first = word.fetch_or(granules(at, length), Ordering::AcqRel) == 0;
        // Whoever writes looks for marks behind the write; one of the two sees the other.
        fence(Ordering::SeqCst);
        is_first
    }

    /// Forgets that there is code in the page at `page`.
    pub fn clear_code(&self, page: GuestPhys) {
        if let Some(word) = self.code.get(page.page_number() as usize) {
            word.store(0, Ordering::Release);
        }
    }

    /// Forgets that there is code anywhere. Nobody may keep any that was decoded: whoever does hears of no write to it.
    pub fn clear_all_code(&self) {
        for word in &self.code {
            // Most pages never held code, and cost no memory as long as they are only looked at.
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Release);
            }
        }
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

    fn page_written(&self, at: GuestPhys, length: u64) -> bool {
        let n = at.page_number() as usize;
        if self.is_logging() {
            if let Some(word) = self.dirty.get(n / 64) {
                word.fetch_or(1 << (n % 64), Ordering::AcqRel);
            }
        }
        fence(Ordering::SeqCst);
        if self.code_granules(at) & granules(at, length) == 0 {
            return false;
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
