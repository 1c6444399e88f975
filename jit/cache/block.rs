//! One translated block.

use std::sync::atomic::{AtomicBool, Ordering};

use dragoman_state::{GuestPhys, PAGE_SIZE};

use super::Key;
use crate::rewrite::{Exit, Row, Site};

/// A translated block. Addresses are where code is executed.
pub struct Block<P> {
    /// What it is found by.
    pub key: Key,
    /// How many bytes of guest code it was translated from.
    pub length: u64,
    /// The page that its end lies in, where that is another than it begins in.
    pub tail: Option<GuestPhys>,
    /// The way in with the flags in the host's.
    pub with_host_flags: u64,
    /// The way in with the flags in memory.
    pub with_saved_flags: u64,
    /// The way in after an indirect jump.
    pub from_jump: u64,
    /// What its maker keeps with it.
    pub payload: P,
    pub(super) base: u64,
    pub(super) place: usize,
    pub(super) size: usize,
    pub(super) sites: Vec<Site>,
    pub(super) exits: Vec<Exit>,
    pub(super) rows: Vec<Row>,
    /// It was forgotten: nobody may enter it any more.
    pub(super) is_forgotten: AtomicBool,
}

impl<P> Block<P> {
    /// The stretches of physical memory that it was translated from: one, or one in each of two pages.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (GuestPhys, u64)> + use<P> {
        let first = self.length.min(PAGE_SIZE - self.key.at.page_offset() as u64);
        let rest = self.tail.map(|page| (page, self.length - first));
        std::iter::once((self.key.at, first)).chain(rest)
    }

    pub(super) fn is_known(&self) -> bool {
        !self.is_forgotten.load(Ordering::Acquire)
    }
}

/// A place where code was left.
pub struct Left<'a, P> {
    /// The block.
    pub block: &'a Block<P>,
    /// The place in it.
    pub site: Site,
}

impl<P> Left<'_, P> {
    /// Where the code goes on behind the instruction at the site, if it does.
    pub fn resume(&self) -> Option<u64> {
        self.site.resume.map(|offset| self.block.base + u64::from(offset))
    }
}
