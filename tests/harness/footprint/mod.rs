//! What instructions touch, against the decoder's own tables of what they touch, for every encoding.

mod bench;
mod expected;
mod judge;
mod known;
mod memory;
mod observed;
mod place;
mod prepare;
mod processor;
mod recorder;
mod spoilt;
mod trial;

pub use judge::{Difference, Judge, MODES};
pub use known::{IDLE, KNOWN, Known, Who};
