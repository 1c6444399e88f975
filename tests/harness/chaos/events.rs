//! Interrupts and other events from outside, raised at random.

use dragoman_accel::{Pending, SafepointWork, VcpuHandle};
use dragoman_devices::{Delivery, InterruptMessage};
use dragoman_state::GuestPhys;

use crate::{
    generate::Random,
    layout::{CODE, RAM_SIZE},
};

/// A message to the one processor there is.
fn message(delivery: Delivery, vector: u8, is_level: bool) -> Pending {
    Pending::Message(InterruptMessage { destination: 0, is_logical: false, delivery, vector, is_level })
}

/// A non-maskable interrupt.
pub fn nmi(handle: &dyn VcpuHandle) {
    handle.raise(message(Delivery::Nmi, 0, false));
}

/// The message that a processor waits for after INIT.
pub fn start_up(handle: &dyn VcpuHandle) {
    handle.raise(message(Delivery::StartUp, (CODE >> 12) as u8, false));
}

/// Something happens outside.
pub fn raise_one(random: &mut Random, handle: &dyn VcpuHandle) {
    match random.below(32) {
        0..=7 => handle.raise(message(Delivery::Fixed, random.bits() as u8, random.one_in(4))),
        8..=15 => handle.raise(Pending::ExternalInterrupt(!random.one_in(4))),
        16..=19 => nmi(handle),
        20..=21 => handle.raise(message(Delivery::LowestPriority, random.bits() as u8, false)),
        22..=23 => handle.raise(message(Delivery::ExtInt, 0, false)),
        24 => handle.raise(message(Delivery::Smi, 0, false)),
        25..=27 => handle.raise(Pending::Deadline),
        28 => handle.kick(),
        29 => handle.at_safepoint(SafepointWork::DropWriteEntries),
        30 => handle.at_safepoint(SafepointWork::ProtectPage(GuestPhys(random.below(RAM_SIZE)).page())),
        _ if random.one_in(4) => {
            handle.raise(message(Delivery::Init, 0, false));
            start_up(handle);
        }
        _ => start_up(handle),
    }
}
