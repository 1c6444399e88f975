//! How long the interpreter goes on with what KVM could not run.
//!
//! About as long as the way there and back takes, where KVM has run the guest for a while before: so the way costs no more than
//! twice what it must, whatever comes next. Twice as long each time that it gave up again at once: so code that KVM can do nothing
//! with costs no more than its interpretation. How long the way takes is measured: hosts differ by ten times in it.

use std::time::{Duration, Instant};

/// How many instructions are interpreted in a microsecond.
const RATE: u64 = 50;
/// What a way takes until one was measured.
const FIRST_WAY: Duration = Duration::from_micros(20);
/// As many instructions as are interpreted in one go at least, and at most.
const SHORTEST: u64 = 1 << 8;
const LONGEST: u64 = 1 << 16;

/// How long it is to be next time.
#[derive(Debug)]
pub(super) struct Patience {
    /// There and back, of late.
    way: Duration,
    /// How often the last was doubled.
    doublings: u32,
    entered: Instant,
}

impl Default for Patience {
    fn default() -> Self {
        Self { way: FIRST_WAY, doublings: 0, entered: Instant::now() }
    }
}

impl Patience {
    /// Half of a way was gone, in `time`.
    pub fn go(&mut self, time: Duration) {
        // One in eight counts: now and then the host has something else to do.
        self.way = (self.way * 7 + 2 * time) / 8;
    }

    /// The guest goes into KVM.
    pub fn enter(&mut self) {
        self.entered = Instant::now();
    }

    /// KVM gave up: how many instructions are to be interpreted.
    pub fn give_up(&mut self) -> u64 {
        self.give_up_after(self.entered.elapsed())
    }

    /// The guest is here already: how many instructions may be interpreted before it goes into KVM, for no more than the way costs.
    pub fn once(&self) -> u64 {
        (self.way.as_micros() as u64).saturating_mul(RATE).max(SHORTEST)
    }

    fn give_up_after(&mut self, stay: Duration) -> u64 {
        // What the guest runs in KVM for less than the way takes is not worth the way.
        self.doublings = if stay > self.way { 0 } else { self.doublings + 1 };
        self.once().saturating_mul(1 << self.doublings.min(16)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_stays_double_it_and_a_long_one_begins_anew() {
        let mut patience = Patience::default();
        let (short, long) = (Duration::from_micros(5), Duration::from_millis(1));
        assert_eq!(patience.give_up_after(long), 20 * RATE);
        let then: Vec<u64> = (0..4).map(|_| patience.give_up_after(short)).collect();
        assert_eq!(then, [2, 4, 8, 16].map(|n| n * 20 * RATE));
        assert_eq!(patience.give_up_after(long), 20 * RATE);
        let last = (0..40).map(|_| patience.give_up_after(short)).last();
        assert_eq!(last, Some(LONGEST));
    }

    #[test]
    fn a_way_that_takes_longer_is_gone_for_longer() {
        let mut patience = Patience::default();
        (0..100).for_each(|_| patience.go(Duration::from_micros(100)));
        let length = patience.give_up_after(Duration::from_millis(1));
        assert!((190 * RATE..=200 * RATE).contains(&length), "{length}");
        (0..200).for_each(|_| patience.go(Duration::ZERO));
        assert_eq!(patience.give_up_after(Duration::from_millis(1)), SHORTEST);
    }
}
