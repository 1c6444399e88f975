//! The matrix: every oracle on every engine, counted by class and mnemonic, with the first difference of each spelled out.
//! What `dragoman conform` runs.

mod class;
mod faults;
mod filter;
mod first;
mod footprint;
mod host;
mod kvm;
mod naive;
mod native;
mod oracles;
mod rows;
mod run;
mod tally;
mod vectors;
mod written;

pub use class::Class;
pub use filter::Filter;
pub use host::HostInfo;
pub use oracles::{ORACLES, Oracle, host_modes};
pub use run::{HOST, Options, RunError, Watch, run};
pub use tally::{Absence, First, Key, Matrix, Subject, Tally};
pub use written::{Written, written};
