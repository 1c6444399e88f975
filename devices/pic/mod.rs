//! The 8259A pair on the bus: ports 20h/21h, A0h/A1h and 4D0h/4D1h; sixteen interrupt inputs; INTR out.
//!
//! Rule of this file: after everything that may change the core, INTR is driven with what the core says.
//! Reference: see the core.

mod core;
#[cfg(test)]
mod tests;

use dragoman_state::{Port, Width};

use self::core::{Pair, Register};
use crate::{Device, IoError, IrqLine, LineInputs, PioDevice};

/// The ports of a PC's pair: first port and count.
pub const PORTS: [(Port, u32); 3] = [(Port(0x20), 2), (Port(0xa0), 2), (Port(0x4d0), 2)];

/// The interrupt controllers of a PC. Inputs are the ISA interrupt numbers.
pub struct Pic {
    // Wiring
    intr: IrqLine,
    // Guest-visible state
    core: Pair,
}

impl Pic {
    /// A pair whose INTR output drives `intr`: the processor's, and LINT0 of its local APIC.
    pub fn new(intr: IrqLine) -> Self {
        Self { intr, core: Pair::new() }
    }

    /// The processor's acknowledge cycle: takes the pending interrupt into service and returns its vector. Where it
    /// has gone away meanwhile, the vector is that of input 7 (or 15) and nothing is in service for it.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = self.core.acknowledge();
        self.drive();
        vector
    }

    fn drive(&self) {
        self.intr.set(self.core.output());
    }
}

impl Device for Pic {
    fn name(&self) -> &'static str {
        "pic"
    }

    fn reset(&mut self) {
        self.core.reset();
        self.drive();
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }

    fn as_line_inputs(&mut self) -> Option<&mut dyn LineInputs> {
        Some(self)
    }
}

/// Whose register answers at `port`.
fn register(port: Port) -> Result<(bool, Register), IoError> {
    match port.0 {
        0x20 => Ok((false, Register::Command)),
        0x21 => Ok((false, Register::Data)),
        0xa0 => Ok((true, Register::Command)),
        0xa1 => Ok((true, Register::Data)),
        0x4d0 => Ok((false, Register::Elcr)),
        0x4d1 => Ok((true, Register::Elcr)),
        _ => Err(IoError::NoRegister),
    }
}

impl PioDevice for Pic {
    fn read(&mut self, port: Port, _width: Width) -> Result<u32, IoError> {
        let (is_slave, register) = register(port)?;
        let value = self.core.read(is_slave, register);
        self.drive();
        Ok(value.into())
    }

    fn write(&mut self, port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        let (is_slave, register) = register(port)?;
        self.core.write(is_slave, register, value as u8);
        self.drive();
        Ok(())
    }
}

impl LineInputs for Pic {
    fn set_input(&mut self, pin: u32, high: bool) {
        self.core.set_input(pin, high);
        self.drive();
    }
}
