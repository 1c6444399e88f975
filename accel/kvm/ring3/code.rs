//! Pages that hold translated or decoded code, and what user mode writes to in KVM: where the two meet, the code is stale.
//!
//! Rule of this file: before user mode runs, every page that holds code is off KVM's log, so that a write to it is noted there.
//! All other pages stay in the log for good, and cost nothing.

use std::collections::BTreeMap;

use dragoman_devices::memory::PageTracker;
use dragoman_state::{GuestPhys, PAGE_SIZE};

use crate::kvm::{
    KvmError,
    machine::{Machine, logged_pages},
};

/// By slot and number of 64 pages: those that hold code, a bit for each.
#[derive(Default)]
pub(super) struct CodePages {
    pages: BTreeMap<(u32, u64), u64>,
    has_begun: bool,
}

impl CodePages {
    /// Takes pages that came to hold code off the log. To be called before user mode runs.
    pub fn take_off_log(&mut self, machine: &Machine, tracker: &PageTracker) -> Result<(), KvmError> {
        let mut fresh = tracker.take_fresh_code();
        if !std::mem::replace(&mut self.has_begun, true) {
            fresh.extend(tracker.note_fresh_code());
        }
        let mut news: BTreeMap<(u32, u64), u64> = BTreeMap::new();
        for (slot, number) in fresh.into_iter().filter_map(|page| machine.logged(page)) {
            *news.entry((slot, number / 64)).or_default() |= 1 << (number % 64);
        }
        for ((slot, group), bits) in news {
            machine.take_off_log(slot, group * 64, bits)?;
            *self.pages.entry((slot, group)).or_default() |= bits;
        }
        Ok(())
    }

    /// Tells the tracker of code that user mode overwrote, and of all writes where they are being logged. To be called after user
    /// mode ran.
    pub fn tell(&mut self, machine: &Machine, tracker: &PageTracker) -> Result<(), KvmError> {
        let is_logging = tracker.is_logging();
        if self.pages.is_empty() && !is_logging {
            return Ok(());
        }
        let log = machine.log()?;
        if is_logging {
            log.iter().flat_map(|(_, at, words)| logged_pages(*at, words)).for_each(|page| _ = tracker.written(page, PAGE_SIZE));
        }
        for ((slot, group), code) in &mut self.pages {
            let Some((_, at, words)) = log.iter().find(|(number, ..)| number == slot) else { continue };
            let hit = words.get(*group as usize).copied().unwrap_or(0) & *code;
            if hit == 0 {
                continue;
            }
            let mut kept = 0;
            let first = GuestPhys(at.0 + 64 * *group * PAGE_SIZE);
            for page in logged_pages(first, &[hit]) {
                tracker.written(page, PAGE_SIZE);
                kept |= u64::from(tracker.code_granules(page) != 0) << (page.page_number() - first.page_number());
            }
            *code &= !hit | kept;
            if kept != 0 {
                machine.take_off_log(*slot, *group * 64, kept)?;
            }
        }
        self.pages.retain(|_, code| *code != 0);
        Ok(())
    }
}
