//! What a dead guest died of: the report that is printed when the processor shuts down, or halts for good.
//!
//! Rule of this folder: it looks and changes nothing, and decides nothing that the processor decides. Checks that failed come
//! as [`Objection`](crate::semantics::system::Objection)s from where they failed; page walks and segment checks are made again
//! by the functions that made them.

mod chain;
mod dump;
mod faulting;
mod memory;
mod subject;
mod trace;

use dragoman_state::VcpuState;

use crate::{model::CpuModel, semantics::system::FaultChain};

pub use memory::PhysicalMemory;
pub use trace::{Branch, BranchLog, Raised, Trace};

/// The most lines that a report has.
pub const MOST_LINES: usize = 25;

/// How the guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A double fault could not be delivered.
    TripleFault(FaultChain),
    /// HLT with interrupts off, and nothing that could wake the processor.
    Halted,
}

/// A processor that will not run on, and all there is to find out why.
pub struct Scene<'a> {
    /// Its registers, as they were.
    pub state: &'a VcpuState,
    /// What it is.
    pub model: &'a CpuModel,
    /// Guest memory.
    pub memory: &'a dyn PhysicalMemory,
    /// The way it came.
    pub trace: &'a Trace,
}

impl Scene<'_> {
    /// The report, a line each, [`MOST_LINES`] at most: the cause, registers, the last branches, the top of the stack.
    pub fn report(&self, end: &End) -> Vec<String> {
        let mut rest = self.registers();
        rest.extend(self.segments());
        rest.extend(self.branches());
        rest.extend(self.stack());
        let mut lines = match end {
            End::TripleFault(chain) => self.triple_fault(chain),
            End::Halted => self.halt(),
        };
        lines.truncate(MOST_LINES.saturating_sub(rest.len()));
        lines.extend(rest);
        lines
    }
}
