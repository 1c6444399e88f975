//! Cases made up by a generator: every encoding that a model of processor has, with random operands, registers and memory
//! in which special values are frequent. The same seed gives the same cases on every machine.

mod bytes;
mod case;
mod compare;
mod describe;
mod form;
mod ignored;
mod indices;
mod prepare;
mod random;
mod refused;
mod registers;
mod scope;
mod steer;
mod tally;
mod traits;
mod values;
mod vex;

pub use bytes::LeftOut;
pub use case::{Generated, Generator};
pub use compare::{Tolerance, differences, tolerance};
pub use form::Form;
pub use ignored::{Ignored, ignored};
pub use prepare::{Stage, prepare};
pub use random::Random;
pub use registers::arithmetic_flags;
pub(crate) use registers::x87;
pub use scope::{codes, exempt, native_codes};
pub use steer::operand_at;
pub use tally::{Contest, Tally};
pub(crate) use traits::is_x87;
pub use traits::{is_bit_test, is_large_image, uses_mmx};
pub use values::integer;
pub(crate) use values::{Flavour, fill, quadword};
