//! The I/O APIC on the bus: one page of memory-mapped registers, 24 inputs, messages out.
//!
//! Rule of this file: IOWIN is 32 bits wide and aligned, as the datasheet demands; anything else is refused.
//! Reference: see the core.

mod core;
#[cfg(test)]
mod tests;

use dragoman_state::{GuestPhys, Width};

pub use self::core::PINS;
use self::core::Registers;
use crate::{Device, IoError, LineInputs, MessageLine, MmioDevice};

/// Where a PC has its first I/O APIC.
pub const BASE: GuestPhys = GuestPhys(0xfec0_0000);
/// How many bytes it answers at.
pub const LENGTH: u64 = 0x1000;

const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;
const EOI: u64 = 0x40;

/// An I/O APIC. Inputs are its pins, 0 to 23: on a PC the ISA interrupts, but IRQ0 at pin 2; then the PCI ones.
pub struct IoApic {
    // Wiring
    messages: MessageLine,
    // Guest-visible state
    core: Registers,
}

impl IoApic {
    /// An I/O APIC whose interrupts go out through `messages`.
    pub fn new(messages: MessageLine) -> Self {
        Self { messages, core: Registers::new() }
    }

    /// A local APIC broadcast the end of `vector`, which was level-triggered.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        self.core.end_of_interrupt(vector, |message| self.messages.send(message));
    }

    /// Whether an input may come to be a non-maskable interrupt, or an INIT, which no processor puts off either.
    pub fn may_send_nmi(&self) -> bool {
        self.core.may_send_nmi()
    }
}

impl Device for IoApic {
    fn name(&self) -> &'static str {
        "ioapic"
    }

    fn reset(&mut self) {
        self.core.reset();
    }

    fn as_mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }

    fn as_line_inputs(&mut self) -> Option<&mut dyn LineInputs> {
        Some(self)
    }
}

impl MmioDevice for IoApic {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, IoError> {
        match (offset, width) {
            (IOREGSEL, _) => Ok(self.core.select().into()),
            (IOWIN, Width::Dword) => Ok(self.core.read().into()),
            (IOWIN, _) => Err(IoError::BadWidth),
            _ => Err(IoError::NoRegister),
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), IoError> {
        match (offset, width) {
            // Eight bits matter, and software is known to write just them.
            (IOREGSEL, _) => self.core.set_select(value as u8),
            (IOWIN, Width::Dword) => self.core.write(value as u32, |message| self.messages.send(message)),
            (EOI, Width::Dword) => self.end_of_interrupt(value as u8),
            (IOWIN | EOI, _) => return Err(IoError::BadWidth),
            _ => return Err(IoError::NoRegister),
        }
        Ok(())
    }
}

impl LineInputs for IoApic {
    fn set_input(&mut self, pin: u32, high: bool) {
        self.core.set_input(pin, high, |message| self.messages.send(message));
    }
}
