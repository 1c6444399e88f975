//! What the processors of a machine share: the code cache, its memory and the gate.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use dragoman_jit::{
    Layout,
    cache::{Block, CodeCache, Left},
    run::{CodeMemory, Gate, HostFeatures, Unusable},
};

use super::layout::layout;
use crate::interpret::{Op, processor::Processor};

/// A translated block with the instructions it was made from.
pub(super) type Translated = Arc<Block<Box<[Op]>>>;
/// A place where translated code was left.
pub(super) type Place = Left<Box<[Op]>>;

/// Translated code and the way into it.
pub(super) struct Code {
    pub layout: Layout,
    pub gate: Gate<Processor>,
    cache: Mutex<CodeCache<Box<[Op]>>>,
    emptied: AtomicU64,
}

impl Code {
    /// Room for `size` bytes of code.
    pub fn new(size: usize) -> Result<Self, Unusable> {
        let host = HostFeatures::detect()?;
        let layout = layout();
        let memory = Arc::new(CodeMemory::new(size)?);
        let gate = Gate::new(memory.clone(), &layout, host)?;
        let cache = Mutex::new(CodeCache::new(memory, gate.size()));
        Ok(Self { layout, gate, cache, emptied: AtomicU64::new(0) })
    }

    /// The blocks, which nobody else looks for meanwhile.
    pub fn cache(&self) -> MutexGuard<'_, CodeCache<Box<[Op]>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often all code was forgotten: what a processor remembers of its addresses is of no use afterwards.
    pub fn emptied(&self) -> u64 {
        self.emptied.load(Ordering::Acquire)
    }

    /// Forgets all code. No processor is in any of it.
    pub fn empty(&self) {
        self.cache().clear();
        self.emptied.fetch_add(1, Ordering::AcqRel);
    }
}
