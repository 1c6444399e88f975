//! The guest's time-stamp counter from the host's, for a moment after somebody looked at the clock.
//!
//! Rule of this file: what translated code makes of the host's counter is never later than the clock, and never earlier than
//! what the guest has seen: it starts where the clock was read last, and runs a little slower. After
//! [`GuestTime::NANOS`] the clock is read again.

/// How the guest's counter follows from the host's.
#[derive(Debug, Default)]
#[repr(C)]
pub struct GuestTime {
    /// The host's counter just after the clock was read.
    pub(crate) host: u64,
    /// The guest's when it was.
    pub(crate) guest: u64,
    /// How far the guest's runs while the host's runs by one, with 32 bits of fraction.
    pub(crate) scale: u64,
    /// How far the host's may have run before the clock is to be read again.
    pub(crate) reach: u64,
    /// The host's counter runs at one rate.
    is_steady: bool,
    /// The host's counter and the clock when the rate began to be measured.
    first: Option<(u64, u64)>,
    /// How far the host's had run when it was measured.
    measured: u64,
    /// What `reach` becomes.
    span: u64,
}

impl GuestTime {
    /// How long a reading of the clock serves.
    pub const NANOS: u64 = 16_000;
    /// For so long the rate is measured before it is used.
    const MEASURED_NANOS: u64 = 10_000_000;
    /// A reading between two of the host's counter that are further apart says too little of either.
    const APART: u64 = 4096;
    /// The part of the rate that is left out: more than the host's clock is ever slewed by, and than is measured wrong.
    const SLOWER: u64 = 1024;

    /// Time that follows a counter which runs at one rate.
    pub fn steady() -> Self {
        Self { is_steady: true, ..Self::default() }
    }

    /// Whether it is of use to say how the host's counter stands.
    pub fn is_steady(&self) -> bool {
        self.is_steady
    }

    /// The clock is to be read before the guest's counter is said again.
    pub fn forget(&mut self) {
        self.reach = 0;
    }

    /// The clock may have stood still since it was read, or the guest's counter have been set.
    pub fn restart(&mut self) {
        *self = Self { is_steady: self.is_steady, ..Self::default() };
    }

    /// The guest's counter, which makes `hertz` ticks a second, was `guest` and the clock `nanos` when the host's was between
    /// `before` and `after`.
    pub fn learn(&mut self, before: u64, after: u64, nanos: u64, guest: u64, hertz: u64) {
        self.reach = 0;
        if after.wrapping_sub(before) > Self::APART {
            return;
        }
        (self.host, self.guest) = (after, guest);
        let Some((since, then)) = self.first else {
            self.first = Some((after, nanos));
            return;
        };
        let (ticks, passed) = (after.saturating_sub(since), nanos.saturating_sub(then));
        if passed < Self::MEASURED_NANOS || ticks == 0 {
            return;
        }
        if ticks / 2 >= self.measured {
            self.measured = ticks;
            let rate = (u128::from(passed) * u128::from(hertz) / 1_000_000_000 << 32) / u128::from(ticks);
            let rate = u64::try_from(rate).unwrap_or(0);
            self.scale = rate - rate / Self::SLOWER;
            self.span = u64::try_from(u128::from(ticks) * u128::from(Self::NANOS) / u128::from(passed)).unwrap_or(0);
        }
        self.reach = self.span;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What translated code does.
    fn said(time: &GuestTime, host: u64) -> Option<u64> {
        let run = host.wrapping_sub(time.host);
        (run < time.reach).then(|| time.guest + (u128::from(run) * u128::from(time.scale) >> 32) as u64)
    }

    #[test]
    fn the_counter_is_said_a_little_late_and_never_early() {
        const HOST: u64 = 3_000_000_000;
        const HERTZ: u64 = 1_000_000_000;
        let ticks = |nanos: u64| nanos * (HOST / 1000) / 1_000_000;
        let mut time = GuestTime::steady();
        let mut latest = 0;
        for nanos in (0..400_000_000u64).step_by(7_001) {
            let true_now = nanos + 77;
            match said(&time, ticks(nanos)) {
                Some(now) => {
                    assert!(now <= true_now && now + 40 > true_now, "{now} at {true_now}");
                    assert!(now >= latest);
                    latest = now;
                }
                None => {
                    time.learn(ticks(nanos) - ticks(nanos).min(60), ticks(nanos) + 60, nanos, true_now, HERTZ);
                    latest = true_now;
                }
            }
        }
        assert_ne!(time.reach, 0, "the rate was measured");
        time.forget();
        assert_eq!(said(&time, time.host), None);
    }

    #[test]
    fn readings_that_took_long_are_not_built_on() {
        let mut time = GuestTime::steady();
        for nanos in (0..40_000_000u64).step_by(5_000) {
            time.learn(nanos, nanos + GuestTime::APART + 1, nanos, nanos, 1_000_000_000);
            assert_eq!(time.reach, 0);
        }
    }
}
