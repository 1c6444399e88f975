//! Everything above and around user code: segments, gates, interrupts, control and model-specific registers, system
//! calls, ports. Long, rare and full of state: plain code over a [`Cpu`](super::Cpu), called by every engine.

mod caches;
mod control_registers;
mod descriptor_tables;
mod descriptors;
mod extended_state;
pub(super) mod far;
pub(super) mod flags_image;
mod identification;
pub mod interrupts;
mod io;
mod keys;
mod model_registers;
mod monitor;
mod objections;
mod random;
pub(super) mod segments;
mod stacks;
mod syscalls;
mod tasks;

pub use control_registers::cr4_write_is_valid;
pub use interrupts::{Event, EventKind, FaultChain, Link, TripleFault};
pub use objections::{Objection, Subject};

use super::{Machine, table::Row};

/// The rows of all system families.
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    let mut rows = Vec::new();
    rows.extend(caches::rows());
    rows.extend(control_registers::rows());
    rows.extend(descriptor_tables::rows());
    rows.extend(extended_state::rows());
    rows.extend(far::rows());
    rows.extend(flags_image::rows());
    rows.extend(identification::rows());
    rows.extend(interrupts::rows());
    rows.extend(io::rows());
    rows.extend(keys::rows());
    rows.extend(model_registers::rows());
    rows.extend(monitor::rows());
    rows.extend(random::rows());
    rows.extend(segments::rows());
    rows.extend(syscalls::rows());
    rows
}
