//! The blocks that there are: found by what they were translated from, linked to each other, and forgotten when a byte of
//! it is written or when their room is needed.
//!
//! Rule of this folder: a block is found by physical address, mode and view, so it serves every address space that maps
//! its page. Within a page the way from one block to the next is the same in each of them; a link to another page is good where
//! code finds that the page is mapped where the link leads.
//! Readers take no lock; what changes is under one. Code that was forgotten stays where it is until its region is used
//! again: another processor may still be running there, and leaves it at its next exit.

mod block;
mod index;
mod region;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasherDefault,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use dragoman_frontend::decode::Mode;
use dragoman_state::GuestPhys;

pub use block::{Block, Left, Targets};
use index::{Index, KeyHasher};
pub use region::View;
use region::{Division, Region};

use crate::{
    JumpCache,
    rewrite::{Site, SiteKind, Translation},
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

/// A block's number: its region and its place among the region's blocks.
pub type BlockId = u32;

/// Why a block was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room until a region is used again.
    Full,
    /// Code was forgotten since it was read, perhaps this; or the processor does not know all regions.
    Stale,
    /// No region is large enough.
    TooLarge,
}

/// All translated blocks of a machine. `P` is what whoever fills it keeps with each.
pub struct CodeCache<P> {
    memory: Arc<CodeMemory>,
    index: Index,
    /// How often blocks were forgotten because what they were translated from was written.
    overwrites: AtomicU64,
    /// How often a region was used again.
    reused: AtomicU64,
    guarded: Mutex<Guarded<P>>,
}

/// What is changed under a lock.
struct Guarded<P> {
    view: View<P>,
    /// The region that is being filled.
    current: usize,
    /// Where in the memory the next block goes, and where its region ends.
    room: Range<usize>,
    /// For each region: how its blocks hang together with others.
    links: Vec<Vec<Links>>,
    by_page: HashMap<u64, Vec<BlockId>, BuildHasherDefault<KeyHasher>>,
    gone: Gone,
    counts: Counts,
}

/// Where the ways in from indirect jumps were of blocks that were forgotten because what they were translated from was written.
#[derive(Default)]
struct Gone {
    latest: VecDeque<u64>,
    /// How many there were before those.
    earlier: u64,
}

impl Gone {
    /// More than so many are not remembered.
    const MOST: usize = 4096;

    fn add(&mut self, from_jump: u64) {
        if self.latest.len() == Self::MOST {
            self.latest.pop_front();
            self.earlier += 1;
        }
        self.latest.push_back(from_jump);
    }
}

/// How a block hangs together with others.
struct Links {
    /// For each exit: the block that it goes to.
    out: Vec<Option<BlockId>>,
    /// Which exits of which blocks come here.
    from: Vec<(BlockId, u8)>,
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
    /// Blocks forgotten because their room was needed.
    pub evicted: u64,
}

const ALIGNMENT: usize = 16;

impl<P> CodeCache<P> {
    /// An empty cache in `memory`, of which the first `reserved` bytes are somebody else's.
    pub fn new(memory: Arc<CodeMemory>, reserved: usize) -> Self {
        let division = Division::new(memory.base(), memory.size(), reserved.next_multiple_of(ALIGNMENT));
        let regions = (0..Division::REGIONS).map(|_| Region::new(division.blocks())).collect();
        let guarded = Guarded {
            view: View { division, regions, reused: 0 },
            current: 0,
            room: division.places(0),
            links: (0..Division::REGIONS).map(|_| Vec::new()).collect(),
            by_page: HashMap::default(),
            gone: Gone::default(),
            counts: Counts::default(),
        };
        let index = Index::new(Division::REGIONS * division.blocks());
        let (overwrites, reused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { memory, index, overwrites, reused, guarded: Mutex::new(guarded) }
    }

    fn lock(&self) -> MutexGuard<'_, Guarded<P>> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// The regions as they are now.
    pub fn view(&self) -> View<P> {
        self.lock().view.clone()
    }

    /// Whether `view` shows the regions as they are now. Where it does not, some of its code is gone.
    pub fn is_current(&self, view: &View<P>) -> bool {
        self.reused.load(Ordering::Acquire) == view.reused
    }

    /// Has `view` show the regions as they are now. Returns where the code of blocks was that are gone since.
    pub fn refresh(&self, view: &mut View<P>) -> Vec<Range<u64>> {
        if self.is_current(view) {
            return Vec::new();
        }
        let old = std::mem::replace(view, self.view());
        let both = old.regions.iter().zip(&view.regions).enumerate();
        both.filter(|(_, (old, new))| !Arc::ptr_eq(old, new)).map(|(n, _)| view.division.addresses(n)).collect()
    }

    /// What [`CodeCache::insert`] wants to be told: ask before the guest's code is read.
    pub fn overwrites(&self) -> u64 {
        self.overwrites.load(Ordering::Acquire)
    }

    /// The block of `key`. One that another processor is putting in may be missed.
    pub fn find<'a>(&self, view: &'a View<P>, key: &Key) -> Option<&'a Block<P>> {
        let mut found = None;
        self.index.find(key, |id| {
            found = view.block(id).filter(|block| block.key == *key && block.is_known());
            found.is_some()
        });
        found
    }

    /// Puts in the translation of `length` bytes of guest code, which were read when [`CodeCache::overwrites`] was so. Where
    /// another processor was first, that is the block.
    pub fn insert<'a>(
        &self,
        view: &'a View<P>,
        key: Key,
        length: u64,
        translation: Translation,
        payload: P,
        overwrites: u64,
    ) -> Result<&'a Block<P>, Refused> {
        let Translation {
            mut code,
            with_host_flags,
            with_saved_flags,
            with_recipe,
            from_jump,
            sites,
            site_numbers,
            exits,
            rows,
            counted,
            tail,
        } = translation;
        let mut guarded = self.lock();
        if overwrites != self.overwrites() || !self.is_current(view) {
            return Err(Refused::Stale);
        }
        if let Some(other) = self.find(view, &key) {
            return Ok(other);
        }
        let id = guarded.make_room(code.len())?;
        for at in site_numbers {
            let at = at as usize;
            let number = u32::from(code[at]) | id << Site::BITS;
            code[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let place = guarded.room.start;
        self.memory.write(place, &code);
        guarded.room.start = (place + code.len()).next_multiple_of(ALIGNMENT).min(guarded.room.end);
        guarded.counts.blocks += 1;
        guarded.counts.bytes += code.len() as u64;
        let out = vec![None; exits.len()];
        let base = self.memory.base() + place as u64;
        let block = Block {
            key,
            length,
            tail,
            place,
            size: code.len(),
            with_host_flags: base + u64::from(with_host_flags),
            with_recipe: with_recipe.map(|(offset, forbidden)| (base + u64::from(offset), forbidden)),
            with_saved_flags: base + u64::from(with_saved_flags),
            from_jump: base + u64::from(from_jump),
            base,
            sites: sites.into(),
            exits: exits.into(),
            rows: rows.into(),
            counted: counted.into(),
            jumped_to: AtomicU64::new(0),
            is_forgotten: AtomicBool::new(false),
            payload,
        };
        let current = guarded.current;
        guarded.view.regions[current].push(block);
        guarded.links[current].push(Links { out, from: Vec::new() });
        for page in std::iter::once(key.at).chain(tail) {
            guarded.by_page.entry(page.page_number()).or_default().push(id);
        }
        // Last: from here on others find it.
        self.index.insert(&key, id);
        view.block(id).ok_or(Refused::Stale)
    }

    /// Has the exit at the site numbered `number` go straight to the block of `target` from now on. Where that is in another page,
    /// it must be one that has a home in the [`JumpCache`]s of whoever runs the code; an exit that led to a third page is left as it
    /// is unless the caller `is_alone`: nobody else may be in any code.
    pub fn link(&self, view: &View<P>, number: u32, target: &Key, is_alone: bool) {
        let mut guarded = self.lock();
        let Some(left) = view.left_at(number).filter(|_| self.is_current(view)) else { return };
        if !left.can_be_linked() {
            return;
        }
        let Left { block, site } = left;
        let (SiteKind::Link { exit, .. } | SiteKind::Return { exit } | SiteKind::Far { exit, .. }) = site.kind else { return };
        let is_target = |id| view.block(id).is_some_and(|block| block.key == *target && block.is_known());
        let Some(to) = self.index.find(target, is_target) else { return };
        let entry = view.block(to).and_then(|target| target.entry(block.exits.get(usize::from(exit))?));
        let (from, Some(entry)) = (number >> Site::BITS, entry) else { return };
        // There are none of a block that was forgotten.
        match guarded.links(from).and_then(|links| links.out.get_mut(usize::from(exit))) {
            Some(out @ None) if self.requires_home(block, exit, target.at, is_alone) => *out = Some(to),
            Some(_) | None => return,
        }
        if let Some(links) = guarded.links(to) {
            links.from.push((from, exit));
            self.point(block, exit, entry);
        }
    }

    /// Has the code of an exit that is not linked, where it leads to another page, look whether the page of `at` is where it leads;
    /// whether it does. While others may be in the code, it looks for one page for good: they could be between the look and the
    /// jump.
    fn requires_home(&self, block: &Block<P>, exit: u8, at: GuestPhys, is_alone: bool) -> bool {
        let exit = block.exits[usize::from(exit)];
        if exit.home == 0 {
            return true;
        }
        let place = block.place + exit.patch as usize - usize::from(exit.home);
        let Some(home) = JumpCache::home_offset(at) else { return false };
        let mut known = [0; 4];
        self.memory.read(place, &mut known);
        let known = i32::from_le_bytes(known);
        if known != home && (known == 0 || is_alone) {
            self.memory.patch(place, home as u32);
        }
        known == home || known == 0 || is_alone
    }

    /// Lets an exit lead to `address`.
    fn point(&self, block: &Block<P>, exit: u8, address: u64) {
        let patch = block.place + block.exits[usize::from(exit)].patch as usize;
        let after = self.memory.base() + patch as u64 + 4;
        self.memory.patch(patch, address.wrapping_sub(after) as u32);
    }

    /// Forgets the blocks translated from any of `length` bytes from `at`, which are in one page, and says which. Whether
    /// there is none left of that page.
    pub fn invalidate(&self, at: GuestPhys, length: u64, mut forgotten: impl FnMut(&Block<P>)) -> bool {
        let page = at.page_number();
        let mut guarded = self.lock();
        // Whoever has read the old bytes, and has not put in yet what became of them, is not to do so.
        self.overwrites.fetch_add(1, Ordering::AcqRel);
        let Guarded { view, by_page, .. } = &*guarded;
        let Some(ids) = by_page.get(&page) else { return true };
        let overlaps = |id: &BlockId| {
            let touches = |(start, size): (GuestPhys, u64)| start.0 < at.0 + length && at.0 < start.0 + size;
            view.block(*id).is_some_and(|block| block.pieces().any(touches))
        };
        let stale: Vec<BlockId> = ids.iter().copied().filter(overlaps).collect();
        guarded.counts.invalidated += stale.len() as u64;
        for id in stale {
            if let Some(block) = guarded.view.block(id) {
                forgotten(block);
                let from_jump = block.from_jump;
                guarded.gone.add(from_jump);
            }
            self.forget(&mut guarded, id);
        }
        !guarded.by_page.contains_key(&page)
    }

    /// The addresses that indirect jumps came in at of all blocks that [`CodeCache::invalidate`] forgot, whoever called it, since
    /// this was called with the same `heard`, zero at first. `None` where they are too many to be remembered.
    ///
    /// A processor that has found one of these blocks meanwhile, and remembers it, forgets it by this however late it noted that.
    pub fn gone_since(&self, heard: &mut u64) -> Option<Vec<u64>> {
        let guarded = self.lock();
        let Gone { latest, earlier } = &guarded.gone;
        let known = heard.checked_sub(*earlier);
        *heard = earlier + latest.len() as u64;
        Some(latest.iter().skip(known? as usize).copied().collect())
    }

    fn forget(&self, guarded: &mut Guarded<P>, id: BlockId) {
        let Some(links) = guarded.links(id) else { return };
        let (out, from) = (std::mem::take(&mut links.out), std::mem::take(&mut links.from));
        for (source, exit) in from {
            if let Some(out) = guarded.links(source).and_then(|links| links.out.get_mut(usize::from(exit))) {
                *out = None;
            }
            if let Some(source) = guarded.view.block(source) {
                self.point(source, exit, source.base + u64::from(source.exits[usize::from(exit)].stub));
            }
        }
        for to in out.iter().flatten() {
            if let Some(links) = guarded.links(*to) {
                links.from.retain(|(source, _)| *source != id);
            }
        }
        let Some(block) = guarded.view.block(id) else { return };
        // Whoever is still in it must not come from there to what is forgotten later.
        for (exit, stub) in block.exits.iter().enumerate().filter(|(exit, _)| out.get(*exit).is_some_and(Option::is_some)) {
            self.point(block, exit as u8, block.base + u64::from(stub.stub));
        }
        block.is_forgotten.store(true, Ordering::Release);
        let (key, pieces) = (block.key, block.pieces());
        if self.index.remove(&key, id) {
            self.tidy(guarded);
        }
        for (at, _) in pieces {
            let page = at.page_number();
            if let Some(ids) = guarded.by_page.get_mut(&page) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    guarded.by_page.remove(&page);
                }
            }
        }
    }

    fn tidy(&self, guarded: &Guarded<P>) {
        let ids = guarded.by_page.values().flatten();
        let known = ids.filter_map(|id| guarded.view.block(*id).map(|block| (block, *id)));
        self.index.tidy(known.filter(|(block, _)| block.is_known()).map(|(block, id)| (&block.key, id)));
    }

    /// Makes room: forgets the blocks of the region that was filled longest ago, where that is still needed. `view` is the
    /// caller's, as it was when it was told that there is no room. Returns the pages of which no block is left.
    ///
    /// No processor may be in any code, or come back to any before it has looked whether its view is current.
    pub fn reuse(&self, view: &View<P>) -> Vec<GuestPhys> {
        let mut guarded = self.lock();
        if !self.is_current(view) {
            return Vec::new();
        }
        let next = (guarded.current + 1) % Division::REGIONS;
        let ids: Vec<BlockId> = (0..guarded.links[next].len()).map(|n| guarded.view.division.id(next, n)).collect();
        let mut pages = Vec::new();
        for id in ids {
            let Some(block) = guarded.view.block(id).filter(|block| block.is_known()) else { continue };
            pages.extend(block.pieces().map(|(at, _)| at.page()));
            guarded.counts.evicted += 1;
            self.forget(&mut guarded, id);
        }
        guarded.links[next].clear();
        guarded.view.regions[next] = Region::new(guarded.view.division.blocks());
        guarded.view.reused += 1;
        guarded.fill(next);
        self.reused.store(guarded.view.reused, Ordering::Release);
        pages.sort_unstable();
        pages.dedup();
        pages.retain(|page| !guarded.by_page.contains_key(&page.page_number()));
        pages
    }
}

impl<P> Guarded<P> {
    fn links(&mut self, id: BlockId) -> Option<&mut Links> {
        let (region, n) = self.view.division.place(id);
        self.links.get_mut(region)?.get_mut(n)
    }

    /// Finds room for `size` bytes. Returns the number of the block that comes there.
    fn make_room(&mut self, size: usize) -> Result<BlockId, Refused> {
        if size > self.view.division.region {
            return Err(Refused::TooLarge);
        }
        if self.room.len() < size || self.view.regions[self.current].is_full() {
            let next = (self.current + 1) % Division::REGIONS;
            if self.view.regions[next].count() > 0 {
                return Err(Refused::Full);
            }
            self.fill(next);
        }
        Ok(self.view.division.id(self.current, self.view.regions[self.current].count()))
    }

    /// Goes on in region `n`.
    fn fill(&mut self, n: usize) {
        self.current = n;
        self.room = self.view.division.places(n);
    }
}
