//! The decoded-block cache: what was decoded from guest memory, with each instruction's handler beside it.
//!
//! Rule of this file: a block is found by physical address and mode, so it serves every address space that maps its page,
//! and it is dropped when a byte of it is written, by whomever. The tracker is told of every page that blocks come from.

use std::collections::HashMap;

use dragoman_devices::memory::PageTracker;
use dragoman_frontend::{
    decode::{Block, Insn, Mode},
    semantics::{Handler, Table},
};
use dragoman_state::{GuestPhys, PAGE_SIZE};

use super::processor::Processor;

/// An instruction and what it means.
pub(crate) struct Op {
    pub handler: Handler<Processor>,
    pub insn: Insn,
}

/// A decoded block, ready to run.
pub(crate) struct Decoded {
    pub ops: Box<[Op]>,
    at: GuestPhys,
    mode: Mode,
    length: u64,
    /// The page that the end of the last instruction lies in, where that is not the first one.
    tail: Option<GuestPhys>,
}

/// A block's place in the cache. Good until the next insertion or invalidation.
pub(crate) type BlockId = u32;

#[derive(Clone, Copy)]
struct Recent {
    at: GuestPhys,
    mode: Mode,
    id: BlockId,
}

const RECENT: usize = 8192;
const NO_BLOCK: BlockId = BlockId::MAX;
/// The cache is emptied when it holds this many blocks, unless its owner says otherwise.
const CAPACITY: usize = 1 << 17;

/// All decoded blocks of one processor.
pub(crate) struct BlockCache {
    slots: Vec<Option<Decoded>>,
    free: Vec<BlockId>,
    by_key: HashMap<(GuestPhys, Mode), BlockId>,
    by_page: HashMap<u64, Vec<BlockId>>,
    /// A direct-mapped cache in front of `by_key`.
    recent: Box<[Recent]>,
    capacity: usize,
}

impl BlockCache {
    pub fn new() -> Self {
        let nothing = Recent { at: GuestPhys(u64::MAX), mode: Mode::default(), id: NO_BLOCK };
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_page: HashMap::new(),
            recent: vec![nothing; RECENT].into(),
            capacity: CAPACITY,
        }
    }

    /// The same, emptied when it holds `capacity` blocks.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity, ..Self::new() }
    }

    #[inline(always)]
    fn recent_slot(at: GuestPhys) -> usize {
        (at.0 ^ at.0 >> 13) as usize % RECENT
    }

    /// The block at `at` in `mode`, where it is at hand.
    #[inline(always)]
    pub fn find_recent(&self, at: GuestPhys, mode: Mode) -> Option<&Decoded> {
        let recent = &self.recent[Self::recent_slot(at)];
        if recent.at != at || recent.mode != mode {
            return None;
        }
        self.slots.get(recent.id as usize)?.as_ref()
    }

    /// The block at `at` in `mode`, which is at hand afterwards; and the second page that it is in.
    pub fn find(&mut self, at: GuestPhys, mode: Mode) -> Option<(BlockId, Option<GuestPhys>)> {
        let id = *self.by_key.get(&(at, mode))?;
        let tail = self.slots[id as usize].as_ref()?.tail;
        if tail.is_none() {
            self.recent[Self::recent_slot(at)] = Recent { at, mode, id };
        }
        Some((id, tail))
    }

    /// The block with this identity.
    pub fn get(&self, id: BlockId) -> Option<&Decoded> {
        self.slots.get(id as usize)?.as_ref()
    }

    /// Puts a block in; a block with the same key goes. `tail` is the page that its end lies in, where that is another. The
    /// pages are watched.
    pub fn insert(&mut self, block: Block, tail: Option<GuestPhys>, table: &Table<Processor>, tracker: &PageTracker) -> BlockId {
        if self.by_key.len() >= self.capacity {
            self.clear();
        }
        if let Some(old) = self.by_key.get(&(block.at, block.mode)) {
            self.remove(*old);
        }
        let length = u64::from(block.length);
        let ops = block.insns.into_iter().map(|insn| Op { handler: table.handler(insn.opcode), insn }).collect();
        let decoded = Decoded { ops, at: block.at, mode: block.mode, length, tail };
        for (at, length) in decoded.pieces() {
            tracker.mark_code(at, length);
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as BlockId
        });
        for (at, _) in decoded.pieces() {
            self.by_page.entry(at.page_number()).or_default().push(id);
        }
        self.by_key.insert((decoded.at, decoded.mode), id);
        if tail.is_none() {
            self.recent[Self::recent_slot(decoded.at)] = Recent { at: decoded.at, mode: decoded.mode, id };
        }
        self.slots[id as usize] = Some(decoded);
        id
    }

    /// Drops the blocks decoded from any of `length` bytes from `at`, which are in one page. Whether there is none left of
    /// that page.
    pub fn invalidate(&mut self, at: GuestPhys, length: u64) -> bool {
        let Some(ids) = self.by_page.get(&at.page_number()) else { return true };
        let stale: Vec<BlockId> = ids.iter().copied().filter(|id| self.overlaps(*id, at, length)).collect();
        for id in stale {
            self.remove(id);
        }
        !self.has_any_of(at)
    }

    /// Drops the block at `at` in `mode`: another engine runs it from now on.
    pub fn hand_over(&mut self, at: GuestPhys, mode: Mode) {
        if let Some(id) = self.by_key.get(&(at, mode)).copied() {
            self.remove(id);
        }
    }

    /// Whether there is a block of the page of `at`.
    pub fn has_any_of(&self, at: GuestPhys) -> bool {
        self.by_page.contains_key(&at.page_number())
    }

    fn overlaps(&self, id: BlockId, at: GuestPhys, length: u64) -> bool {
        let Some(block) = self.get(id) else { return false };
        block.pieces().any(|(start, size)| start.0 < at.0 + length && at.0 < start.0 + size)
    }

    fn remove(&mut self, id: BlockId) {
        let Some(block) = self.slots[id as usize].take() else { return };
        self.by_key.remove(&(block.at, block.mode));
        for (at, _) in block.pieces() {
            if let Some(ids) = self.by_page.get_mut(&at.page_number()) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_page.remove(&at.page_number());
                }
            }
        }
        let recent = &mut self.recent[Self::recent_slot(block.at)];
        if recent.id == id {
            recent.at = GuestPhys(u64::MAX);
        }
        self.free.push(id);
    }

    /// Drops the blocks one by one, which costs little where there are few, and returns the pages that they were of.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub fn drain(&mut self) -> Vec<GuestPhys> {
        let pages = self.by_page.keys().map(|number| GuestPhys(number * PAGE_SIZE)).collect();
        let ids: Vec<BlockId> = self.by_key.values().copied().collect();
        ids.into_iter().for_each(|id| self.remove(id));
        pages
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::with_capacity(self.capacity);
    }
}

impl Decoded {
    /// How many of the instructions end within `room` bytes.
    #[inline(always)]
    pub fn instructions_within(&self, room: u64) -> usize {
        if self.length <= room {
            return self.ops.len();
        }
        self.ops.iter().take_while(|op| op.insn.end() <= room).count()
    }

    /// The stretches of physical memory that the block was decoded from: one, or one in each of two pages.
    fn pieces(&self) -> impl Iterator<Item = (GuestPhys, u64)> + use<> {
        let first = self.length.min(PAGE_SIZE - self.at.page_offset() as u64);
        let rest = self.tail.map(|page| (page, self.length - first));
        std::iter::once((self.at, first)).chain(rest)
    }
}
