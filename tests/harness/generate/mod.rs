//! Cases made up by a generator: every encoding that a model of processor has, with random operands, registers and memory
//! in which special values are frequent. The same seed gives the same cases on every machine.

mod case;
mod compare;
mod form;
mod random;
mod scope;
mod values;

pub use case::{Generated, Generator};
pub use compare::{Ignored, differences};
pub use form::Form;
pub use random::Random;
pub use scope::{exempt, native_codes};
