//! Forgetting what has become stale: translated code, and where indirect jumps went.

use dragoman_jit::cache::Targets;
use dragoman_state::GuestPhys;

use super::run::Run;
use crate::interpret::InterpretedVcpu;

impl Run<'_> {
    /// Forgets what others, or the guest itself, made stale; whether there was anything.
    pub(super) fn forget(&mut self, vcpu: &mut InterpretedVcpu) -> bool {
        let overwritten = vcpu.overwritten.as_mut().map(std::mem::take).unwrap_or_default();
        let gone = vcpu.cpu.mmu.take_forgotten();
        if !gone.is_nothing() {
            for jumps in self.jumps.all() {
                match (gone.is_all, gone.is_local) {
                    (true, _) => jumps.clear(),
                    (false, true) => jumps.forget_local(),
                    (false, false) => {}
                }
                gone.ranges.iter().for_each(|(start, last)| jumps.forget(*start, *last));
            }
        }
        if !overwritten.is_empty() {
            self.forget_code(vcpu, &overwritten);
        }
        !gone.is_nothing() || !overwritten.is_empty()
    }

    /// Forgets the blocks translated from what was overwritten.
    pub(super) fn forget_code(&mut self, vcpu: &mut InterpretedVcpu, overwritten: &[(GuestPhys, u64)]) {
        let tracker = vcpu.cpu.context.ram.tracker();
        let is_only_user = vcpu.cpu.context.world.is_single();
        let mut stale = Vec::new();
        for (at, length) in overwritten.iter().copied() {
            let mut was_translated = false;
            let is_gone = self.code.cache.invalidate(at, length, |block| {
                self.heat.cool(&block.key);
                match block.targets() {
                    Targets::None => {}
                    Targets::One(rip) => self.jumps.all().for_each(|jumps| jumps.forget_one(rip, block.from_jump)),
                    Targets::Several => stale.push(block.from_jump),
                }
                was_translated = true;
            });
            if !was_translated {
                self.heat.overwritten(at, false);
            }
            if is_only_user && is_gone && !vcpu.blocks.has_any_of(at) {
                tracker.clear_code(at.page());
            }
        }
        if !is_only_user {
            // Another processor may have been the first to forget them, before this one had noted that it knows them.
            match self.code.cache.gone_since(self.heard) {
                Some(gone) => stale = gone,
                None => self.jumps.all().for_each(|jumps| jumps.clear_targets()),
            }
        }
        if !stale.is_empty() {
            stale.sort_unstable();
            self.jumps.all().for_each(|jumps| jumps.forget_code(&stale));
        }
    }
}
