//! The debug console of Bochs and QEMU: one port to which firmware and small kernels write text.
//!
//! Rule of this file: a byte that the sink does not take at once is lost. The port has no way to say "wait".
//! Reference: QEMU, `hw/char/debugcon.c`; Bochs, "port e9 hack". There is no state, hence no `core.rs`.

use dragoman_state::{Port, Width};

use crate::{Device, IoError, PioDevice, backend::ByteSink};

/// The port it lives at by convention.
pub const PORT: Port = Port(0xe9);
/// What a read answers, by which software knows that the port is there.
const READBACK: u32 = 0xe9;

/// The debug console.
pub struct DebugConsole {
    // Wiring
    sink: Box<dyn ByteSink>,
}

impl DebugConsole {
    /// A console that writes to `sink`.
    pub fn new(sink: Box<dyn ByteSink>) -> Self {
        Self { sink }
    }
}

impl Device for DebugConsole {
    fn name(&self) -> &'static str {
        "debugcon"
    }

    fn reset(&mut self) {}

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }
}

impl PioDevice for DebugConsole {
    fn read(&mut self, _port: Port, _width: Width) -> Result<u32, IoError> {
        Ok(READBACK)
    }

    fn write(&mut self, _port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        self.sink.write(&[value as u8]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::MemorySink;

    #[test]
    fn bytes_reach_the_sink_and_a_read_says_that_the_port_is_there() {
        let sink = MemorySink::new(16);
        let mut console = DebugConsole::new(Box::new(sink.clone()));
        for byte in b"hi" {
            console.write(PORT, Width::Byte, (*byte).into()).expect("its port");
        }
        console.reset();
        assert_eq!(console.read(PORT, Width::Byte), Ok(0xe9));
        assert_eq!(sink.take(), b"hi");
    }
}
