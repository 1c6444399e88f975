//! The machine: a board, a processor, a clock, and the loop that keeps them company until the guest ends.

mod board;
mod boot;
mod choice;
mod clock;
mod config;
mod console;
mod control;
mod crash;
mod events;
pub mod kvm;
mod ledger;
mod outcome;
mod processor;
mod report;
mod run;
mod socket;
mod terminal;
pub mod translator;

pub use choice::{Facts, millions};
pub use config::{Config, Engine, SerialSpec, Start};
pub use events::Event;
pub use outcome::Outcome;
pub use run::run;
pub use socket::{Access, SocketName, listen};
