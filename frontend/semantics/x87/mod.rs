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

use dragoman_state::{Cr0, StatusWord, VcpuState};

use super::{Machine, table::Row};
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

/// #MF where an x87 exception is pending that is reported natively.
pub fn check_pending(state: &VcpuState) -> Result<(), Fault> {
    let is_reported = state.cr0.contains(Cr0::NE) && state.x87.status.contains(StatusWord::ES);
    if is_reported { Err(Fault::MF) } else { Ok(()) }
}
