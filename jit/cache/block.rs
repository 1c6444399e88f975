//! One translated block.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dragoman_state::{GuestPhys, PAGE_SIZE};

use super::Key;
use crate::rewrite::{Exit, Row, Site, SiteKind, Way};

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
    /// The way in with the flags in neither place, and the registers from which they must not follow then.
    pub(super) with_recipe: Option<(u64, u16)>,
    /// The way in after an indirect jump.
    pub from_jump: u64,
    /// What its maker keeps with it.
    pub payload: P,
    pub(super) base: u64,
    pub(super) place: usize,
    pub(super) size: usize,
    pub(super) sites: Box<[Site]>,
    pub(super) exits: Box<[Exit]>,
    pub(super) rows: Box<[Row]>,
    /// Where the stretches of instructions end that its code counts at their start; none where it does not count.
    pub(super) counted: Box<[u8]>,
    /// The RIP at which it is remembered as the target of indirect jumps.
    pub(super) jumped_to: AtomicU64,
    /// It was forgotten: nobody may enter it any more.
    pub(super) is_forgotten: AtomicBool,
}

// Of these there are hundreds of thousands.
const _: () = assert!(size_of::<Site>() <= 24 && size_of::<Row>() <= 12 && size_of::<Exit>() <= 16);

/// Under which RIPs processors remember a block as the target of indirect jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// None.
    None,
    /// This one.
    One(u64),
    /// Several.
    Several,
}

const NONE: u64 = 0;
const SEVERAL: u64 = u64::MAX;

impl<P> Block<P> {
    /// The address at which `exit` of another block comes in, if it can.
    pub(super) fn entry(&self, exit: &Exit) -> Option<u64> {
        match (exit.way, exit.told, self.with_recipe) {
            (Way::HostFlags, 1.., Some((entry, forbidden))) if exit.told & forbidden == 0 => Some(entry),
            (Way::HostFlags, ..) => Some(self.with_host_flags),
            (Way::SavedFlags, ..) => Some(self.with_saved_flags),
            (Way::Told(excluded), _, Some((entry, forbidden))) if forbidden & !excluded == 0 => Some(entry),
            (Way::Told(_), ..) => None,
            (Way::Jump, ..) => Some(self.from_jump),
        }
    }

    /// The stretches of physical memory that it was translated from: one, or one in each of two pages.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (GuestPhys, u64)> + use<P> {
        let first = self.length.min(PAGE_SIZE - self.key.at.page_offset() as u64);
        let rest = self.tail.map(|page| (page, self.length - first));
        std::iter::once((self.key.at, first)).chain(rest)
    }

    pub(super) fn is_known(&self) -> bool {
        !self.is_forgotten.load(Ordering::Acquire)
    }

    /// Notes that a processor remembers it under `rip`.
    pub fn jumped_to(&self, rip: u64) {
        let first = self.jumped_to.compare_exchange(NONE, rip, Ordering::AcqRel, Ordering::Acquire);
        if rip == NONE || first.is_err_and(|noted| noted != rip) {
            self.jumped_to.store(SEVERAL, Ordering::Release);
        }
    }

    /// Under which RIPs it is remembered. Others may be noting one now: they will hear that it is gone.
    pub fn targets(&self) -> Targets {
        match self.jumped_to.load(Ordering::Acquire) {
            NONE => Targets::None,
            SEVERAL => Targets::Several,
            rip => Targets::One(rip),
        }
    }

    /// How many instructions have been counted that come at instruction `n` or behind it, when the code is there.
    fn counted_from(&self, n: u8) -> u64 {
        self.counted.iter().find(|end| **end > n).map_or(0, |end| u64::from(end - n))
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
    /// Whether code counts its instructions.
    pub fn counts(&self) -> bool {
        !self.block.counted.is_empty()
    }

    /// Whether nothing is to be done on the way on. Where an instruction that was counted is executed again, there is.
    pub(super) fn can_be_linked(&self) -> bool {
        !self.counts() || !matches!(self.site.kind, SiteKind::Link { is_grouped: false, .. })
    }

    /// How many instructions code had counted when it was left that it has not executed.
    pub fn counted_ahead(&self) -> u64 {
        let from = self.block.counted_from(self.site.insn);
        match self.site.kind {
            SiteKind::Interpret
            | SiteKind::Repeat
            | SiteKind::LoadX87
            | SiteKind::Tail { .. }
            | SiteKind::Link { is_grouped: false, .. } => from,
            SiteKind::Link { .. }
            | SiteKind::Return { .. }
            | SiteKind::Attend { .. }
            | SiteKind::Far { .. }
            | SiteKind::Jump { .. }
            | SiteKind::RunOn => from.saturating_sub(1),
        }
    }

    /// How many it executes, or has counted ahead, where it goes on behind the instruction at the site; where the site is for
    /// the x87 unit, that instruction is one of them.
    pub fn counted_behind(&self) -> u64 {
        let from = self.block.counted_from(self.site.insn);
        if self.site.kind == SiteKind::LoadX87 { from } else { from.saturating_sub(1) }
    }

    /// Where the code goes on behind the instruction at the site, if it does.
    pub fn resume(&self) -> Option<u64> {
        self.site.resume.map(|offset| self.block.base + u64::from(offset.get()))
    }
}
