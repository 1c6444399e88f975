//! One translated block.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Key;
use crate::rewrite::{Exit, Row, Site, Way};

/// A translated block. Addresses are where code is executed.
pub struct Block<P> {
    /// What it is found by.
    pub key: Key,
    /// How many bytes of guest code it was translated from.
    pub length: u64,
    /// The way in with the flags in the host's.
    pub with_host_flags: u64,
    /// The way in with the flags in memory.
    pub with_saved_flags: u64,
    /// The way in with the flags in neither place, and the registers from which they must not follow then.
    pub(super) with_recipe: Option<(u64, u16)>,
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
    /// The address at which `exit` of another block comes in, if it can.
    pub(super) fn entry(&self, exit: &Exit) -> Option<u64> {
        match (exit.way, exit.recipe, self.with_recipe) {
            (Way::HostFlags, Some(recipe), Some((entry, forbidden))) if recipe.registers() & forbidden == 0 => Some(entry),
            (Way::HostFlags, ..) => Some(self.with_host_flags),
            (Way::SavedFlags, ..) => Some(self.with_saved_flags),
            (Way::Told(excluded), _, Some((entry, forbidden))) if forbidden & !excluded == 0 => Some(entry),
            (Way::Told(_), ..) => None,
            (Way::Jump, ..) => Some(self.from_jump),
        }
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
