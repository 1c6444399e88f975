//! Guest time from the host's monotonic clock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dragoman_devices::Clock;
use dragoman_state::VmInstant;

/// Guest time: the host's monotonic clock since power-on, but for the time that the machine was paused.
#[derive(Debug)]
pub struct HostClock {
    power_on: Instant,
    /// When it stopped, in guest time; never, while it runs.
    stopped: AtomicU64,
    /// For how many nanoseconds it stood in all before.
    stood: AtomicU64,
}

impl HostClock {
    /// Guest time starts now.
    pub fn start() -> Self {
        Self { power_on: Instant::now(), stopped: AtomicU64::new(VmInstant::NEVER.0), stood: AtomicU64::new(0) }
    }

    /// How long until the guest moment `at`; zero where it has passed.
    pub fn until(&self, at: VmInstant) -> Duration {
        Duration::from_nanos(at.since(self.now()).0)
    }

    /// Guest time stands still from now on. No processor runs, nor does anybody else look at the clock meanwhile: who did
    /// just now must not find it earlier.
    pub fn stop(&self) {
        self.stopped.store(self.now().0, Ordering::Release);
    }

    /// Guest time goes on from where it stopped.
    pub fn go_on(&self) {
        let stopped = self.stopped.load(Ordering::Acquire);
        if stopped != VmInstant::NEVER.0 {
            self.stood.store(self.host_nanos().saturating_sub(stopped), Ordering::Release);
            self.stopped.store(VmInstant::NEVER.0, Ordering::Release);
        }
    }

    /// How long it stood since power-on, pauses that are over.
    pub fn stood(&self) -> Duration {
        Duration::from_nanos(self.stood.load(Ordering::Acquire))
    }

    /// Nanoseconds since power-on on the host's clock, pauses included.
    pub fn host_nanos(&self) -> u64 {
        u64::try_from(self.power_on.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Clock for HostClock {
    fn now(&self) -> VmInstant {
        let stopped = self.stopped.load(Ordering::Acquire);
        if stopped != VmInstant::NEVER.0 {
            return VmInstant(stopped);
        }
        VmInstant(self.host_nanos().saturating_sub(self.stood.load(Ordering::Acquire)))
    }
}

/// Seconds since 1970 on the host's clock now; zero where that is set to an earlier time.
pub fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_loses_the_time_that_it_stood_and_no_more() {
        let (before, clock, after) = (Instant::now(), HostClock::start(), Instant::now());
        let mut last = clock.now();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(2));
            clock.stop();
            let stopped = clock.now();
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(clock.now(), stopped, "it stands");
            assert!(stopped >= last);
            clock.go_on();
            last = clock.now();
            assert!(last >= stopped);
        }
        assert!(clock.stood() >= Duration::from_millis(60));
        // However long the host takes between two of these.
        let (least, guest, most) = (after.elapsed(), Duration::from_nanos(clock.now().0), before.elapsed());
        assert!(guest + clock.stood() >= least && guest + clock.stood() <= most);
        clock.go_on();
        assert!(clock.now() >= last, "a clock that runs is not started");
    }
}
