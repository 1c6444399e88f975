//! Finding translated blocks, and making those that there are not.

use dragoman_frontend::{
    decode::{Block, DecodeError, MAX_INSN_BYTES},
    fault::Fault,
};
use dragoman_jit::{
    cache::{Key, Refused},
    rewrite::{Original, Source},
};
use dragoman_state::{GuestPhys, PAGE_SIZE};

use super::{code::Translated, run::Run};
use crate::interpret::InterpretedVcpu;

/// How much code is looked at for a block.
const WINDOW: usize = 512;

/// Where instructions were found that lie in two pages, which only the interpreter runs. One that is forgotten, or gone, costs
/// no more than time.
pub(super) struct Splits([GuestPhys; Self::SLOTS]);

impl Default for Splits {
    fn default() -> Self {
        Self([GuestPhys(u64::MAX); Self::SLOTS])
    }
}

impl Splits {
    const SLOTS: usize = 256;

    fn slot(at: GuestPhys) -> usize {
        at.page_number() as usize % Self::SLOTS
    }

    fn has(&self, at: GuestPhys) -> bool {
        self.0[Self::slot(at)] == at
    }

    fn add(&mut self, at: GuestPhys) {
        self.0[Self::slot(at)] = at;
    }
}

impl<'a> Run<'a> {
    /// The translated block at RIP `at`; `None` where the interpreter is to run what is there.
    pub(super) fn find(
        &mut self,
        vcpu: &mut InterpretedVcpu,
        at: u64,
        is_grouped: bool,
    ) -> Result<Option<&'a Translated>, Fault> {
        let key = Key { is_grouped, ..self.key(vcpu, at)? };
        if let Some(block) = self.known(&key) {
            return Ok(Some(block));
        }
        let is_wanted = !self.splits.has(key.at) && (!is_grouped || self.heat.is_hot(&key));
        if !is_wanted {
            return Ok(None);
        }
        if PAGE_SIZE as usize - key.at.page_offset() < MAX_INSN_BYTES {
            if let Some(block) = self.translate_split(vcpu, at, key) {
                return Ok(Some(block));
            }
        }
        Ok(self.translate(vcpu, key))
    }

    pub(super) fn known(&self, key: &Key) -> Option<&'a Translated> {
        self.code.cache.find(self.regions, key)
    }

    /// What the block at RIP `at` is found by, or the fault of fetching it.
    pub(super) fn key(&self, vcpu: &mut InterpretedVcpu, at: u64) -> Result<Key, Fault> {
        let code = match vcpu.cpu.mmu.fetch_fast(vcpu.cpu.view, at) {
            Some(code) => code,
            None => vcpu.fetch(at)?,
        };
        Ok(Key { at: code, mode: vcpu.cpu.mode, view: vcpu.cpu.view as u8, is_grouped: true })
    }

    /// Translates the block of `key`, where it lies in one page.
    pub(super) fn translate(&mut self, vcpu: &mut InterpretedVcpu, key: Key) -> Option<&'a Translated> {
        let mut window = [0; WINDOW];
        let room = PAGE_SIZE as usize - key.at.page_offset();
        let bytes = &mut window[..room.min(WINDOW)];
        vcpu.cpu.watch_code(key.at);
        let overwrites = self.code.cache.overwrites();
        vcpu.cpu.mmu.read_code(key.at, bytes);
        match vcpu.decoder.decode_for_rewriting(key.at, bytes, key.mode, self.limit) {
            Ok(decoded) => self.put_in(vcpu, key, bytes, decoded, None, overwrites),
            Err(DecodeError::NeedsMoreBytes) => {
                self.splits.add(key.at);
                None
            }
        }
    }

    /// Translates the instruction at RIP `at`, where it ends in another page.
    pub(super) fn translate_split(&mut self, vcpu: &mut InterpretedVcpu, at: u64, key: Key) -> Option<&'a Translated> {
        let mut window = [0; 2 * MAX_INSN_BYTES];
        let room = PAGE_SIZE as usize - key.at.page_offset();
        vcpu.cpu.mmu.read_code(key.at, &mut window[..room]);
        if vcpu.decoder.decode_for_rewriting(key.at, &window[..room], key.mode, 1).is_ok() {
            return None;
        }
        let tail = vcpu.fetch_tail(at).ok()?;
        vcpu.cpu.watch_code(key.at);
        vcpu.cpu.watch_code(tail);
        let overwrites = self.code.cache.overwrites();
        let (first, rest) = window.split_at_mut(room);
        vcpu.cpu.mmu.read_code(key.at, first);
        vcpu.cpu.mmu.read_code(tail, &mut rest[..MAX_INSN_BYTES]);
        let decoded = vcpu.decoder.decode_for_rewriting(key.at, &window[..room + MAX_INSN_BYTES], key.mode, 1).ok()?;
        // What was read just now may be another instruction than the one that did not fit.
        let is_split = usize::from(decoded.0.length) > room;
        if is_split { self.put_in(vcpu, key, &window, decoded, Some(tail), overwrites) } else { None }
    }

    /// Translates what was decoded from the start of `bytes`, read when the cache counted so many `overwrites`, and puts it in.
    pub(super) fn put_in(
        &mut self,
        vcpu: &mut InterpretedVcpu,
        key: Key,
        bytes: &[u8],
        (block, originals): (Block, Vec<Original>),
        tail: Option<GuestPhys>,
        overwrites: u64,
    ) -> Option<&'a Translated> {
        let length = usize::from(block.length);
        let (first, rest) = bytes[..length].split_at(length.min(PAGE_SIZE as usize - key.at.page_offset()));
        for (at, bytes) in [(Some(key.at), first), (tail, rest)].into_iter().filter_map(|(at, bytes)| Some((at?, bytes))) {
            vcpu.cpu.context.ram.tracker().mark_code(at, bytes.len() as u64);
            // Others may have written while nobody told of this code; from here on they are told.
            if !vcpu.cpu.mmu.is_code(at, bytes) {
                return None;
            }
        }
        let source = Source {
            insns: &block.insns,
            originals: &originals,
            page_offset: key.at.page_offset() as u16,
            view: usize::from(key.view),
            mode: key.mode,
            is_grouped: key.is_grouped,
            tail,
        };
        let translation = self.rewriter.rewrite(source);
        match self.code.cache.insert(self.regions, key, length as u64, translation, block.insns.into(), overwrites) {
            Ok(block) => {
                vcpu.blocks.hand_over(key.at, key.mode);
                Some(block)
            }
            Err(Refused::Full) => {
                self.make_room(vcpu);
                None
            }
            Err(Refused::Stale | Refused::TooLarge) => None,
        }
    }

    /// Has the blocks forgotten that were translated longest ago. Whoever is in code then leaves it first.
    pub(super) fn make_room(&self, vcpu: &mut InterpretedVcpu) {
        let unused = vcpu.cpu.alone(|_| self.code.cache.reuse(self.regions));
        if vcpu.cpu.context.world.is_single() {
            for page in unused.into_iter().filter(|page| !vcpu.blocks.has_any_of(*page)) {
                vcpu.cpu.context.ram.tracker().clear_code(page);
            }
        }
    }
}
