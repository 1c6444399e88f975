//! Configuration mechanism #1 and the reset control register.
//!
//! Rule of this file: it knows who is meant, not who is there.
//! Reference: PCI Local Bus Specification 3.0, §3.2.2.3.2; Intel 82371AB (PIIX4), §4.2.5 (RC register).

use dragoman_state::Width;

use super::DevFn;

/// CONFADD's enable bit.
const ENABLE: u32 = 1 << 31;
/// The bits of CONFADD that are kept.
const CONFADD: u32 = 0x80ff_fffc;
/// The reset control register's bit that resets the processor when it rises.
const RCPU: u8 = 1 << 2;
/// The bits of the reset control register that are kept: full reset, reset processor, system reset.
const RC: u8 = 0x0e;

/// What lies at an offset from port CF8h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The configuration address register, all 32 bits.
    Address,
    /// The reset control register, which a byte access finds inside the address register.
    ResetControl,
    /// The configuration data register, from this byte on.
    Data(u8),
}

impl Register {
    /// The register that `width` bits at `offset` are; `None` where no such access is decoded.
    pub fn at(offset: u16, width: Width) -> Option<Self> {
        match (offset, width) {
            (0, Width::Dword) => Some(Self::Address),
            (1, Width::Byte) => Some(Self::ResetControl),
            (4..8, Width::Byte | Width::Word | Width::Dword) => Some(Self::Data(offset as u8 - 4)),
            _ => None,
        }
    }
}

/// The registers of the mechanism.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mechanism {
    // Guest-visible state
    address: u32,
    reset_control: u8,
}

impl Mechanism {
    /// Reads the address register.
    pub fn address(&self) -> u32 {
        self.address
    }

    /// Writes the address register.
    pub fn set_address(&mut self, value: u32) {
        self.address = value & CONFADD;
    }

    /// Who is addressed, and at which offset; `None` while the mechanism is off or another bus than 0 is meant.
    pub fn selected(&self, byte: u8) -> Option<(DevFn, u8)> {
        let bus = self.address >> 16 & 0xff;
        let is_here = self.address & ENABLE != 0 && bus == 0;
        is_here.then_some((DevFn((self.address >> 8) as u8), (self.address & 0xfc) as u8 | byte & 3))
    }

    /// Reads the reset control register.
    pub fn reset_control(&self) -> u8 {
        self.reset_control
    }

    /// Writes the reset control register. Returns whether that resets the machine.
    pub fn set_reset_control(&mut self, value: u8) -> bool {
        let rises = value & !self.reset_control & RCPU != 0;
        self.reset_control = value & RC;
        rises
    }
}
