//! A model of the integer instructions' results and flags that works one bit at a time, written from the manual alone:
//! an adder that ripples, shifts that move by one place, products from shifted sums.
//!
//! Rule of this folder: nothing here calls what it judges, and nothing is clever. A flag that the manual leaves undefined
//! is [`Fate::Undefined`] and not compared. SDM: vol. 1 §3.4.3.1, and vol. 2, the entry of each instruction.

mod adder;
mod bit_fields;
mod bit_strings;
mod bits;
mod cases;
mod decimal;
mod machine;
mod model;
mod products;
mod shifts;

pub use cases::{Batch, Cases, is_modelled};
pub use machine::Machine;
pub use model::{Unmodelled, expected};

/// What becomes of one flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written.
    Is(bool),
    /// It keeps its value.
    Kept,
    /// The manual does not say.
    Undefined,
}

/// What becomes of the six arithmetic flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub struct Fates {
    pub cf: Fate,
    pub pf: Fate,
    pub af: Fate,
    pub zf: Fate,
    pub sf: Fate,
    pub of: Fate,
}

impl Fates {
    /// All keep their values.
    pub const KEPT: Self =
        Self { cf: Fate::Kept, pf: Fate::Kept, af: Fate::Kept, zf: Fate::Kept, sf: Fate::Kept, of: Fate::Kept };
    /// The manual says nothing about any.
    pub const UNDEFINED: Self = Self {
        cf: Fate::Undefined,
        pf: Fate::Undefined,
        af: Fate::Undefined,
        zf: Fate::Undefined,
        sf: Fate::Undefined,
        of: Fate::Undefined,
    };

    /// Each with the number of its bit in RFLAGS.
    pub const fn by_bit(&self) -> [(u32, Fate); 6] {
        [(0, self.cf), (2, self.pf), (4, self.af), (6, self.zf), (7, self.sf), (11, self.of)]
    }
}
