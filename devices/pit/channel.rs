//! One counter of the 8254.
//!
//! Rule of this file: time is whole ticks of CLK, and any number of them passes in a bounded number of steps: up to the
//! next change of the counting element's course one step, over all full periods after it one more.
//! Reference: Intel 82C54 datasheet (231244): mode definitions, "Operation Common to All Modes".

use super::core::Mode;

/// How a count is read and written: bits 5 and 4 of the control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Low,
    High,
    LowThenHigh,
}

/// What the counting element is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// No count, or no trigger, since the control word.
    Stopped,
    /// The next CLK loads the count.
    Load,
    /// Counting towards the event of its mode.
    Armed,
    /// The strobe of modes 4 and 5: OUT is low for this CLK.
    Strobe,
    /// The event of a one-shot mode is over; the element counts on, and wraps.
    Expired,
}

/// One counter with its gate and output pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Channel {
    // Guest-visible state
    /// The low six bits of the control word, as the status byte shows them.
    control: u8,
    /// The count as it was written, in the notation of the control word.
    count_register: u16,
    /// The low byte of a count of which the high byte is still to come.
    first_byte: Option<u8>,
    /// A whole count was written since the control word.
    has_count: bool,
    is_null_count: bool,
    course: Course,
    /// Clocks to the event; in mode 3 to the end of the half period. 0 to `modulus`.
    left: u32,
    /// The count that is being counted, 1 to `modulus`.
    period: u32,
    gate: bool,
    output: bool,
    reads_high: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
    // Bookkeeping
    has_risen: bool,
}

impl Channel {
    /// The datasheet leaves the state after power-on open; here it is mode 0 without a count: OUT low, at rest.
    pub(super) fn new(gate: bool) -> Self {
        Self {
            control: 0x30,
            count_register: 0,
            first_byte: None,
            has_count: false,
            is_null_count: true,
            course: Course::Stopped,
            left: 0,
            period: 0x1_0000,
            gate,
            output: false,
            reads_high: false,
            latched_count: None,
            latched_status: None,
            has_risen: false,
        }
    }

    /// The level of OUT.
    pub(super) fn output(&self) -> bool {
        self.output
    }

    /// Whether OUT went from low to high since the last call.
    pub(super) fn take_rise(&mut self) -> bool {
        std::mem::take(&mut self.has_risen)
    }

    fn mode(&self) -> Mode {
        Mode::from_control(self.control)
    }

    fn access(&self) -> Access {
        match self.control >> 4 & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::LowThenHigh,
        }
    }

    fn is_bcd(&self) -> bool {
        self.control & 1 != 0
    }

    fn modulus(&self) -> u32 {
        if self.is_bcd() { 10_000 } else { 0x1_0000 }
    }

    fn set_output(&mut self, high: bool) {
        self.has_risen |= high && !self.output;
        self.output = high;
    }

    /// A control word for this counter; not the counter-latch command.
    pub(super) fn write_control(&mut self, word: u8) {
        self.control = word & 0x3f;
        self.first_byte = None;
        self.has_count = false;
        self.is_null_count = true;
        self.course = Course::Stopped;
        self.reads_high = false;
        self.latched_count = None;
        self.latched_status = None;
        self.set_output(self.mode() != Mode::TerminalCount);
    }

    /// A byte written to the counter.
    pub(super) fn write_count(&mut self, byte: u8) {
        let count = match (self.access(), self.first_byte) {
            (Access::Low, _) => u16::from(byte),
            (Access::High, _) => u16::from(byte) << 8,
            (Access::LowThenHigh, Some(low)) => u16::from_le_bytes([low, byte]),
            (Access::LowThenHigh, None) => {
                self.first_byte = Some(byte);
                if self.mode() == Mode::TerminalCount {
                    self.course = Course::Stopped;
                    self.set_output(false);
                }
                return;
            }
        };
        self.first_byte = None;
        self.count_register = count;
        self.is_null_count = true;
        let is_first = !std::mem::replace(&mut self.has_count, true);
        match self.mode() {
            Mode::TerminalCount => {
                self.set_output(false);
                self.course = Course::Load;
            }
            Mode::SoftwareStrobe => {
                self.set_output(true);
                self.course = Course::Load;
            }
            Mode::RateGenerator | Mode::SquareWave if is_first => self.course = Course::Load,
            // A running period ends with the old count; one-shots wait for their trigger.
            Mode::RateGenerator | Mode::SquareWave | Mode::OneShot | Mode::HardwareStrobe => {}
        }
    }

    /// The level of GATE.
    pub(super) fn set_gate(&mut self, high: bool) {
        let rises = high && !self.gate;
        self.gate = high;
        match self.mode() {
            Mode::TerminalCount | Mode::SoftwareStrobe => {}
            Mode::OneShot | Mode::HardwareStrobe => {
                if rises && self.has_count {
                    self.course = Course::Load;
                }
            }
            Mode::RateGenerator | Mode::SquareWave => {
                if !high {
                    self.set_output(true);
                } else if rises && self.has_count {
                    self.course = Course::Load;
                }
            }
        }
    }

    /// Whether GATE lets the element count.
    fn is_enabled(&self) -> bool {
        self.gate || matches!(self.mode(), Mode::OneShot | Mode::HardwareStrobe)
    }

    /// Lets `ticks` clocks pass.
    pub(super) fn advance(&mut self, mut ticks: u64) {
        if ticks > 0 && self.course == Course::Load {
            self.load();
            ticks -= 1;
        }
        if ticks > 0 && self.course == Course::Strobe {
            // The strobe ends whatever GATE does.
            self.set_output(true);
            self.course = Course::Expired;
            if self.is_enabled() {
                self.count_down(1);
            }
            ticks -= 1;
        }
        if ticks == 0 || self.course == Course::Stopped || !self.is_enabled() {
            return;
        }
        match self.mode() {
            Mode::TerminalCount | Mode::OneShot => {
                if self.course == Course::Armed && ticks >= self.left.into() {
                    self.set_output(true);
                    self.course = Course::Expired;
                }
                self.count_down(ticks);
            }
            Mode::SoftwareStrobe | Mode::HardwareStrobe => self.advance_strobe(ticks),
            Mode::RateGenerator => self.advance_rate(ticks),
            Mode::SquareWave => self.advance_square(ticks),
        }
    }

    /// The CLK after the count was written, or after the trigger.
    fn load(&mut self) {
        self.take_count();
        self.course = Course::Armed;
        match self.mode() {
            Mode::OneShot => self.set_output(false),
            Mode::SquareWave => {
                self.set_output(true);
                self.left = self.half();
            }
            Mode::TerminalCount | Mode::RateGenerator | Mode::SoftwareStrobe | Mode::HardwareStrobe => {}
        }
    }

    /// Moves the count register into the counting element.
    fn take_count(&mut self) {
        let count = if self.is_bcd() { from_bcd(self.count_register) } else { self.count_register.into() };
        // 0 stands for the greatest count. A count of 1 is illegal in the periodic modes; it counts as 2.
        let least = if self.is_periodic() { 2 } else { 1 };
        self.period = if count == 0 { self.modulus() } else { count.clamp(least, self.modulus()) };
        self.left = self.period;
        self.is_null_count = false;
    }

    fn is_periodic(&self) -> bool {
        matches!(self.mode(), Mode::RateGenerator | Mode::SquareWave)
    }

    /// The length of the half period that OUT's level belongs to: the high one of an odd count is one longer.
    fn half(&self) -> u32 {
        if self.output { self.period.div_ceil(2) } else { self.period / 2 }
    }

    fn count_down(&mut self, ticks: u64) {
        let modulus = self.modulus();
        self.left = (self.left + modulus - (ticks % u64::from(modulus)) as u32) % modulus;
    }

    fn advance_strobe(&mut self, ticks: u64) {
        if self.course == Course::Armed && ticks >= self.left.into() {
            let after = ticks - u64::from(self.left);
            self.set_output(false);
            self.course = Course::Strobe;
            if after > 0 {
                self.set_output(true);
                self.course = Course::Expired;
            }
        }
        self.count_down(ticks);
    }

    fn advance_rate(&mut self, mut ticks: u64) {
        if ticks >= self.left.into() {
            ticks -= u64::from(self.left);
            self.set_output(false);
            self.take_count();
            self.set_output(true);
            if ticks >= self.period.into() {
                ticks %= u64::from(self.period);
                self.has_risen = true;
            }
        }
        self.left -= ticks as u32;
        if self.left == 1 {
            self.set_output(false);
        }
    }

    fn advance_square(&mut self, mut ticks: u64) {
        let mut is_reduced = false;
        while ticks >= self.left.into() {
            ticks -= u64::from(self.left);
            self.set_output(!self.output);
            self.take_count();
            self.left = self.half();
            if !is_reduced && ticks >= self.period.into() {
                ticks %= u64::from(self.period);
                self.has_risen = true;
                is_reduced = true;
            }
        }
        self.left -= ticks as u32;
    }

    /// How many clocks until OUT changes by itself; for the rate generator until it has risen again, its low phase
    /// being one clock long.
    pub(super) fn ticks_to_change(&self) -> Option<u64> {
        match self.course {
            Course::Stopped | Course::Expired => None,
            Course::Strobe => Some(1),
            Course::Load if self.mode() == Mode::OneShot => Some(1),
            _ if !self.is_enabled() => None,
            Course::Load => {
                let mut loaded = self.clone();
                loaded.load();
                Some(1 + u64::from(loaded.left))
            }
            Course::Armed => Some(self.left.into()),
        }
    }

    /// The counting element, in the notation of the control word.
    fn count(&self) -> u16 {
        let element = match self.mode() {
            // The element goes down by two, from an even number.
            Mode::SquareWave if self.output && self.period % 2 != 0 => 2 * self.left.saturating_sub(1),
            Mode::SquareWave => 2 * self.left,
            _ => self.left,
        };
        let element = (element % self.modulus()) as u16;
        if self.is_bcd() { to_bcd(element) } else { element }
    }

    /// The status byte of the read-back command.
    fn status(&self) -> u8 {
        u8::from(self.output) << 7 | u8::from(self.is_null_count) << 6 | self.control
    }

    /// Latches the count until it is read; a count that is latched already stays.
    pub(super) fn latch_count(&mut self) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.count());
        }
    }

    /// Latches the status until it is read; a status that is latched already stays.
    pub(super) fn latch_status(&mut self) {
        if self.latched_status.is_none() {
            self.latched_status = Some(self.status());
        }
    }

    /// A byte read from the counter.
    pub(super) fn read(&mut self) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.count()).to_le_bytes();
        let is_high = match self.access() {
            Access::Low => false,
            Access::High => true,
            Access::LowThenHigh => {
                self.reads_high = !self.reads_high;
                !self.reads_high
            }
        };
        if !self.reads_high {
            self.latched_count = None;
        }
        if is_high { high } else { low }
    }
}

/// Four digits as a number. Digits above nine are no BCD; they count for what they are worth.
fn from_bcd(digits: u16) -> u32 {
    (0..4).rev().fold(0, |value, n| value * 10 + u32::from(digits >> (4 * n) & 0xf))
}

fn to_bcd(value: u16) -> u16 {
    (0..4).fold(0, |digits, n| digits | (value / 10u16.pow(n) % 10) << (4 * n))
}
