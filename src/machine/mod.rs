//! The machine: a board, a processor, a clock, and the loop that keeps them company until the guest ends.

mod board;
mod boot;
mod clock;
mod config;
mod console;
mod control;
mod crash;
mod events;
mod ledger;
mod outcome;
mod processor;
mod report;
mod run;
mod socket;
mod terminal;

pub use config::{Config, Engine, SerialSpec, Start};
pub use events::Event;
pub use outcome::Outcome;
pub use run::run;
pub use socket::{Access, SocketName, listen};
