//! Fused multiplication and addition as pure functions over 128 bits and MXCSR.
//! SDM: vol. 1 §14.5 (FMA).

use dragoman_float::{Environment, F32, F64, Fused, fused};
use dragoman_state::Mxcsr;

use super::float::{LaneFormat, Shape, Unmasked, lane, with_lowest};

/// Which signs are turned, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// The same in all lanes.
    All(Fused),
    /// Odd lanes add, even ones subtract: VFMADDSUB.
    AddOdd,
    /// Odd lanes subtract, even ones add: VFMSUBADD.
    SubtractOdd,
}

/// `a * b + c` with signs, rounded once. Of scalars, the lanes that are not computed are those of the `a` operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FusedOp {
    /// Signs.
    pub signs: Signs,
    /// Lanes and format.
    pub shape: Shape,
}

/// `a * b + c` for all parts of an instruction, and what it does to `mxcsr`.
pub fn evaluate<const N: usize>(
    op: FusedOp,
    a: [u128; N],
    b: [u128; N],
    c: [u128; N],
    mxcsr: &mut Mxcsr,
) -> Result<[u128; N], Unmasked> {
    let mut env = Environment::from_mxcsr(*mxcsr);
    let mut result = [0; N];
    for n in 0..N {
        result[n] = match op.shape {
            Shape::Ps => by_lane::<F32>(op.signs, a[n], b[n], c[n], &mut env),
            Shape::Pd => by_lane::<F64>(op.signs, a[n], b[n], c[n], &mut env),
            Shape::Ss => with_lowest(a[n], compute::<F32>(op.signs, 0, a[n], b[n], c[n], &mut env)),
            Shape::Sd => with_lowest(a[n], compute::<F64>(op.signs, 0, a[n], b[n], c[n], &mut env)),
        };
    }
    if env.retire_mxcsr(mxcsr).is_empty() { Ok(result) } else { Err(Unmasked) }
}

fn by_lane<F: LaneFormat>(signs: Signs, a: u128, b: u128, c: u128, env: &mut Environment) -> u128 {
    (0..128 / F::BITS).fold(0, |result, n| {
        let value: F = compute(signs, n, a, b, c, env);
        result | u128::from(value.bits()) << (n * F::BITS)
    })
}

fn compute<F: LaneFormat>(signs: Signs, n: u32, a: u128, b: u128, c: u128, env: &mut Environment) -> F {
    let signs = match signs {
        Signs::All(signs) => signs,
        Signs::AddOdd | Signs::SubtractOdd if (n % 2 == 1) == (signs == Signs::AddOdd) => Fused::MultiplyAdd,
        Signs::AddOdd | Signs::SubtractOdd => Fused::MultiplySubtract,
    };
    fused(signs, lane(a, n), lane(b, n), lane(c, n), env)
}
