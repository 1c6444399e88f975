//! Interrupts between processors: what a write of the interrupt command register sends.
//!
//! Rule of this file: what a processor sends to itself alone never leaves it.
//! Reference: SDM vol. 3 §11.6.1.

use super::{
    core::{Effect, FIRST_VECTOR, Lapic},
    destination::{EVERYONE, EVERYONE_8},
    register::{Command, Errors},
};
use crate::{Delivery, InterruptMessage};

/// An interrupt between processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipi {
    /// What is sent. To [`Recipients::All`] and [`Recipients::Others`] its destination is everyone.
    pub message: InterruptMessage,
    /// Who is asked to accept it.
    pub recipients: Recipients,
}

/// Who is asked to accept an interrupt between processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Whom the destination names, the sender among them.
    Named,
    /// Every processor.
    All,
    /// Every processor but the sender.
    Others,
}

impl Lapic<'_> {
    /// Sends what the low half of the interrupt command register says to `destination`.
    pub(super) fn send(&mut self, command: u32, destination: u32) -> Effect {
        let (vector, command) = (command as u8, Command::from_bits_retain(command));
        let shorthand = (command & Command::SHORTHAND).bits() >> 18;
        let Some(delivery) = Delivery::from_bits((command.bits() >> 8) as u8) else { return Effect::None };
        match delivery {
            Delivery::Fixed | Delivery::LowestPriority if vector < FIRST_VECTOR => {
                self.report(Errors::SEND_ILLEGAL_VECTOR);
                return Effect::None;
            }
            // The INIT level de-assert, which set arbitration IDs on a bus that is no longer built.
            Delivery::Init if command.contains(Command::LEVEL) && !command.contains(Command::ASSERT) => {
                return Effect::None;
            }
            Delivery::ExtInt => return Effect::None,
            Delivery::Fixed | Delivery::LowestPriority | Delivery::Smi | Delivery::Nmi | Delivery::Init | Delivery::StartUp => {}
        }
        let (destination, recipients) = match shorthand {
            0 => (destination, Recipients::Named),
            1 => {
                if delivery == Delivery::Fixed {
                    let _ = self.request(vector, false);
                }
                return Effect::None;
            }
            2 => (EVERYONE, Recipients::All),
            _ => (EVERYONE, Recipients::Others),
        };
        let is_logical = command.contains(Command::LOGICAL) && recipients == Recipients::Named;
        let message = InterruptMessage { destination, is_logical, delivery, vector, is_level: false };
        Effect::Send(Ipi { message, recipients })
    }

    /// Sends this processor the interrupt `vector`.
    pub(super) fn send_to_self(&mut self, vector: u8) {
        let _ = self.send(1 << 18 | u32::from(vector), 0);
    }

    /// What a destination of eight bits means in 32.
    pub(super) fn widen(destination: u32) -> u32 {
        if destination == EVERYONE_8 { EVERYONE } else { destination }
    }
}
