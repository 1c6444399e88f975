//! The PCI bus: configuration cycles at ports CF8h to CFFh, and the i440FX host bridge that makes them.
//!
//! Rule of this folder: configuration cycles travel down. The host bridge is locked while it passes one on to a
//! function in another slot, and no function ever turns to the host bridge; this is the one place where two chips are
//! locked at once, and the order is always this one.
//! Reference: Intel 82441FX (PMC) datasheet (290549); otherwise see the files.

mod config;
mod core;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use dragoman_state::{Port, Width};

pub use self::config::{BarKind, Command, ConfigSpace, Identity, Window};
use self::core::{Mechanism, Register};
use crate::{Device, IoError, PioDevice, PowerControl, Slot};

/// The ports of the configuration mechanism and the reset control register: first port and count.
pub const PORTS: (Port, u32) = (Port(0xcf8), 8);
/// The reset control register, for the ACPI tables.
pub const RESET_CONTROL: Port = Port(0xcf9);
/// What resets the whole machine when it is written there.
pub const RESET_VALUE: u8 = 0x06;

/// A function's place on bus 0: the device's number in the upper five bits, the function's in the lower three.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevFn(pub u8);

impl DevFn {
    /// Function `function` (0 to 7) of device `device` (0 to 31).
    pub const fn new(device: u8, function: u8) -> Self {
        Self(device << 3 | function & 7)
    }

    /// The device's number.
    pub const fn device(self) -> u8 {
        self.0 >> 3
    }

    /// The function's number.
    pub const fn function(self) -> u8 {
        self.0 & 7
    }
}

impl fmt::Debug for DevFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}.{}", self.device(), self.function())
    }
}

/// A chip that is a PCI function. Where a register does more than hold a value, the chip overrides the accesses.
pub trait PciFunction {
    /// Its configuration space.
    fn config(&mut self) -> &mut ConfigSpace;

    /// Reads `width` bits (8, 16 or 32) at `offset`.
    fn read_config(&mut self, offset: u8, width: Width) -> u32 {
        self.config().read(offset, width)
    }

    /// Writes the low `width` bits (8, 16 or 32) of `value` at `offset`.
    fn write_config(&mut self, offset: u8, width: Width, value: u32) {
        self.config().write(offset, width, value);
    }
}

/// Where configuration cycles end: the slot of a chip that is a PCI function.
pub trait ConfigTarget: Send + Sync {
    /// Reads `width` bits at `offset`.
    fn read_config(&self, offset: u8, width: Width) -> u32;
    /// Writes the low `width` bits of `value` at `offset`.
    fn write_config(&self, offset: u8, width: Width, value: u32);
}

impl<D: Device + ?Sized> ConfigTarget for Slot<D> {
    fn read_config(&self, offset: u8, width: Width) -> u32 {
        self.access(|device| device.as_pci().map_or(u32::MAX, |function| function.read_config(offset, width)))
    }

    fn write_config(&self, offset: u8, width: Width, value: u32) {
        self.access(|device| {
            if let Some(function) = device.as_pci() {
                function.write_config(offset, width, value);
            }
        });
    }
}

/// The i440FX host bridge: function 0 of device 0, and the way to all others.
pub struct PciHost {
    // Wiring
    functions: BTreeMap<DevFn, Arc<dyn ConfigTarget>>,
    power: Arc<dyn PowerControl>,
    // Guest-visible state
    core: Mechanism,
    config: ConfigSpace,
}

impl PciHost {
    /// A host bridge with an empty bus, whose reset control register is `power`'s.
    pub fn new(power: Arc<dyn PowerControl>) -> Self {
        Self { functions: BTreeMap::new(), power, core: Mechanism::default(), config: pmc() }
    }

    /// Puts a function on the bus. Place 0.0 is the bridge's own; elsewhere the newest at a place is the one there.
    pub fn attach(&mut self, place: DevFn, function: Arc<dyn ConfigTarget>) {
        self.functions.insert(place, function);
    }

    fn read_data(&mut self, byte: u8, width: Width) -> Result<u32, IoError> {
        let (place, offset) = self.core.selected(byte).ok_or(IoError::NoRegister)?;
        Ok(match self.functions.get(&place) {
            _ if place == DevFn::new(0, 0) => self.config.read(offset, width),
            Some(function) => function.read_config(offset, width),
            None => u32::MAX,
        })
    }

    fn write_data(&mut self, byte: u8, width: Width, value: u32) -> Result<(), IoError> {
        let (place, offset) = self.core.selected(byte).ok_or(IoError::NoRegister)?;
        match self.functions.get(&place) {
            _ if place == DevFn::new(0, 0) => self.config.write(offset, width, value),
            Some(function) => function.write_config(offset, width, value),
            None => {}
        }
        Ok(())
    }
}

/// The configuration space of the 82441FX. Its registers are kept for software to read; memory is RAM whatever the
/// attribute registers (PAM) say, for firmware is copied to where it is shadowed.
fn pmc() -> ConfigSpace {
    let identity = Identity { vendor: 0x8086, device: 0x1237, revision: 2, class: 0x06_00_00 };
    ConfigSpace::new(identity)
        .with_command(Command::MEMORY | Command::BUS_MASTER, Command::SERR)
        .with_status(0x0280, 0xf900)
        .with(0x50, &[0x00, 0x00], &[0x74, 0xff]) // PMCCFG
        .with(0x53, &[0x80], &[0xf0]) // DBC
        .with(0x57, &[0x01], &[0x3f]) // DRAMC
        .with(0x59, &[0; 7], &[0xf0, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]) // PAM0 to PAM6
        .with(0x60, &[0x01; 8], &[0xff; 8]) // DRB
        .with(0x68, &[0x00], &[0xc0]) // FDHC
        .with(0x72, &[0x02], &[0x78]) // SMRAM
}

impl Device for PciHost {
    fn name(&self) -> &'static str {
        "pci-host"
    }

    fn reset(&mut self) {
        self.core = Mechanism::default();
        self.config.reset();
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }
}

impl PioDevice for PciHost {
    fn is_byte_wide(&self) -> bool {
        false
    }

    fn read(&mut self, port: Port, width: Width) -> Result<u32, IoError> {
        match Register::at(port.0.wrapping_sub(PORTS.0.0), width).ok_or(IoError::NoRegister)? {
            Register::Address => Ok(self.core.address()),
            Register::ResetControl => Ok(self.core.reset_control().into()),
            Register::Data(byte) => self.read_data(byte, width),
        }
    }

    fn write(&mut self, port: Port, width: Width, value: u32) -> Result<(), IoError> {
        match Register::at(port.0.wrapping_sub(PORTS.0.0), width).ok_or(IoError::NoRegister)? {
            Register::Address => self.core.set_address(value),
            Register::ResetControl => {
                if self.core.set_reset_control(value as u8) {
                    self.power.reset();
                }
            }
            Register::Data(byte) => self.write_data(byte, width, value)?,
        }
        Ok(())
    }
}
