//! The registers of an APIC in xAPIC mode: one page of memory, a register every 16 bytes.
//!
//! Rule of this file: a register is written whole, with 32 bits; it may be read in part. What touches the bytes between
//! registers is undefined on hardware and refused here.
//! Reference: SDM vol. 3 §11.4.1.

use dragoman_state::{VmInstant, Width};

use super::{
    core::{Effect, Lapic},
    register::{Command, Errors, Register},
};
use crate::IoError;

/// The bits of the destination in the high half of the interrupt command register, and of the logical destination.
const DESTINATION: u32 = 0xff00_0000;
/// The bits of the destination format register that are always set.
const FORMAT_ONES: u32 = 0x0fff_ffff;

impl Lapic<'_> {
    /// Reads `width` bits at `offset` into [`Lapic::page`].
    pub fn read(&mut self, offset: u64, width: Width, now: VmInstant) -> Result<u64, IoError> {
        if self.page().is_none() {
            return Err(IoError::NoRegister);
        }
        let within = offset & 0xf;
        if within + width.bytes() > 4 {
            return Err(IoError::BadWidth);
        }
        self.advance(now);
        let Some(register) = self.register_at(offset) else { return Ok(0) };
        Ok(width.truncate(u64::from(self.read_register(register, now)) >> (8 * within)))
    }

    /// Writes `width` bits at `offset` into [`Lapic::page`].
    pub fn write(&mut self, offset: u64, width: Width, value: u64, now: VmInstant) -> Result<Effect, IoError> {
        if self.page().is_none() {
            return Err(IoError::NoRegister);
        }
        if offset & 0xf != 0 || width != Width::Dword {
            return Err(IoError::BadWidth);
        }
        self.advance(now);
        let Some(register) = self.register_at(offset) else { return Ok(Effect::None) };
        let value = value as u32;
        match register {
            Register::LogicalDestination => self.state.logical_destination = value & DESTINATION,
            Register::DestinationFormat => self.state.destination_format = value | FORMAT_ONES,
            Register::InterruptCommandHigh => {
                let low = self.state.interrupt_command & u64::from(u32::MAX);
                self.state.interrupt_command = u64::from(value & DESTINATION) << 32 | low;
            }
            Register::InterruptCommand => {
                let command = (Command::from_bits_truncate(value) - Command::DELIVERY_STATUS).bits();
                let high = self.state.interrupt_command >> 32;
                self.state.interrupt_command = high << 32 | u64::from(command);
                return Ok(self.send(command, Self::widen((high >> 24) as u32)));
            }
            _ => return Ok(self.write_register(register, value, now)),
        }
        Ok(Effect::None)
    }

    /// The register at `offset`; asking for a reserved one is an error.
    fn register_at(&mut self, offset: u64) -> Option<Register> {
        let register = u32::try_from(offset >> 4).ok().and_then(Register::from_number);
        let register = register.filter(|register| *register != Register::SelfIpi);
        if register.is_none() {
            self.report(Errors::ILLEGAL_REGISTER);
        }
        register
    }
}
