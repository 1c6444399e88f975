//! The code memory's regions, each with the blocks that lie in it.
//!
//! Rule of this file: blocks are added to a region, by one writer at a time, and never taken out; readers take no lock. When a
//! region's memory is used again, another [`Region`] takes its place: who still holds the old one may read of its blocks, but
//! not run them.

use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Block, BlockId, Left};
use crate::rewrite::{Row, Site, SiteKind};

const CHUNK: usize = 256;
type Chunk<P> = Box<[OnceLock<Box<Block<P>>>]>;

/// A stretch of code memory and the blocks in it.
pub(super) struct Region<P> {
    /// By their number, which rises with their place.
    chunks: Box<[OnceLock<Chunk<P>>]>,
    /// How many there are.
    count: AtomicUsize,
    most: usize,
}

impl<P> Region<P> {
    /// A region without blocks, with room for `most`.
    pub fn new(most: usize) -> Arc<Self> {
        let chunks = (0..most.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Arc::new(Self { chunks, count: AtomicUsize::new(0), most })
    }

    /// How many blocks there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether there is room for no more.
    pub fn is_full(&self) -> bool {
        self.count() == self.most
    }

    /// Block number `n`.
    pub fn get(&self, n: usize) -> Option<&Block<P>> {
        self.chunks.get(n / CHUNK)?.get()?.get(n % CHUNK)?.get().map(|block| &**block)
    }

    /// Adds a block behind all others, which is not full; only one caller at a time. Returns its number.
    pub fn push(&self, block: Block<P>) -> usize {
        let n = self.count();
        let chunk = self.chunks[n / CHUNK].get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        // Nobody was there before: numbers are given once.
        let _ = chunk[n % CHUNK].set(Box::new(block));
        self.count.store(n + 1, Ordering::Release);
        n
    }

    /// The block at `place` of the code memory.
    fn at(&self, place: usize) -> Option<&Block<P>> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle)?.place <= place { low = middle + 1 } else { high = middle }
        }
        self.get(low.checked_sub(1)?).filter(|block| place - block.place < block.size)
    }
}

/// How the code memory is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    /// Where the memory is executed.
    pub base: u64,
    /// How many bytes a region has.
    pub region: usize,
    /// Where the first region begins.
    start: usize,
    /// How many bits of a block's number tell a region's blocks apart.
    bits: u32,
}

impl Division {
    pub const REGIONS: usize = 16;
    /// A region has room for one block in so many bytes. A block takes 400 on average in a booting guest.
    const SMALLEST: usize = 256;

    /// Of `size` bytes of memory, of which the first `start` are somebody else's.
    pub fn new(base: u64, size: usize, start: usize) -> Self {
        let region = size.saturating_sub(start) / Self::REGIONS / super::ALIGNMENT * super::ALIGNMENT;
        Self { base, region, start, bits: (region / Self::SMALLEST).next_power_of_two().ilog2() }
    }

    /// Where in the memory region `n` lies.
    pub fn places(&self, n: usize) -> Range<usize> {
        let start = self.start + n * self.region;
        start..start + self.region
    }

    /// The region that `place` is in, where it is in one.
    fn region_at(&self, place: usize) -> Option<usize> {
        place.checked_sub(self.start)?.checked_div(self.region)
    }

    /// Where it is executed.
    pub fn addresses(&self, n: usize) -> Range<u64> {
        let places = self.places(n);
        self.base + places.start as u64..self.base + places.end as u64
    }

    /// How many blocks a region has room for.
    pub fn blocks(&self) -> usize {
        1 << self.bits
    }

    /// The number of block `n` of region `region`.
    pub fn id(&self, region: usize, n: usize) -> BlockId {
        (region << self.bits | n) as BlockId
    }

    /// The region that block `id` is in, and its number there.
    pub fn place(&self, id: BlockId) -> (usize, usize) {
        let id = id as usize;
        (id >> self.bits, id & (self.blocks() - 1))
    }
}

/// The regions as a processor knows them. They are these until some of them are used again, which happens while no processor
/// is in any code.
pub struct View<P> {
    pub(super) division: Division,
    pub(super) regions: Box<[Arc<Region<P>>]>,
    pub(super) reused: u64,
}

impl<P> Clone for View<P> {
    fn clone(&self) -> Self {
        Self { division: self.division, regions: self.regions.clone(), reused: self.reused }
    }
}

impl<P> View<P> {
    pub(super) fn block(&self, id: BlockId) -> Option<&Block<P>> {
        let (region, n) = self.division.place(id);
        self.regions.get(region)?.get(n)
    }

    /// What is to be known where code was left at the site numbered `number`, also of a block that was forgotten since.
    pub fn left_at(&self, number: u32) -> Option<Left<'_, P>> {
        let (id, site) = (number >> Site::BITS, number & ((1 << Site::BITS) - 1));
        let block = self.block(id)?;
        let site = *block.sites.get(site as usize)?;
        Some(Left { block, site })
    }

    /// The same where the host refused the instruction at `address`.
    pub fn faulted_at(&self, address: u64) -> Option<Left<'_, P>> {
        let place = address.checked_sub(self.division.base)? as usize;
        let block = self.regions.get(self.division.region_at(place)?)?.at(place)?;
        let within = (place - block.place) as u32;
        // No other instruction can be refused: what is not the guest's accesses memory that there is, or none.
        let row = block.rows.get(block.rows.binary_search_by_key(&within, Row::start).ok()?)?;
        let (insn, flags, pointer) = (row.insn, row.flags, row.pointer());
        let site = Site { kind: SiteKind::Interpret, insn, flags, touches_x87: true, pointer, resume: None };
        Some(Left { block, site })
    }
}
