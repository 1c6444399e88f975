//! What rows are judged on: something that runs instructions from a complete state, with memory and ports around it.

use dragoman_state::VcpuState;

use super::{Finish, Memory, Ports, RigError};
use crate::{Mode, case::PageMap};

/// A processor with memory and ports.
pub trait Stand {
    /// Maps what `map` names, and makes ready what exceptions need in `mode`.
    fn prepare(&mut self, mode: Mode, map: &PageMap);
    /// Memory, as [`Stand::prepare`] mapped it.
    fn memory(&self) -> &Memory;
    /// Memory, to be put back.
    fn memory_mut(&mut self) -> &mut Memory;
    /// The ports.
    fn ports(&self) -> &Ports;
    /// Runs the instructions in `code`, which lie where `start` says, until they are done or one of them raises something.
    fn run(&mut self, mode: Mode, start: &VcpuState, code: &[u8]) -> Result<Finish, RigError>;
}
