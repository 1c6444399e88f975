//! Shortcuts through the host's own arithmetic.
//!
//! Rule of this file: a shortcut is taken only where its result and its flags are certain. It rounds to nearest, which is
//! what Rust's `f32` and `f64` do on every host that conforms to IEEE 754. Operands are normal numbers, and so is the result,
//! above the smallest, so that neither overflow nor underflow nor anything before computation arises. What remains is
//! inexactness: either it has been raised before, or the result can be seen to be exact.
//! The host's own controls must be as Rust assumes them: code translated for a guest restores them before it calls here.

use crate::environment::{Environment, Exceptions, Rounding};
use crate::format::Format;

/// Whether the host's types round as IEEE 754 wants; the x87 unit rounds twice.
const CONFORMS: bool = cfg!(not(all(target_arch = "x86", not(target_feature = "sse2"))));

/// A number the host computes with.
#[derive(Clone, Copy)]
pub enum HostNumber {
    /// Single precision.
    Single(f32),
    /// Double precision.
    Double(f64),
}

impl HostNumber {
    fn is_normal(self) -> bool {
        match self {
            Self::Single(number) => number.is_normal(),
            Self::Double(number) => number.is_normal(),
        }
    }

    /// Delivers a rounded result: from the smallest normal number on, rounding may have hidden an underflow.
    #[inline]
    fn deliver<R: Format>(self) -> Option<R> {
        let certain = match self {
            Self::Single(result) => result.is_normal() && result.abs() > f32::MIN_POSITIVE,
            Self::Double(result) => result.is_normal() && result.abs() > f64::MIN_POSITIVE,
        };
        if certain { R::from_host(self) } else { None }
    }
}

/// Whether a result may be rounded by the host without looking at what was lost.
#[inline]
fn may_round(env: &Environment) -> bool {
    CONFORMS && env.rounding == Rounding::Nearest && env.raised.contains(Exceptions::PRECISION)
}

#[inline]
fn normal(number: impl Format) -> Option<HostNumber> {
    number.to_host().filter(|number| number.is_normal())
}

#[inline]
fn binary<R: Format>(
    a: impl Format,
    b: impl Format,
    env: &Environment,
    single: impl Fn(f32, f32) -> f32,
    double: impl Fn(f64, f64) -> f64,
) -> Option<R> {
    if !may_round(env) {
        return None;
    }
    match (normal(a)?, normal(b)?) {
        (HostNumber::Single(a), HostNumber::Single(b)) => HostNumber::Single(single(a, b)).deliver(),
        (HostNumber::Double(a), HostNumber::Double(b)) => HostNumber::Double(double(a, b)).deliver(),
        _ => None,
    }
}

#[inline]
pub(crate) fn add<R: Format>(a: impl Format, b: impl Format, env: &Environment) -> Option<R> {
    binary(a, b, env, |a, b| a + b, |a, b| a + b)
}

#[inline]
pub(crate) fn sub<R: Format>(a: impl Format, b: impl Format, env: &Environment) -> Option<R> {
    binary(a, b, env, |a, b| a - b, |a, b| a - b)
}

#[inline]
pub(crate) fn mul<R: Format>(a: impl Format, b: impl Format, env: &Environment) -> Option<R> {
    binary(a, b, env, |a, b| a * b, |a, b| a * b)
}

#[inline]
pub(crate) fn div<R: Format>(a: impl Format, b: impl Format, env: &Environment) -> Option<R> {
    binary(a, b, env, |a, b| a / b, |a, b| a / b)
}

#[inline]
pub(crate) fn sqrt<R: Format>(a: impl Format, env: &Environment) -> Option<R> {
    if !may_round(env) {
        return None;
    }
    match normal(a)? {
        HostNumber::Single(a) => HostNumber::Single(a.sqrt()).deliver(),
        HostNumber::Double(a) => HostNumber::Double(a.sqrt()).deliver(),
    }
}

#[inline]
pub(crate) fn convert<R: Format>(a: impl Format, env: &Environment) -> Option<R> {
    match normal(a)? {
        // Exact, whatever the rounding.
        HostNumber::Single(a) => R::from_host(HostNumber::Double(a.into())),
        HostNumber::Double(a) if may_round(env) => HostNumber::Single(a as f32).deliver(),
        HostNumber::Double(_) => None,
    }
}
