//! KVM as an engine: the host's processor runs the guest, and the interpreter does what it cannot.
//!
//! Rule of this folder: all that is of the processor and not its instructions (local APIC, timers, halts, what other threads say)
//! is the interpreter's, as under every engine. State is moved whole, at an instruction boundary, so that nobody above can tell
//! where it was.

mod counts;
mod cpuid;
mod device;
mod error;
mod exit;
mod faults;
mod host_vcpu;
mod kick;
mod machine;
mod patience;
mod probe;
pub(crate) mod ring3;
mod run;
mod state;
#[cfg(test)]
mod tests;
mod time;
mod user;
mod vcpu;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use dragoman_frontend::model::{CpuModel, Features};
use dragoman_jit::run::time::ticks;
use dragoman_state::{VcpuId, VmInstant};

pub use cpuid::Supported;
pub use error::KvmError;
pub use probe::{Kind, Report, Step, kind};

use crate::{AccelError, Accelerator, Capabilities, Vcpu, VcpuContext, VcpuHandle, World};
use device::Device;
use machine::Machine;
use vcpu::KvmVcpu;

/// How KVM is used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Steps are KVM's too. The guest can see that it is stepped: in the image of its flags.
    pub steps: bool,
}

/// KVM as an engine. The processors of one machine are those of one machine of KVM's.
#[derive(Default)]
pub struct Kvm {
    /// By the world that its processors are in, which is their machine's.
    machines: Mutex<Vec<(Weak<World>, Weak<Machine>)>>,
    settings: Settings,
    /// What KVM says of its processors is believed, and that they run user mode, without asking a guest.
    believes: bool,
}

impl Kvm {
    /// An engine that works so.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// An engine whose single steps are KVM's, so that what it makes of each instruction can be judged alone.
    pub fn stepping() -> Self {
        Self::new(Settings { steps: true })
    }

    fn believing() -> Self {
        Self { believes: true, ..Self::default() }
    }

    /// Whether there is a KVM here that has what is needed, and why not. Nothing is run.
    pub fn check() -> Result<(), KvmError> {
        Device::open().map(drop)
    }

    /// What a processor of KVM's can have here.
    pub fn features() -> Result<Features, KvmError> {
        Ok(Device::open()?.supported()?.seen().features())
    }

    /// The newest processor that KVM can be here, with its time-stamp counter. Where KVM is software, it hides nothing: the model
    /// has all that guests see, so that they can use it wherever they run.
    pub fn default_model() -> Result<CpuModel, KvmError> {
        let features = Self::features()?;
        let model = CpuModel::newest_within(features);
        let model = if kind() == Kind::Software { model.with_features(features.and(Features::IMPLEMENTED)) } else { model };
        Self::clocked(model)
    }

    /// `model` with the frequency that a guest's time-stamp counter has here, where that cannot be another.
    pub fn clocked(model: CpuModel) -> Result<CpuModel, KvmError> {
        let device = Device::open()?;
        if device.scales_tsc {
            return Ok(model);
        }
        Ok(match device.tsc_hertz()? {
            Some(hertz) => model.with_tsc(hertz),
            None => model,
        })
    }

    fn machine(&self, context: &VcpuContext) -> Result<Arc<Machine>, KvmError> {
        let mut known = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, machine)| machine.strong_count() > 0);
        let ours = known.iter().find(|(one, _)| Weak::as_ptr(one) == Arc::as_ptr(&context.world));
        if let Some(machine) = ours.and_then(|(_, machine)| machine.upgrade()) {
            return Ok(machine);
        }
        let ram = context.ram.clone();
        let supported = Device::open()?.supported()?;
        // Where each step is to be KVM's, all is.
        let machine = match self.believes {
            true => Machine::of(ram, supported, true)?,
            false => Machine::of(ram, supported.seen(), self.settings.steps || Self::runs_user())?,
        };
        let machine = Arc::new(machine);
        known.push((Arc::downgrade(&context.world), Arc::downgrade(&machine)));
        Ok(machine)
    }
}

impl Accelerator for Kvm {
    fn name(&self) -> &'static str {
        "kvm"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { single_step: true, dirty_log: true }
    }

    fn time_stamp_at_power_on(&self, now: VmInstant, hertz: u64) -> u64 {
        ticks().wrapping_sub(now.to_ticks(hertz))
    }

    fn create_vcpu(&self, id: VcpuId, context: VcpuContext) -> Result<(Box<dyn Vcpu>, Arc<dyn VcpuHandle>), AccelError> {
        let machine = self.machine(&context)?;
        let vcpu = KvmVcpu::new(id, context, machine, self.settings)?;
        let handle = vcpu.handle();
        Ok((Box::new(vcpu), handle))
    }
}
