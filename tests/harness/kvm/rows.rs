//! Which rows KVM can be asked about, and which of its answers are known to be wrong.

use dragoman_frontend::model::{Feature, Features};
use iced_x86::{Instruction, Mnemonic};

use super::{KNOWN, Wrong};
use crate::{
    judge::Difference,
    row::{Place, Row, Target},
};

/// Why `row` cannot be compared on a host that has `features`.
pub fn incomparable(row: &Row, features: Features) -> Option<&'static str> {
    let is_wanted =
        |(name, is_in): &(String, bool)| Feature::from_name(name).is_none_or(|feature| features.has(feature) == *is_in);
    if !row.features.iter().all(is_wanted) {
        return Some("the host's processor is not one that the row is about");
    }
    let is_shadow = |target: &Target| *target == Target::Place(Place::Shadow);
    if row.outputs.iter().any(|output| is_shadow(&output.target)) {
        return Some("what holds for one instruction is over when KVM stops");
    }
    let is_inside = |at: u64| at.wrapping_sub(row.start()) < row.bytes().len() as u64;
    if row.outputs.iter().any(|output| output.target == Target::Place(Place::Rip) && is_inside(output.value.low())) {
        return Some("it goes on in itself");
    }
    None
}

/// The row of [`KNOWN`] that speaks of what was found of `row`.
pub fn known(row: &Row, found: &[Difference]) -> Option<&'static Wrong> {
    let names: Vec<Mnemonic> = row.mode.instructions(&row.bytes()).iter().map(Instruction::mnemonic).collect();
    KNOWN.iter().find(|wrong| wrong.covers(row.mode, &names, found))
}
