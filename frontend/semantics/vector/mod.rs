//! Vector instructions: MMX, SSE and SSE2, one family a file.
//!
//! A vector register is worked on in parts of 128 bits. The encodings of this folder's families work on the lowest part
//! and leave the others as they are.

mod arithmetic;
mod conversions;
pub mod float;
mod integer;
pub mod lanes;
mod moves;
mod shuffles;
mod status;

use dragoman_state::Width;
pub use float::FloatOp;
pub use lanes::VectorOp;

use super::{Machine, table::Row};
use crate::{
    decode::{Attributes, Insn, Kind},
    fault::Fault,
};

/// The rows of all vector families.
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    let mut rows = Vec::new();
    rows.extend(arithmetic::rows());
    rows.extend(conversions::rows());
    rows.extend(integer::rows());
    rows.extend(moves::rows());
    rows.extend(shuffles::rows());
    rows.extend(status::rows());
    rows
}

const SSE: Attributes = Attributes::SSE;
const MMX: Attributes = Attributes::MMX;

impl Insn {
    /// Reads vector operand `n`: a register, or as much memory as the operand has, zeros above. Sixteen bytes must be
    /// aligned.
    #[inline(always)]
    fn read_vector<M: Machine>(&self, m: &mut M, n: usize) -> Result<M::Vec, Fault> {
        let operand = self.operands[n];
        if operand.kind == Kind::Vector {
            return Ok(m.vector(operand.register, 0));
        }
        let at = m.address(self);
        if self.memory_size == 16 {
            return m.load_vector(self.segment, at, true);
        }
        let width = Width::from_bytes(self.memory_size.into()).unwrap_or(Width::Qword);
        let (low, zero) = (m.load(self.segment, at, width)?, m.constant(0));
        Ok(m.vector_of(low, zero))
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

    /// Writes the lowest part of vector operand 0, a register.
    #[inline(always)]
    fn write_vector<M: Machine>(&self, m: &mut M, value: M::Vec) {
        m.set_vector(self.operands[0].register, 0, value);
    }
}
