//! One translated block.

use std::{hash::Hasher, sync::Arc};

use super::Key;
use crate::rewrite::{Exit, Row, Site};

/// Hashes keys: a multiplication for each word. A guest that chooses addresses which collide slows down itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
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
}

/// A place where code was left.
pub struct Left<P> {
    /// The block.
    pub block: Arc<Block<P>>,
    /// The place in it.
    pub site: Site,
}

impl<P> Left<P> {
    /// Where the code goes on behind the instruction at the site, if it does.
    pub fn resume(&self) -> Option<u64> {
        self.site.resume.map(|offset| self.block.base + u64::from(offset))
    }
}
