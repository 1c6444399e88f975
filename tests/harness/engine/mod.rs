//! Engines on the test stand.

mod delivery;
mod memory;
mod rig;
mod surroundings;
pub(crate) mod tables;
mod template;

use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::CpuModel;

pub use delivery::{Delivered, has_error_code};
pub use memory::Memory;
pub use rig::{Finish, Rig, RigError};
pub use surroundings::Ports;
pub use tables::{Page as SystemPage, pages as system_pages};
pub use template::{load as set_user_view, read as user_view, segment};

use crate::Mode;

/// The state of a `model` at `cpl` in `mode`, with the register pattern and without page tables.
pub fn start(model: &CpuModel, mode: Mode, cpl: u8) -> dragoman_state::VcpuState {
    template::state(model, mode, cpl, 0)
}

/// Every engine that instructions are judged on. The one list of them.
pub fn engines() -> Vec<Box<dyn Accelerator>> {
    vec![Box::new(Interpreter)]
}
