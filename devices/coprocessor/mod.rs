//! The coprocessor error latch of the PC: how an x87 error reaches the guest as interrupt 13 while CR0.NE is clear.
//!
//! Rule of this file: the processor asserts FERR#; the latch answers by interrupt 13, and, once the handler has written to its
//! port, by IGNNE#, which lets the handler use the unit. Both end with FERR#.
//! Reference: PIIX4 datasheet, "Coprocessor Error"; SDM: vol. 1, appendix D.2.1. The state is two bits, hence no `core.rs`.

use dragoman_state::{Port, Width};

use crate::{Device, IoError, IrqLine, PioDevice};

/// The port whose write ends the interrupt, and its neighbour, which was the 287's reset.
pub const PORTS: (Port, u32) = (Port(0xf0), 2);

/// The latch.
pub struct Coprocessor {
    // Guest-visible state
    has_error: bool,
    is_ignored: bool,
    // Wiring
    irq13: IrqLine,
}

impl Coprocessor {
    /// A latch that drives `irq13`.
    pub fn new(irq13: IrqLine) -> Self {
        Self { has_error: false, is_ignored: false, irq13 }
    }

    /// The processor asserts FERR#: whether IGNNE# is asserted, so that it goes on.
    pub fn assert_error(&mut self) -> bool {
        if !self.has_error {
            self.has_error = true;
            self.irq13.set(true);
        }
        self.is_ignored
    }

    /// The processor's error is gone.
    pub fn release_error(&mut self) {
        self.reset();
    }
}

impl Device for Coprocessor {
    fn name(&self) -> &'static str {
        "coprocessor"
    }

    fn reset(&mut self) {
        (self.has_error, self.is_ignored) = (false, false);
        self.irq13.set(false);
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }
}

impl PioDevice for Coprocessor {
    fn read(&mut self, _port: Port, _width: Width) -> Result<u32, IoError> {
        Err(IoError::NoRegister)
    }

    fn write(&mut self, port: Port, _width: Width, _value: u32) -> Result<(), IoError> {
        if port == PORTS.0 && self.has_error {
            self.is_ignored = true;
            self.irq13.set(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::loose_line;

    #[test]
    fn an_error_interrupts_until_its_handler_has_said_that_it_knows() {
        let mut latch = Coprocessor::new(loose_line());
        // Without an error a write does nothing.
        latch.write(PORTS.0, Width::Byte, 0).expect("its port");
        assert!(!latch.assert_error() && latch.irq13.is_high());
        assert!(!latch.assert_error(), "the handler has not run yet");
        latch.write(Port(0xf1), Width::Byte, 0).expect("its port");
        assert!(latch.irq13.is_high(), "that port is another's");
        latch.write(PORTS.0, Width::Byte, 0).expect("its port");
        assert!(latch.assert_error() && !latch.irq13.is_high());
        latch.release_error();
        assert!(!latch.assert_error() && latch.irq13.is_high(), "the next error is a new one");
        latch.reset();
        assert!(!latch.irq13.is_high());
    }
}
