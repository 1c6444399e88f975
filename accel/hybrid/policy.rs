//! Where the user mode of each address space runs: in the translator, or elsewhere.
//!
//! Rule of this file: it decides by what was measured, and knows neither engine. Going elsewhere and coming back costs a certain
//! time, whatever is done there; so code that returns to the kernel all the time is better off in the translator, and long runs
//! are better off elsewhere, unless what they do there is to touch pages for the first time, each of which takes as long as
//! thousands of instructions. What happens elsewhere is measured as it is: how long a stay took, and how many pages held it up;
//! from the translator it is known how often user mode was entered between two interrupts that found it running.
//!
//! Nobody counts instructions elsewhere, so what a stay has brought is not known but by what it cannot have been: the way, and the
//! pages. To try costs a stay, which lasts from one interrupt to the next as a sample does; so it is tried when ten times as much
//! has passed.

use std::{collections::HashMap, time::Duration};

/// User mode stays for so many times as long as the way there and back costs, or it is not worth going.
const WORTHWHILE: u32 = 16;
/// So many times as long it must stay on average, or it comes back.
const TOO_SHORT: u32 = 6;
/// In so many samples user mode must be found to run for long before it goes elsewhere; each that finds something else takes some of
/// them back.
const SAMPLES: u32 = 10;
const TAKEN_BACK: u32 = 3;
/// How much of a sample's time is compared: shorter ones say nothing.
const SHORTEST_SAMPLE: Duration = Duration::from_micros(500);
/// What coming back too early costs: so many samples are not looked at, twice as many each time. Not so many that a new address
/// space suffers for long that has the place of an old one.
const FIRST_PENALTY: u32 = 4;
const LAST_PENALTY: u32 = 1 << 6;
/// Of what a stay elsewhere takes, so much is lost at most: a fourth. The rest has to make up for it.
const LARGEST_LOSS: u32 = 4;
/// What one page is expected to take, before it was measured; and in how many of a stay it is measured.
const FAULT: Duration = Duration::from_micros(10);
const ENOUGH_FAULTS: u64 = 32;
/// More address spaces than this are not remembered.
const MOST: usize = 256;

/// The address of an address space's top page table.
pub(super) type Space = u64;

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    is_elsewhere: bool,
    /// Samples that found long runs, less what the others took back.
    long: u32,
    /// Samples that are not looked at.
    waits: u32,
    penalty: u32,
    /// How long user mode stays elsewhere, on average, in nanoseconds.
    stay: u64,
    /// How long it was there since that was judged last, and how much of that was lost on pages.
    there: Duration,
    lost: Duration,
}

/// What is known of all address spaces.
#[derive(Debug)]
pub(super) struct Policy {
    spaces: HashMap<Space, Known>,
    /// What the way there and back takes.
    trip: Duration,
    /// What a page takes that was not known.
    fault: Duration,
}

impl Policy {
    /// A policy that knows nothing but what the way there and back is expected to take.
    pub fn new(trip: Duration) -> Self {
        Self { spaces: HashMap::new(), trip, fault: FAULT }
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
        known.long = if stay >= self.trip * WORTHWHILE { known.long + 1 } else { known.long.saturating_sub(TAKEN_BACK) };
        known.is_elsewhere = known.long >= SAMPLES;
        known.stay = 0;
        known.is_elsewhere
    }

    /// User mode of `space` ran elsewhere, which took `time` with the way there and back, and was held up by `faults` pages. Whether
    /// it comes back for good, or until it is found to run for long again.
    pub fn ran(&mut self, space: Space, time: Duration, faults: u64) -> bool {
        if faults >= ENOUGH_FAULTS {
            // Where nothing else happens is where it takes the least; slowly, as with the way.
            let each = time / u32::try_from(faults).unwrap_or(u32::MAX);
            self.fault = if each < self.fault { each } else { self.fault + self.fault / 256 };
        }
        let lost = (self.fault * u32::try_from(faults).unwrap_or(u32::MAX)).min(time);
        // The shortest ways there and back are those on which nothing else happened; slowly, for they may get longer.
        self.trip = if time < self.trip { time } else { self.trip + self.trip / 1024 };
        let Some(known) = self.spaces.get_mut(&space) else { return true };
        // Each while by itself: what was gained before is no reason to lose.
        (known.there, known.lost) = (known.there + time, known.lost + lost);
        let is_judged = known.there > self.trip * WORTHWHILE;
        let loses = is_judged && known.lost * LARGEST_LOSS > known.there;
        if is_judged {
            (known.there, known.lost) = (Duration::ZERO, Duration::ZERO);
        }
        let time = time.as_nanos() as u64;
        known.stay = if known.stay == 0 { time.max(self.trip.as_nanos() as u64 * 32) } else { (known.stay * 15 + time) / 16 };
        let is_over = loses || known.stay < self.trip.as_nanos() as u64 * u64::from(TOO_SHORT);
        if is_over {
            known.penalty = (known.penalty * 2).clamp(FIRST_PENALTY, LAST_PENALTY);
            *known = Known { penalty: known.penalty, waits: known.penalty, ..Known::default() };
        }
        is_over
    }

    /// `space` is another address space than it was, at the same address.
    pub fn forget(&mut self, space: Space) {
        self.spaces.remove(&space);
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

    /// Ten samples of long runs; whether it goes elsewhere at the last.
    fn goes(policy: &mut Policy, space: Space) -> bool {
        (1..SAMPLES).all(|_| !policy.sample(space, TICK, 1)) && policy.sample(space, TICK, 1)
    }

    #[test]
    fn long_runs_go_elsewhere_and_code_that_calls_the_kernel_all_the_time_does_not() {
        let mut policy = Policy::new(TRIP);
        assert!(goes(&mut policy, 1) && policy.is_elsewhere(1));
        assert!((0..100).all(|_| !policy.sample(2, TICK, 400)) && !policy.is_elsewhere(2));
        // Long stretches among short ones are not enough.
        assert!((0..100).all(|n| !policy.sample(3, TICK, if n % TAKEN_BACK > 0 { 1 } else { 400 })));
        assert!((0..100).all(|_| !policy.sample(4, Duration::from_micros(10), 1)));
    }

    #[test]
    fn stays_that_get_short_end_it_and_it_takes_longer_each_time_to_begin_again() {
        let mut policy = Policy::new(TRIP);
        let mut waited = Vec::new();
        for _ in 0..5 {
            waited.push((1..10_000).find(|_| policy.sample(1, TICK, 1)).expect("it goes at last"));
            assert!((0..1000).all(|_| !policy.ran(1, TICK, 0)));
            assert!((0..200).any(|_| policy.ran(1, TRIP * 2, 0)) && !policy.is_elsewhere(1));
        }
        assert_eq!(waited, [10, 14, 18, 26, 42]);
    }

    #[test]
    fn a_few_short_stays_do_not_end_it() {
        let mut policy = Policy::new(TRIP);
        assert!(goes(&mut policy, 1));
        assert!((0..1000).all(|n| !policy.ran(1, if n % 4 == 0 { TICK } else { TRIP }, 0)));
    }

    #[test]
    fn stays_that_touch_many_pages_end_at_once_and_those_that_touch_few_do_not() {
        let mut policy = Policy::new(TRIP);
        assert!(goes(&mut policy, 1));
        // 4 ms of nothing but pages; what they take is learnt from it.
        assert!(policy.ran(1, TICK, 1000) && !policy.is_elsewhere(1));
        assert!(goes(&mut policy, 2));
        assert!((0..100).all(|_| !policy.ran(2, TICK, 100)));
        assert!(policy.ran(2, TICK, 500));
        // Short stays are judged together.
        assert!(goes(&mut policy, 3));
        assert!((0..10).any(|_| policy.ran(3, TICK / 8, 50)));
    }

    #[test]
    fn an_address_space_that_has_the_place_of_another_begins_anew() {
        let mut policy = Policy::new(TRIP);
        assert!(goes(&mut policy, 1));
        policy.forget(1);
        assert!(!policy.is_elsewhere(1) && goes(&mut policy, 1));
    }

    #[test]
    fn a_way_that_is_shorter_than_was_thought_is_learnt() {
        let mut policy = Policy::new(Duration::from_millis(1));
        assert!((0..50).all(|_| !policy.sample(1, TICK, 1)));
        policy.ran(1, TRIP, 0);
        assert!((0..50).any(|_| policy.sample(1, TICK, 1)));
    }
}
