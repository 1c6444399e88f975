//! The 8042 keyboard controller of a PC, with an auxiliary port to which nothing is connected.
//!
//! Rule of this file: one byte is in the output buffer or none is, and where it came from decides which interrupt it
//! raises. The input buffer is always empty: what is written is understood at once.
//! The auxiliary port is there but empty, because that is what drivers find out fastest: an echo test that works, and
//! a device that answers everything with a timeout. A controller without the port would make them wait for replies.
//! Reference: IBM PS/2 hardware interface technical reference, "Keyboard and auxiliary device controller"; Intel 82371AB
//! (PIIX4), §4.2.8, for port 92h.

use std::collections::VecDeque;

use bitflags::bitflags;

use super::keyboard::{Keyboard, translate};

/// How many replies wait for the output buffer; a guest that reads none of them loses the newest.
const REPLIES: usize = 16;
/// Marks the release of the key whose code follows, in scan code set 2.
const RELEASE: u8 = 0xf0;
/// What a controller says of a device that does not answer.
const NO_ANSWER: u8 = 0xfe;

bitflags! {
    /// Status register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u8 {
        /// Output buffer full.
        const OBF = 1 << 0;
        /// The self-test was passed.
        const SYS = 1 << 2;
        /// The last write was a command.
        const CMD = 1 << 3;
        /// The keyboard is not locked.
        const UNLOCKED = 1 << 4;
        /// The byte in the output buffer is the auxiliary device's.
        const AUX_OBF = 1 << 5;
        /// A device did not answer.
        const TIMEOUT = 1 << 6;
    }

    /// Command byte.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct CommandByte: u8 {
        /// A byte from the keyboard raises IRQ1.
        const KBD_INT = 1 << 0;
        /// A byte from the auxiliary device raises IRQ12.
        const AUX_INT = 1 << 1;
        const SYS = 1 << 2;
        const KBD_DISABLE = 1 << 4;
        const AUX_DISABLE = 1 << 5;
        /// Key codes are translated to scan code set 1.
        const XLAT = 1 << 6;
    }

    /// Output port.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct OutputPort: u8 {
        /// The processor is not being reset.
        const RESET = 1 << 0;
        const A20 = 1 << 1;
        const KBD_OBF = 1 << 4;
        const AUX_OBF = 1 << 5;
    }
}

/// Where a byte in the output buffer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Keyboard,
    Auxiliary,
    /// The reply that there is no auxiliary device.
    NoAuxiliary,
    Controller,
}

/// A command whose data comes through the data port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Ram(u8),
    OutputPort,
    KeyboardEcho,
    AuxiliaryEcho,
    Auxiliary,
}

/// The controller and its keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    // Guest-visible state
    pub(super) keyboard: Keyboard,
    command_byte: CommandByte,
    /// The rest of the RAM behind commands 20h to 3Fh and 60h to 7Fh; the command byte is its first byte.
    ram: [u8; 32],
    status: Status,
    a20: bool,
    /// Port 92h: bit 0 and the second A20 gate.
    fast_reset: bool,
    fast_a20: bool,
    expects: Option<Expects>,
    output: Option<(u8, Source)>,
    replies: VecDeque<(u8, Source)>,
    /// The keyboard sent [`RELEASE`]; the translation of the next code will show it.
    is_release: bool,
}

impl Default for Controller {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller {
    /// The state in which a PC's firmware leaves it: tested, translating, both devices on; A20 open.
    pub fn new() -> Self {
        Self {
            keyboard: Keyboard::new(),
            command_byte: CommandByte::KBD_INT | CommandByte::AUX_INT | CommandByte::SYS | CommandByte::XLAT,
            ram: [0; 32],
            status: Status::SYS | Status::UNLOCKED,
            a20: true,
            fast_reset: false,
            fast_a20: true,
            expects: None,
            output: None,
            replies: VecDeque::new(),
            is_release: false,
        }
    }

    /// Whether address line 20 is open: either gate opens it.
    pub fn is_a20_open(&self) -> bool {
        self.a20 || self.fast_a20
    }

    /// The levels of IRQ1 and IRQ12.
    pub fn interrupts(&self) -> (bool, bool) {
        match self.output {
            Some((_, Source::Keyboard)) => (self.command_byte.contains(CommandByte::KBD_INT), false),
            Some((_, Source::Auxiliary | Source::NoAuxiliary)) => (false, self.command_byte.contains(CommandByte::AUX_INT)),
            Some((_, Source::Controller)) | None => (false, false),
        }
    }

    /// Fills the output buffer, where it is empty, with what waits for it. Returns whether it did.
    pub fn refill(&mut self) -> bool {
        if self.output.is_some() {
            return false;
        }
        self.output = self.replies.pop_front().or_else(|| Some((self.next_code()?, Source::Keyboard)));
        self.output.is_some()
    }

    /// The keyboard's next byte as software is to see it. A release may be announced before its code has come.
    fn next_code(&mut self) -> Option<u8> {
        if self.command_byte.contains(CommandByte::KBD_DISABLE) {
            return None;
        }
        loop {
            let code = self.keyboard.fetch()?;
            if !self.command_byte.contains(CommandByte::XLAT) {
                return Some(code);
            }
            if code != RELEASE {
                return Some(translate(code) | if std::mem::take(&mut self.is_release) { 0x80 } else { 0 });
            }
            self.is_release = true;
        }
    }

    fn reply(&mut self, byte: u8, source: Source) {
        if self.replies.len() < REPLIES {
            self.replies.push_back((byte, source));
        }
    }

    /// Reads the status register.
    pub fn status(&self) -> Status {
        let mut status = self.status;
        status.set(Status::OBF, self.output.is_some());
        status.set(Status::AUX_OBF, matches!(self.output, Some((_, Source::Auxiliary | Source::NoAuxiliary))));
        status.set(Status::TIMEOUT, matches!(self.output, Some((_, Source::NoAuxiliary))));
        status
    }

    /// Reads the data port. The output buffer is empty afterwards, until [`Controller::refill`].
    pub fn read_data(&mut self) -> u8 {
        self.output.take().map_or(0, |(byte, _)| byte)
    }

    /// Writes the data port. Returns whether the guest asked for a reset.
    pub fn write_data(&mut self, value: u8) -> bool {
        self.status.remove(Status::CMD);
        match self.expects.take() {
            None => {
                // Speaking to the keyboard switches it on.
                self.command_byte.remove(CommandByte::KBD_DISABLE);
                self.keyboard.write(value);
            }
            Some(Expects::Ram(0)) => {
                self.command_byte = CommandByte::from_bits_retain(value);
                self.status.set(Status::SYS, self.command_byte.contains(CommandByte::SYS));
            }
            Some(Expects::Ram(n)) => self.ram[usize::from(n & 31)] = value,
            Some(Expects::OutputPort) => {
                let port = OutputPort::from_bits_retain(value);
                self.a20 = port.contains(OutputPort::A20);
                return !port.contains(OutputPort::RESET);
            }
            Some(Expects::KeyboardEcho) => self.reply(value, Source::Keyboard),
            Some(Expects::AuxiliaryEcho) => self.reply(value, Source::Auxiliary),
            Some(Expects::Auxiliary) => self.reply(NO_ANSWER, Source::NoAuxiliary),
        }
        false
    }

    /// Writes the command port. Returns whether the guest asked for a reset.
    pub fn write_command(&mut self, command: u8) -> bool {
        self.status.insert(Status::CMD);
        self.expects = None;
        match command {
            0x20 => self.reply(self.command_byte.bits(), Source::Controller),
            0x21..=0x3f => self.reply(self.ram[usize::from(command & 31)], Source::Controller),
            0x60..=0x7f => self.expects = Some(Expects::Ram(command & 31)),
            0xa7 => self.command_byte.insert(CommandByte::AUX_DISABLE),
            0xa8 => self.command_byte.remove(CommandByte::AUX_DISABLE),
            0xa9 | 0xab => self.reply(0x00, Source::Controller), // clock and data lines are fine
            0xaa => {
                self.status.insert(Status::SYS);
                self.reply(0x55, Source::Controller);
            }
            0xad => self.command_byte.insert(CommandByte::KBD_DISABLE),
            0xae => self.command_byte.remove(CommandByte::KBD_DISABLE),
            0xc0 => self.reply(0x80, Source::Controller), // input port: the keyboard is not locked
            0xd0 => self.reply(self.output_port().bits(), Source::Controller),
            0xd1 => self.expects = Some(Expects::OutputPort),
            0xd2 => self.expects = Some(Expects::KeyboardEcho),
            0xd3 => self.expects = Some(Expects::AuxiliaryEcho),
            0xd4 => self.expects = Some(Expects::Auxiliary),
            0xdd => self.a20 = false,
            0xdf => self.a20 = true,
            0xe0 => self.reply(0x00, Source::Controller), // test inputs: both clocks are low
            // Pulses the lines of the output port whose bits are clear.
            0xf0..=0xff => return command & OutputPort::RESET.bits() == 0,
            _ => {}
        }
        false
    }

    fn output_port(&self) -> OutputPort {
        let mut port = OutputPort::RESET;
        let status = self.status();
        port.set(OutputPort::A20, self.a20);
        port.set(OutputPort::AUX_OBF, status.contains(Status::AUX_OBF));
        port.set(OutputPort::KBD_OBF, status.contains(Status::OBF) && !status.contains(Status::AUX_OBF));
        port
    }

    /// Reads port 92h.
    pub fn read_fast(&self) -> u8 {
        u8::from(self.fast_reset) | u8::from(self.fast_a20) << 1
    }

    /// Writes port 92h. Returns whether the guest asked for a reset, which is a rise of bit 0.
    pub fn write_fast(&mut self, value: u8) -> bool {
        let rises = value & 1 != 0 && !self.fast_reset;
        self.fast_reset = value & 1 != 0;
        self.fast_a20 = value & 2 != 0;
        rises
    }
}
