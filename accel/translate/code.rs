//! What the processors of a machine share: the code cache, its memory and the gate.

use std::sync::Arc;

use dragoman_frontend::decode::Insn;
use dragoman_jit::{
    Layout,
    cache::{Block, CodeCache, Left, View},
    run::{CodeMemory, Gate, HostFeatures, Unusable},
};

use super::layout::layout;
use crate::interpret::processor::Processor;

/// A translated block with the instructions it was made from.
pub(super) type Translated = Block<Box<[Insn]>>;
/// A place where translated code was left.
pub(super) type Place<'a> = Left<'a, Box<[Insn]>>;
/// What a processor knows of the code memory.
pub(super) type Regions = View<Box<[Insn]>>;

/// Translated code and the way into it.
pub(super) struct Code {
    pub layout: Layout,
    pub gate: Gate<Processor>,
    pub cache: CodeCache<Box<[Insn]>>,
}

impl Code {
    /// Room for `size` bytes of code.
    pub fn new(size: usize) -> Result<Self, Unusable> {
        let host = HostFeatures::detect()?;
        let layout = layout();
        let memory = Arc::new(CodeMemory::new(size)?);
        let gate = Gate::new(memory.clone(), &layout, host)?;
        let cache = CodeCache::new(memory, gate.size());
        Ok(Self { layout, gate, cache })
    }
}
