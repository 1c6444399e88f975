//! Rows and generated cases: instructions with what they start from and what they must leave behind, run on the engines
//! and on the host's own processor.
//!
//! Rule of this crate: an expectation comes from the manual, from the decoder's tables or from silicon, never from an engine
//! of ours. README.md of this folder describes the parts; the rows are in tests/insn.

pub mod case;
pub mod chaos;
pub mod engine;
pub mod footprint;
pub mod generate;
pub mod judge;
pub mod known;
pub mod kvm;
pub mod layout;
pub mod matrix;
mod mode;
pub mod naive;
pub mod native;
mod operand;
pub mod programs;
pub mod record;
mod registers;
pub mod row;
pub mod sweep;
pub mod vectors;
pub mod vendors;

pub use mode::Mode;
pub use registers::{RSP, Registers};
