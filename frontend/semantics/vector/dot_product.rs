//! Dot products.
//! SDM: vol. 2, DPPS, DPPD.

use dragoman_float::{Environment, F32, F64, add, mul};

use super::{
    across::lanes,
    float::{LaneFormat, lane},
};

/// The dot products of all parts of an instruction, as [`super::FloatOp::DotProduct`] describes them.
pub(super) fn compute<const N: usize>(
    immediate: u8,
    is_double: bool,
    a: [u128; N],
    b: [u128; N],
    env: &mut Environment,
) -> [u128; N] {
    if is_double { dot_products::<F64, N>(immediate, a, b, env) } else { dot_products::<F32, N>(immediate, a, b, env) }
}

/// Products, then sums in pairs until each lane has all of them: processors add in every lane, which shows where there is a
/// choice of NaNs. The exceptions of each step are taken before the next one begins.
fn dot_products<F: LaneFormat, const N: usize>(immediate: u8, a: [u128; N], b: [u128; N], env: &mut Environment) -> [u128; N] {
    let count = 128 / F::BITS;
    let is_chosen = |bit: u32| u32::from(immediate) >> bit & 1 != 0;
    let mut terms = std::array::from_fn(|part| {
        lanes(count, |n| if is_chosen(4 + n) { mul(lane::<F>(a[part], n), lane::<F>(b[part], n), env) } else { F::of(0) })
    });
    // What is added, by the number of the lane: the first operand, and the second.
    let steps: &[(u32, u32)] = if count == 4 { &[(1, 0), (0, 2)] } else { &[(0, 1)] };
    for (first, second) in steps {
        if !env.end_step() {
            break;
        }
        terms = terms.map(|v| lanes(count, |n| add::<F>(lane::<F>(v, n ^ first), lane::<F>(v, n ^ second), env)));
    }
    terms.map(|v| lanes(count, |n| if is_chosen(n) { lane::<F>(v, n) } else { F::of(0) }))
}

#[cfg(test)]
mod tests {
    use dragoman_state::Mxcsr;

    use crate::semantics::vector::float::{FloatOp, Unmasked, evaluate};

    fn singles(lanes: [f32; 4]) -> u128 {
        lanes.iter().rev().fold(0, |v, lane| v << 32 | u128::from(lane.to_bits()))
    }

    fn single(immediate: u8, a: [f32; 4], b: [f32; 4], mxcsr: &mut Mxcsr) -> Result<u128, Unmasked> {
        let op = FloatOp::DotProduct { immediate, is_double: false };
        evaluate(op, [singles(a)], [singles(b)], mxcsr).map(|[result]| result)
    }

    #[test]
    fn products_are_added_in_pairs_and_each_sum_is_rounded() {
        let product = |immediate, a, b| single(immediate, a, b, &mut Mxcsr::RESET.clone()).expect("all exceptions are masked");
        let tiny = 2f32.powi(-24);
        assert_eq!(product(0xf1, [1.0, tiny, tiny, 0.0], [1.0; 4]), singles([1.0, 0.0, 0.0, 0.0]));
        assert_eq!(product(0xf8, [1.0, 0.0, tiny, tiny], [1.0; 4]), singles([0.0, 0.0, 0.0, 1.0 + 2.0 * tiny]));
        assert_eq!(product(0x9f, [1.0, 9.0, 9.0, 2.0], [3.0; 4]), singles([9.0; 4]));
        assert_eq!(product(0x0f, [f32::NAN; 4], [3.0; 4]), 0);
        let nans = [0x7fc0_0010, 0x7fc0_0011, 0x7fc0_0012, 0x7fc0_0013].map(f32::from_bits);
        assert_eq!(product(0xff, nans, [1.0; 4]), singles([nans[1], nans[0], nans[3], nans[2]]));
        let doubles = |low: f64, high: f64| u128::from(high.to_bits()) << 64 | u128::from(low.to_bits());
        let op = FloatOp::DotProduct { immediate: 0x32, is_double: true };
        assert_eq!(evaluate(op, [doubles(2.0, 3.0)], [doubles(5.0, 7.0)], &mut Mxcsr::RESET.clone()), Ok([doubles(0.0, 31.0)]));
    }

    #[test]
    fn an_unmasked_exception_of_the_sums_leaves_those_of_the_products() {
        let denormal_unmasked = Mxcsr::RESET.difference(Mxcsr::from_bits_retain(1 << 8));
        let mut mxcsr = denormal_unmasked;
        let (third, small) = (1.0 / 3.0, f32::MIN_POSITIVE);
        assert_eq!(single(0x3f, [third, small, 0.0, 0.0], [third, 0.5, 0.0, 0.0], &mut mxcsr), Err(Unmasked));
        assert_eq!(mxcsr, denormal_unmasked | Mxcsr::DE | Mxcsr::PE);
    }

    #[test]
    fn an_unmasked_exception_of_the_products_comes_before_the_sums() {
        let invalid_unmasked = Mxcsr::RESET.difference(Mxcsr::from_bits_retain(1 << 7));
        let mut mxcsr = invalid_unmasked;
        let tiny = f32::MIN_POSITIVE / 2.0;
        assert_eq!(single(0x3f, [f32::INFINITY, 1.0, tiny, 1.0], [0.0; 4], &mut mxcsr), Err(Unmasked));
        assert_eq!(mxcsr, invalid_unmasked | Mxcsr::IE);
    }
}
