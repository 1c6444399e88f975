//! The blocks that there are: found by what they were translated from, linked to each other, and forgotten when a byte of
//! it is written.
//!
//! Rule of this folder: a block is found by physical address, mode and view, so it serves every address space that maps
//! its page. Links are made within a page only: there the way from one block to the next is the same in each of them.
//! Code that was forgotten stays where it is until all of it goes: another processor may still be running there, and
//! leaves it at its next exit.

mod block;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    sync::Arc,
};

use dragoman_frontend::decode::Mode;
use dragoman_state::{GuestPhys, PAGE_SIZE};

use block::KeyHasher;
pub use block::{Block, Left};

use crate::{
    rewrite::{Site, SiteKind, Translation, Way},
    run::CodeMemory,
};

/// What a block is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The physical address of its first byte.
    pub at: GuestPhys,
    /// The mode it was decoded in.
    pub mode: Mode,
    /// Which tables it accesses memory through.
    pub view: u8,
    /// Whether one probe may find what several of its instructions access.
    pub is_grouped: bool,
}

/// A block's place in the cache.
pub type BlockId = u32;

/// There is no room for another block until all are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// All translated blocks of a machine. `P` is what whoever fills it keeps with each.
pub struct CodeCache<P> {
    memory: Arc<CodeMemory>,
    /// Where the first block can begin: before it lies the gate.
    start: usize,
    next: usize,
    slots: Vec<Slot<P>>,
    by_key: HashMap<Key, BlockId, BuildHasherDefault<KeyHasher>>,
    by_page: HashMap<u64, Vec<BlockId>, BuildHasherDefault<KeyHasher>>,
    by_place: BTreeMap<usize, Arc<Block<P>>>,
    counts: Counts,
}

/// A block, and how it hangs together with others.
struct Slot<P> {
    block: Arc<Block<P>>,
    /// It was not forgotten.
    is_known: bool,
    /// For each exit: the block that it goes to.
    out: Vec<Option<BlockId>>,
    /// Which exits of which blocks come here.
    from: Vec<(BlockId, u8)>,
}

impl<P> Slot<P> {
    fn known(&self) -> Option<&Arc<Block<P>>> {
        self.is_known.then_some(&self.block)
    }
}

/// What the cache has done since the machine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks put in.
    pub blocks: u64,
    /// Their code, in bytes.
    pub bytes: u64,
    /// Blocks forgotten because what they were translated from was written.
    pub invalidated: u64,
    /// How often everything was forgotten for want of room.
    pub emptied: u64,
}

const ALIGNMENT: usize = 16;

impl<P> CodeCache<P> {
    /// An empty cache in `memory`, of which the first `reserved` bytes are somebody else's.
    pub fn new(memory: Arc<CodeMemory>, reserved: usize) -> Self {
        let start = reserved.next_multiple_of(ALIGNMENT);
        Self {
            memory,
            start,
            next: start,
            slots: Vec::new(),
            by_key: HashMap::default(),
            by_page: HashMap::default(),
            by_place: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The block of `key`.
    pub fn find(&self, key: &Key) -> Option<&Arc<Block<P>>> {
        self.by_key.get(key).and_then(|id| self.slots[*id as usize].known())
    }

    /// Puts in the translation of `length` bytes of guest code.
    pub fn insert(&mut self, key: Key, length: u64, translation: Translation, payload: P) -> Result<Arc<Block<P>>, Full> {
        let Translation { mut code, with_host_flags, with_saved_flags, from_jump, sites, site_numbers, exits, rows } =
            translation;
        let id = self.slots.len() as BlockId;
        if self.memory.size() - self.next < code.len() || id >= 1 << (u32::BITS - Site::BITS - 1) {
            return Err(Full);
        }
        if let Some(old) = self.by_key.get(&key).copied() {
            self.forget(old);
        }
        for at in site_numbers {
            let at = at as usize;
            let number = u32::from(code[at]) | id << Site::BITS;
            code[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let place = self.next;
        self.memory.write(place, &code);
        self.next = (place + code.len()).next_multiple_of(ALIGNMENT).min(self.memory.size());
        self.counts.blocks += 1;
        self.counts.bytes += code.len() as u64;
        let out = vec![None; exits.len()];
        let base = self.memory.base() + place as u64;
        let block = Arc::new(Block {
            key,
            length,
            place,
            size: code.len(),
            with_host_flags: base + u64::from(with_host_flags),
            with_saved_flags: base + u64::from(with_saved_flags),
            from_jump: base + u64::from(from_jump),
            base,
            sites,
            exits,
            rows,
            payload,
        });
        self.by_key.insert(key, id);
        self.by_page.entry(key.at.page_number()).or_default().push(id);
        self.by_place.insert(place, block.clone());
        self.slots.push(Slot { block: block.clone(), is_known: true, out, from: Vec::new() });
        Ok(block)
    }

    /// What is to be known where code was left at the site numbered `number`, also of a block that was forgotten since.
    pub fn left_at(&self, number: u32) -> Option<Left<P>> {
        let (id, site) = (number >> Site::BITS, number & ((1 << Site::BITS) - 1));
        let block = &self.slots.get(id as usize)?.block;
        let site = *block.sites.get(site as usize)?;
        Some(Left { block: block.clone(), site })
    }

    /// The same where the host refused the instruction at `address`.
    pub fn faulted_at(&self, address: u64) -> Option<Left<P>> {
        let place = address.checked_sub(self.memory.base())? as usize;
        let (_, block) = self.by_place.range(..=place).next_back()?;
        let within = place.checked_sub(block.place).filter(|within| *within < block.size)? as u32;
        let row = block.rows.iter().rev().find(|row| row.start <= within)?;
        let site = Site { kind: SiteKind::Interpret, insn: row.insn, flags: row.flags, touches_x87: true, resume: None };
        Some(Left { block: block.clone(), site })
    }

    /// Has the exit at the site numbered `number` go straight to the block of `target` from now on.
    pub fn link(&mut self, number: u32, target: &Key) {
        let Some(Left { block, site }) = self.left_at(number) else { return };
        let (SiteKind::Link { exit, .. } | SiteKind::Return { exit }, Some(to)) = (site.kind, self.by_key.get(target).copied()) else { return };
        let from = number >> Site::BITS;
        let slot = &mut self.slots[from as usize];
        if !slot.is_known || slot.out[usize::from(exit)].is_some() {
            return;
        }
        slot.out[usize::from(exit)] = Some(to);
        let target = &mut self.slots[to as usize];
        target.from.push((from, exit));
        let entry = match block.exits[usize::from(exit)].way {
            Way::HostFlags => target.block.with_host_flags,
            Way::SavedFlags => target.block.with_saved_flags,
            Way::Jump => target.block.from_jump,
        };
        self.point(&block, exit, entry);
    }

    /// Lets an exit lead to `address`.
    fn point(&self, block: &Block<P>, exit: u8, address: u64) {
        let patch = block.place + block.exits[usize::from(exit)].patch as usize;
        let after = self.memory.base() + patch as u64 + 4;
        self.memory.patch(patch, address.wrapping_sub(after) as u32);
    }

    /// Forgets the blocks translated from any of `length` bytes from `at`, which are in one page, and says which. Whether
    /// there is none left of that page.
    pub fn invalidate(&mut self, at: GuestPhys, length: u64, mut forgotten: impl FnMut(&Block<P>)) -> bool {
        let page = at.page_number();
        let Some(ids) = self.by_page.get(&page) else { return true };
        let overlaps = |id: &BlockId| {
            let block = &self.slots[*id as usize].block;
            block.key.at.0 < at.0 + length && at.0 < block.key.at.0 + block.length
        };
        let stale: Vec<BlockId> = ids.iter().copied().filter(overlaps).collect();
        self.counts.invalidated += stale.len() as u64;
        for id in stale {
            forgotten(&self.slots[id as usize].block);
            self.forget(id);
        }
        !self.by_page.contains_key(&page)
    }

    fn forget(&mut self, id: BlockId) {
        let slot = &mut self.slots[id as usize];
        slot.is_known = false;
        let (block, out, from) = (slot.block.clone(), std::mem::take(&mut slot.out), std::mem::take(&mut slot.from));
        for (source, exit) in from {
            let slot = &mut self.slots[source as usize];
            if slot.is_known {
                slot.out[usize::from(exit)] = None;
                let source = slot.block.clone();
                self.point(&source, exit, source.base + u64::from(source.exits[usize::from(exit)].stub));
            }
        }
        for to in out.into_iter().flatten() {
            self.slots[to as usize].from.retain(|(source, _)| *source != id);
        }
        self.by_key.remove(&block.key);
        if let Some(ids) = self.by_page.get_mut(&block.key.at.page_number()) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_page.remove(&block.key.at.page_number());
            }
        }
    }

    /// Forgets everything. No processor may be in any of the code, or come back to it.
    pub fn clear(&mut self) {
        let counts = Counts { emptied: self.counts.emptied + 1, ..self.counts };
        let (memory, start) = (self.memory.clone(), self.start);
        *self = Self::new(memory, start);
        self.counts = counts;
    }

    /// The pages that code was translated from.
    pub fn pages(&self) -> impl Iterator<Item = GuestPhys> {
        self.by_page.keys().map(|page| GuestPhys(page * PAGE_SIZE))
    }
}
