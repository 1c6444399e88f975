//! A keyboard at the end of its cable: commands in, replies and key codes of scan code set 2 out.
//!
//! Rule of this file: the keyboard knows no controller. What it sends waits here until the controller fetches it.
//! Reference: IBM PS/2 hardware interface technical reference, "Keyboards (101- and 102-key)".

use std::collections::VecDeque;

/// Bytes a keyboard holds before it stops listening to its keys.
const BUFFER: usize = 16;

const ACKNOWLEDGE: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const SELF_TEST_PASSED: u8 = 0xaa;
const ECHO: u8 = 0xee;
/// What an enhanced keyboard calls itself.
const ID: [u8; 2] = [0xab, 0x83];

/// A command that was acknowledged and waits for its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    Leds,
    ScanCodeSet,
    Rate,
}

/// An enhanced keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyboard {
    // Guest-visible state
    is_scanning: bool,
    scan_code_set: u8,
    leds: u8,
    expects: Option<Argument>,
    /// Replies, then keys.
    outgoing: VecDeque<u8>,
    last_sent: u8,
}

impl Keyboard {
    /// A keyboard that has passed its test, and whose firmware has been told so.
    pub(super) fn new() -> Self {
        Self { is_scanning: true, scan_code_set: 2, leds: 0, expects: None, outgoing: VecDeque::new(), last_sent: 0 }
    }

    /// The lamps that are lit: scroll lock, num lock and caps lock in bits 0 to 2.
    pub(super) fn leds(&self) -> u8 {
        self.leds
    }

    /// A key's codes. False where there is no room for all of them; then none was taken.
    pub(super) fn press(&mut self, codes: &[u8]) -> bool {
        if !self.is_scanning {
            return true;
        }
        let fits = self.outgoing.len() + codes.len() <= BUFFER;
        if fits {
            self.outgoing.extend(codes);
        }
        fits
    }

    /// The next byte for the controller.
    pub(super) fn fetch(&mut self) -> Option<u8> {
        let byte = self.outgoing.pop_front()?;
        self.last_sent = byte;
        Some(byte)
    }

    /// A byte from the controller.
    pub(super) fn write(&mut self, byte: u8) {
        // Keys that were pressed before a command are forgotten: the reply comes first.
        self.outgoing.clear();
        match self.expects.take() {
            // A command where an argument was expected is a command.
            Some(argument) if byte < 0xed => self.take_argument(argument, byte),
            _ => self.command(byte),
        }
    }

    fn take_argument(&mut self, argument: Argument, value: u8) {
        self.reply(&[ACKNOWLEDGE]);
        match (argument, value) {
            (Argument::Leds, _) => self.leds = value & 7,
            (Argument::ScanCodeSet, 0) => self.reply(&[self.scan_code_set]),
            (Argument::ScanCodeSet, 1..=3) => self.scan_code_set = value,
            (Argument::ScanCodeSet | Argument::Rate, _) => {}
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            0xed => self.expect(Argument::Leds),
            0xee => self.reply(&[ECHO]),
            0xf0 => self.expect(Argument::ScanCodeSet),
            0xf2 => self.reply(&[ACKNOWLEDGE, ID[0], ID[1]]),
            0xf3 => self.expect(Argument::Rate),
            0xf4 => {
                self.is_scanning = true;
                self.reply(&[ACKNOWLEDGE]);
            }
            0xf5 | 0xf6 => {
                *self = Self { is_scanning: command == 0xf6, leds: self.leds, ..Self::new() };
                self.reply(&[ACKNOWLEDGE]);
            }
            // Key types of scan code set 3, which nobody types in.
            0xf7..=0xfa => self.reply(&[ACKNOWLEDGE]),
            0xfe => self.reply(&[self.last_sent]),
            0xff => {
                *self = Self::new();
                self.reply(&[ACKNOWLEDGE, SELF_TEST_PASSED]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    fn expect(&mut self, argument: Argument) {
        self.expects = Some(argument);
        self.reply(&[ACKNOWLEDGE]);
    }

    fn reply(&mut self, bytes: &[u8]) {
        self.outgoing.extend(bytes);
    }
}

/// What the controller makes of the codes below 80h: scan code set 1, which PC software knows.
#[rustfmt::skip]
const SET_2_TO_1: [u8; 128] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];

/// A code of set 2 as the controller translates it; codes from 80h are few, and replies pass as they are.
pub(super) fn translate(code: u8) -> u8 {
    match code {
        0x83 => 0x41,
        0x84 => 0x54,
        0x80.. => code,
        _ => SET_2_TO_1[usize::from(code)],
    }
}
