//! From a key to a block's number, for readers that take no lock.
//!
//! Rule of this file: one writer at a time, and any number of readers beside it. A reader may miss what is there while the
//! writer tidies up; it never finds what was not put in. Whoever is to know for certain asks with the writer's lock held.

use std::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use zerocopy::FromZeros;

use super::{BlockId, Key};

/// An open hash table. A slot holds a block's number plus one, and above it a part of the hash that its place does not say.
pub(super) struct Index {
    slots: Box<[AtomicU64]>,
    /// How many slots hold [`GONE`].
    gone: AtomicU64,
}

const EMPTY: u64 = 0;
/// What held a block once: whoever looks for another goes on behind it.
const GONE: u64 = u32::MAX as u64;

/// Hashes keys: a multiplication for each word. A guest that chooses addresses which collide slows down itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

fn hash(key: &Key) -> u64 {
    let mut hasher = KeyHasher::default();
    key.hash(&mut hasher);
    hasher.finish()
}

const fn entry(hash: u64, id: BlockId) -> u64 {
    hash & !(u32::MAX as u64) | (id as u64 + 1)
}

impl Index {
    /// An index with room for at most `blocks` blocks.
    pub fn new(blocks: usize) -> Self {
        let slots = (2 * blocks).next_power_of_two();
        Self { slots: <[AtomicU64]>::new_box_zeroed_with_elems(slots).unwrap_or_default(), gone: AtomicU64::new(0) }
    }

    /// The slots in which a block with this hash may be, up to the first empty one.
    fn slots(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        let mask = self.slots.len().wrapping_sub(1);
        (0..self.slots.len()).map(move |n| &self.slots[(hash as usize).wrapping_add(n) & mask])
    }

    /// The first block of `key`'s hash of which `is_it` is true.
    pub fn find(&self, key: &Key, mut is_it: impl FnMut(BlockId) -> bool) -> Option<BlockId> {
        let hash = hash(key);
        for slot in self.slots(hash) {
            let found = slot.load(Ordering::Acquire);
            if found == EMPTY {
                return None;
            }
            let id = (found as u32).wrapping_sub(1);
            if found != GONE && found == entry(hash, id) && is_it(id) {
                return Some(id);
            }
        }
        None
    }

    /// Puts in block `id` of `key`, of which there is none. Everything that a reader looks at of it is in its place.
    pub fn insert(&self, key: &Key, id: BlockId) {
        let hash = hash(key);
        for slot in self.slots(hash) {
            let old = slot.load(Ordering::Relaxed);
            if old == EMPTY || old == GONE {
                self.gone.fetch_sub(u64::from(old == GONE), Ordering::Relaxed);
                return slot.store(entry(hash, id), Ordering::Release);
            }
        }
    }

    /// Takes out block `id` of `key`. Whether so many were taken out that [`Index::tidy`] pays.
    pub fn remove(&self, key: &Key, id: BlockId) -> bool {
        let hash = hash(key);
        if let Some(slot) = self
            .slots(hash)
            .take_while(|slot| slot.load(Ordering::Relaxed) != EMPTY)
            .find(|slot| slot.load(Ordering::Relaxed) == entry(hash, id))
        {
            slot.store(GONE, Ordering::Release);
            self.gone.fetch_add(1, Ordering::Relaxed);
        }
        self.gone.load(Ordering::Relaxed) > self.slots.len() as u64 / 4
    }

    /// Empties the table, and puts `blocks` in again.
    pub fn tidy<'a>(&self, blocks: impl Iterator<Item = (&'a Key, BlockId)>) {
        self.slots.iter().for_each(|slot| slot.store(EMPTY, Ordering::Release));
        self.gone.store(0, Ordering::Relaxed);
        blocks.for_each(|(key, id)| self.insert(key, id));
    }
}

#[cfg(test)]
mod tests {
    use dragoman_frontend::decode::Mode;
    use dragoman_state::GuestPhys;

    use super::*;

    fn key(at: u64) -> Key {
        Key { at: GuestPhys(at), mode: Mode::default(), view: 0, is_grouped: true }
    }

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out_however_often() {
        let index = Index::new(64);
        for round in 0..1000 {
            for n in 0..64 {
                index.insert(&key(n * 16), n as BlockId);
            }
            for n in 0..64 {
                assert_eq!(index.find(&key(n * 16), |id| id == n as BlockId), Some(n as BlockId), "{round}");
            }
            let mut is_untidy = false;
            for n in 0..63 {
                is_untidy = index.remove(&key(n * 16), n as BlockId);
                assert_eq!(index.find(&key(n * 16), |_| true), None);
            }
            if is_untidy {
                index.tidy(std::iter::once((&key(63 * 16), 63)));
            }
            assert_eq!(index.find(&key(63 * 16), |_| true), Some(63));
            index.remove(&key(63 * 16), 63);
        }
    }
}
