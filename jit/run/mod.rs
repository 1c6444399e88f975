//! Host code: the memory it lies in, how it is entered and left, and what happens when it faults.
//!
//! Rule of this folder: everything unsafe about running code that was made at run time is here, and nothing about what
//! the code does. The rest of the crate hands in bytes and gets an address.

mod entry;
mod faults;
mod handler;
mod memory;
mod refill;
pub mod time;
mod vectors;
pub mod x87;

pub(crate) use entry::emit_find_jump;
pub use entry::{Gate, HostFeatures, Onward, Owner, Pages, is_intel};
pub use memory::CodeMemory;

use std::io;

/// Why translated code cannot be run on this host.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The host lets nobody have memory that is written in one place and executed in another.
    #[error("no memory for code could be had: {0}")]
    Memory(#[from] io::Error),
    /// The processor, or the kernel, lacks something.
    #[error("the host has no {0}")]
    Lacks(&'static str),
}
