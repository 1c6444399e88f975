//! The MC146818A real-time clock with the RAM of a PC behind it.
//!
//! Rule of this file: the ten time bytes are what the chip keeps, in the notation software chose; time passing is
//! added to them. Guest time in nanoseconds comes in, the interrupt's level goes out.
//! Reference: Motorola MC146818A datasheet; Intel 82371AB (PIIX4), §4.2.7 for the two banks.

use bitflags::bitflags;
use dragoman_state::{VmDuration, VmInstant};

use super::calendar::{DAY, Date, Notation};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Half a second: from the release of the divider to the first update.
const HALF: u64 = SECOND / 2;
/// How long before an update UIP is set: software that finds it clear has this long to read.
const UIP_LEAD: u64 = 244_000;
/// The frequency of the crystal, in hertz.
const CRYSTAL: u64 = 32_768;

/// Addresses in the RAM.
mod at {
    pub const SECONDS: usize = 0x00;
    pub const SECONDS_ALARM: usize = 0x01;
    pub const MINUTES: usize = 0x02;
    pub const MINUTES_ALARM: usize = 0x03;
    pub const HOURS: usize = 0x04;
    pub const HOURS_ALARM: usize = 0x05;
    pub const WEEKDAY: usize = 0x06;
    pub const DAY: usize = 0x07;
    pub const MONTH: usize = 0x08;
    pub const YEAR: usize = 0x09;
    pub const REGISTER_A: usize = 0x0a;
    pub const REGISTER_B: usize = 0x0b;
    pub const REGISTER_C: usize = 0x0c;
    pub const REGISTER_D: usize = 0x0d;
    pub const CENTURY: usize = 0x32;
}

/// Register A: an update is near. Read-only.
const UIP: u8 = 0x80;
/// Register D: RAM and time are valid. Read-only.
const VRT: u8 = 0x80;
/// An alarm byte from here on matches any value.
const ANY: u8 = 0xc0;

bitflags! {
    /// Register B.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Control: u8 {
        /// Hours from 0 to 23.
        const HOURS_24 = 1 << 1;
        /// Binary numbers.
        const DM = 1 << 2;
        /// Square wave; its pin is not connected.
        const SQWE = 1 << 3;
        /// Update-ended interrupt enable.
        const UIE = 1 << 4;
        /// Alarm interrupt enable.
        const AIE = 1 << 5;
        /// Periodic interrupt enable.
        const PIE = 1 << 6;
        /// Updates are held off, so that the time can be set.
        const SET = 1 << 7;
    }

    /// The causes in register C, at the places of their enables in register B.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Causes: u8 {
        /// Update ended.
        const UF = 1 << 4;
        /// Alarm.
        const AF = 1 << 5;
        /// Periodic.
        const PF = 1 << 6;
        /// Some cause is enabled: the interrupt is asserted.
        const IRQF = 1 << 7;
    }
}

/// The clock and its 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealTimeClock {
    // Guest-visible state
    ram: [u8; 256],
    causes: Causes,
    /// Where in a second of guest time the divider chain wraps and the time is updated, in nanoseconds.
    phase: u64,
    // Bookkeeping
    now: VmInstant,
}

impl RealTimeClock {
    /// A clock whose battery never failed, showing `unix` seconds since 1970 at power-on.
    pub fn new(unix: u64) -> Self {
        let mut clock = Self { ram: [0; 256], causes: Causes::empty(), phase: 0, now: VmInstant::ZERO };
        clock.ram[at::REGISTER_A] = 0x26; // 32 768 Hz crystal, 1024 Hz periodic rate
        clock.ram[at::REGISTER_B] = Control::HOURS_24.bits();
        clock.set_date(Date::from_unix(unix));
        clock
    }

    /// The reset pin: interrupts are off. Time, alarm and RAM have a battery.
    pub fn reset(&mut self) {
        let kept = self.control() - (Control::PIE | Control::AIE | Control::UIE | Control::SQWE);
        self.ram[at::REGISTER_B] = kept.bits();
        self.causes = Causes::empty();
    }

    /// Sets the clock to the time that is `unix` seconds since 1970 plus the guest time since power-on.
    pub fn set_epoch(&mut self, unix: u64) {
        self.phase = 0;
        self.set_date(Date::from_unix(unix.saturating_add(self.now.0 / SECOND)));
    }

    /// A byte of the RAM, as the board finds it; zero for the registers of the clock itself.
    pub fn ram(&self, index: u8) -> u8 {
        if usize::from(index) <= at::REGISTER_D { 0 } else { self.ram[usize::from(index)] }
    }

    /// Sets a byte of the RAM, as the board's firmware would; registers of the clock itself stay as they are.
    pub fn set_ram(&mut self, index: u8, value: u8) {
        if usize::from(index) > at::REGISTER_D {
            self.ram[usize::from(index)] = value;
        }
    }

    fn control(&self) -> Control {
        Control::from_bits_retain(self.ram[at::REGISTER_B])
    }

    fn notation(&self) -> Notation {
        let control = self.control();
        Notation { is_binary: control.contains(Control::DM), is_24_hour: control.contains(Control::HOURS_24) }
    }

    fn date(&self) -> Date {
        let notation = self.notation();
        let number = |index: usize| notation.decode(self.ram[index]);
        Date {
            year: u16::from(number(at::CENTURY).min(99)) * 100 + u16::from(number(at::YEAR).min(99)),
            month: number(at::MONTH),
            day: number(at::DAY),
            weekday: number(at::WEEKDAY),
            hour: notation.decode_hour(self.ram[at::HOURS]),
            minute: number(at::MINUTES),
            second: number(at::SECONDS),
        }
    }

    fn set_date(&mut self, date: Date) {
        let notation = self.notation();
        self.ram[at::CENTURY] = notation.encode((date.year / 100) as u8);
        self.ram[at::YEAR] = notation.encode((date.year % 100) as u8);
        self.ram[at::MONTH] = notation.encode(date.month);
        self.ram[at::DAY] = notation.encode(date.day);
        self.ram[at::WEEKDAY] = notation.encode(date.weekday);
        self.ram[at::HOURS] = notation.encode_hour(date.hour);
        self.ram[at::MINUTES] = notation.encode(date.minute);
        self.ram[at::SECONDS] = notation.encode(date.second);
    }

    /// Whether the divider chain counts: DV selects the crystal there is.
    fn is_running(&self) -> bool {
        self.ram[at::REGISTER_A] >> 4 & 7 == 2
    }

    fn is_updating(&self) -> bool {
        self.is_running() && !self.control().contains(Control::SET)
    }

    /// How long the divider chain has counted at `moment`: whole seconds are updates.
    fn chain(&self, moment: VmInstant) -> VmDuration {
        VmDuration(moment.0.saturating_add(SECOND - self.phase))
    }

    /// The moment at which the divider chain has counted for `span`.
    fn moment(&self, span: VmDuration) -> VmInstant {
        VmInstant::ZERO + span - VmDuration(SECOND - self.phase)
    }

    /// The period of the periodic interrupt in cycles of the crystal; none where it is off.
    fn period(&self) -> Option<u64> {
        match self.ram[at::REGISTER_A] & 0xf {
            0 => None,
            rate @ (1 | 2) => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Brings the clock to `now`.
    pub fn advance(&mut self, now: VmInstant) {
        let (before, after) = (self.chain(self.now), self.chain(now.max(self.now)));
        self.now = now.max(self.now);
        if !self.is_running() {
            return;
        }
        if self.period().is_some_and(|period| before.to_ticks(CRYSTAL) / period != after.to_ticks(CRYSTAL) / period) {
            self.causes |= Causes::PF;
        }
        self.pass(after.0 / SECOND - before.0 / SECOND);
    }

    /// So many seconds passed in which guest time stood.
    pub fn skip(&mut self, seconds: u64) {
        if self.is_running() {
            self.pass(seconds);
        }
    }

    /// Updates the time once for each of `seconds`.
    fn pass(&mut self, seconds: u64) {
        if seconds > 0 && self.is_updating() {
            self.causes |= Causes::UF;
            let date = self.date();
            if self.seconds_to_alarm(date).is_some_and(|alarm| alarm <= seconds) {
                self.causes |= Causes::AF;
            }
            self.set_date(date.after(seconds));
        }
    }

    /// How many updates after `date` the alarm matches, 1 to [`DAY`]; none where it never does.
    fn seconds_to_alarm(&self, date: Date) -> Option<u64> {
        let notation = self.notation();
        let wanted = |byte: u8, value: u8| (byte < ANY).then_some(u64::from(value));
        let byte = |index: usize| self.ram[index];
        let second = wanted(byte(at::SECONDS_ALARM), notation.decode(byte(at::SECONDS_ALARM)));
        let minute = wanted(byte(at::MINUTES_ALARM), notation.decode(byte(at::MINUTES_ALARM)));
        let hour = wanted(byte(at::HOURS_ALARM), notation.decode_hour(byte(at::HOURS_ALARM)));
        let misses = |wanted: Option<u64>, value: u64| wanted.is_some_and(|wanted| wanted != value);
        if second >= Some(60) || minute >= Some(60) || hour >= Some(24) {
            return None;
        }
        let start = date.time_of_day();
        let mut time = start + 1;
        // Every step goes to the beginning of a new hour, minute or second, and each of the three soon meets its match:
        // fewer than 24 + 60 + 60 steps to midnight, and as many after it.
        while time <= start + DAY {
            let of_day = time % DAY;
            time += if misses(hour, of_day / 3600) {
                3600 - of_day % 3600
            } else if misses(minute, of_day / 60 % 60) {
                60 - of_day % 60
            } else if misses(second, of_day % 60) {
                1
            } else {
                return Some(time - start);
            };
        }
        None
    }

    /// The level of the interrupt output.
    pub fn output(&self) -> bool {
        self.causes.bits() & self.control().bits() & (Causes::UF | Causes::AF | Causes::PF).bits() != 0
    }

    /// The moment at which the output next rises by itself.
    pub fn next_change(&self) -> VmInstant {
        let control = self.control();
        if self.output() || !self.is_running() {
            return VmInstant::NEVER;
        }
        let chain = self.chain(self.now);
        let after_updates = |n: u64| self.moment(VmDuration((chain.0 / SECOND).saturating_add(n).saturating_mul(SECOND)));
        let mut next = VmInstant::NEVER;
        if let Some(period) = self.period().filter(|_| control.contains(Control::PIE)) {
            let ticks = (chain.to_ticks(CRYSTAL) / period + 1) * period;
            next = next.min(self.moment(VmDuration::from_ticks(ticks, CRYSTAL)));
        }
        if self.is_updating() && control.contains(Control::UIE) {
            next = next.min(after_updates(1));
        }
        if self.is_updating() && control.contains(Control::AIE) {
            next = next.min(self.seconds_to_alarm(self.date()).map_or(VmInstant::NEVER, after_updates));
        }
        next
    }

    /// Reads byte `index`.
    pub fn read(&mut self, index: u8) -> u8 {
        match usize::from(index) {
            at::REGISTER_A => {
                let to_update = SECOND - self.chain(self.now).0 % SECOND;
                let is_near = self.is_updating() && to_update <= UIP_LEAD;
                self.ram[at::REGISTER_A] | if is_near { UIP } else { 0 }
            }
            at::REGISTER_C => {
                let irqf = if self.output() { Causes::IRQF } else { Causes::empty() };
                (std::mem::replace(&mut self.causes, Causes::empty()) | irqf).bits()
            }
            at::REGISTER_D => VRT,
            index => self.ram[index],
        }
    }

    /// Writes byte `index`.
    pub fn write(&mut self, index: u8, value: u8) {
        match usize::from(index) {
            at::REGISTER_A => {
                let was_running = self.is_running();
                self.ram[at::REGISTER_A] = value & !UIP;
                if !was_running && self.is_running() {
                    self.phase = self.now.0.wrapping_add(HALF) % SECOND;
                }
            }
            at::REGISTER_B => {
                let mut control = Control::from_bits_retain(value & !1); // daylight saving is the guest's business
                if control.contains(Control::SET) {
                    control.remove(Control::UIE);
                }
                self.ram[at::REGISTER_B] = control.bits();
            }
            at::REGISTER_C | at::REGISTER_D => {}
            index => self.ram[index] = value,
        }
    }
}
