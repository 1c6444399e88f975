//! The local APIC's timer: one-shot, periodic, and by the time-stamp counter.
//!
//! Rule of this file: the next expiry is a number of a clock's tick, kept as the first nanosecond of that tick, from
//! which the number can be had back; a period is added to it. So nothing drifts, and a late timer keeps its phase. A
//! timer that is late by many periods fires once.
//! Reference: SDM vol. 3 §11.5.4.

use dragoman_state::{LvtIndex, VmDuration, VmInstant};

use super::{core::Lapic, register::Lvt};

/// The fastest bus clock whose ticks the nanosecond of their beginning can tell apart.
const FASTEST_BUS: u64 = 1_000_000_000;

/// How a processor's two clocks follow guest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timebase {
    bus_hertz: u64,
    tsc_hertz: u64,
    tsc_offset: u64,
}

impl Timebase {
    /// A timer that counts at `bus_hertz`, at most 1 GHz, before its divider; and a time-stamp counter of `tsc_hertz`
    /// that showed `tsc_offset` at power-on. The CPUID leaves 15h and 16h must tell the same.
    pub fn new(bus_hertz: u64, tsc_hertz: u64, tsc_offset: u64) -> Self {
        Self { bus_hertz: bus_hertz.clamp(1, FASTEST_BUS), tsc_hertz: tsc_hertz.max(1), tsc_offset }
    }

    /// The time-stamp counter at `now`.
    pub fn tsc(self, now: VmInstant) -> u64 {
        now.to_ticks(self.tsc_hertz).wrapping_add(self.tsc_offset)
    }

    /// When the time-stamp counter will show `tsc`; `now` where it does already or did.
    pub fn when(self, tsc: u64, now: VmInstant) -> VmInstant {
        let remaining = tsc.saturating_sub(self.tsc(now));
        if remaining == 0 {
            return now;
        }
        let ticks = now.to_ticks(self.tsc_hertz).saturating_add(remaining);
        VmInstant::ZERO + VmDuration::from_ticks(ticks, self.tsc_hertz)
    }

    fn bus_ticks(self, at: VmInstant) -> u64 {
        at.to_ticks(self.bus_hertz)
    }

    fn at_bus_tick(self, tick: u64) -> VmInstant {
        VmInstant::ZERO + VmDuration::from_ticks(tick, self.bus_hertz)
    }
}

/// What the timer does, by bits 17 and 18 of its local vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    OneShot,
    Periodic,
    TscDeadline,
    Reserved,
}

impl Mode {
    fn of(lvt: u32) -> Self {
        match lvt >> 17 & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Reserved,
        }
    }

    fn counts(self) -> bool {
        matches!(self, Self::OneShot | Self::Periodic)
    }
}

impl Lapic<'_> {
    fn timer_mode(&self) -> Mode {
        Mode::of(self.state.lvt[LvtIndex::Timer as usize])
    }

    /// Ticks of the bus in a count, as a power of two.
    fn divide_shift(&self) -> u32 {
        let divide = self.state.divide_configuration;
        ((divide >> 1 & 4 | divide & 3) + 1) & 7
    }

    /// Lets time pass: a timer that has expired by `now` requests its interrupt. Part of every access to a register.
    pub fn advance(&mut self, now: VmInstant) {
        let due = self.state.timer_deadline;
        if due > now || due == VmInstant::NEVER {
            return;
        }
        self.state.timer_deadline = match self.timer_mode() {
            Mode::Periodic if self.state.initial_count != 0 => {
                let period = u64::from(self.state.initial_count) << self.divide_shift();
                let expired = self.timebase.bus_ticks(due);
                let missed = self.timebase.bus_ticks(now).saturating_sub(expired) / period;
                let next = missed.saturating_add(1).saturating_mul(period).saturating_add(expired);
                self.timebase.at_bus_tick(next)
            }
            Mode::TscDeadline => {
                self.state.tsc_deadline = 0;
                VmInstant::NEVER
            }
            Mode::Periodic | Mode::OneShot | Mode::Reserved => VmInstant::NEVER,
        };
        // Its interrupt is always of the kind that is requested.
        let _ = self.signal(LvtIndex::Timer);
    }

    /// When the timer next requests an interrupt; never while it is masked or stopped.
    pub fn next_deadline(&self) -> VmInstant {
        let is_masked = self.state.lvt[LvtIndex::Timer as usize] & Lvt::MASKED.bits() != 0;
        if is_masked { VmInstant::NEVER } else { self.state.timer_deadline }
    }

    /// Starts the count over; zero stops it.
    pub(super) fn write_initial_count(&mut self, count: u32, now: VmInstant) {
        if !self.timer_mode().counts() {
            return;
        }
        self.state.initial_count = count;
        self.state.count_started = now;
        self.run_from(count, now);
    }

    /// Lets `count` counts go by from `now` to the next expiry.
    fn run_from(&mut self, count: u32, now: VmInstant) {
        let ticks = u64::from(count) << self.divide_shift();
        self.state.timer_deadline = match count {
            0 => VmInstant::NEVER,
            _ => self.timebase.at_bus_tick(self.timebase.bus_ticks(now).saturating_add(ticks)),
        };
    }

    /// The current count register.
    pub(super) fn current_count(&self, now: VmInstant) -> u32 {
        if !self.timer_mode().counts() || self.state.timer_deadline == VmInstant::NEVER {
            return 0;
        }
        let left = self.timebase.bus_ticks(self.state.timer_deadline).saturating_sub(self.timebase.bus_ticks(now));
        left.div_ceil(1 << self.divide_shift()).min(u32::MAX.into()) as u32
    }

    /// A running count goes on at the new speed from where it is.
    pub(super) fn write_divide_configuration(&mut self, value: u32, now: VmInstant) {
        let count = self.current_count(now);
        self.state.divide_configuration = value & super::register::DIVIDE_CONFIGURATION;
        if self.timer_mode().counts() {
            self.run_from(count, now);
        }
    }

    /// The timer's local vector changed from `old`: between counting and the time-stamp counter it is disarmed.
    pub(super) fn timer_mode_changed(&mut self, old: u32) {
        let (old, new) = (Mode::of(old), self.timer_mode());
        if old != new && !(old.counts() && new.counts()) {
            self.state.initial_count = 0;
            self.state.tsc_deadline = 0;
            self.state.timer_deadline = VmInstant::NEVER;
        }
    }

    /// Reads IA32_TSC_DEADLINE; zero when disarmed and in other modes.
    pub fn read_tsc_deadline(&mut self, now: VmInstant) -> u64 {
        self.advance(now);
        self.state.tsc_deadline
    }

    /// Writes IA32_TSC_DEADLINE; zero disarms, and a moment that has passed fires at once. Ignored in other modes.
    pub fn write_tsc_deadline(&mut self, tsc: u64, now: VmInstant) {
        self.advance(now);
        if self.timer_mode() == Mode::TscDeadline {
            self.state.tsc_deadline = tsc;
            self.retime(now);
        }
    }

    /// The time-stamp counter was set: the timer of this view's [`Timebase`] expires by what it shows from now on.
    pub fn retime(&mut self, now: VmInstant) {
        if self.timer_mode() == Mode::TscDeadline {
            let armed = self.state.tsc_deadline;
            self.state.timer_deadline = if armed == 0 { VmInstant::NEVER } else { self.timebase.when(armed, now) };
            self.advance(now);
        }
    }
}
