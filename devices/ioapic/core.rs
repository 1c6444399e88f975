//! The 82093AA I/O APIC, with the EOI register of its successors.
//!
//! Rule of this file: an input is `true` when it is asserted. The polarity bit of an entry is kept for software to read
//! and means nothing else: wires here carry meanings, not voltages.
//! Reference: Intel 82093AA datasheet (290566); Intel ICH9 datasheet (316972), §13.5, for version 20h and EOI.

use bitflags::bitflags;

use crate::{Delivery, InterruptMessage};

/// How many inputs there are.
pub const PINS: usize = 24;
/// What the version register says: version 20h, which has the EOI register, and the number of the last entry.
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;
/// The destination that eight bits name everyone by.
const EVERYONE: u8 = 0xff;

bitflags! {
    /// The flags of a redirection entry; beside them bits 0 to 7 are the vector, 8 to 10 the delivery mode and 56 to
    /// 63 the destination.
    struct Flags: u64 {
        /// The destination is a logical set.
        const LOGICAL = 1 << 11;
        /// A delivery is under way. It never is: a message leaves at once.
        const DELIVERY_STATUS = 1 << 12;
        /// Active low.
        const POLARITY = 1 << 13;
        /// A level-triggered interrupt was accepted, and its end has not been seen.
        const REMOTE_IRR = 1 << 14;
        /// Level-triggered.
        const LEVEL = 1 << 15;
        /// No interrupt from this input.
        const MASKED = 1 << 16;
    }
}

/// The bits of an entry that software can write.
const WRITABLE: u64 =
    0xff00_0000_0000_07ff | Flags::LOGICAL.bits() | Flags::POLARITY.bits() | Flags::LEVEL.bits() | Flags::MASKED.bits();

/// One entry of the redirection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    fn has(self, flag: Flags) -> bool {
        self.0 & flag.bits() != 0
    }

    fn set(&mut self, flag: Flags, on: bool) {
        self.0 = if on { self.0 | flag.bits() } else { self.0 & !flag.bits() };
    }

    fn vector(self) -> u8 {
        self.0 as u8
    }

    /// Whether the entry behaves as level-triggered: SMI, NMI, INIT and ExtINT are edges whatever bit 15 says.
    fn is_level(self) -> bool {
        self.has(Flags::LEVEL)
            && matches!(Delivery::from_bits((self.0 >> 8) as u8), Some(Delivery::Fixed | Delivery::LowestPriority))
    }

    /// The message of the entry; none where its delivery mode is reserved.
    fn message(self) -> Option<InterruptMessage> {
        let destination = (self.0 >> 56) as u8;
        Some(InterruptMessage {
            destination: if destination == EVERYONE { u32::MAX } else { destination.into() },
            is_logical: self.has(Flags::LOGICAL),
            delivery: Delivery::from_bits((self.0 >> 8) as u8)?,
            vector: self.vector(),
            is_level: self.is_level(),
        })
    }
}

/// The registers of an I/O APIC, and the levels at its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    // Guest-visible state
    select: u8,
    id: u8,
    entries: [Entry; PINS],
    // Bookkeeping
    /// The levels at the inputs, as the wires have them; a reset does not change a wire.
    levels: u32,
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers {
    /// The state after power-on: everything masked.
    pub fn new() -> Self {
        Self { select: 0, id: 0, entries: [Entry(Flags::MASKED.bits()); PINS], levels: 0 }
    }

    /// The reset pin. What the wires at the inputs carry stays.
    pub fn reset(&mut self) {
        *self = Self { levels: self.levels, ..Self::new() };
    }

    /// Reads IOREGSEL.
    pub fn select(&self) -> u8 {
        self.select
    }

    /// Writes IOREGSEL.
    pub fn set_select(&mut self, index: u8) {
        self.select = index;
    }

    /// Reads the selected register through IOWIN; zero where there is none.
    pub fn read(&self) -> u32 {
        match self.select {
            // The arbitration ID is loaded with the ID and changes on a bus that is no longer built.
            0 | 2 => u32::from(self.id) << 24,
            1 => VERSION,
            _ => match self.selected_entry() {
                Some((n, true)) => (self.entries[n].0 >> 32) as u32,
                Some((n, false)) => self.entries[n].0 as u32,
                None => 0,
            },
        }
    }

    /// Writes the selected register through IOWIN; what that releases goes to `send`.
    pub fn write(&mut self, value: u32, send: impl FnMut(InterruptMessage)) {
        if self.select == 0 {
            self.id = (value >> 24 & 0xf) as u8;
        }
        let Some((n, is_high)) = self.selected_entry() else { return };
        let entry = &mut self.entries[n];
        let (shift, mask) = if is_high { (32, WRITABLE >> 32 << 32) } else { (0, WRITABLE & 0xffff_ffff) };
        entry.0 = entry.0 & !mask | u64::from(value) << shift & mask;
        if !entry.is_level() {
            entry.set(Flags::REMOTE_IRR, false);
        }
        self.serve_level(n, send);
    }

    /// The entry that IOREGSEL selects, and whether its high half.
    fn selected_entry(&self) -> Option<(usize, bool)> {
        let index = usize::from(self.select.checked_sub(0x10)?);
        (index / 2 < PINS).then_some((index / 2, index % 2 != 0))
    }

    /// Input `pin` is now `high`; what that releases goes to `send`.
    pub fn set_input(&mut self, pin: u32, high: bool, mut send: impl FnMut(InterruptMessage)) {
        let n = pin as usize;
        let Some(entry) = self.entries.get(n) else { return };
        let bit = 1 << pin;
        let rises = high && self.levels & bit == 0;
        self.levels = if high { self.levels | bit } else { self.levels & !bit };
        if entry.is_level() {
            self.serve_level(n, send);
        } else if rises && !entry.has(Flags::MASKED) {
            // An edge at a masked input is neither delivered nor held.
            entry.message().into_iter().for_each(&mut send);
        }
    }

    /// The end of interrupt `vector`: every level-triggered entry that sent it may send again, and does where its
    /// input is still high.
    pub fn end_of_interrupt(&mut self, vector: u8, mut send: impl FnMut(InterruptMessage)) {
        for n in 0..PINS {
            let entry = &mut self.entries[n];
            if entry.vector() == vector && entry.has(Flags::REMOTE_IRR) {
                entry.set(Flags::REMOTE_IRR, false);
                self.serve_level(n, &mut send);
            }
        }
    }

    /// Whether an entry sends what a processor cannot mask.
    pub fn may_send_nmi(&self) -> bool {
        let is_unmaskable =
            |entry: &Entry| matches!(Delivery::from_bits((entry.0 >> 8) as u8), Some(Delivery::Nmi | Delivery::Init));
        self.entries.iter().any(|entry| !entry.has(Flags::MASKED) && is_unmaskable(entry))
    }

    /// Sends the interrupt of a level-triggered entry that is due.
    fn serve_level(&mut self, n: usize, mut send: impl FnMut(InterruptMessage)) {
        let entry = &mut self.entries[n];
        if !entry.is_level() || entry.has(Flags::MASKED) || entry.has(Flags::REMOTE_IRR) || self.levels >> n & 1 == 0 {
            return;
        }
        if let Some(message) = entry.message() {
            entry.set(Flags::REMOTE_IRR, true);
            send(message);
        }
    }
}
