//! The keyboard controller on the bus: ports 60h, 64h and 92h; IRQ1 and IRQ12.
//!
//! Rule of this file: an interrupt line dips between two bytes, so that each is an edge of its own.
//! Reference: see the core.

mod core;
mod keyboard;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dragoman_state::{Port, Width};

use self::core::Controller;
use crate::{Device, IoError, IrqLine, PioDevice, PowerControl};

/// The controller's ports: first port and count.
pub const PORTS: [(Port, u32); 3] = [(Port(0x60), 1), (Port(0x64), 1), (Port(0x92), 1)];

/// The keyboard controller of a PC, with a keyboard, and with nothing at its auxiliary port.
pub struct I8042 {
    // Wiring
    keyboard_irq: IrqLine,
    auxiliary_irq: IrqLine,
    power: Arc<dyn PowerControl>,
    // Guest-visible state
    core: Controller,
}

impl I8042 {
    /// A controller that interrupts through `keyboard_irq` (IRQ1) and `auxiliary_irq` (IRQ12), and whose reset line
    /// is `power`'s.
    pub fn new(keyboard_irq: IrqLine, auxiliary_irq: IrqLine, power: Arc<dyn PowerControl>) -> Self {
        Self { keyboard_irq, auxiliary_irq, power, core: Controller::new() }
    }

    /// A key is pressed or released: its `codes` in scan code set 2, all of one key. False where the keyboard's buffer
    /// has no room for them: none was taken, and the host may try again after the guest has read.
    pub fn press(&mut self, codes: &[u8]) -> bool {
        let is_taken = self.core.keyboard.press(codes);
        self.drive();
        is_taken
    }

    /// The keyboard's lamps: scroll lock, num lock and caps lock in bits 0 to 2.
    pub fn leds(&self) -> u8 {
        self.core.keyboard.leds()
    }

    /// Whether address line 20 is open. Recorded for those who ask; addresses are not masked here.
    pub fn is_a20_open(&self) -> bool {
        self.core.is_a20_open()
    }

    fn drive(&mut self) {
        if self.core.refill() {
            self.keyboard_irq.set(false);
            self.auxiliary_irq.set(false);
        }
        let (keyboard, auxiliary) = self.core.interrupts();
        self.keyboard_irq.set(keyboard);
        self.auxiliary_irq.set(auxiliary);
    }
}

impl Device for I8042 {
    fn name(&self) -> &'static str {
        "i8042"
    }

    fn reset(&mut self) {
        self.core = Controller::new();
        self.drive();
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }
}

impl PioDevice for I8042 {
    fn read(&mut self, port: Port, _width: Width) -> Result<u32, IoError> {
        let value = match port.0 {
            0x60 => self.core.read_data(),
            0x64 => self.core.status().bits(),
            0x92 => self.core.read_fast(),
            _ => return Err(IoError::NoRegister),
        };
        self.drive();
        Ok(value.into())
    }

    fn write(&mut self, port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        let value = value as u8;
        let resets = match port.0 {
            0x60 => self.core.write_data(value),
            0x64 => self.core.write_command(value),
            0x92 => self.core.write_fast(value),
            _ => return Err(IoError::NoRegister),
        };
        if resets {
            self.power.reset();
        }
        self.drive();
        Ok(())
    }
}
