//! The real-time clock on the bus: ports 70h/71h and, for the second 128 bytes, 72h/73h; IRQ8.
//!
//! Rule of this file: no host clock. What time it was at power-on is told by the board.
//! Reference: see the core.

mod calendar;
mod core;
#[cfg(test)]
mod tests;

use dragoman_state::{Port, VmInstant, Width};

use self::core::RealTimeClock;
use crate::{Device, IoError, IrqLine, PioDevice, TimedDevice};

/// The clock's ports: first port and count.
pub const PORTS: (Port, u32) = (Port(0x70), 4);

/// The index that port 70h and port 72h select; their upper bit is the NMI mask, which nothing here raises.
const INDEX: u8 = 0x7f;

/// How much memory a PC tells its firmware of through the clock's RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize {
    /// The end of memory below 4 GiB, in bytes.
    pub below_4g: u64,
    /// Bytes of memory from 4 GiB up.
    pub above_4g: u64,
}

/// The real-time clock of a PC, and its battery-backed RAM.
pub struct Rtc {
    // Wiring
    irq8: IrqLine,
    // Guest-visible state
    index: [u8; 2],
    core: RealTimeClock,
}

impl Rtc {
    /// A clock that shows `epoch`, in seconds since 1970, at power-on, and drives `irq8`. On a board with an HPET the
    /// wire goes through it, for the HPET may take its place.
    pub fn new(irq8: IrqLine, epoch: u64, memory: MemorySize) -> Self {
        let mut rtc = Self { irq8, index: [0; 2], core: RealTimeClock::new(epoch) };
        rtc.set_memory(memory);
        rtc
    }

    /// From now on the clock shows `epoch`, in seconds since 1970, plus the guest time since power-on.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.core.set_epoch(epoch);
    }

    /// So many seconds passed in which guest time stood: the battery kept the clock going. Neither its phase nor what it does
    /// within a second changes.
    pub fn skip(&mut self, seconds: u64) {
        self.core.skip(seconds);
        self.drive();
    }

    /// A byte of the RAM; zero for the clock's own registers (below 0Eh).
    pub fn cmos(&self, index: u8) -> u8 {
        self.core.ram(index)
    }

    /// Sets a byte of the RAM, for what else firmware wants to find there. The clock's own registers (below 0Eh) are
    /// left alone.
    pub fn set_cmos(&mut self, index: u8, value: u8) {
        self.core.set_ram(index, value);
    }

    /// What a PC's firmware leaves in the RAM about memory; the units are those that SeaBIOS reads.
    fn set_memory(&mut self, memory: MemorySize) {
        let extended = memory.below_4g.saturating_sub(1 << 20) >> 10; // in KiB from 1 MiB
        let above_16m = memory.below_4g.saturating_sub(16 << 20) >> 16; // in 64 KiB from 16 MiB
        let above_4g = memory.above_4g >> 16;
        let words = [(0x15, 640), (0x17, extended), (0x30, extended), (0x34, above_16m)];
        for (index, value) in words {
            let [low, high] = (value.min(0xffff) as u16).to_le_bytes();
            self.set_cmos(index, low);
            self.set_cmos(index + 1, high);
        }
        for (index, byte) in (0x5b..=0x5d).zip(above_4g.min(0xff_ffff).to_le_bytes()) {
            self.set_cmos(index, byte);
        }
    }

    fn drive(&self) {
        self.irq8.set(self.core.output());
    }
}

impl Device for Rtc {
    fn name(&self) -> &'static str {
        "rtc"
    }

    fn reset(&mut self) {
        self.index = [0; 2];
        self.core.reset();
        self.drive();
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn TimedDevice> {
        Some(self)
    }
}

impl PioDevice for Rtc {
    fn read(&mut self, port: Port, _width: Width) -> Result<u32, IoError> {
        let value = match port.0 {
            0x71 => self.core.read(self.index[0]),
            0x73 => self.core.read(self.index[1] | 0x80),
            _ => return Err(IoError::NoRegister), // the index registers cannot be read
        };
        self.drive();
        Ok(value.into())
    }

    fn write(&mut self, port: Port, _width: Width, value: u32) -> Result<(), IoError> {
        let value = value as u8;
        match port.0 {
            0x70 => self.index[0] = value & INDEX,
            0x71 => self.core.write(self.index[0], value),
            0x72 => self.index[1] = value & INDEX,
            0x73 => self.core.write(self.index[1] | 0x80, value),
            _ => return Err(IoError::NoRegister),
        }
        self.drive();
        Ok(())
    }
}

impl TimedDevice for Rtc {
    fn advance(&mut self, now: VmInstant) {
        self.core.advance(now);
        self.drive();
    }

    fn next_deadline(&self) -> VmInstant {
        self.core.next_change()
    }
}
