//! The debug-exit port: a guest ends its own run and says how it went.
//!
//! Rule of this file: the value goes out as it was written; what exit status it makes (QEMU: twice the value plus one)
//! is the program's business. Reference: QEMU, `hw/misc/debugexit.c`. There is no state, hence no `core.rs`.

use std::sync::Arc;

use dragoman_state::{Port, Width};

use crate::{Device, IoError, PioDevice, PowerControl};

/// The port it lives at by convention.
pub const PORT: Port = Port(0xf4);
/// How many ports it takes.
pub const PORTS: u32 = 4;

/// The debug-exit port.
pub struct DebugExit {
    // Wiring
    power: Arc<dyn PowerControl>,
}

impl DebugExit {
    /// A port that tells `power`.
    pub fn new(power: Arc<dyn PowerControl>) -> Self {
        Self { power }
    }
}

impl Device for DebugExit {
    fn name(&self) -> &'static str {
        "debug-exit"
    }

    fn reset(&mut self) {}

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }
}

impl PioDevice for DebugExit {
    fn is_byte_wide(&self) -> bool {
        false
    }

    fn read(&mut self, _port: Port, _width: Width) -> Result<u32, IoError> {
        Ok(0)
    }

    fn write(&mut self, _port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        self.power.debug_exit(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, PowerRecorder};

    #[test]
    fn a_write_of_any_width_ends_the_run_with_its_value() {
        let power = Arc::new(PowerRecorder::default());
        let mut exit = DebugExit::new(power.clone());
        assert!(!exit.is_byte_wide());
        exit.write(PORT, Width::Dword, 0x1234).expect("its port");
        exit.write(PORT, Width::Byte, 7).expect("its port");
        assert_eq!(power.take(), [Asked::DebugExit(0x1234), Asked::DebugExit(7)]);
        assert_eq!(exit.read(PORT, Width::Byte), Ok(0));
    }
}
