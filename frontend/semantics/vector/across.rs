//! Floating-point operations that are not the same for all lanes: sums of neighbours, alternating sums.
//! SDM: vol. 2, ADDSUBPS, HADDPS, HSUBPS and their double-precision kin.

use dragoman_float::{Environment, F32, F64, add, sub};

use super::float::{LaneFormat, lane};

/// An operation across the floating-point lanes of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// Differences in the lanes of even number, sums in the others.
    AddSub,
    /// Sums of neighbours, the first operand's in the low half.
    Add,
    /// The lower neighbour less the higher one.
    Sub,
}

/// `a op b`.
pub(super) fn compute(op: Across, is_double: bool, a: u128, b: u128, env: &mut Environment) -> u128 {
    if is_double { across::<F64>(op, a, b, env) } else { across::<F32>(op, a, b, env) }
}

fn across<F: LaneFormat>(op: Across, a: u128, b: u128, env: &mut Environment) -> u128 {
    let count = 128 / F::BITS;
    let half = count / 2;
    // Where a lane of neighbours' sums comes from.
    let pair = |n: u32| {
        let (v, n) = if n < half { (a, n) } else { (b, n - half) };
        (lane::<F>(v, 2 * n), lane::<F>(v, 2 * n + 1))
    };
    match op {
        Across::AddSub => lanes(count, |n| {
            let (a, b) = (lane::<F>(a, n), lane::<F>(b, n));
            if n % 2 == 0 { sub::<F>(a, b, env) } else { add(a, b, env) }
        }),
        Across::Add => lanes(count, |n| {
            let (a, b) = pair(n);
            add::<F>(a, b, env)
        }),
        Across::Sub => lanes(count, |n| {
            let (a, b) = pair(n);
            sub::<F>(a, b, env)
        }),
    }
}

/// `count` lanes, each by `f`.
pub(super) fn lanes<F: LaneFormat>(count: u32, mut f: impl FnMut(u32) -> F) -> u128 {
    (0..count).fold(0, |lanes, n| lanes | u128::from(f(n).bits()) << (n * F::BITS))
}

#[cfg(test)]
mod tests {
    use dragoman_state::Mxcsr;

    use super::Across;
    use crate::semantics::vector::float::{FloatOp, Unmasked};

    fn evaluate(op: Across, is_double: bool, a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, Unmasked> {
        crate::semantics::vector::float::evaluate(FloatOp::Across { op, is_double }, [a], [b], mxcsr).map(|[result]| result)
    }

    fn singles(lanes: [f32; 4]) -> u128 {
        lanes.iter().rev().fold(0, |v, lane| v << 32 | u128::from(lane.to_bits()))
    }

    fn doubles(lanes: [f64; 2]) -> u128 {
        u128::from(lanes[1].to_bits()) << 64 | u128::from(lanes[0].to_bits())
    }

    fn single(op: Across, a: [f32; 4], b: [f32; 4]) -> u128 {
        let mut mxcsr = Mxcsr::RESET;
        evaluate(op, false, singles(a), singles(b), &mut mxcsr).expect("all exceptions are masked")
    }

    #[test]
    fn neighbours_and_alternating_lanes_are_summed() {
        let (a, b) = ([1.0, 2.0, 3.0, 5.0], [10.0, 20.0, 30.0, 50.0]);
        assert_eq!(single(Across::AddSub, a, b), singles([-9.0, 22.0, -27.0, 55.0]));
        assert_eq!(single(Across::Add, a, b), singles([3.0, 8.0, 30.0, 80.0]));
        assert_eq!(single(Across::Sub, a, b), singles([-1.0, -2.0, -10.0, -20.0]));
        let mut mxcsr = Mxcsr::RESET;
        let (a, b) = (doubles([1.0, 2.0]), doubles([10.0, 20.0]));
        assert_eq!(evaluate(Across::Add, true, a, b, &mut mxcsr), Ok(doubles([3.0, 30.0])));
        assert_eq!(evaluate(Across::AddSub, true, a, b, &mut mxcsr), Ok(doubles([-9.0, 22.0])));
        assert_eq!(mxcsr, Mxcsr::RESET);
    }
}
