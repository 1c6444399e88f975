//! Engines on the test stand.

mod delivery;
mod halting;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod host;
mod memory;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod other_host;
mod rig;
mod runner;
mod stand;
mod surroundings;
pub(crate) mod tables;
mod template;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use dragoman_accel::translate::Translator;
use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::CpuModel;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use host as here;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
use other_host as here;

pub use delivery::{Delivered, below_stack, has_error_code, take_back};
pub use halting::{Course, settled};
pub use here::{is_kvm_software, limited};
pub use memory::Memory;
pub use rig::{Finish, Rig, RigError};
pub use runner::Runner;
pub use stand::Stand;
pub use surroundings::{Ports, STOP};
pub use tables::{Page as SystemPage, pages as system_pages};
pub use template::{load as set_user_view, read as user_view, segment};

use crate::Mode;

/// The state of a `model` at `cpl` in `mode`, with the register pattern and without page tables.
pub fn start(model: &CpuModel, mode: Mode, cpl: u8) -> dragoman_state::VcpuState {
    template::state(model, mode, cpl, 0)
}

/// How an engine is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judged {
    /// One instruction at a time, by every oracle.
    InSteps,
    /// By rows, which run up to a HLT as a machine does: steps would show another engine. It is no processor that KVM is not.
    Running,
}

/// An engine, as users ask for it.
pub struct EngineEntry {
    /// Its name.
    pub name: &'static str,
    /// One line on what it is.
    pub about: &'static str,
    /// How it is judged.
    pub judged: Judged,
    /// Makes it, or says why it cannot be had here.
    pub make: fn() -> Result<Box<dyn Accelerator>, String>,
}

#[rustfmt::skip] // a table
/// Every engine that instructions can be judged on. The one list of them.
pub const ENGINES: &[EngineEntry] = &[
    EngineEntry { name: "interp", about: "the interpreter",                   judged: Judged::InSteps, make: || Ok(Box::new(Interpreter)) },
    EngineEntry { name: "jit",    about: "translation to the host's code",    judged: Judged::InSteps, make: here::jit },
    EngineEntry { name: "kvm",    about: "the host's processor, through KVM", judged: Judged::Running, make: here::kvm },
    EngineEntry { name: "hybrid", about: "user mode in KVM whenever it can be, and translation of the rest", judged: Judged::Running,
                  make: here::hybrid },
];

/// The engines that work on more than one instruction at a time, as they do when a machine runs.
pub fn running_engines() -> Vec<Box<dyn Accelerator>> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return vec![Box::new(Translator::default())];
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    Vec::new()
}

/// Makes an engine.
pub type MakeEngine = fn() -> Box<dyn Accelerator>;

/// The engines that any processor can move between while it runs, to be made anew for each move.
pub const MOVING: &[MakeEngine] = &[
    || Box::new(Interpreter),
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    || Box::<Translator>::default(),
];

/// The same, and those that use KVM, for a processor that is `model`: the same as it can be there. Those are left out where there is
/// no KVM; and `kvm` where that is software, whose emulator writes the first part of a store across two pages before it finds that
/// it cannot write the second.
pub fn moving_with_kvm(model: CpuModel) -> (Vec<MakeEngine>, CpuModel) {
    let mut engines = MOVING.to_vec();
    match here::there_is_kvm().and_then(|()| limited(model.clone())) {
        Ok(limited) => {
            engines.extend(here::MOVING_IN_USER_MODE);
            if is_kvm_software() {
                println!("SKIPPED: kvm: it is software, and wrong in ring 0");
            } else {
                engines.extend(here::MOVING_IN_KVM);
            }
            (engines, limited)
        }
        Err(reason) => {
            println!("SKIPPED: kvm and hybrid: {reason}");
            (engines, model)
        }
    }
}

/// The engines of [`ENGINES`] that are there and can be judged in steps.
pub fn engines() -> Vec<Box<dyn Accelerator>> {
    ENGINES.iter().filter(|entry| entry.judged == Judged::InSteps).filter_map(|entry| (entry.make)().ok()).collect()
}
