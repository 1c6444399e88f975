//! Fused multiplication and addition. Of the three operands, the digits in an instruction's name say which two are
//! multiplied, in order, and which is added.
//! SDM: vol. 1 §14.5 (FMA); vol. 2, VFMADD132PS and its kin.

use dragoman_float::Fused;

use super::{
    super::{
        Machine,
        table::{Row, row},
    },
    AVX, FusedOp, VectorOp,
    float::Shape::{self, Pd, Ps, Sd, Ss},
    fused::Signs,
    in_parts,
    lanes::Lane,
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

/// The numbers of the operands that are multiplied, and of the one that is added.
type Order = [usize; 3];
const MULTIPLY_13: Order = [0, 2, 1];
const MULTIPLY_21: Order = [1, 0, 2];
const MULTIPLY_23: Order = [1, 2, 0];

/// Rows for the three orders of one operation.
macro_rules! orders {
    ($rows:ident, $signs:expr, $shape:ident, $multiply_13:ident $multiply_21:ident $multiply_23:ident) => {
        $rows.extend([
            row(Mnemonic::$multiply_13, |m: &mut M, i: &Insn| fma(m, i, $signs, $shape, MULTIPLY_13), AVX),
            row(Mnemonic::$multiply_21, |m: &mut M, i: &Insn| fma(m, i, $signs, $shape, MULTIPLY_21), AVX),
            row(Mnemonic::$multiply_23, |m: &mut M, i: &Insn| fma(m, i, $signs, $shape, MULTIPLY_23), AVX),
        ]);
    };
}

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    let mut rows: Vec<Row<M>> = Vec::with_capacity(60);
    orders!(rows, Signs::All(Fused::MultiplyAdd),               Ps, Vfmadd132ps Vfmadd213ps Vfmadd231ps);
    orders!(rows, Signs::All(Fused::MultiplyAdd),               Pd, Vfmadd132pd Vfmadd213pd Vfmadd231pd);
    orders!(rows, Signs::All(Fused::MultiplyAdd),               Ss, Vfmadd132ss Vfmadd213ss Vfmadd231ss);
    orders!(rows, Signs::All(Fused::MultiplyAdd),               Sd, Vfmadd132sd Vfmadd213sd Vfmadd231sd);
    orders!(rows, Signs::All(Fused::MultiplySubtract),          Ps, Vfmsub132ps Vfmsub213ps Vfmsub231ps);
    orders!(rows, Signs::All(Fused::MultiplySubtract),          Pd, Vfmsub132pd Vfmsub213pd Vfmsub231pd);
    orders!(rows, Signs::All(Fused::MultiplySubtract),          Ss, Vfmsub132ss Vfmsub213ss Vfmsub231ss);
    orders!(rows, Signs::All(Fused::MultiplySubtract),          Sd, Vfmsub132sd Vfmsub213sd Vfmsub231sd);
    orders!(rows, Signs::All(Fused::NegateMultiplyAdd),         Ps, Vfnmadd132ps Vfnmadd213ps Vfnmadd231ps);
    orders!(rows, Signs::All(Fused::NegateMultiplyAdd),         Pd, Vfnmadd132pd Vfnmadd213pd Vfnmadd231pd);
    orders!(rows, Signs::All(Fused::NegateMultiplyAdd),         Ss, Vfnmadd132ss Vfnmadd213ss Vfnmadd231ss);
    orders!(rows, Signs::All(Fused::NegateMultiplyAdd),         Sd, Vfnmadd132sd Vfnmadd213sd Vfnmadd231sd);
    orders!(rows, Signs::All(Fused::NegateMultiplySubtract),    Ps, Vfnmsub132ps Vfnmsub213ps Vfnmsub231ps);
    orders!(rows, Signs::All(Fused::NegateMultiplySubtract),    Pd, Vfnmsub132pd Vfnmsub213pd Vfnmsub231pd);
    orders!(rows, Signs::All(Fused::NegateMultiplySubtract),    Ss, Vfnmsub132ss Vfnmsub213ss Vfnmsub231ss);
    orders!(rows, Signs::All(Fused::NegateMultiplySubtract),    Sd, Vfnmsub132sd Vfnmsub213sd Vfnmsub231sd);
    orders!(rows, Signs::AddOdd,                                Ps, Vfmaddsub132ps Vfmaddsub213ps Vfmaddsub231ps);
    orders!(rows, Signs::AddOdd,                                Pd, Vfmaddsub132pd Vfmaddsub213pd Vfmaddsub231pd);
    orders!(rows, Signs::SubtractOdd,                           Ps, Vfmsubadd132ps Vfmsubadd213ps Vfmsubadd231ps);
    orders!(rows, Signs::SubtractOdd,                           Pd, Vfmsubadd132pd Vfmsubadd213pd Vfmsubadd231pd);
    rows
}

#[inline(always)]
fn fma<M: Machine>(m: &mut M, i: &Insn, signs: Signs, shape: Shape, order: Order) -> Result<(), Fault> {
    in_parts!(i, fma_parts::<M>(m, i, FusedOp { signs, shape }, order))
}

fn fma_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, op: FusedOp, order: Order) -> Result<(), Fault> {
    let last = i.read_vector::<M, N>(m, 2)?;
    let mut operand = |n: usize| if n == 2 { last } else { i.register::<M, N>(m, n) };
    let [a, b, c] = order.map(&mut operand);
    let mut result = m.fused_op(op, a, b, c)?;
    let lane = match op.shape {
        Ss => Some(Lane::D),
        Sd => Some(Lane::Q),
        Ps | Pd => None,
    };
    if let Some(lane) = lane {
        let old: [M::Vec; N] = i.register(m, 0);
        result = std::array::from_fn(|n| m.vector_op(VectorOp::MergeLow(lane), old[n], result[n]));
    }
    i.write_vector(m, result);
    Ok(())
}
