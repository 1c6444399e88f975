//! Pages that page tables were read from by somebody who remembers what they said and does not look again: which of them were
//! written since.
//!
//! Rule of this file: a page is watched until its first write, which is noted; whoever asks watches it again. So the guest pays
//! once for each page and not for each entry. A watched page looks to the tracker as if all of it were code; whether it really
//! holds any is kept here.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use dragoman_state::GuestPhys;

/// Page tables under watch.
#[derive(Default)]
pub(super) struct TableWatch {
    has_any: AtomicBool,
    pages: Mutex<Pages>,
}

#[derive(Default)]
pub(super) struct Pages {
    /// The watched pages, and whether they hold code as well.
    watched: HashMap<u64, bool>,
    written: Vec<GuestPhys>,
}

impl TableWatch {
    /// The pages, where any is watched; nobody else comes to them meanwhile.
    pub fn lock(&self) -> Option<MutexGuard<'_, Pages>> {
        self.has_any.load(Ordering::Acquire).then(|| self.pages())
    }

    /// The same where none may be watched yet.
    pub fn lock_for_more(&self) -> MutexGuard<'_, Pages> {
        let pages = self.pages();
        self.has_any.store(true, Ordering::Release);
        pages
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// Watches `page`, which `has_code` or not; whether it was not watched before.
    pub fn watch(&mut self, page: GuestPhys, has_code: bool) -> bool {
        let is_new = !self.watched.contains_key(&page.page_number());
        if is_new {
            self.watched.insert(page.page_number(), has_code);
        }
        is_new
    }

    /// Whether a watched page holds code; `None` of one that is not watched.
    pub fn has_code(&self, page: GuestPhys) -> Option<bool> {
        self.watched.get(&page.page_number()).copied()
    }

    /// Notes that there is code in `page`, or none any more; whether the page is watched.
    pub fn set_code(&mut self, page: GuestPhys, has_code: bool) -> bool {
        let watched = self.watched.get_mut(&page.page_number());
        watched.map(|known| *known = has_code).is_some()
    }

    /// `page` is written: it is no longer watched. Whether it holds code; `None` where it was not watched.
    pub fn write(&mut self, page: GuestPhys) -> Option<bool> {
        let has_code = self.watched.remove(&page.page_number())?;
        self.written.push(page.page());
        Some(has_code)
    }

    /// The pages that were written since the last question.
    pub fn take_written(&mut self) -> Vec<GuestPhys> {
        std::mem::take(&mut self.written)
    }

    /// Watches nothing any more; what was watched, with whether it holds code.
    pub fn clear(&mut self) -> Vec<(GuestPhys, bool)> {
        self.written.clear();
        self.watched.drain().map(|(number, has_code)| (GuestPhys(number * dragoman_state::PAGE_SIZE), has_code)).collect()
    }
}
