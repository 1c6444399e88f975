//! The interval timer on the bus: ports 40h to 43h and 61h; counter 0's output is IRQ0.
//!
//! Rule of this file: time reaches the core as the number of whole ticks since power-on, so that no fraction of one is
//! ever lost, however often it is asked.
//! Reference: see the core.

mod channel;
mod core;
#[cfg(test)]
mod tests;

use dragoman_state::{Port, VmDuration, VmInstant, Width};

pub use self::core::FREQUENCY;
use self::core::Timer;
use crate::{Device, IoError, IrqLine, PioDevice, TimedDevice};

/// The timer's ports: first port and count.
pub const PORTS: [(Port, u32); 2] = [(Port(0x40), 4), (Port(0x61), 1)];

/// The interval timer of a PC.
pub struct Pit {
    // Wiring
    irq0: IrqLine,
    // Guest-visible state
    core: Timer,
    // Bookkeeping
    /// The output rose since time last moved. The wire stays high until it moves again even where the output has
    /// fallen meanwhile: a host that is late must not show a rise and its end at once, for an 8259 would miss both.
    shows_rise: bool,
}

impl Pit {
    /// A timer whose counter 0 drives `irq0`. On a board with an HPET the wire goes through it, for the HPET may take
    /// its place.
    pub fn new(irq0: IrqLine) -> Self {
        Self { irq0, core: Timer::new(), shows_rise: false }
    }

    fn drive(&mut self) {
        let (level, has_risen) = self.core.take_output();
        if has_risen {
            // Periods that went by unseen show as one edge.
            self.irq0.set(false);
            self.irq0.set(true);
            self.shows_rise = true;
        }
        self.irq0.set(level || self.shows_rise);
    }
}

impl Device for Pit {
    fn name(&self) -> &'static str {
        "pit"
    }

    fn reset(&mut self) {
        self.core.reset();
        self.shows_rise = false;
        self.drive();
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn TimedDevice> {
        Some(self)
    }
}

impl PioDevice for Pit {
    fn read(&mut self, port: Port, _width: Width) -> Result<u32, IoError> {
        let value = match port.0 {
            0x40..0x43 => self.core.read_counter(usize::from(port.0 - 0x40)),
            0x61 => Some(self.core.read_system_control()),
            _ => None, // the control word register cannot be read
        };
        value.map(u32::from).ok_or(IoError::NoRegister)
    }

    fn write(&mut self, port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        match port.0 {
            0x40..0x43 => self.core.write_counter(usize::from(port.0 - 0x40), value as u8),
            0x43 => self.core.write_control(value as u8),
            0x61 => self.core.write_system_control(value as u8),
            _ => return Err(IoError::NoRegister),
        }
        self.drive();
        Ok(())
    }
}

impl TimedDevice for Pit {
    fn advance(&mut self, now: VmInstant) {
        if self.core.advance(now.to_ticks(FREQUENCY)) {
            self.shows_rise = false;
        }
        self.drive();
    }

    fn next_deadline(&self) -> VmInstant {
        match self.core.next_change() {
            Some(tick) => VmInstant::ZERO + VmDuration::from_ticks(tick, FREQUENCY),
            None => VmInstant::NEVER,
        }
    }
}
