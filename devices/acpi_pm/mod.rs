//! Power management on the bus: function 3 of the south bridge, its block of ports, and the SMI ports B2h and B3h.
//!
//! Rule of this file: the block is where PMBASE says, and answers there only while PMREGMISC lets it. After reset it
//! is where the board says, for a guest that is started without firmware finds it through the ACPI tables alone.
//! Reference: Intel 82371AB (PIIX4) datasheet (290562), §7.1; otherwise see the core.

mod core;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dragoman_state::{Port, VmDuration, VmInstant, Width};

use self::core::Registers;
pub use self::core::{ACPI_DISABLE, ACPI_ENABLE, BLOCK, FREQUENCY, SLP_TYP_S5, offset};
use crate::{
    Device, IoError, IrqLine, PioDevice, PowerControl, TimedDevice,
    pci::{Command, ConfigSpace, DevFn, Identity, PciFunction},
};

/// Where the function is on the bus.
pub const PLACE: DevFn = DevFn::new(1, 3);
/// The SMI command port.
pub const SMI_COMMAND: Port = Port(0xb2);
/// The SMI ports: first port and count.
pub const SMI_PORTS: (Port, u32) = (SMI_COMMAND, 2);
/// Where SeaBIOS puts the block, and where it is for guests that are started without firmware.
pub const DEFAULT_BASE: Port = Port(0x600);

const PMBASE: u8 = 0x40;
const PMREGMISC: u8 = 0x80;
/// PMREGMISC's bit that lets the block answer.
const PMIOSE: u8 = 1;

/// The power management of a PC.
pub struct AcpiPm {
    // Wiring
    sci: IrqLine,
    power: Arc<dyn PowerControl>,
    // Guest-visible state
    core: Registers,
    config: ConfigSpace,
}

impl AcpiPm {
    /// Power management whose block is at `base`, a multiple of 40h, until software moves it; it answers wherever the
    /// board maps its ports. `sci` is the system control interrupt, a level; switching off is told to `power`.
    pub fn new(base: Port, sci: IrqLine, power: Arc<dyn PowerControl>) -> Self {
        Self { sci, power, core: Registers::new(), config: config(base) }
    }

    /// The host asks the guest to switch itself off.
    pub fn press_power_button(&mut self) {
        self.core.press_power_button();
        self.drive();
    }

    /// General-purpose event `bit`, 0 to 15, happens.
    pub fn raise_gpe(&mut self, bit: u8) {
        self.core.raise_gpe(bit);
        self.drive();
    }

    fn drive(&self) {
        self.sci.set(self.core.output());
    }

    /// The offset of `port` in the block.
    fn block_offset(&self, port: Port) -> Result<u8, IoError> {
        let base = self.config.read(PMBASE, Width::Word) as u16 & !(BLOCK - 1);
        let is_here = self.config.byte(PMREGMISC) & PMIOSE != 0 && port.0 & !(BLOCK - 1) == base;
        if is_here { Ok((port.0 - base) as u8) } else { Err(IoError::NoRegister) }
    }
}

fn config(base: Port) -> ConfigSpace {
    let identity = Identity { vendor: 0x8086, device: 0x7113, revision: 3, class: 0x06_80_00 };
    let base = (base.0 & !(BLOCK - 1) | 1).to_le_bytes();
    ConfigSpace::new(identity)
        .with_command(Command::IO, Command::IO)
        .with_status(0x0280, 0x7800)
        .with_interrupt_pin(1)
        .with(PMBASE.into(), &[base[0], base[1], 0, 0], &[0xc0, 0xff])
        .with(PMREGMISC.into(), &[PMIOSE], &[0x01])
        .with(0x58, &[0x00; 4], &[0xff; 4]) // DEVACTB
        .with(0x90, &[0x01, 0x00, 0x00, 0x00], &[0xf0, 0xff]) // SMBBA
        .with(0xd2, &[0x00], &[0x0f]) // SMBHSTCFG
}

impl Device for AcpiPm {
    fn name(&self) -> &'static str {
        "acpi-pm"
    }

    fn reset(&mut self) {
        self.core.reset();
        self.config.reset();
        self.drive();
    }

    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn TimedDevice> {
        Some(self)
    }

    fn as_pci(&mut self) -> Option<&mut dyn PciFunction> {
        Some(self)
    }
}

impl PciFunction for AcpiPm {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }
}

impl PioDevice for AcpiPm {
    fn is_byte_wide(&self) -> bool {
        false // a timer read byte by byte would be torn
    }

    fn read(&mut self, port: Port, width: Width) -> Result<u32, IoError> {
        match (port.0.wrapping_sub(SMI_COMMAND.0), width) {
            (at @ (0 | 1), Width::Byte) => Ok(self.core.read_smi(at == 1).into()),
            (0 | 1, _) => Err(IoError::BadWidth),
            _ => Ok(self.core.read(self.block_offset(port)?, width)),
        }
    }

    fn write(&mut self, port: Port, width: Width, value: u32) -> Result<(), IoError> {
        match (port.0.wrapping_sub(SMI_COMMAND.0), width) {
            (at @ (0 | 1), Width::Byte) => self.core.write_smi(at == 1, value as u8),
            (0 | 1, _) => return Err(IoError::BadWidth),
            _ => {
                if self.core.write(self.block_offset(port)?, width, value) {
                    self.power.power_off();
                }
            }
        }
        self.drive();
        Ok(())
    }
}

impl TimedDevice for AcpiPm {
    fn advance(&mut self, now: VmInstant) {
        self.core.advance(now.to_ticks(FREQUENCY));
        self.drive();
    }

    fn next_deadline(&self) -> VmInstant {
        match self.core.next_change() {
            Some(tick) => VmInstant::ZERO + VmDuration::from_ticks(tick, FREQUENCY),
            None => VmInstant::NEVER,
        }
    }
}
