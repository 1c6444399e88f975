//! The firmware configuration device on the bus: selector and data at ports 510h and 511h, transfers at 514h.
//!
//! Rule of this file: ports are little-endian, what a transfer is described with is big-endian.
//! Reference: see the core.

mod core;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dragoman_state::{GuestPhys, Port, Width};

use self::core::Items;
pub use self::core::{FileError, LONGEST_FILL, key};
use crate::{Device, IoError, PioDevice, memory::GuestRam};

/// The device's ports: first port and count.
pub const PORTS: (Port, u32) = (Port(0x510), 12);

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;
/// What the address registers read.
const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

/// The firmware configuration device.
pub struct FwCfg {
    // Wiring
    ram: Arc<GuestRam>,
    // Guest-visible state
    core: Items,
    dma_high: u32,
}

impl FwCfg {
    /// A device without items but those that say what it is, whose transfers go to `ram`.
    pub fn new(ram: Arc<GuestRam>) -> Self {
        Self { ram, core: Items::new(), dma_high: 0 }
    }

    /// Gives item `key` (one of [`key`]) its bytes; numbers in items are little-endian.
    pub fn set_item(&mut self, key: u16, bytes: Vec<u8>) {
        self.core.set(key, bytes);
    }

    /// Offers `bytes` as the file `name`.
    pub fn add_file(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), FileError> {
        self.core.add_file(name, bytes)
    }
}

impl Device for FwCfg {
    fn name(&self) -> &'static str {
        "fw-cfg"
    }

    fn reset(&mut self) {
        self.core.reset();
        self.dma_high = 0;
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }
}

impl PioDevice for FwCfg {
    fn is_byte_wide(&self) -> bool {
        false
    }

    fn read(&mut self, port: Port, width: Width) -> Result<u32, IoError> {
        match (port.0, width) {
            (DATA, Width::Byte) => Ok(self.core.read_byte().into()),
            (DATA, _) => Err(IoError::BadWidth),
            (DMA_HIGH.., _) => {
                let from = usize::from(port.0 - DMA_HIGH);
                let bytes = DMA_SIGNATURE.get(from..from + width.bytes() as usize).ok_or(IoError::NoRegister)?;
                Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
            }
            _ => Err(IoError::NoRegister),
        }
    }

    fn write(&mut self, port: Port, width: Width, value: u32) -> Result<(), IoError> {
        match (port.0, width) {
            (SELECTOR, Width::Word) => self.core.select(value as u16),
            (DMA_HIGH, Width::Dword) => self.dma_high = value.swap_bytes(),
            (DMA_LOW, Width::Dword) => {
                let address = u64::from(std::mem::take(&mut self.dma_high)) << 32 | u64::from(value.swap_bytes());
                self.core.transfer(&self.ram, GuestPhys(address));
            }
            (SELECTOR | DMA_HIGH | DMA_LOW, _) => return Err(IoError::BadWidth),
            (DATA, Width::Byte) => return Err(IoError::ReadOnly),
            _ => return Err(IoError::NoRegister),
        }
        Ok(())
    }
}
