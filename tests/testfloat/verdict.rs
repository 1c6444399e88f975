//! Whether an answer is TestFloat's.
//!
//! Rule of this file: values and flags are compared bit by bit, NaNs too. Where the standard leaves a choice and x86 makes
//! another one than SoftFloat, that stands in [`own_answer`], and nowhere else.

use dragoman_float::Exceptions;

use crate::generator::TestCase;

/// What was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The result's encoding.
    pub result: u128,
    /// The exceptions raised.
    pub raised: Exceptions,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is TestFloat's.
    Same,
    /// It is x86's where the standard leaves a choice that TestFloat makes otherwise.
    Choice,
    /// It is wrong.
    Wrong,
}

const INVALID: u8 = 16;

/// Judges an answer to a case of `function`.
pub fn judge(function: &str, case: &TestCase, answer: Answer) -> Verdict {
    let answer = (answer.result, flags(answer.raised));
    match own_answer(function, case) {
        Some(own) if own == answer => Verdict::Choice,
        None if answer == (case.result, case.flags) => Verdict::Same,
        _ => Verdict::Wrong,
    }
}

/// TestFloat's flags. It knows no denormal operands.
pub fn flags(raised: Exceptions) -> u8 {
    [
        (Exceptions::PRECISION, 1),
        (Exceptions::UNDERFLOW, 2),
        (Exceptions::OVERFLOW, 4),
        (Exceptions::ZERO_DIVIDE, 8),
        (Exceptions::INVALID, INVALID),
    ]
    .iter()
    .filter(|(exception, _)| raised.contains(*exception))
    .fold(0, |flags, (_, flag)| flags | flag)
}

/// x86's answer and flags where it is not SoftFloat's. Zero times infinity plus a NaN: IEEE 754-2008 §7.2 leaves it open
/// whether that is invalid. SoftFloat says yes and gives the default NaN; x86 passes the NaN on and calls only a signalling
/// one invalid (SDM vol. 1 Table 14-17).
fn own_answer(function: &str, case: &TestCase) -> Option<(u128, u8)> {
    let (exponent, quiet): (u128, u128) = match function {
        "f32_mulAdd" => (0x7f80_0000, 1 << 22),
        "f64_mulAdd" => (0x7ff << 52, 1 << 51),
        _ => return None,
    };
    let magnitude = |bits: u128| bits & (exponent | ((quiet << 1) - 1));
    let [a, b, addend] = case.operands.map(magnitude);
    let is_zero_times_infinity = (a, b) == (0, exponent) || (a, b) == (exponent, 0);
    let invalid = if addend & quiet == 0 { INVALID } else { 0 };
    (is_zero_times_infinity && addend > exponent).then_some((case.operands[2] | quiet, invalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_times_infinity_passes_a_nan_on_and_nothing_else_may_differ() {
        let (infinity, nan, default) = (0x7f80_0000, 0x7fc0_0001, 0xffc0_0000);
        let case = TestCase { operands: [0, infinity, nan], result: default, flags: INVALID };
        let quiet = Answer { result: nan, raised: Exceptions::DENORMAL };
        assert_eq!(judge("f32_mulAdd", &case, quiet), Verdict::Choice);
        assert_eq!(judge("f32_mulAdd", &case, Answer { raised: Exceptions::INVALID, ..quiet }), Verdict::Wrong);
        assert_eq!(judge("f32_mulAdd", &case, Answer { result: nan + 1, ..quiet }), Verdict::Wrong);
        assert_eq!(judge("f32_add", &case, quiet), Verdict::Wrong);
        let finite = TestCase { operands: [0, 0x3f80_0000, nan], ..case };
        assert_eq!(judge("f32_mulAdd", &finite, quiet), Verdict::Wrong);
        let signalling = TestCase { operands: [infinity, 0, 0xff80_0001], ..case };
        let answer = Answer { result: 0xffc0_0001, raised: Exceptions::INVALID };
        assert_eq!(judge("f32_mulAdd", &signalling, answer), Verdict::Choice);
    }
}
