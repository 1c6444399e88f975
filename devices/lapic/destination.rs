//! Whom an interrupt message means.
//!
//! Rule of this file: eight bits of ones name everyone, but a [`Destination`](InterruptMessage::destination) has 32:
//! whoever makes a message out of eight bits (an I/O APIC, an APIC in xAPIC mode) widens them.
//! Reference: SDM vol. 3 §11.6.2, §11.12.9, §11.12.10.

use crate::InterruptMessage;

/// The destination that means every APIC, physical or logical.
pub(super) const EVERYONE: u32 = u32::MAX;
/// The destination of eight bits that means every APIC.
pub(super) const EVERYONE_8: u32 = 0xff;

/// What an APIC answers to: enough to know without its state whether a message is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The APIC receives messages at all.
    pub is_enabled: bool,
    /// It is in x2APIC mode.
    pub is_x2apic: bool,
    /// Its ID.
    pub id: u32,
    /// Its logical destination register, as its mode has it.
    pub logical: u32,
    /// Its destination format register; x2APIC mode has none.
    pub format: u32,
}

impl Address {
    /// Whether `message` is for this APIC. Of those that a message of lowest priority is for, one is to get it.
    pub fn matches(self, message: &InterruptMessage) -> bool {
        let destination = message.destination;
        match (self.is_enabled, message.is_logical) {
            (false, _) => false,
            _ if destination == EVERYONE => true,
            (true, false) if self.is_x2apic => destination == self.id,
            (true, false) => destination == self.id & 0xff,
            (true, true) => self.matches_logical(destination),
        }
    }

    fn matches_logical(self, destination: u32) -> bool {
        if self.is_x2apic {
            return destination >> 16 == self.logical >> 16 && destination & self.logical & 0xffff != 0;
        }
        let logical = self.logical >> 24;
        match self.format >> 28 {
            _ if destination > 0xff => false,
            0xf => destination & logical != 0,
            0x0 => destination >> 4 == logical >> 4 && destination & logical & 0xf != 0,
            _ => false, // the other formats are reserved
        }
    }
}

/// The logical ID of an APIC in x2APIC mode: the cluster in the upper half, one bit in the lower.
pub(super) const fn x2apic_logical(id: u32) -> u32 {
    (id >> 4) << 16 | 1 << (id & 0xf)
}
