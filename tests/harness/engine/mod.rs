//! Engines on the test stand.

mod delivery;
mod memory;
mod rig;
mod stand;
mod surroundings;
pub(crate) mod tables;
mod template;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use dragoman_accel::translate::Translator;
use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::CpuModel;

pub use delivery::{Delivered, below_stack, has_error_code, take_back};
pub use memory::Memory;
pub use rig::{Finish, Rig, RigError};
pub use stand::Stand;
pub use surroundings::{Ports, STOP};
pub use tables::{Page as SystemPage, pages as system_pages};
pub use template::{load as set_user_view, read as user_view, segment};

use crate::Mode;

/// The state of a `model` at `cpl` in `mode`, with the register pattern and without page tables.
pub fn start(model: &CpuModel, mode: Mode, cpl: u8) -> dragoman_state::VcpuState {
    template::state(model, mode, cpl, 0)
}

/// An engine, as users ask for it.
pub struct EngineEntry {
    /// Its name.
    pub name: &'static str,
    /// One line on what it is.
    pub about: &'static str,
    /// Makes it, or why it cannot be had in this build.
    pub make: Result<fn() -> Box<dyn Accelerator>, &'static str>,
}

#[rustfmt::skip] // a table
/// Every engine that instructions can be judged on. The one list of them.
pub const ENGINES: &[EngineEntry] = &[
    EngineEntry { name: "interp", about: "the interpreter",                  make: Ok(|| Box::new(Interpreter)) },
    EngineEntry { name: "jit",    about: "translation to the host's code",   make: JIT },
    EngineEntry { name: "kvm",    about: "the host's processor, through KVM", make: Err("not built yet") },
];

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const JIT: Result<fn() -> Box<dyn Accelerator>, &str> = Ok(|| Box::new(Translator::stepping()));
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
const JIT: Result<fn() -> Box<dyn Accelerator>, &str> = Err("for x86-64 hosts with Linux only");

/// The engines that work on more than one instruction at a time, as they do when a machine runs.
pub fn running_engines() -> Vec<Box<dyn Accelerator>> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return vec![Box::new(Translator::default())];
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    Vec::new()
}

/// Makes an engine.
pub type MakeEngine = fn() -> Box<dyn Accelerator>;

/// The engines that a processor can move between while it runs, to be made anew for each move.
pub const MOVING: &[MakeEngine] = &[
    || Box::new(Interpreter),
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    || Box::<Translator>::default(),
];

/// The engines of [`ENGINES`] that are there.
pub fn engines() -> Vec<Box<dyn Accelerator>> {
    ENGINES.iter().filter_map(|entry| entry.make.ok()).map(|make| make()).collect()
}
