//! The control socket: a machine is asked for its status, paused, ended, or given to another engine while it runs.
//!
//! Rule of this folder: what is said is in `protocol.rs`, and both ends say no more than that. The protocol only ever gains
//! fields.

mod client;
mod protocol;
mod server;

pub use client::{Command, ask};
pub use protocol::{EngineTotals, Reply, Request, State, Status};
pub use server::{Asked, Server};
