//! Guest blocks to host code: what a host of the same instruction set runs in place of the interpreter.
//!
//! Rule of this crate: it knows guest memory only as tables that its code probes ([`Layout`]), and chips not at all. What
//! it cannot translate it leaves to whoever drives it, one instruction at a time.
//!
//! | folder | holds |
//! |---|---|
//! | `rewrite/` | decoded instructions in, host code out |
//! | `cache/` | the blocks that there are, how they are linked, and what becomes of them when code is overwritten |
//! | `run/` | the memory that code is in, the ways in and out, host faults: a door to unsafe code |

#![cfg_attr(
    all(target_arch = "x86_64", target_os = "linux"),
    expect(clippy::useless_conversion, reason = "the assembler's macro converts the numbers of registers")
)]
#![cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    expect(dead_code, reason = "the offsets are for code that only such hosts run")
)]

mod layout;
pub mod pages;
mod time;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod cache;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod rewrite;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod run;

pub use layout::{Frame, JumpCache, LIFTED, Layout, RefillKind, SUPERVISOR, SavedFlags, Tables, USER, VIEWS};
pub use time::GuestTime;
