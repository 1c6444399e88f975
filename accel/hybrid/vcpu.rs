//! A processor whose kernel mode is translated, and whose user mode runs elsewhere where that pays.

use dragoman_frontend::post_mortem::Trace;
use dragoman_state::VcpuState;

use super::{HybridSettings, elsewhere::Elsewhere};
use crate::{AccelError, ExitReason, StopToken, Vcpu, kvm::ring3::Ring3, translate::TranslatedVcpu};

/// A processor of two engines.
pub(super) struct HybridVcpu {
    inner: TranslatedVcpu,
    elsewhere: Elsewhere,
}

impl HybridVcpu {
    pub fn new(mut inner: TranslatedVcpu, settings: HybridSettings) -> Result<Self, AccelError> {
        let cpu = inner.processor_mut();
        let elsewhere = Elsewhere::new(Box::new(Ring3::new(cpu)?), settings.always, cpu);
        Ok(Self { inner, elsewhere })
    }
}

impl Vcpu for HybridVcpu {
    fn run(&mut self, stop: &StopToken) -> Result<ExitReason, AccelError> {
        let Self { inner, elsewhere } = self;
        let inbox = inner.processor_mut().inbox.clone();
        inbox.set_caller(elsewhere.caller());
        let reason = inner.run_beside(stop, |vcpu| elsewhere.run(vcpu));
        inbox.set_caller(None);
        reason
    }

    fn step(&mut self) -> Result<ExitReason, AccelError> {
        self.inner.step()
    }

    fn save(&mut self) -> Result<VcpuState, AccelError> {
        self.inner.save()
    }

    fn load(&mut self, state: &VcpuState) -> Result<(), AccelError> {
        self.inner.load(state)
    }

    fn instructions(&self) -> u64 {
        self.inner.instructions()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.inner.counters().into_iter().chain(self.elsewhere.counters()).collect()
    }

    fn trace(&self) -> Trace {
        // What ran elsewhere was not counted.
        Trace { instructions: None, ..self.inner.trace() }
    }
}
