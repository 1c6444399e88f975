//! Guest time. It starts at zero when the machine is switched on, stops while the machine is paused, and never
//! runs backwards; how it follows the host's clock is the program's business, not a chip's.

use std::ops::{Add, Sub};

/// A moment of guest time, in nanoseconds since power-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VmInstant(pub u64);

/// A span of guest time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VmDuration(pub u64);

impl VmInstant {
    /// Power-on.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time from `earlier` to this moment; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> VmDuration {
        VmDuration(self.0.saturating_sub(earlier.0))
    }

    /// How many whole ticks of a clock of `hertz` that started at power-on have passed.
    pub const fn to_ticks(self, hertz: u64) -> u64 {
        VmDuration(self.0).to_ticks(hertz)
    }
}

impl VmDuration {
    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n * 1_000_000_000)
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(n * 1_000_000)
    }

    /// `n` microseconds.
    pub const fn from_micros(n: u64) -> Self {
        Self(n * 1_000)
    }

    /// How many whole ticks of a clock of `hertz` fit; saturates.
    pub const fn to_ticks(self, hertz: u64) -> u64 {
        let ticks = self.0 as u128 * hertz as u128 / 1_000_000_000;
        if ticks > u64::MAX as u128 { u64::MAX } else { ticks as u64 }
    }

    /// The shortest span in which a clock of `hertz` makes `ticks` ticks; saturates.
    pub const fn from_ticks(ticks: u64, hertz: u64) -> Self {
        let nanos = (ticks as u128 * 1_000_000_000).div_ceil(hertz as u128);
        Self(if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 })
    }
}

impl Add<VmDuration> for VmInstant {
    type Output = Self;
    /// Saturates at [`VmInstant::NEVER`].
    fn add(self, span: VmDuration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<VmDuration> for VmInstant {
    type Output = Self;
    /// Saturates at power-on.
    fn sub(self, span: VmDuration) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_n_ticks_makes_n_ticks_and_not_one_less() {
        for hertz in [1_193_182, 3_579_545, 14_318_180, 1_000_000_000, 2_299_998_000] {
            for ticks in [1, 2, 3, 1000, 65_536, 4_000_000_007] {
                let span = VmDuration::from_ticks(ticks, hertz);
                assert_eq!(span.to_ticks(hertz), ticks.max(span.to_ticks(hertz)), "{ticks} at {hertz}");
                assert!(span.to_ticks(hertz) >= ticks);
                assert!(VmDuration(span.0 - 1).to_ticks(hertz) < ticks);
            }
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(VmInstant::NEVER + VmDuration(5), VmInstant::NEVER);
        assert_eq!(VmInstant(3) - VmDuration(5), VmInstant::ZERO);
        assert_eq!(VmInstant(3).since(VmInstant(9)), VmDuration(0));
    }
}
