//! Code bytes to instructions to blocks. The only user of iced-x86's decoder.
//!
//! Rule of this folder: everything that the mode decides is decided here, once, when a block is decoded: operand and
//! address widths, which segment checks are needed, whether the instruction exists on this processor and may be used
//! at this privilege. What executes afterwards only asks what changes from one execution to the next.

mod attributes;
mod block;
mod insn;
mod inspect;
mod lower;
mod mode;
mod text;

pub use attributes::Attributes;
pub use block::{Block, DecodeError, Decoder, MAX_BLOCK_INSNS, MAX_INSN_BYTES};
pub use iced_x86::{Code, Mnemonic};
pub use insn::{Condition, Insn, InsnFlags, Kind, Opcode, Operand, SegmentUse};
pub use inspect::{Inspected, Touched, inspect};
pub use mode::{CodeSize, Mode};
pub use text::disassemble;
