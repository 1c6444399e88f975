//! The machine: a board, a processor, a clock, and the loop that keeps them company until the guest ends.

mod board;
mod boot;
mod clock;
mod config;
mod console;
mod crash;
mod events;
mod outcome;
mod processor;
mod report;
mod run;
mod terminal;

pub use config::{Config, Engine, SerialSpec, Start};
pub use outcome::Outcome;
pub use run::run;
