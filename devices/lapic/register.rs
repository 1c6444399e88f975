//! The registers of a local APIC by their numbers, which the page (number times 16) and the MSRs (800h plus number)
//! share.
//!
//! Rule of this file: numbers and bits, no behaviour.
//! Reference: SDM vol. 3 table 11-1, table 11-6.

use bitflags::bitflags;
use dragoman_state::LvtIndex;

/// What the version register says: an integrated APIC with seven local vectors that can suppress the broadcast of an
/// end of interrupt.
pub(super) const VERSION: u32 = 0x15 | 6 << 16 | 1 << 24;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Id,
    Version,
    TaskPriority,
    ArbitrationPriority,
    ProcessorPriority,
    EndOfInterrupt,
    RemoteRead,
    LogicalDestination,
    DestinationFormat,
    SpuriousVector,
    InService(usize),
    TriggerMode(usize),
    Requested(usize),
    ErrorStatus,
    Lvt(LvtIndex),
    InterruptCommand,
    InterruptCommandHigh,
    InitialCount,
    CurrentCount,
    DivideConfiguration,
    SelfIpi,
}

impl Register {
    /// Register number `number`; `None` where it is reserved.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0x02 => Self::Id,
            0x03 => Self::Version,
            0x08 => Self::TaskPriority,
            0x09 => Self::ArbitrationPriority,
            0x0a => Self::ProcessorPriority,
            0x0b => Self::EndOfInterrupt,
            0x0c => Self::RemoteRead,
            0x0d => Self::LogicalDestination,
            0x0e => Self::DestinationFormat,
            0x0f => Self::SpuriousVector,
            0x10..=0x17 => Self::InService(number as usize - 0x10),
            0x18..=0x1f => Self::TriggerMode(number as usize - 0x18),
            0x20..=0x27 => Self::Requested(number as usize - 0x20),
            0x28 => Self::ErrorStatus,
            0x2f => Self::Lvt(LvtIndex::Cmci),
            0x30 => Self::InterruptCommand,
            0x31 => Self::InterruptCommandHigh,
            0x32 => Self::Lvt(LvtIndex::Timer),
            0x33 => Self::Lvt(LvtIndex::Thermal),
            0x34 => Self::Lvt(LvtIndex::Performance),
            0x35 => Self::Lvt(LvtIndex::Lint0),
            0x36 => Self::Lvt(LvtIndex::Lint1),
            0x37 => Self::Lvt(LvtIndex::Error),
            0x38 => Self::InitialCount,
            0x39 => Self::CurrentCount,
            0x3e => Self::DivideConfiguration,
            0x3f => Self::SelfIpi,
            _ => return None,
        })
    }
}

bitflags! {
    /// The spurious-interrupt vector register; bits 0 to 7 are the vector.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Spurious: u32 {
        const VECTOR = 0xff;
        /// Software enable.
        const ENABLE = 1 << 8;
        /// Focus processor checking is off: kept, and without meaning.
        const FOCUS_OFF = 1 << 9;
        /// The end of a level-triggered interrupt is not broadcast.
        const EOI_SUPPRESS = 1 << 12;
    }

    /// An entry of the local vector table; bits 0 to 7 are the vector, 8 to 10 the delivery mode.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Lvt: u32 {
        const VECTOR = 0xff;
        const DELIVERY = 7 << 8;
        /// Read-only, and never set: a delivery takes no time.
        const DELIVERY_STATUS = 1 << 12;
        const POLARITY = 1 << 13;
        /// A level-triggered interrupt waits for its end. Read-only.
        const REMOTE_IRR = 1 << 14;
        const LEVEL = 1 << 15;
        const MASKED = 1 << 16;
        /// The timer's mode.
        const TIMER_MODE = 3 << 17;
    }

    /// The low half of the interrupt command register; bits 0 to 7 are the vector, 8 to 10 the delivery mode.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Command: u32 {
        const VECTOR = 0xff;
        const DELIVERY = 7 << 8;
        const LOGICAL = 1 << 11;
        /// Read-only, and never set; writing it is allowed.
        const DELIVERY_STATUS = 1 << 12;
        const ASSERT = 1 << 14;
        const LEVEL = 1 << 15;
        const SHORTHAND = 3 << 18;
    }

    /// The error status register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Errors: u32 {
        /// A message with a vector below 16 was to be sent.
        const SEND_ILLEGAL_VECTOR = 1 << 5;
        /// One was received.
        const RECEIVED_ILLEGAL_VECTOR = 1 << 6;
        /// A reserved register was accessed.
        const ILLEGAL_REGISTER = 1 << 7;
    }
}

/// The bits of an entry that software can write.
pub(super) const fn lvt_writable(entry: LvtIndex) -> u32 {
    let vector = Lvt::VECTOR.bits() | Lvt::MASKED.bits();
    match entry {
        LvtIndex::Error => vector,
        LvtIndex::Timer => vector | Lvt::TIMER_MODE.bits(),
        LvtIndex::Cmci | LvtIndex::Thermal | LvtIndex::Performance => vector | Lvt::DELIVERY.bits(),
        LvtIndex::Lint0 | LvtIndex::Lint1 => vector | Lvt::DELIVERY.bits() | Lvt::POLARITY.bits() | Lvt::LEVEL.bits(),
    }
}

/// The bits of the divide configuration register.
pub(super) const DIVIDE_CONFIGURATION: u32 = 0b1011;
