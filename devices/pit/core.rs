//! The 8254 programmable interval timer, and port 61h, through which a PC reaches its third counter's pins.
//!
//! Rule of this file: ticks come in, levels go out; the adapter alone knows what time it is.
//! Reference: Intel 82C54 datasheet (231244); Intel 82371AB (PIIX4), §4.2.8 (NMI status and control, port 61h).

use bitflags::bitflags;

use super::channel::Channel;

/// The frequency of CLK at all three counters, in hertz.
pub const FREQUENCY: u64 = 1_193_182;
/// Clocks between two memory refreshes, by which port 61h's toggle goes: what firmware programs counter 1 with.
const REFRESH: u64 = 18;
/// The counter whose gate and output are behind port 61h.
const SPEAKER: usize = 2;

/// The modes of a counter, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Mode 0: interrupt on terminal count.
    TerminalCount,
    /// Mode 1: hardware retriggerable one-shot.
    OneShot,
    /// Mode 2.
    RateGenerator,
    /// Mode 3.
    SquareWave,
    /// Mode 4: software triggered strobe.
    SoftwareStrobe,
    /// Mode 5: hardware triggered strobe.
    HardwareStrobe,
}

impl Mode {
    /// Bits 3 to 1 of a control word; bit 3 does not matter to modes 2 and 3.
    pub(super) fn from_control(word: u8) -> Self {
        match word >> 1 & 7 {
            0 => Self::TerminalCount,
            1 => Self::OneShot,
            2 | 6 => Self::RateGenerator,
            3 | 7 => Self::SquareWave,
            4 => Self::SoftwareStrobe,
            _ => Self::HardwareStrobe,
        }
    }
}

bitflags! {
    /// Port 61h.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct SystemControl: u8 {
        /// GATE of counter 2.
        const TIMER2_GATE = 1 << 0;
        /// Counter 2's output goes to the speaker.
        const SPEAKER_ENABLE = 1 << 1;
        /// System-error reporting is off.
        const SERR_DISABLE = 1 << 2;
        /// I/O channel check is off.
        const IOCHK_DISABLE = 1 << 3;
        /// Toggles with every memory refresh. Read-only.
        const REFRESH_TOGGLE = 1 << 4;
        /// OUT of counter 2. Read-only.
        const TIMER2_OUT = 1 << 5;

        const WRITABLE = 0x0f;
    }
}

/// The three counters and port 61h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    // Guest-visible state
    channels: [Channel; 3],
    system_control: SystemControl,
    // Bookkeeping
    ticks: u64,
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer {
    /// A timer at rest. Counters 0 and 1 have their gates tied high.
    pub fn new() -> Self {
        Self {
            channels: [Channel::new(true), Channel::new(true), Channel::new(false)],
            system_control: SystemControl::empty(),
            ticks: 0,
        }
    }

    /// Back to rest, at the present moment.
    pub fn reset(&mut self) {
        *self = Self { ticks: self.ticks, ..Self::new() };
    }

    /// Brings the timer to tick number `ticks` since power-on. Returns whether any tick passed.
    pub fn advance(&mut self, ticks: u64) -> bool {
        let passed = ticks.saturating_sub(self.ticks);
        self.ticks += passed;
        for channel in &mut self.channels {
            channel.advance(passed);
        }
        passed > 0
    }

    /// The tick at which counter 0's output next changes by itself.
    pub fn next_change(&self) -> Option<u64> {
        self.ticks.checked_add(self.channels[0].ticks_to_change()?)
    }

    /// The level of counter 0's output, and whether it rose since this was last asked.
    pub fn take_output(&mut self) -> (bool, bool) {
        (self.channels[0].output(), self.channels[0].take_rise())
    }

    /// Reads counter `n`, 0 to 2.
    pub fn read_counter(&mut self, n: usize) -> Option<u8> {
        Some(self.channels.get_mut(n)?.read())
    }

    /// Writes counter `n`, 0 to 2.
    pub fn write_counter(&mut self, n: usize, byte: u8) {
        if let Some(channel) = self.channels.get_mut(n) {
            channel.write_count(byte);
        }
    }

    /// Writes the control word register.
    pub fn write_control(&mut self, word: u8) {
        match (self.channels.get_mut(usize::from(word >> 6)), word >> 4 & 3) {
            (Some(channel), 0) => channel.latch_count(),
            (Some(channel), _) => channel.write_control(word),
            (None, _) => self.read_back(word),
        }
    }

    /// The read-back command: bits 5 and 4 say, inverted, what is latched; bits 3 to 1 of which counters.
    fn read_back(&mut self, word: u8) {
        for (n, channel) in self.channels.iter_mut().enumerate() {
            if word >> (n + 1) & 1 == 0 {
                continue;
            }
            if word & 1 << 5 == 0 {
                channel.latch_count();
            }
            if word & 1 << 4 == 0 {
                channel.latch_status();
            }
        }
    }

    /// Reads port 61h.
    pub fn read_system_control(&self) -> u8 {
        let mut value = self.system_control;
        value.set(SystemControl::REFRESH_TOGGLE, self.ticks / REFRESH % 2 != 0);
        value.set(SystemControl::TIMER2_OUT, self.channels[SPEAKER].output());
        value.bits()
    }

    /// Writes port 61h.
    pub fn write_system_control(&mut self, value: u8) {
        self.system_control = SystemControl::from_bits_truncate(value) & SystemControl::WRITABLE;
        self.channels[SPEAKER].set_gate(self.system_control.contains(SystemControl::TIMER2_GATE));
    }
}
