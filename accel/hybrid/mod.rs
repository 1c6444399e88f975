//! Two engines for one guest: the kernel in the translator, user mode elsewhere where that pays.
//!
//! Rule of this folder: what runs user mode is behind the trait `UserRunner`, and what decides knows no more of it than how long it took.
//! Today that is KVM (`kvm/ring3`), on hosts whose KVM is slow or wrong in kernel mode; a runner that needs no KVM has the same
//! seam to fit.

mod elsewhere;
mod policy;
mod vcpu;

use std::sync::Arc;

use dragoman_state::{VcpuId, VmInstant};

use crate::{
    AccelError, Accelerator, Capabilities, Vcpu, VcpuContext, VcpuHandle,
    inbox::Caller,
    interpret::processor::Processor,
    kvm::{Kvm, KvmError},
    translate::{Settings, Translator},
};
pub(crate) use elsewhere::Elsewhere;
use vcpu::HybridVcpu;

/// Somewhere else than the translator where a processor's user mode can run.
pub(crate) trait UserRunner: Send {
    /// Whether it can run what the processor is about to.
    fn can_run(&self, cpu: &Processor) -> bool;

    /// What calls the processor back from there.
    fn caller(&self) -> Arc<dyn Caller>;

    /// Runs ring 3 until it is to be left, or somebody calls. Afterwards the processor is in ring 3, at an instruction boundary.
    /// After an error it is as it was, or at such a boundary further on, and the runner is not to be used any more.
    fn run(&mut self, cpu: &mut Processor) -> Result<Back, KvmError>;

    /// How often user mode was held up there by a page that was not known yet, in all; zero where that is not counted.
    fn page_faults(&self) -> u64;

    /// What it has counted, and under which names.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// Why user mode came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// Somebody called.
    Called,
    /// The instruction at RIP is to be executed by another engine.
    Instruction,
    /// Nothing was run, because the address space is not the one that ran there last: it only has its page. It runs the next time.
    NewSpace,
}

/// How the two are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct HybridSettings {
    /// How the translator works.
    pub translator: Settings,
    /// User mode runs elsewhere whenever it can, whether that pays or not: for tests.
    pub always: bool,
}

/// Kernel mode in the translator, user mode in KVM.
#[derive(Default)]
pub struct Hybrid {
    translator: Translator,
    settings: HybridSettings,
}

impl Hybrid {
    /// An engine that works so.
    pub fn new(settings: HybridSettings) -> Self {
        Self { translator: Translator::new(settings.translator), settings }
    }
}

impl Accelerator for Hybrid {
    fn name(&self) -> &'static str {
        "hybrid"
    }

    fn capabilities(&self) -> Capabilities {
        self.translator.capabilities()
    }

    fn time_stamp_at_power_on(&self, now: VmInstant, hertz: u64) -> u64 {
        Kvm::default().time_stamp_at_power_on(now, hertz)
    }

    fn create_vcpu(&self, id: VcpuId, context: VcpuContext) -> Result<(Box<dyn Vcpu>, Arc<dyn VcpuHandle>), AccelError> {
        let inner = self.translator.translated(id, context)?;
        let handle = inner.handle();
        Ok((Box::new(HybridVcpu::new(inner, self.settings)?), handle))
    }
}
