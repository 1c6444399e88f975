//! The 8259A interrupt controllers of a PC: two chips, the second behind input 2 of the first.
//!
//! Rule of this file: a request is `irr`, a service is `isr`, and everything else is who wins. The interrupt output is
//! never stored; it is what [`Chip::pending`] says now.
//! Reference: Intel 8259A datasheet (231468); Intel 82371AB (PIIX4), §8.4, for ELCR and the PC's wiring.

use bitflags::bitflags;

/// The master's input that the slave drives.
const CASCADE: u32 = 2;
/// What a chip that has nothing to deliver answers an acknowledge cycle with.
const SPURIOUS: u8 = 7;

bitflags! {
    /// First initialisation word.
    struct Icw1: u8 {
        /// A fourth word follows.
        const IC4 = 1 << 0;
        /// Single: no third word follows.
        const SNGL = 1 << 1;
        /// What tells this word from an operation word.
        const INIT = 1 << 4;
    }

    /// Fourth initialisation word.
    #[derive(Clone, Copy)]
    struct Icw4: u8 {
        /// Automatic end of interrupt.
        const AEOI = 1 << 1;
        /// Special fully nested mode.
        const SFNM = 1 << 4;
    }

    /// Third operation word.
    struct Ocw3: u8 {
        /// Selects ISR instead of IRR, where `RR` is set.
        const RIS = 1 << 0;
        /// Reads select a register.
        const RR = 1 << 1;
        /// The next read is a poll.
        const P = 1 << 2;
        /// What tells this word from the second operation word.
        const OCW3 = 1 << 3;
        /// Special mask mode, where `ESMM` is set.
        const SMM = 1 << 5;
        /// The special mask mode is to be changed.
        const ESMM = 1 << 6;
    }
}

/// Which word the data port takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Icw2,
    Icw3,
    Icw4,
    /// The initialisation is over: the data port is the mask.
    Ocw1,
}

/// One 8259A.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chip {
    // Configuration
    is_master: bool,
    // Guest-visible state
    irr: u8,
    isr: u8,
    imr: u8,
    /// Edge/level control: a set bit makes the input level-triggered.
    elcr: u8,
    /// ICW2: the upper five bits of the vectors.
    base: u8,
    icw4: u8,
    expects: Expects,
    needs_icw3: bool,
    needs_icw4: bool,
    /// The input of lowest priority; the one after it has the highest.
    lowest: u8,
    rotates_on_aeoi: bool,
    special_mask: bool,
    reads_isr: bool,
    polls: bool,
    // Bookkeeping
    /// The levels at the inputs, as the wires have them; a reset of the chip does not change a wire.
    levels: u8,
}

impl Chip {
    fn new(is_master: bool) -> Self {
        Self {
            is_master,
            irr: 0,
            isr: 0,
            imr: 0,
            elcr: 0,
            base: 0,
            icw4: 0,
            expects: Expects::Ocw1,
            needs_icw3: false,
            needs_icw4: false,
            lowest: 7,
            rotates_on_aeoi: false,
            special_mask: false,
            reads_isr: false,
            polls: false,
            levels: 0,
        }
    }

    fn reset(&mut self) {
        *self = Self { levels: self.levels, ..Self::new(self.is_master) };
    }

    /// The inputs whose trigger mode can be chosen: not the system timer, the keyboard, the cascade; nor the RTC and
    /// the floating-point error.
    fn elcr_mask(&self) -> u8 {
        if self.is_master { 0xf8 } else { 0xde }
    }

    fn has(&self, flag: Icw4) -> bool {
        Icw4::from_bits_retain(self.icw4).contains(flag)
    }

    fn set_input(&mut self, pin: u32, high: bool) {
        let bit = 1u8 << (pin & 7);
        let rises = high && self.levels & bit == 0;
        self.levels = if high { self.levels | bit } else { self.levels & !bit };
        if !high {
            // In both modes the input must stay high until it is acknowledged.
            self.irr &= !bit;
        } else if rises || self.elcr & bit != 0 {
            self.irr |= bit;
        }
    }

    /// How far `input` is from the front of the queue: 0 is the highest priority.
    fn rank(&self, input: u8) -> u8 {
        input.wrapping_sub(self.lowest).wrapping_sub(1) & 7
    }

    fn first_of(&self, inputs: u8) -> Option<u8> {
        (0..8).filter(|input| inputs >> input & 1 != 0).min_by_key(|input| self.rank(*input))
    }

    /// The input that is asking for service and may have it now.
    pub(super) fn pending(&self) -> Option<u8> {
        let input = self.first_of(self.irr & !self.imr)?;
        let blocking = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let Some(serviced) = self.first_of(blocking) else { return Some(input) };
        // In special fully nested mode the slave may interrupt its own service: it knows its priorities better.
        let is_nested = self.is_master && self.has(Icw4::SFNM) && u32::from(input) == CASCADE && serviced == input;
        (self.rank(input) < self.rank(serviced) || is_nested).then_some(input)
    }

    /// The second INTA pulse for `input`; returns its vector.
    fn acknowledge(&mut self, input: u8) -> u8 {
        let bit = 1 << input;
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
        if !self.has(Icw4::AEOI) {
            self.isr |= bit;
        } else if self.rotates_on_aeoi {
            self.lowest = input;
        }
        self.base | input
    }

    fn write_command(&mut self, value: u8) {
        if value & Icw1::INIT.bits() != 0 {
            self.initialise(Icw1::from_bits_retain(value));
        } else if value & Ocw3::OCW3.bits() != 0 {
            self.write_ocw3(Ocw3::from_bits_retain(value));
        } else {
            self.write_ocw2(value);
        }
    }

    fn initialise(&mut self, icw1: Icw1) {
        // The edge sense circuit is cleared; a level keeps asking.
        let fresh = Self::new(self.is_master);
        *self = Self {
            irr: self.levels & self.elcr,
            levels: self.levels,
            elcr: self.elcr,
            base: self.base,
            icw4: if icw1.contains(Icw1::IC4) { self.icw4 } else { 0 },
            expects: Expects::Icw2,
            needs_icw3: !icw1.contains(Icw1::SNGL),
            needs_icw4: icw1.contains(Icw1::IC4),
            ..fresh
        };
    }

    fn write_ocw2(&mut self, value: u8) {
        let named = value & 7;
        let serviced = self.first_of(if self.special_mask { self.isr & !self.imr } else { self.isr });
        match value >> 5 {
            0b000 => self.rotates_on_aeoi = false,
            0b001 => self.end(serviced, false),
            0b010 => {}
            0b011 => self.end(Some(named), false),
            0b100 => self.rotates_on_aeoi = true,
            0b101 => self.end(serviced, true),
            0b110 => self.lowest = named,
            _ => self.end(Some(named), true),
        }
    }

    fn end(&mut self, input: Option<u8>, rotates: bool) {
        let Some(input) = input else { return };
        self.isr &= !(1 << input);
        if rotates {
            self.lowest = input;
        }
    }

    fn write_ocw3(&mut self, word: Ocw3) {
        if word.contains(Ocw3::ESMM) {
            self.special_mask = word.contains(Ocw3::SMM);
        }
        if word.contains(Ocw3::P) {
            self.polls = true;
        } else if word.contains(Ocw3::RR) {
            self.reads_isr = word.contains(Ocw3::RIS);
        }
    }

    fn write_data(&mut self, value: u8) {
        let after_icw3 = if self.needs_icw4 { Expects::Icw4 } else { Expects::Ocw1 };
        self.expects = match self.expects {
            Expects::Icw2 => {
                self.base = value & 0xf8;
                if self.needs_icw3 { Expects::Icw3 } else { after_icw3 }
            }
            // Who hangs on which input is soldered.
            Expects::Icw3 => after_icw3,
            Expects::Icw4 => {
                self.icw4 = value;
                Expects::Ocw1
            }
            Expects::Ocw1 => {
                self.imr = value;
                Expects::Ocw1
            }
        };
    }

    fn read(&mut self, is_data: bool) -> u8 {
        if std::mem::take(&mut self.polls) {
            // A poll is an acknowledge cycle that the processor makes by reading.
            return match self.pending() {
                Some(input) => {
                    self.acknowledge(input);
                    0x80 | input
                }
                None => 0,
            };
        }
        match (is_data, self.reads_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }
}

/// The registers of a pair, by what answers at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// ICW1, OCW2, OCW3; reads IRR, ISR or a poll.
    Command,
    /// ICW2 to ICW4, OCW1.
    Data,
    /// Edge/level control.
    Elcr,
}

/// The two chips and the wire between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub(super) master: Chip,
    pub(super) slave: Chip,
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl Pair {
    /// The pair after power-on: all inputs low, not initialised.
    pub fn new() -> Self {
        Self { master: Chip::new(true), slave: Chip::new(false) }
    }

    /// The reset pin. What the wires at the inputs carry stays.
    pub fn reset(&mut self) {
        self.master.reset();
        self.slave.reset();
        self.cascade();
    }

    /// Input `irq` (0 to 15) is now `high`. Input 2 belongs to the slave; what is said of it is ignored.
    pub fn set_input(&mut self, irq: u32, high: bool) {
        match irq {
            CASCADE => {}
            0..8 => self.master.set_input(irq, high),
            8..16 => self.slave.set_input(irq - 8, high),
            _ => {}
        }
        self.cascade();
    }

    /// The INTR output.
    pub fn output(&self) -> bool {
        self.master.pending().is_some()
    }

    /// An acknowledge cycle: the vector of the interrupt that is now in service. Where nothing asks any more, the
    /// vector of input 7 of the chip that was asked, which is not put in service.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.master.pending() {
            Some(input) if u32::from(input) == CASCADE => {
                self.master.acknowledge(input);
                match self.slave.pending() {
                    Some(input) => self.slave.acknowledge(input),
                    None => self.slave.base | SPURIOUS,
                }
            }
            Some(input) => self.master.acknowledge(input),
            None => self.master.base | SPURIOUS,
        };
        self.cascade();
        vector
    }

    /// Reads a register of the master or the slave.
    pub fn read(&mut self, is_slave: bool, register: Register) -> u8 {
        let chip = if is_slave { &mut self.slave } else { &mut self.master };
        let value = match register {
            Register::Command => chip.read(false),
            Register::Data => chip.read(true),
            Register::Elcr => chip.elcr,
        };
        self.cascade();
        value
    }

    /// Writes a register of the master or the slave.
    pub fn write(&mut self, is_slave: bool, register: Register, value: u8) {
        let chip = if is_slave { &mut self.slave } else { &mut self.master };
        match register {
            Register::Command => chip.write_command(value),
            Register::Data => chip.write_data(value),
            Register::Elcr => {
                chip.elcr = value & chip.elcr_mask();
                chip.irr |= chip.levels & chip.elcr;
            }
        }
        self.cascade();
    }

    /// The slave's output is the master's input 2. As a level, whatever ICW1 says: a slave with more to tell would
    /// have to drop its output between two acknowledge cycles, and nobody could see it do so.
    fn cascade(&mut self) {
        let asks = self.slave.pending().is_some();
        self.master.levels = self.master.levels & !(1 << CASCADE) | u8::from(asks) << CASCADE;
        self.master.irr = self.master.irr & !(1 << CASCADE) | u8::from(asks) << CASCADE;
    }
}
