//! The fault sweep: every operand of every encoding is put where it cannot be reached: its first byte, its last, all of
//! it. What must come of that follows from the decoder's tables and the manual alone: which exception, with which error code
//! and which address, and nothing else changed.

mod compare;
mod expected;
mod instances;
mod known;
mod operands;
mod run;
mod scene;
mod trouble;

pub use known::KNOWN;
pub use run::Sweep;
