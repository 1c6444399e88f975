//! The high precision event timer: a 64-bit counter and three comparators, all alike.
//!
//! Rule of this file: ticks come in, levels and edges go out. Interrupts by message (FSB) are not offered.
//! Reference: IA-PC HPET specification 1.0a, §2.3.

use bitflags::bitflags;

use super::comparator::{Comparator, Config};

/// The counter's frequency in hertz: a tick is ten nanoseconds, so guest time converts exactly.
pub const FREQUENCY: u64 = 100_000_000;
/// Femtoseconds in a tick.
const PERIOD: u64 = 1_000_000_000_000_000 / FREQUENCY;
/// How many comparators there are.
pub const TIMERS: usize = 3;

/// Revision 1, three comparators, a 64-bit counter, legacy replacement possible, made by Intel.
const CAPABILITIES: u64 = PERIOD << 32 | 0x8086 << 16 | 1 << 15 | 1 << 13 | (TIMERS as u64 - 1) << 8 | 1;

/// What the ACPI table of the timer calls its event timer block ID: the low half of the capabilities.
pub const EVENT_TIMER_BLOCK_ID: u32 = CAPABILITIES as u32;

bitflags! {
    /// GEN_CONF.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct General: u64 {
        /// The counter runs and comparators may interrupt.
        const ENABLE = 1 << 0;
        /// Comparators 0 and 1 take the places of the interval timer and the real-time clock.
        const LEG_RT = 1 << 1;
    }
}

/// A register of the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Capabilities,
    Configuration,
    Status,
    Counter,
    TimerConfiguration(usize),
    TimerComparator(usize),
    /// Tn_FSB_ROUTE: zero, for want of the capability.
    TimerRoute,
}

impl Register {
    /// The register whose eight bytes begin at `offset`.
    fn at(offset: u64) -> Option<Self> {
        match offset {
            0x000 => Some(Self::Capabilities),
            0x010 => Some(Self::Configuration),
            0x020 => Some(Self::Status),
            0x0f0 => Some(Self::Counter),
            0x100.. => {
                let n = (offset as usize - 0x100) / 0x20;
                match offset & 0x1f {
                    _ if n >= TIMERS => None,
                    0x00 => Some(Self::TimerConfiguration(n)),
                    0x08 => Some(Self::TimerComparator(n)),
                    0x10 => Some(Self::TimerRoute),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Where a comparator's interrupt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The interrupt of the interval timer (0) or the real-time clock (1).
    Legacy(usize),
    /// An input of the I/O APIC.
    Pin(u8),
}

/// What a comparator says to its wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which wire.
    pub destination: Destination,
    /// Its level.
    pub is_high: bool,
    /// The wire must be seen to rise, even where it is high already.
    pub has_edge: bool,
}

/// The timer's registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTimer {
    // Configuration
    /// The I/O APIC inputs that are wired, one bit each.
    route_capability: u32,
    // Guest-visible state
    general: General,
    /// One bit a comparator: its level-triggered interrupt is active.
    status: u64,
    counter: u64,
    comparators: [Comparator; TIMERS],
    // Bookkeeping
    ticks: u64,
}

impl EventTimer {
    /// The state after power-on: halted.
    pub fn new(route_capability: u32) -> Self {
        Self {
            route_capability,
            general: General::empty(),
            status: 0,
            counter: 0,
            comparators: [(); TIMERS].map(|()| Comparator::new()),
            ticks: 0,
        }
    }

    /// Back to the state after power-on, at the present moment.
    pub fn reset(&mut self) {
        *self = Self { ticks: self.ticks, ..Self::new(self.route_capability) };
    }

    /// Whether comparators 0 and 1 stand in for the interval timer and the real-time clock.
    pub fn is_legacy(&self) -> bool {
        self.general.contains(General::LEG_RT)
    }

    fn is_enabled(&self) -> bool {
        self.general.contains(General::ENABLE)
    }

    /// Brings the timer to tick number `ticks` since power-on.
    pub fn advance(&mut self, ticks: u64) {
        let passed = ticks.saturating_sub(self.ticks);
        self.ticks += passed;
        if !self.is_enabled() {
            return;
        }
        for (n, comparator) in self.comparators.iter_mut().enumerate() {
            if comparator.advance(self.counter, passed) && comparator.has(Config::INT_TYPE) {
                self.status |= 1 << n;
            }
        }
        self.counter = self.counter.wrapping_add(passed);
    }

    /// The tick at which an output next changes by itself.
    pub fn next_change(&self) -> Option<u64> {
        let is_due = |n: usize, comparator: &Comparator| {
            comparator.has(Config::INT_ENB) && !(comparator.has(Config::INT_TYPE) && self.status >> n & 1 != 0)
        };
        let due = self.comparators.iter().enumerate().filter(|(n, comparator)| self.is_enabled() && is_due(*n, comparator));
        due.filter_map(|(_, comparator)| self.ticks.checked_add(comparator.distance(self.counter))?.checked_add(1)).min()
    }

    /// What each comparator says to its wire; its edges are told once.
    pub fn take_outputs(&mut self) -> [Output; TIMERS] {
        std::array::from_fn(|n| {
            let active = self.status >> n & 1 != 0;
            let (is_legacy, is_enabled) = (self.is_legacy(), self.is_enabled());
            let comparator = &mut self.comparators[n];
            let destination = if is_legacy && n < 2 { Destination::Legacy(n) } else { Destination::Pin(comparator.route()) };
            let (holds_edge, has_edge) = comparator.take_edge();
            let level = active && comparator.has(Config::INT_TYPE | Config::INT_ENB);
            Output { destination, is_high: is_enabled && (level || holds_edge), has_edge: is_enabled && has_edge }
        })
    }

    /// The eight bytes of the register at `offset`, a multiple of eight.
    pub fn read(&self, offset: u64) -> Option<u64> {
        Some(match Register::at(offset)? {
            Register::Capabilities => CAPABILITIES,
            Register::Configuration => self.general.bits(),
            Register::Status => self.status,
            Register::Counter => self.counter,
            Register::TimerConfiguration(n) => self.comparators[n].read_config(self.route_capability),
            Register::TimerComparator(n) => self.comparators[n].read_value(),
            Register::TimerRoute => 0,
        })
    }

    /// Writes the bits that `mask` names of the register at `offset`, a multiple of eight; false where there is none.
    pub fn write(&mut self, offset: u64, value: u64, mask: u64) -> bool {
        let Some(register) = Register::at(offset) else { return false };
        let merge = |old: u64| old & !mask | value & mask;
        match register {
            Register::Capabilities | Register::TimerRoute => {}
            Register::Configuration => {
                let general = General::from_bits_truncate(merge(self.general.bits()));
                if general != std::mem::replace(&mut self.general, general) {
                    self.comparators.iter_mut().for_each(Comparator::drop_edge);
                }
            }
            Register::Status => self.status &= !(value & mask),
            Register::Counter => self.counter = merge(self.counter),
            Register::TimerConfiguration(n) => {
                let old = self.comparators[n].read_config(self.route_capability);
                self.comparators[n].write_config(merge(old), self.route_capability);
            }
            Register::TimerComparator(n) => self.comparators[n].write_value(value, mask),
        }
        true
    }
}
