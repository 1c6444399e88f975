//! The test device of QEMU's PC, which unit tests of other projects drive: a latch in port space, memory that is no RAM, and
//! a hand on every interrupt line.
//!
//! Rule of this file: nothing here decides anything; what is written can be read, and a line has the level written last.
//! Reference: QEMU, `hw/misc/pc-testdev.c`. Its third register, which has the host take a page of guest memory away and give
//! it back, is accepted and does nothing: no translation of ours depends on where the host keeps a page.

use dragoman_state::{GuestPhys, Port, Width};

use crate::{Device, IoError, IrqLine, MmioDevice, PioDevice};

/// The latch, the page to be taken away, and the latch again by bytes: first port and how many.
pub const PORTS: (Port, u32) = (Port(0xe0), 12);
/// A port for each interrupt line.
pub const LINE_PORTS: (Port, u32) = (Port(0x2000), LINES as u32);
/// How many interrupt lines there are: the I/O APIC's inputs.
pub const LINES: usize = 24;
/// The memory that is no RAM.
pub const MEMORY: GuestPhys = GuestPhys(0xff00_0000);
/// Its length in bytes.
pub const MEMORY_LENGTH: u64 = 0x1_0000;

/// The test device.
pub struct TestDevice {
    // State
    latch: [u8; 4],
    memory: Box<[u8]>,
    // Wiring
    lines: [IrqLine; LINES],
}

impl TestDevice {
    /// A test device that drives `lines`, by their I/O APIC input.
    pub fn new(lines: [IrqLine; LINES]) -> Self {
        Self { latch: [0; 4], memory: vec![0; MEMORY_LENGTH as usize].into(), lines }
    }

    fn bytes(&mut self, offset: u64, width: Width) -> Result<&mut [u8], IoError> {
        let first = offset as usize;
        self.memory.get_mut(first..first + width.bytes() as usize).ok_or(IoError::NoRegister)
    }
}

impl Device for TestDevice {
    fn name(&self) -> &'static str {
        "testdev"
    }

    fn reset(&mut self) {
        self.latch = [0; 4];
        self.memory.fill(0);
        self.lines.iter().for_each(|line| line.set(false));
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }

    fn as_mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }
}

/// What a port is.
enum Register {
    Latch(usize),
    Page,
    Line(usize),
}

fn register(port: Port) -> Register {
    match port.0.checked_sub(LINE_PORTS.0.0) {
        Some(line) => Register::Line(line.into()),
        None if port.0 & 0xc == 4 => Register::Page,
        None => Register::Latch(usize::from(port.0 & 3)),
    }
}

impl PioDevice for TestDevice {
    fn read(&mut self, port: Port, _width: Width) -> Result<u32, IoError> {
        match register(port) {
            Register::Latch(n) => Ok(self.latch[n].into()),
            Register::Page | Register::Line(_) => Err(IoError::NoRegister),
        }
    }

    fn write(&mut self, port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        match register(port) {
            Register::Latch(n) => self.latch[n] = value as u8,
            Register::Page => {}
            Register::Line(n) => self.lines.get(n).ok_or(IoError::NoRegister)?.set(value != 0),
        }
        Ok(())
    }
}

impl MmioDevice for TestDevice {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, IoError> {
        Ok(self.bytes(offset, width)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), IoError> {
        let bytes = self.bytes(offset, width)?;
        bytes.copy_from_slice(&value.to_le_bytes()[..bytes.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::loose_line;

    fn device() -> TestDevice {
        TestDevice::new(std::array::from_fn(|_| loose_line()))
    }

    #[test]
    fn the_latch_reads_what_was_written_through_either_window() {
        let mut device = device();
        for n in 0..4 {
            PioDevice::write(&mut device, Port(0xe0 + n), Width::Byte, 0x10 + u32::from(n)).expect("the latch");
        }
        PioDevice::write(&mut device, Port(0xe9), Width::Byte, 0x77).expect("the latch");
        PioDevice::write(&mut device, Port(0xe4), Width::Byte, 0xff).expect("the page");
        let read: Vec<_> = (0..4).map(|n| PioDevice::read(&mut device, Port(0xe0 + n), Width::Byte)).collect();
        assert_eq!(read, [Ok(0x10), Ok(0x77), Ok(0x12), Ok(0x13)]);
        assert!(device.is_byte_wide() && PioDevice::read(&mut device, Port(0xe5), Width::Byte).is_err());
    }

    #[test]
    fn lines_have_the_level_that_was_written_until_a_reset() {
        let mut device = device();
        PioDevice::write(&mut device, Port(0x2000 + 23), Width::Byte, 1).expect("a line");
        assert!(device.lines[23].is_high() && !device.lines[22].is_high());
        device.reset();
        assert!(!device.lines[23].is_high());
    }

    #[test]
    fn its_memory_is_memory_to_its_last_byte() {
        let mut device = device();
        MmioDevice::write(&mut device, 0xfff9, Width::Dword, 0x0403_0201).expect("memory");
        assert_eq!(MmioDevice::read(&mut device, 0xfff8, Width::Qword), Ok(0x04_0302_0100));
        assert!(MmioDevice::read(&mut device, 0xfff9, Width::Qword).is_err());
    }
}
