//! The 16550A serial port.
//!
//! Rule of this file: the transmitter's queue is emptied by whoever sends the bytes, at once as a rule, so THRE tells
//! the truth; the receiver never overruns from outside, for it takes only what it has room for.
//! Reference: National Semiconductor PC16550D datasheet.

use bitflags::bitflags;
use dragoman_state::{VmDuration, VmInstant};

/// The frequency of the oscillator, in hertz: sixteen times the greatest rate of a PC's port.
const OSCILLATOR: u64 = 1_843_200;
/// Bytes in each FIFO.
const FIFO: usize = 16;
/// A character timeout is as long as this many characters.
const TIMEOUT_CHARACTERS: u64 = 4;

bitflags! {
    /// Interrupt enable register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Ier: u8 {
        /// Received data, and character timeout.
        const ERBFI = 1 << 0;
        /// Transmitter holding register empty.
        const ETBEI = 1 << 1;
        /// Receiver line status.
        const ELSI = 1 << 2;
        /// Modem status.
        const EDSSI = 1 << 3;
    }

    /// FIFO control register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Fcr: u8 {
        const ENABLE = 1 << 0;
        const CLEAR_RECEIVER = 1 << 1;
        const CLEAR_TRANSMITTER = 1 << 2;
        const TRIGGER = 3 << 6;
    }

    /// Line control register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Lcr: u8 {
        /// Data bits less five.
        const WLS = 3;
        /// Two stop bits.
        const STB = 1 << 2;
        /// A parity bit.
        const PEN = 1 << 3;
        const EVEN_PARITY = 1 << 4;
        const STICK_PARITY = 1 << 5;
        const BREAK = 1 << 6;
        /// Offsets 0 and 1 are the divisor latch.
        const DLAB = 1 << 7;
    }

    /// Modem control register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Mcr: u8 {
        const DTR = 1 << 0;
        const RTS = 1 << 1;
        const OUT1 = 1 << 2;
        /// On a PC, connects the interrupt to its wire.
        const OUT2 = 1 << 3;
        const LOOP = 1 << 4;
    }

    /// Line status register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Lsr: u8 {
        /// Data ready.
        const DR = 1 << 0;
        /// Overrun.
        const OE = 1 << 1;
        /// Transmitter holding register empty.
        const THRE = 1 << 5;
        /// Transmitter empty.
        const TEMT = 1 << 6;
    }

    /// Modem status register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Msr: u8 {
        const DCTS = 1 << 0;
        const DDSR = 1 << 1;
        /// Trailing edge of the ring indicator.
        const TERI = 1 << 2;
        const DDCD = 1 << 3;
        const CTS = 1 << 4;
        const DSR = 1 << 5;
        const RI = 1 << 6;
        const DCD = 1 << 7;

        const CHANGES = 0x0f;
        /// What a terminal at the other end shows.
        const CONNECTED = Self::CTS.bits() | Self::DSR.bits() | Self::DCD.bits();
    }
}

/// What the interrupt identification register can name, by its low four bits, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Interrupt {
    LineStatus = 0b0110,
    ReceivedData = 0b0100,
    CharacterTimeout = 0b1100,
    TransmitterEmpty = 0b0010,
    ModemStatus = 0b0000,
}

const IIR_NONE: u8 = 0b0001;
const IIR_FIFOS: u8 = 0xc0;

/// The registers of the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    // Guest-visible state
    ier: Ier,
    fcr: Fcr,
    lcr: Lcr,
    mcr: Mcr,
    scr: u8,
    divisor: u16,
    has_overrun: bool,
    msr_changes: Msr,
    received: Vec<u8>,
    to_send: Vec<u8>,
    /// The transmitter became empty, and nobody was told yet.
    thre_pending: bool,
    timeout_pending: bool,
    /// When received bytes that nobody reads become a timeout.
    timeout_at: VmInstant,
    // Bookkeeping
    now: VmInstant,
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers {
    /// The state after a master reset. The divisor, which the datasheet leaves open, is that of 9600 baud.
    pub fn new() -> Self {
        Self {
            ier: Ier::empty(),
            fcr: Fcr::empty(),
            lcr: Lcr::empty(),
            mcr: Mcr::empty(),
            scr: 0,
            divisor: 12,
            has_overrun: false,
            msr_changes: Msr::empty(),
            received: Vec::new(),
            to_send: Vec::new(),
            thre_pending: false,
            timeout_pending: false,
            timeout_at: VmInstant::NEVER,
            now: VmInstant::ZERO,
        }
    }

    /// A master reset, at the present moment.
    pub fn reset(&mut self) {
        *self = Self { divisor: self.divisor, scr: self.scr, now: self.now, ..Self::new() };
    }

    /// Brings the port to `now`.
    pub fn advance(&mut self, now: VmInstant) {
        self.now = now.max(self.now);
        if self.timeout_at <= self.now {
            self.timeout_at = VmInstant::NEVER;
            self.timeout_pending = true;
        }
    }

    /// When the character timeout is due, which is the only thing that time does here.
    pub fn next_change(&self) -> VmInstant {
        if self.ier.contains(Ier::ERBFI) { self.timeout_at } else { VmInstant::NEVER }
    }

    /// The interrupt output, as far as OUT2 lets it through to the wire. In loopback OUT2's pin is inactive.
    pub fn output(&self) -> bool {
        self.mcr.contains(Mcr::OUT2) && !self.mcr.contains(Mcr::LOOP) && self.interrupt().is_some()
    }

    /// How many bytes the receiver would take now.
    pub fn room(&self) -> usize {
        // In loopback the receiver is disconnected from its pin.
        if self.mcr.contains(Mcr::LOOP) { 0 } else { self.capacity().saturating_sub(self.received.len()) }
    }

    /// Bytes from outside; takes as many as there is room for and returns how many.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        if taken > 0 {
            self.received.extend(&bytes[..taken]);
            self.byte_arrived();
        }
        taken
    }

    /// The bytes that wait to be sent, first one first.
    pub fn to_send(&self) -> &[u8] {
        &self.to_send
    }

    /// The first `count` waiting bytes were sent.
    pub fn sent(&mut self, count: usize) {
        let was_waiting = !self.to_send.is_empty();
        self.to_send.drain(..count.min(self.to_send.len()));
        self.thre_pending |= was_waiting && self.to_send.is_empty();
    }

    fn has_fifos(&self) -> bool {
        self.fcr.contains(Fcr::ENABLE)
    }

    fn capacity(&self) -> usize {
        if self.has_fifos() { FIFO } else { 1 }
    }

    /// How many received bytes make an interrupt.
    fn trigger(&self) -> usize {
        match (self.has_fifos(), self.fcr.bits() >> 6) {
            (false, _) | (true, 0) => 1,
            (true, 1) => 4,
            (true, 2) => 8,
            (true, _) => 14,
        }
    }

    /// The time that four characters take at the present line settings.
    fn timeout(&self) -> VmDuration {
        let stop = if self.lcr.contains(Lcr::STB) { 2 } else { 1 };
        let bits = 1 + 5 + u64::from((self.lcr & Lcr::WLS).bits()) + u64::from(self.lcr.contains(Lcr::PEN)) + stop;
        VmDuration::from_ticks(TIMEOUT_CHARACTERS * bits * 16 * u64::from(self.divisor.max(1)), OSCILLATOR)
    }

    fn restart_timeout(&mut self) {
        self.timeout_pending = false;
        let is_counting = self.has_fifos() && !self.received.is_empty();
        self.timeout_at = if is_counting { self.now + self.timeout() } else { VmInstant::NEVER };
    }

    /// The most urgent interrupt that is enabled and pending.
    fn interrupt(&self) -> Option<Interrupt> {
        let order = [
            (self.has_overrun, Ier::ELSI, Interrupt::LineStatus),
            (self.received.len() >= self.trigger(), Ier::ERBFI, Interrupt::ReceivedData),
            (self.timeout_pending, Ier::ERBFI, Interrupt::CharacterTimeout),
            (self.thre_pending, Ier::ETBEI, Interrupt::TransmitterEmpty),
            (!self.msr_changes.is_empty(), Ier::EDSSI, Interrupt::ModemStatus),
        ];
        order.into_iter().find(|(is_pending, enable, _)| *is_pending && self.ier.contains(*enable)).map(|(.., which)| which)
    }

    fn lsr(&self) -> Lsr {
        let mut lsr = Lsr::empty();
        lsr.set(Lsr::DR, !self.received.is_empty());
        lsr.set(Lsr::OE, self.has_overrun);
        lsr.set(Lsr::THRE | Lsr::TEMT, self.to_send.is_empty());
        lsr
    }

    /// The modem's lines: in loopback, the port's own outputs.
    fn lines(&self) -> Msr {
        if !self.mcr.contains(Mcr::LOOP) {
            return Msr::CONNECTED;
        }
        let pairs = [(Mcr::RTS, Msr::CTS), (Mcr::DTR, Msr::DSR), (Mcr::OUT1, Msr::RI), (Mcr::OUT2, Msr::DCD)];
        pairs.into_iter().filter(|(output, _)| self.mcr.contains(*output)).map(|(_, input)| input).collect()
    }

    /// Reads the register at `offset`, 0 to 7.
    pub fn read(&mut self, offset: u16) -> Option<u8> {
        let [divisor_low, divisor_high] = self.divisor.to_le_bytes();
        Some(match (offset, self.lcr.contains(Lcr::DLAB)) {
            (0, true) => divisor_low,
            (1, true) => divisor_high,
            (0, false) => self.read_data(),
            (1, false) => self.ier.bits(),
            (2, _) => self.read_iir(),
            (3, _) => self.lcr.bits(),
            (4, _) => self.mcr.bits(),
            (5, _) => {
                let lsr = self.lsr();
                self.has_overrun = false;
                lsr.bits()
            }
            (6, _) => (self.lines() | std::mem::replace(&mut self.msr_changes, Msr::empty())).bits(),
            (7, _) => self.scr,
            _ => return None,
        })
    }

    /// RBR; zero where nothing was received.
    fn read_data(&mut self) -> u8 {
        if self.received.is_empty() {
            return 0;
        }
        let byte = self.received.remove(0);
        self.restart_timeout();
        byte
    }

    /// IIR. Naming the empty transmitter is telling of it.
    fn read_iir(&mut self) -> u8 {
        let interrupt = self.interrupt();
        if interrupt == Some(Interrupt::TransmitterEmpty) {
            self.thre_pending = false;
        }
        interrupt.map_or(IIR_NONE, |which| which as u8) | if self.has_fifos() { IIR_FIFOS } else { 0 }
    }

    /// Writes the register at `offset`, 0 to 7; false where there is none.
    pub fn write(&mut self, offset: u16, value: u8) -> bool {
        let [low, high] = self.divisor.to_le_bytes();
        match (offset, self.lcr.contains(Lcr::DLAB)) {
            (0, true) => self.divisor = u16::from_le_bytes([value, high]),
            (1, true) => self.divisor = u16::from_le_bytes([low, value]),
            (0, false) => self.write_data(value),
            (1, false) => self.write_ier(Ier::from_bits_truncate(value)),
            (2, _) => self.write_fcr(Fcr::from_bits_truncate(value)),
            (3, _) => self.lcr = Lcr::from_bits_truncate(value),
            (4, _) => self.write_mcr(Mcr::from_bits_truncate(value)),
            (5 | 6, _) => {} // status: written only in factory tests
            (7, _) => self.scr = value,
            _ => return false,
        }
        true
    }

    /// THR. A byte for which the queue has no room is lost, as it would be in the chip.
    fn write_data(&mut self, byte: u8) {
        self.thre_pending = false;
        if self.mcr.contains(Mcr::LOOP) {
            self.loop_back(byte);
            self.thre_pending = self.to_send.is_empty();
        } else if self.to_send.len() < self.capacity() {
            self.to_send.push(byte);
        }
    }

    /// A byte that the port sends to itself: the one source that does not ask whether there is room.
    fn loop_back(&mut self, byte: u8) {
        if self.received.len() < self.capacity() {
            self.received.push(byte);
        } else {
            self.has_overrun = true;
            if !self.has_fifos() {
                self.received[0] = byte; // without FIFOs the newer byte wins
            }
        }
        self.byte_arrived();
    }

    /// A new byte puts a timeout off that has not come; one that has come stays until a byte is read.
    fn byte_arrived(&mut self) {
        if !self.timeout_pending {
            self.restart_timeout();
        }
    }

    fn write_ier(&mut self, ier: Ier) {
        // Switching it on tells of a transmitter that is empty already; drivers test for this.
        if ier.contains(Ier::ETBEI) && !self.ier.contains(Ier::ETBEI) {
            self.thre_pending = self.to_send.is_empty();
        }
        self.ier = ier;
    }

    fn write_fcr(&mut self, fcr: Fcr) {
        let is_switched = (fcr ^ self.fcr).contains(Fcr::ENABLE);
        let is_enabled = fcr.contains(Fcr::ENABLE);
        if is_switched || is_enabled && fcr.contains(Fcr::CLEAR_RECEIVER) {
            self.received.clear();
            self.restart_timeout();
        }
        if (is_switched || is_enabled && fcr.contains(Fcr::CLEAR_TRANSMITTER)) && !self.to_send.is_empty() {
            self.to_send.clear();
            self.thre_pending = true;
        }
        // With the FIFOs off the other bits are not programmed.
        self.fcr = if is_enabled { fcr & (Fcr::ENABLE | Fcr::TRIGGER) } else { Fcr::empty() };
    }

    fn write_mcr(&mut self, mcr: Mcr) {
        let before = self.lines();
        self.mcr = mcr;
        let after = self.lines();
        let changed = (before ^ after).bits() >> 4;
        let ring_ended = before.contains(Msr::RI) && !after.contains(Msr::RI);
        self.msr_changes |= Msr::from_bits_retain(changed) & (Msr::CHANGES - Msr::TERI);
        if ring_ended {
            self.msr_changes |= Msr::TERI;
        }
    }
}
