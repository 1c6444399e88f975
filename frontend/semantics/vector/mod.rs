//! Vector instructions: MMX, SSE and AVX, one family a file.
//!
//! A vector register is worked on in parts of 128 bits: one, or two where the instruction has 256. An operation has one
//! handler for its old encoding, whose first operand is a source too and which leaves the parts above as they are, and for
//! its VEX encoding, which has the first source apart and clears them. SDM: vol. 1 §14.1.

pub mod across;
pub mod aes;
mod arithmetic;
pub mod carryless;
mod comparisons;
mod conversions;
mod cryptography;
mod dot_product;
mod elements;
pub mod float;
mod fma;
pub mod fused;
mod gathers;
mod half;
pub mod horizontal;
mod integer;
pub mod lanes;
mod masked;
mod moves;
mod permutes;
pub mod products;
pub mod rearrange;
mod selections;
pub mod sha;
mod shifts;
mod shuffles;
mod status;
pub mod string_compare;
pub mod ternary;

use dragoman_state::Width;
pub use float::FloatOp;
pub use fused::FusedOp;
pub use lanes::VectorOp;
pub use ternary::TernaryOp;

use super::{Machine, table::Row};
use crate::{
    decode::{Attributes, Insn, Kind},
    fault::Fault,
};

/// The rows of all vector families.
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    let mut rows = Vec::new();
    rows.extend(arithmetic::rows());
    rows.extend(comparisons::rows());
    rows.extend(conversions::rows());
    rows.extend(cryptography::rows());
    rows.extend(elements::rows());
    rows.extend(fma::rows());
    rows.extend(gathers::rows());
    rows.extend(half::rows());
    rows.extend(integer::rows());
    rows.extend(masked::rows());
    rows.extend(moves::rows());
    rows.extend(permutes::rows());
    rows.extend(selections::rows());
    rows.extend(shifts::rows());
    rows.extend(shuffles::rows());
    rows.extend(status::rows());
    rows
}

const SSE: Attributes = Attributes::SSE;
const MMX: Attributes = Attributes::MMX;
const AVX: Attributes = Attributes::AVX;

/// How many parts a register has on processors with AVX.
const PARTS: usize = 2;

impl Insn {
    /// The numbers of the operands that are the first and the second source.
    #[inline(always)]
    fn sources(&self) -> (usize, usize) {
        if self.is_vex() { (1, 2) } else { (0, 1) }
    }

    /// The lowest `N` parts of vector operand `n`, a register.
    #[inline(always)]
    fn register<M: Machine, const N: usize>(&self, m: &mut M, n: usize) -> [M::Vec; N] {
        std::array::from_fn(|part| m.vector(self.operands[n].register, part))
    }

    /// Reads `N` parts of vector operand `n`: a register, or as much memory as the operand has, zeros above. Without VEX,
    /// sixteen bytes must be aligned.
    #[inline(always)]
    fn read_vector<M: Machine, const N: usize>(&self, m: &mut M, n: usize) -> Result<[M::Vec; N], Fault> {
        if self.operands[n].kind == Kind::Vector {
            return Ok(self.register(m, n));
        }
        let at = m.address(self);
        if self.memory_size >= 16 {
            return m.load_vector(self.segment, at, if self.is_vex() { 1 } else { 16 });
        }
        let width = Width::from_bytes(self.memory_size.into()).unwrap_or(Width::Qword);
        let (low, zero) = (m.load(self.segment, at, width)?, m.constant(0));
        let low = m.vector_of(low, zero);
        let none = m.vector_of(zero, zero);
        Ok(std::array::from_fn(|part| if part == 0 { low } else { none }))
    }

    /// Reads MMX operand `n`: a register or memory.
    #[inline(always)]
    fn read_mmx<M: Machine>(&self, m: &mut M, n: usize) -> Result<M::Val, Fault> {
        let operand = self.operands[n];
        if operand.kind == Kind::Mmx {
            return Ok(m.mmx(operand.register));
        }
        let at = m.address(self);
        m.load(self.segment, at, operand.width)
    }

    /// Writes the lowest `N` parts of vector operand 0, a register; VEX clears what is above.
    #[inline(always)]
    fn write_vector<M: Machine, const N: usize>(&self, m: &mut M, value: [M::Vec; N]) {
        self.write_register(m, self.operands[0].register, value);
    }

    /// The same of any register.
    #[inline(always)]
    fn write_register<M: Machine, const N: usize>(&self, m: &mut M, register: u8, value: [M::Vec; N]) {
        for (part, value) in value.into_iter().enumerate() {
            m.set_vector(register, part, value);
        }
        if self.is_vex() {
            let zero = m.constant(0);
            for part in N..PARTS {
                let none = m.vector_of(zero, zero);
                m.set_vector(register, part, none);
            }
        }
    }
}

/// Calls `$f::<M, N>` with as many parts as the instruction has.
macro_rules! in_parts {
    ($insn:expr, $f:ident :: <$m:ty>($($argument:expr),*)) => {
        if $insn.is_wide() { $f::<$m, 2>($($argument),*) } else { $f::<$m, 1>($($argument),*) }
    };
}
use in_parts;
