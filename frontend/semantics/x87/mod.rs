//! The x87 instructions, one family a file. All of them are helpers: their state is a stack with tags, two status
//! registers and three pointers, and no engine but a host with the same unit gains by taking them apart.
//!
//! An instruction works on a copy of the unit and puts it back when nothing can fault any more.
//! SDM: vol. 1 chapter 8; vol. 2, the entries of the names in the tables.

mod arithmetic;
mod compare;
mod control;
mod environment;
mod load_store;
mod transcendental;
mod unit;

use dragoman_state::{Cr0, StatusWord};

use super::{Cpu, Machine, table::Row};
use crate::{decode::Attributes, fault::Fault};

/// The rows of all x87 families.
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    let mut rows = Vec::new();
    rows.extend(arithmetic::rows());
    rows.extend(compare::rows());
    rows.extend(control::rows());
    rows.extend(environment::rows());
    rows.extend(load_store::rows());
    rows.extend(transcendental::rows());
    rows
}

const X87: Attributes = Attributes::X87;

/// What an x87 exception that is pending does to an instruction that waits for it: #MF where it is reported natively. Where
/// the board reports it, the processor asserts FERR# and stands still until an interrupt comes, unless the board says that
/// the error is to be ignored. SDM: vol. 1 §8.7.
#[inline]
pub fn check_pending(cpu: &mut dyn Cpu) -> Result<(), Fault> {
    if !cpu.state().x87.status.contains(StatusWord::ES) {
        return Ok(());
    }
    if cpu.state().cr0.contains(Cr0::NE) {
        return Err(Fault::MF);
    }
    if cpu.assert_ferr() { Ok(()) } else { Err(Fault::FREEZE) }
}

/// Lets FERR# follow the error summary, after an instruction that may have cleared it.
pub(super) fn follow_summary(cpu: &mut dyn Cpu) {
    let state = cpu.state();
    if !state.cr0.contains(Cr0::NE) && !state.x87.status.contains(StatusWord::ES) {
        cpu.release_ferr();
    }
}
