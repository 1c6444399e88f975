//! A serial port on the bus: eight ports, one interrupt, bytes to and from the host.
//!
//! Rule of this file: bytes leave when they are written. What the host's end does not take stays in the transmitter
//! and is offered again a little later, so a guest sees a slow line, never a stuck one.
//! Reference: see the core.

mod core;
#[cfg(test)]
mod tests;

use dragoman_state::{Port, VmDuration, VmInstant, Width};

use self::core::Registers;
use crate::{Device, IoError, IrqLine, PioDevice, TimedDevice, backend::ByteSink};

/// Where a PC has its first serial port; its interrupt is IRQ4.
pub const COM1: Port = Port(0x3f8);
/// Where a PC has its second serial port; its interrupt is IRQ3.
pub const COM2: Port = Port(0x2f8);
/// How many ports one takes.
pub const PORTS: u32 = 8;

/// When bytes that the host did not take are offered again.
const RETRY: VmDuration = VmDuration::from_millis(1);

/// A 16550A.
pub struct Uart {
    // Configuration
    base: Port,
    // Wiring
    irq: IrqLine,
    room: IrqLine,
    sink: Box<dyn ByteSink>,
    // Guest-visible state
    core: Registers,
    // Bookkeeping
    now: VmInstant,
    retry_at: VmInstant,
}

impl Uart {
    /// A port at `base` that interrupts through `irq` and sends to `sink`. `room` is high while [`Uart::receive`]
    /// would take a byte: whoever holds bytes back learns from it when to go on.
    pub fn new(base: Port, irq: IrqLine, room: IrqLine, sink: Box<dyn ByteSink>) -> Self {
        let core = Registers::new();
        Self { base, irq, room, sink, core, now: VmInstant::ZERO, retry_at: VmInstant::NEVER }
    }

    /// Bytes from the host. Takes as many as there is room for, first ones first, and returns how many; the host
    /// keeps the rest.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let taken = self.core.receive(bytes);
        self.drive();
        taken
    }

    fn drive(&self) {
        self.irq.set(self.core.output());
        self.room.set(self.core.room() > 0);
    }

    /// Offers the sink what waits to be sent.
    fn send(&mut self) {
        if !self.core.to_send().is_empty() {
            let taken = self.sink.write(self.core.to_send());
            self.core.sent(taken);
        }
        self.retry_at = if self.core.to_send().is_empty() { VmInstant::NEVER } else { self.now + RETRY };
    }
}

impl Device for Uart {
    fn name(&self) -> &'static str {
        "uart"
    }

    fn reset(&mut self) {
        self.core.reset();
        self.retry_at = VmInstant::NEVER;
        self.drive();
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn TimedDevice> {
        Some(self)
    }
}

impl PioDevice for Uart {
    fn read(&mut self, port: Port, _width: Width) -> Result<u32, IoError> {
        let value = self.core.read(port.0.wrapping_sub(self.base.0)).ok_or(IoError::NoRegister)?;
        self.drive();
        Ok(value.into())
    }

    fn write(&mut self, port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        let is_there = self.core.write(port.0.wrapping_sub(self.base.0), value as u8);
        // The interrupt of an empty transmitter goes before the byte does, and comes back as a new edge.
        self.drive();
        self.send();
        self.drive();
        is_there.then_some(()).ok_or(IoError::NoRegister)
    }
}

impl TimedDevice for Uart {
    fn advance(&mut self, now: VmInstant) {
        self.now = now;
        self.core.advance(now);
        if self.retry_at <= now {
            self.send();
        }
        self.drive();
    }

    fn next_deadline(&self) -> VmInstant {
        self.core.next_change().min(self.retry_at)
    }
}
