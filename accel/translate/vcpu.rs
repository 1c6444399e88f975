//! A processor whose guest code is translated.

use std::sync::Arc;

use dragoman_frontend::{decode::MAX_BLOCK_INSNS, model::Feature, post_mortem::Trace};
use dragoman_jit::{
    GuestTime,
    rewrite::{HostInstructions, Rewriter},
    run::time,
};
use dragoman_state::{GuestPhys, VcpuId, VcpuState};

use super::{
    Settings,
    code::{Code, Regions},
    exits::Exits,
    heat::Heat,
    jumps::Jumps,
    make::Splits,
    run::Run,
};
use crate::{
    AccelError, ExitReason, StopToken, Vcpu, VcpuContext, VcpuHandle,
    interpret::{BlockCache, BlockEnd, InterpretedVcpu, processor::Processor},
};

/// How many blocks the interpreter keeps: of code that is run once or twice, and of what cannot be translated.
const COLD_BLOCKS: usize = 1 << 15;

/// A processor whose guest code is translated.
pub(crate) struct TranslatedVcpu {
    inner: InterpretedVcpu,
    code: Arc<Code>,
    rewriter: Rewriter,
    heat: Heat,
    splits: Splits,
    jumps: Jumps,
    exits: Exits,
    /// As they were when the jump caches were last known to be right.
    regions: Regions,
    /// Of how many blocks that are gone they have heard.
    heard: u64,
    settings: Settings,
}

impl TranslatedVcpu {
    /// A processor in its power-on state.
    pub(super) fn new(id: VcpuId, context: VcpuContext, code: Arc<Code>, settings: Settings) -> Self {
        // Others keep the address of every operand, and selectors, of which the host says nothing that is the guest's.
        let has_x87 = context.model.has(Feature::FdpExceptionOnly) && context.model.has(Feature::ZeroFcsFds);
        let mut inner = InterpretedVcpu::new(id, context);
        inner.overwritten = Some(Vec::new());
        inner.blocks = BlockCache::with_capacity(COLD_BLOCKS);
        let rewriter = Rewriter::new(code.layout.clone(), HostInstructions::detect(has_x87)).counting(settings.counts);
        code.gate.equip(&mut inner.cpu.frame);
        inner.cpu.frame.attention = inner.cpu.inbox.signals_address();
        if time::has_steady_ticks() {
            inner.cpu.frame.time = GuestTime::steady();
        }
        let end = inner.cpu.context.ram.ranges().map(|(first, length)| GuestPhys(first.0 + length)).max();
        let (regions, jumps) = (code.cache.view(), Jumps::new(&mut inner.cpu.frame, end.unwrap_or_default()));
        let splits = Splits::default();
        Self { inner, code, rewriter, heat: Heat::new(), splits, jumps, exits: Exits::default(), regions, heard: 0, settings }
    }

    /// The interpreter's part, and what makes the translator's, with blocks of `limit` instructions.
    fn parts(&mut self, limit: usize) -> (&mut InterpretedVcpu, Parts<'_>) {
        let Self { inner, code, rewriter, heat, splits, jumps, exits, regions, heard, .. } = self;
        (inner, Parts { code, rewriter, heat, splits, jumps, exits, regions, heard, limit })
    }

    /// The processor, while it does not run.
    pub(crate) fn processor_mut(&mut self) -> &mut Processor {
        &mut self.inner.cpu
    }

    /// Runs until told to stop. Before translated code runs, each time, `beside` is asked: where it ran something itself, it says
    /// how that ended.
    pub(crate) fn run_beside(
        &mut self,
        stop: &StopToken,
        mut beside: impl FnMut(&mut InterpretedVcpu) -> Option<BlockEnd>,
    ) -> Result<ExitReason, AccelError> {
        self.inner.cpu.frame.is_alone = self.inner.cpu.context.world.is_single().into();
        let (inner, mut parts) = self.parts(MAX_BLOCK_INSNS);
        inner.in_world(|vcpu| vcpu.run_by(stop, |vcpu| beside(vcpu).unwrap_or_else(|| parts.start().run(vcpu))))
    }

    pub fn handle(&self) -> Arc<dyn VcpuHandle> {
        self.inner.cpu.inbox.clone()
    }
}

/// The translator's part of a processor, while it runs no code.
struct Parts<'a> {
    code: &'a Code,
    rewriter: &'a mut Rewriter,
    heat: &'a mut Heat,
    splits: &'a mut Splits,
    jumps: &'a mut Jumps,
    exits: &'a mut Exits,
    regions: &'a mut Regions,
    heard: &'a mut u64,
    limit: usize,
}

impl Parts<'_> {
    /// What runs code until the processor leaves it for something else. What is known of code that is gone is forgotten.
    fn start(&mut self) -> Run<'_> {
        let Self { code, rewriter, heat, splits, jumps, exits, regions, heard, limit } = self;
        for gone in code.cache.refresh(regions) {
            jumps.all().for_each(|jumps| jumps.forget_code_in(&gone));
        }
        Run { code, rewriter, heat, splits, jumps, exits, regions, heard, limit: *limit, executed: None }
    }
}

impl Vcpu for TranslatedVcpu {
    fn run(&mut self, stop: &StopToken) -> Result<ExitReason, AccelError> {
        self.run_beside(stop, |_| None)
    }

    fn step(&mut self) -> Result<ExitReason, AccelError> {
        if !self.settings.steps {
            return self.inner.step();
        }
        let (inner, mut parts) = self.parts(1);
        inner.in_world(|vcpu| vcpu.step_by(|vcpu| parts.start().one(vcpu)))
    }

    fn save(&mut self) -> Result<VcpuState, AccelError> {
        self.inner.save()
    }

    fn load(&mut self, state: &VcpuState) -> Result<(), AccelError> {
        self.inner.load(state)
    }

    fn instructions(&self) -> u64 {
        self.inner.instructions().wrapping_add(self.inner.cpu.frame.executed)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let counts = self.code.cache.counts();
        let cache = [
            ("blocks", counts.blocks),
            ("bytes", counts.bytes),
            ("invalidated", counts.invalidated),
            ("evicted", counts.evicted),
        ];
        let frame = &self.inner.cpu.frame;
        let probes = [("missed", frame.missed), ("refilled", frame.refilled), ("walked", frame.walked)];
        cache.into_iter().chain(self.exits.named()).chain(probes).collect()
    }

    fn trace(&self) -> Trace {
        let instructions = self.settings.counts.then(|| self.instructions());
        Trace { instructions, ..self.inner.trace() }
    }
}
