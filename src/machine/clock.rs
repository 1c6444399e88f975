//! Guest time from the host's monotonic clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dragoman_devices::Clock;
use dragoman_state::VmInstant;

/// Guest time: the host's monotonic clock since power-on.
#[derive(Debug)]
pub struct HostClock {
    power_on: Instant,
}

impl HostClock {
    /// Guest time starts now.
    pub fn start() -> Self {
        Self { power_on: Instant::now() }
    }

    /// How long until the guest moment `at`; zero where it has passed.
    pub fn until(&self, at: VmInstant) -> Duration {
        Duration::from_nanos(at.since(self.now()).0)
    }
}

impl Clock for HostClock {
    fn now(&self) -> VmInstant {
        VmInstant(u64::try_from(self.power_on.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Seconds since 1970 on the host's clock now; zero where that is set to an earlier time.
pub fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
