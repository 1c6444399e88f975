//! One comparator of the HPET.
//!
//! Rule of this file: a match is the counter reaching the comparator by counting up. How many matches fall into a span
//! of ticks is arithmetic, so a span of years costs what a tick costs.
//! Reference: IA-PC HPET specification 1.0a, §2.3.8 to §2.3.9.

use bitflags::bitflags;

bitflags! {
    /// The writable part of Tn_CONF and what tells software of the rest. Bits 63 to 32 are the routing capability.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Config: u64 {
        /// Level-triggered.
        const INT_TYPE = 1 << 1;
        /// May interrupt.
        const INT_ENB = 1 << 2;
        /// Periodic.
        const TYPE = 1 << 3;
        /// Can be periodic. Read-only.
        const PER_INT_CAP = 1 << 4;
        /// Has 64 bits. Read-only.
        const SIZE_CAP = 1 << 5;
        /// The next write to the comparator of a periodic timer sets the accumulator too.
        const VAL_SET = 1 << 6;
        /// Counts in 32 bits.
        const MODE32 = 1 << 8;
        /// The I/O APIC input that is interrupted.
        const INT_ROUTE = 0x1f << 9;

        const WRITABLE = Self::INT_TYPE.bits() | Self::INT_ENB.bits() | Self::TYPE.bits() | Self::VAL_SET.bits()
            | Self::MODE32.bits() | Self::INT_ROUTE.bits();
    }
}

/// Where the route is in the configuration.
const ROUTE_SHIFT: u32 = 9;

/// One comparator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparator {
    // Guest-visible state
    config: Config,
    /// The accumulator: where the counter will be at the next match.
    value: u64,
    /// The last value written: what a periodic timer adds at a match.
    period: u64,
    // Bookkeeping
    /// An edge was sent, and its wire is still high.
    holds_edge: bool,
    /// A match sent an edge that the adapter has not seen yet.
    has_edge: bool,
}

impl Comparator {
    pub(super) fn new() -> Self {
        Self { config: Config::empty(), value: u64::MAX, period: 0, holds_edge: false, has_edge: false }
    }

    pub(super) fn has(&self, flag: Config) -> bool {
        self.config.contains(flag)
    }

    /// The I/O APIC input it is routed to.
    pub(super) fn route(&self) -> u8 {
        (self.config.bits() >> ROUTE_SHIFT & 0x1f) as u8
    }

    /// Tn_CONF, given which inputs can be chosen.
    pub(super) fn read_config(&self, route_capability: u32) -> u64 {
        (self.config | Config::PER_INT_CAP | Config::SIZE_CAP).bits() | u64::from(route_capability) << 32
    }

    /// Writes Tn_CONF. A route that cannot be chosen leaves the route as it was.
    pub(super) fn write_config(&mut self, value: u64, route_capability: u32) {
        let old = self.config;
        self.config = Config::from_bits_truncate(value) & Config::WRITABLE;
        if route_capability >> self.route() & 1 == 0 {
            self.config.remove(Config::INT_ROUTE);
            self.config |= old & Config::INT_ROUTE;
        }
        if (old ^ self.config).intersects(Config::INT_TYPE | Config::INT_ENB | Config::INT_ROUTE) {
            self.drop_edge();
        }
        self.value &= self.mask();
        self.period &= self.mask();
    }

    /// The wire of the last edge goes low.
    pub(super) fn drop_edge(&mut self) {
        self.holds_edge = false;
        self.has_edge = false;
    }

    /// Tn_COMP.
    pub(super) fn read_value(&self) -> u64 {
        self.value
    }

    /// Writes the bits of Tn_COMP that `mask` names.
    pub(super) fn write_value(&mut self, value: u64, mask: u64) {
        let merge = |old: u64| (old & !mask | value & mask) & self.mask();
        let (merged, period) = (merge(self.value), merge(self.period));
        if !self.has(Config::TYPE) || self.has(Config::VAL_SET) {
            self.value = merged;
        }
        self.period = period;
        self.config.remove(Config::VAL_SET);
    }

    fn mask(&self) -> u64 {
        if self.has(Config::MODE32) { u32::MAX.into() } else { u64::MAX }
    }

    /// How many ticks after the one that follows `counter` there is a match. A counter that is at the comparator now
    /// must go all the way round.
    pub(super) fn distance(&self, counter: u64) -> u64 {
        self.value.wrapping_sub(counter).wrapping_sub(1) & self.mask()
    }

    /// The counter goes from `counter` up by `ticks`. Returns whether there was a match.
    pub(super) fn advance(&mut self, counter: u64, ticks: u64) -> bool {
        let distance = self.distance(counter);
        if ticks <= distance {
            return false;
        }
        if self.has(Config::TYPE) && self.period != 0 {
            let further = (ticks - distance - 1) / self.period;
            self.value = self.value.wrapping_add((further + 1).wrapping_mul(self.period)) & self.mask();
        }
        if !self.has(Config::INT_TYPE) && self.has(Config::INT_ENB) {
            self.holds_edge = true;
            self.has_edge = true;
        }
        true
    }

    /// Whether the wire of an edge-triggered comparator is high; and whether an edge was sent since this was last asked.
    pub(super) fn take_edge(&mut self) -> (bool, bool) {
        (self.holds_edge, std::mem::take(&mut self.has_edge))
    }
}
