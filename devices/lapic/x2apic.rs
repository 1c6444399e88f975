//! The registers of an APIC in x2APIC mode: model-specific registers 800h to 8FFh.
//!
//! Rule of this file: what hardware answers with #GP(0) is an error here, and leaves no trace.
//! Reference: SDM vol. 3 §11.12.1, table 11-6.

use dragoman_state::VmInstant;

use super::{
    FIRST_MSR,
    core::{Effect, Lapic},
    register::{Command, DIVIDE_CONFIGURATION, Lvt, Register, Spurious, lvt_writable},
};

/// The access raises #GP(0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("general protection")]
pub struct GeneralProtection;

impl Lapic<'_> {
    /// Reads model-specific register `index`, [`FIRST_MSR`] to [`super::LAST_MSR`].
    pub fn read_msr(&mut self, index: u32, now: VmInstant) -> Result<u64, GeneralProtection> {
        let register = self.msr(index)?;
        if matches!(register, Register::EndOfInterrupt | Register::SelfIpi) {
            return Err(GeneralProtection);
        }
        self.advance(now);
        Ok(match register {
            Register::InterruptCommand => self.state.interrupt_command,
            _ => self.read_register(register, now).into(),
        })
    }

    /// Writes model-specific register `index`, [`FIRST_MSR`] to [`super::LAST_MSR`].
    pub fn write_msr(&mut self, index: u32, value: u64, now: VmInstant) -> Result<Effect, GeneralProtection> {
        let register = self.msr(index)?;
        let allowed = writable(register).ok_or(GeneralProtection)?;
        if value & !allowed != 0 {
            return Err(GeneralProtection);
        }
        self.advance(now);
        Ok(match register {
            Register::InterruptCommand => {
                self.state.interrupt_command = value & !u64::from(Command::DELIVERY_STATUS.bits());
                self.send(value as u32, (value >> 32) as u32)
            }
            Register::SelfIpi => {
                self.send_to_self(value as u8);
                Effect::None
            }
            _ => self.write_register(register, value as u32, now),
        })
    }

    /// The register behind an MSR.
    fn msr(&self, index: u32) -> Result<Register, GeneralProtection> {
        let register = index.checked_sub(FIRST_MSR).and_then(Register::from_number).ok_or(GeneralProtection)?;
        let is_absent = matches!(
            register,
            Register::ArbitrationPriority | Register::RemoteRead | Register::DestinationFormat | Register::InterruptCommandHigh
        );
        if is_absent || !self.is_x2apic() { Err(GeneralProtection) } else { Ok(register) }
    }
}

/// The bits that may be ones in a write; `None` for a register that cannot be written.
fn writable(register: Register) -> Option<u64> {
    Some(match register {
        Register::TaskPriority | Register::SelfIpi => 0xff,
        Register::EndOfInterrupt | Register::ErrorStatus => 0,
        Register::SpuriousVector => Spurious::all().bits().into(),
        Register::Lvt(entry) => (lvt_writable(entry) | (Lvt::DELIVERY_STATUS | Lvt::REMOTE_IRR).bits()).into(),
        Register::InterruptCommand => 0xffff_ffff_0000_0000 | u64::from(Command::all().bits()),
        Register::InitialCount => u32::MAX.into(),
        Register::DivideConfiguration => DIVIDE_CONFIGURATION.into(),
        Register::Id
        | Register::Version
        | Register::ArbitrationPriority
        | Register::ProcessorPriority
        | Register::RemoteRead
        | Register::LogicalDestination
        | Register::DestinationFormat
        | Register::InService(_)
        | Register::TriggerMode(_)
        | Register::Requested(_)
        | Register::InterruptCommandHigh
        | Register::CurrentCount => return None,
    })
}
