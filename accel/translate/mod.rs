//! The translator as an engine: runs host code that guest code was translated to, and has the interpreter do the rest.
//!
//! Rule of this folder: an instruction that translated code cannot do is done by the interpreter's handler, on the same
//! state, and the code goes on behind it. Between blocks, the translator is the interpreter: events, faults and steps are
//! its.

mod code;
mod elsewhere;
mod exits;
mod forget;
mod handled;
mod heat;
mod jumps;
mod layout;
mod make;
#[cfg(test)]
mod model;
mod run;
#[cfg(test)]
mod tests;
mod vcpu;
mod x87;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use dragoman_jit::run::Unusable;
use dragoman_state::VcpuId;

use crate::{AccelError, Accelerator, Capabilities, Vcpu, VcpuContext, VcpuHandle, World};
use code::Code;
pub(crate) use vcpu::TranslatedVcpu;

/// How the translator works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How much memory translated code may take: a multiple of 64 KiB, 1 GiB at most.
    pub code_bytes: usize,
    /// Whether translated code counts its instructions, which makes it slower.
    pub counts: bool,
    /// Steps are translated too, each instruction as a block of its own.
    pub steps: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { code_bytes: 64 << 20, counts: false, steps: false }
    }
}

/// The translator as an engine. The processors of one machine share what was translated.
#[derive(Default)]
pub struct Translator {
    /// By the world that its processors are in, which is their machine's.
    code: Mutex<Vec<(Weak<World>, Weak<Code>)>>,
    settings: Settings,
}

impl Translator {
    /// An engine that works so.
    pub fn new(settings: Settings) -> Self {
        Self { code: Mutex::default(), settings }
    }

    /// An engine whose single steps run translated code, so that each instruction's translation can be judged alone.
    pub fn stepping() -> Self {
        Self::new(Settings { steps: true, ..Settings::default() })
    }

    /// Whether this host can run translated code, and why not.
    pub fn check() -> Result<(), AccelError> {
        Code::new(1 << 20).map(|_| ()).map_err(unavailable)
    }

    /// The newest level of the x86-64 ABI that this host has whole, so that nothing of it is left to the interpreter.
    pub fn level() -> u8 {
        let second = is_x86_feature_detected!("cmpxchg16b")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.2");
        let third = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("movbe");
        match (second, third) {
            (true, true) => 3,
            (true, false) => 2,
            (false, _) => 1,
        }
    }

    /// A new processor in its power-on state.
    pub(crate) fn translated(&self, id: VcpuId, context: VcpuContext) -> Result<TranslatedVcpu, AccelError> {
        let code = self.code(&context.world)?;
        Ok(TranslatedVcpu::new(id, context, code, self.settings))
    }

    /// What the processors of `world` share.
    fn code(&self, world: &Arc<World>) -> Result<Arc<Code>, AccelError> {
        let mut known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, code)| code.strong_count() > 0);
        let ours = known.iter().find(|(one, _)| Weak::as_ptr(one) == Arc::as_ptr(world));
        if let Some(code) = ours.and_then(|(_, code)| code.upgrade()) {
            return Ok(code);
        }
        let code = Arc::new(Code::new(self.settings.code_bytes).map_err(unavailable)?);
        known.push((Arc::downgrade(world), Arc::downgrade(&code)));
        Ok(code)
    }
}

fn unavailable(why: Unusable) -> AccelError {
    AccelError::Unavailable("the translator", format!("{why}; use --accel interp"))
}

impl Accelerator for Translator {
    fn name(&self) -> &'static str {
        "jit"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { single_step: true, dirty_log: true }
    }

    fn create_vcpu(&self, id: VcpuId, context: VcpuContext) -> Result<(Box<dyn Vcpu>, Arc<dyn VcpuHandle>), AccelError> {
        let vcpu = self.translated(id, context)?;
        let handle = vcpu.handle();
        Ok((Box::new(vcpu), handle))
    }
}
