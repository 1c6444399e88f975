//! The memory that the oracle and its child process share: a batch of cases on the way in, what became of them on the way
//! out. The two take turns, and a pipe tells each when its turn comes.

use std::sync::atomic::AtomicU32;

use crate::{
    Registers,
    case::{Access, Case, End, MEMORY_ROOM, Outcome, PageMap},
};

/// How many cases a batch holds.
pub const BATCH: usize = 256;
/// How many page maps a batch holds.
pub const MAPS: usize = 256;
/// How many pages a map holds.
pub const MAP_PAGES: usize = 24;

/// A page map.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RawMap {
    pub count: u32,
    pub pages: [(u64, Access); MAP_PAGES],
}

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum RawEnd {
    /// The child did not come to it, or did not survive it.
    None = 0,
    /// An exception; the HLT after the code raises one, too.
    Exception = 1,
    /// The timer found it running twice.
    Hang = 2,
}

/// What a case left behind.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RawOutcome {
    pub end: RawEnd,
    pub vector: u32,
    pub error: u64,
    pub address: u64,
    pub registers: Registers,
    pub memory: [u8; MEMORY_ROOM],
}

/// The shared memory. All of its fields are good in any bit pattern that either side writes.
#[repr(C)]
pub struct Shared {
    /// The first case to run.
    pub first: u32,
    /// One past the last.
    pub end: u32,
    /// The case under way.
    pub current: AtomicU32,
    /// Counts batches, so that the child notices new maps.
    pub generation: u32,
    pub maps: [RawMap; MAPS],
    pub cases: [Case; BATCH],
    pub outcomes: [RawOutcome; BATCH],
}

impl RawMap {
    /// `None` where the map has too many pages.
    pub fn of(map: &PageMap) -> Option<Self> {
        let mut raw = Self { count: map.pages().len() as u32, pages: [(0, Access::Absent); MAP_PAGES] };
        raw.pages.get_mut(..map.pages().len())?.copy_from_slice(map.pages());
        Some(raw)
    }

    pub fn pages(&self) -> &[(u64, Access)] {
        &self.pages[..(self.count as usize).min(MAP_PAGES)]
    }
}

impl RawOutcome {
    /// The outcome of `case`, told apart: the HLT that follows the code is its good end, and so is a jump to where nothing
    /// is mapped.
    pub fn read(&self, case: &Case) -> Outcome {
        const GP: u32 = 13;
        const PF: u32 = 14;
        const FETCH: u64 = 0x10;
        let code_base = case.code_at.wrapping_sub(case.registers.rip);
        let at = self.registers.rip.wrapping_add(code_base);
        let inside = case.code_at..case.code_at + u64::from(case.code_length);
        let is_halt = self.vector == GP && self.error == 0 && !inside.contains(&at);
        // A far transfer has changed the base.
        let is_far = self.registers.selectors[1] != case.registers.selectors[1];
        let is_lost = self.vector == PF && self.error & FETCH != 0 && (is_far || self.address == at && !inside.contains(&at));
        let end = match self.end {
            RawEnd::None => End::Crash,
            RawEnd::Hang => End::Hang,
            RawEnd::Exception if is_halt || is_lost => End::Done,
            RawEnd::Exception => End::Fault {
                vector: self.vector as u8,
                error: self.error as u32,
                address: if self.vector == PF { self.address } else { 0 },
            },
        };
        Outcome { end, registers: self.registers, memory: self.memory }
    }
}
