//! x86 as an architecture: code bytes become instructions, instructions have a meaning, addresses are walked through
//! page tables, and a processor model says what CPUID promises.
//!
//! Rule of this crate: no host, no device, no engine, no unsafe. Everything that an engine must supply comes in through
//! [`semantics::Machine`] and [`semantics::Cpu`].

pub mod decode;
pub mod fault;
pub mod model;
pub mod paging;
pub mod post_mortem;
pub mod semantics;
