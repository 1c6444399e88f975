//! What instructions touch, against the decoder's own tables of what they touch, for every encoding.

mod bench;
mod expected;
mod judge;
mod known;
mod memory;
mod observed;
mod place;
mod processor;
mod recorder;
mod spoilt;
mod stage;
mod trial;

pub use judge::Judge;
pub use known::{IDLE, KNOWN};
