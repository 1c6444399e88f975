//! What each instruction does, written once.
//!
//! Rule of this folder: a handler is straight-line code over a [`Machine`]. It may branch on the decoded instruction,
//! never on a value; what depends on a value is a `select`, a [`FlagRule`], or the block's last act. Its order is: read,
//! compute, write memory, write registers, write flags, so that a faulting instruction leaves no trace. What is long,
//! rare or full of state is a [`Helper`]: plain Rust over a [`Cpu`], which every engine calls.

mod alu;
mod bit_fields;
mod cpu;
mod flags;
mod integer;
pub mod legacy_region;
mod machine;
mod memory;
mod operand;
pub mod segmentation;
pub mod system;
mod table;
mod vector;
pub mod x87;

pub use alu::{BinaryOp, ShiftOp, UnaryOp, binary, divide, multiply, shift, unary};
pub use cpu::{ApicAccess, Cpu, Flush, Privilege};
pub use flags::{FlagRule, LazyFlags};
pub use machine::{AtomicOp, Handler, Helper, Machine};
pub use memory::effective_address;
pub use table::Table;
pub use vector::{FloatOp, FusedOp, TernaryOp, VectorOp, float, fused, lanes, ternary};
