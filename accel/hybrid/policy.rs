//! Where the user mode of each address space runs: in the translator, or elsewhere.
//!
//! Rule of this file: it decides by what was measured, and knows neither engine. Going elsewhere and coming back costs a certain
//! time, whatever is done there; so code that returns to the kernel all the time is better off in the translator, and long runs
//! are better off elsewhere. What happens elsewhere is measured as it is; from the translator it is known how often user mode
//! was entered between two interrupts that found it running.

use std::{collections::HashMap, time::Duration};

/// User mode stays for so many times as long as the way there and back costs, or it is not worth going.
const WORTHWHILE: u32 = 16;
/// So many times as long it must stay on average, or it comes back.
const TOO_SHORT: u32 = 6;
/// In so many samples in a row user mode must be found to run for long before it goes elsewhere.
const SAMPLES: u32 = 2;
/// How much of a sample's time is compared: shorter ones say nothing.
const SHORTEST_SAMPLE: Duration = Duration::from_micros(500);
/// What coming back too early costs: so many samples are not looked at, twice as many each time.
const FIRST_PENALTY: u32 = 4;
const LAST_PENALTY: u32 = 1 << 10;
/// More address spaces than this are not remembered.
const MOST: usize = 256;

/// The address of an address space's top page table.
pub(super) type Space = u64;

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    is_elsewhere: bool,
    /// Samples in a row that found long runs.
    long: u32,
    /// Samples that are not looked at.
    waits: u32,
    penalty: u32,
    /// How long user mode stays elsewhere, on average, in nanoseconds.
    stay: u64,
}

/// What is known of all address spaces.
#[derive(Debug)]
pub(super) struct Policy {
    spaces: HashMap<Space, Known>,
    /// What the way there and back takes.
    trip: Duration,
}

impl Policy {
    /// A policy that knows nothing but what the way there and back is expected to take.
    pub fn new(trip: Duration) -> Self {
        Self { spaces: HashMap::new(), trip }
    }

    /// Whether the user mode of `space` runs elsewhere.
    #[cfg(test)]
    fn is_elsewhere(&self, space: Space) -> bool {
        self.spaces.get(&space).is_some_and(|known| known.is_elsewhere)
    }

    /// An interrupt found user mode of `space` running in the translator, `span` after the one before, and it was entered
    /// `entries` times since. Whether it goes elsewhere now.
    pub fn sample(&mut self, space: Space, span: Duration, entries: u64) -> bool {
        if self.spaces.len() >= MOST && !self.spaces.contains_key(&space) {
            self.spaces.clear();
        }
        let known = self.spaces.entry(space).or_default();
        if known.is_elsewhere || span < SHORTEST_SAMPLE {
            return false;
        }
        if known.waits > 0 {
            known.waits -= 1;
            return false;
        }
        let stay = span / u32::try_from(entries.max(1)).unwrap_or(u32::MAX);
        known.long = if stay >= self.trip * WORTHWHILE { known.long + 1 } else { 0 };
        known.is_elsewhere = known.long >= SAMPLES;
        known.stay = 0;
        known.is_elsewhere
    }

    /// User mode of `space` ran elsewhere, which took `time` with the way there and back. Whether it comes back for good, or
    /// until it is found to run for long again.
    pub fn ran(&mut self, space: Space, time: Duration) -> bool {
        // The shortest ways there and back are those on which nothing else happened; slowly, for they may get longer.
        self.trip = if time < self.trip { time } else { self.trip + self.trip / 1024 };
        let Some(known) = self.spaces.get_mut(&space) else { return true };
        let time = time.as_nanos() as u64;
        known.stay = if known.stay == 0 { time.max(self.trip.as_nanos() as u64 * 32) } else { (known.stay * 15 + time) / 16 };
        let is_too_short = known.stay < self.trip.as_nanos() as u64 * u64::from(TOO_SHORT);
        if is_too_short {
            known.penalty = (known.penalty * 2).clamp(FIRST_PENALTY, LAST_PENALTY);
            *known = Known { penalty: known.penalty, waits: known.penalty, ..Known::default() };
        }
        is_too_short
    }

    /// What the way there and back takes.
    pub fn trip(&self) -> Duration {
        self.trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_micros(50);
    const TICK: Duration = Duration::from_millis(4);

    #[test]
    fn long_runs_go_elsewhere_and_code_that_calls_the_kernel_all_the_time_does_not() {
        let mut policy = Policy::new(TRIP);
        assert!(!policy.sample(1, TICK, 1) && policy.sample(1, TICK, 1) && policy.is_elsewhere(1));
        assert!((0..100).all(|_| !policy.sample(2, TICK, 400)) && !policy.is_elsewhere(2));
        // One long stretch among short ones is not enough.
        assert!((0..100).all(|n| !policy.sample(3, TICK, if n % 2 == 0 { 1 } else { 400 })));
        assert!(!policy.sample(4, Duration::from_micros(10), 1) && !policy.sample(4, Duration::from_micros(10), 1));
    }

    #[test]
    fn stays_that_get_short_end_it_and_it_takes_longer_each_time_to_begin_again() {
        let mut policy = Policy::new(TRIP);
        let mut waited = Vec::new();
        for _ in 0..3 {
            waited.push((1..10_000).find(|_| policy.sample(1, TICK, 1)).expect("it goes at last"));
            assert!((0..1000).all(|_| !policy.ran(1, TICK)));
            assert!((0..200).any(|_| policy.ran(1, TRIP * 2)) && !policy.is_elsewhere(1));
        }
        assert_eq!(waited, [2, 6, 10]);
    }

    #[test]
    fn a_few_short_stays_do_not_end_it() {
        let mut policy = Policy::new(TRIP);
        assert!((0..2).any(|_| policy.sample(1, TICK, 1)));
        assert!((0..1000).all(|n| !policy.ran(1, if n % 4 == 0 { TICK } else { TRIP })));
    }

    #[test]
    fn a_way_that_is_shorter_than_was_thought_is_learnt() {
        let mut policy = Policy::new(Duration::from_millis(1));
        assert!((0..10).all(|_| !policy.sample(1, TICK, 1)));
        policy.ran(1, TRIP);
        assert!((0..3).any(|_| policy.sample(1, TICK, 1)));
    }
}
