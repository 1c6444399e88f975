//! The integer instructions, one family a file.

mod arithmetic;
mod atomics;
mod bits;
mod bmi;
mod control;
mod decimal;
mod flag_bits;
mod moves;
mod products;
mod shifts;
mod stack;
pub(super) mod strings;

use super::{Machine, table::Row};

/// The rows of all integer families.
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    let mut rows = Vec::new();
    rows.extend(arithmetic::rows());
    rows.extend(atomics::rows());
    rows.extend(bits::rows());
    rows.extend(bmi::rows());
    rows.extend(control::rows());
    rows.extend(decimal::rows());
    rows.extend(flag_bits::rows());
    rows.extend(moves::rows());
    rows.extend(products::rows());
    rows.extend(shifts::rows());
    rows.extend(stack::rows());
    rows.extend(strings::rows());
    rows
}
