//! A function's configuration space: 256 bytes, and for each bit what a write does to it.
//!
//! Rule of this file: a register is described once, when the space is built: its reset value, its writable bits, and
//! the bits that writing a one clears. Reading, writing and resetting follow from that.
//! Reference: PCI Local Bus Specification 3.0, chapter 6.

use bitflags::bitflags;
use dragoman_state::{GuestPhys, Port, Width};

/// Bytes in a configuration space.
const SIZE: usize = 256;

/// Offsets of the registers that every function has.
mod at {
    pub const COMMAND: usize = 0x04;
    pub const STATUS: usize = 0x06;
    pub const CLASS: usize = 0x08;
    pub const HEADER_TYPE: usize = 0x0e;
    pub const BARS: usize = 0x10;
    pub const SUBSYSTEM: usize = 0x2c;
    pub const INTERRUPT_LINE: usize = 0x3c;
    pub const INTERRUPT_PIN: usize = 0x3d;
}

bitflags! {
    /// The command register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u16 {
        /// Answers in port space.
        const IO = 1 << 0;
        /// Answers in memory space.
        const MEMORY = 1 << 1;
        /// May read and write memory by itself.
        const BUS_MASTER = 1 << 2;
        /// May report system errors.
        const SERR = 1 << 8;
        /// Does not use its interrupt pin.
        const INTX_DISABLE = 1 << 10;
    }
}

/// What a function says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who made it.
    pub vendor: u16,
    /// What they call it.
    pub device: u16,
    /// Which issue of it.
    pub revision: u8,
    /// Class, subclass and programming interface, in the order of their names: 01_06_01 is a disk by AHCI.
    pub class: u32,
}

/// A window that a function wants in port or memory space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// In port space.
    Io,
    /// In memory space below 4 GiB.
    Memory,
    /// Anywhere in memory space; takes the next register too.
    Memory64,
}

/// Where a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// First port and count.
    Ports(Port, u32),
    /// First byte and length.
    Memory(GuestPhys, u64),
}

/// A configuration space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSpace {
    // Configuration
    initial: [u8; SIZE],
    writable: [u8; SIZE],
    clears: [u8; SIZE],
    windows: [Option<(BarKind, u64)>; 6],
    // Guest-visible state
    bytes: [u8; SIZE],
}

impl ConfigSpace {
    /// The space of a function of type 0, with the registers that every function has and no command bit to set.
    pub fn new(identity: Identity) -> Self {
        let zero = [0; SIZE];
        let space = Self { initial: zero, writable: zero, clears: zero, windows: [None; 6], bytes: zero };
        let class = identity.class << 8 | u32::from(identity.revision);
        space
            .with(0, &identity.vendor.to_le_bytes(), &[])
            .with(2, &identity.device.to_le_bytes(), &[])
            .with(at::CLASS, &class.to_le_bytes(), &[])
            .with(at::INTERRUPT_LINE, &[0], &[0xff])
    }

    /// With a register at `offset` that reads `value` after reset and whose `writable` bits software can change. A
    /// short `writable` stands for zeros.
    pub fn with(mut self, offset: usize, value: &[u8], writable: &[u8]) -> Self {
        for (n, byte) in value.iter().enumerate() {
            let Some(place) = self.initial.get_mut(offset + n) else { break };
            *place = *byte;
            self.bytes[offset + n] = *byte;
            self.writable[offset + n] = writable.get(n).copied().unwrap_or(0);
        }
        self
    }

    /// With a command register that reads `value` after reset and of which `writable` can be changed.
    pub fn with_command(self, value: Command, writable: Command) -> Self {
        self.with(at::COMMAND, &value.bits().to_le_bytes(), &writable.bits().to_le_bytes())
    }

    /// With a status register that reads `value` after reset and whose `clears` bits a one clears.
    pub fn with_status(mut self, value: u16, clears: u16) -> Self {
        self.clears[at::STATUS..at::STATUS + 2].copy_from_slice(&clears.to_le_bytes());
        self.with(at::STATUS, &value.to_le_bytes(), &[])
    }

    /// With other functions beside it in the same device.
    pub fn with_siblings(self) -> Self {
        self.with(at::HEADER_TYPE, &[0x80], &[])
    }

    /// With the subsystem's maker and number.
    pub fn with_subsystem(self, vendor: u16, device: u16) -> Self {
        self.with(at::SUBSYSTEM, &vendor.to_le_bytes(), &[]).with(at::SUBSYSTEM + 2, &device.to_le_bytes(), &[])
    }

    /// With an interrupt at `pin`: 1 is INTA#.
    pub fn with_interrupt_pin(self, pin: u8) -> Self {
        self.with(at::INTERRUPT_PIN, &[pin], &[])
    }

    /// With a window of `size` bytes, a power of two from 16 up, in base address register `index`.
    pub fn with_window(mut self, index: usize, kind: BarKind, size: u64) -> Self {
        let address_bits = !(size.next_power_of_two().max(16) - 1);
        let Some(window) = self.windows.get_mut(index) else { return self };
        *window = Some((kind, size));
        let offset = at::BARS + 4 * index;
        let bits = address_bits.to_le_bytes();
        match kind {
            BarKind::Io => self.with(offset, &[1, 0, 0, 0], &[bits[0], bits[1], 0, 0]),
            BarKind::Memory => self.with(offset, &[0; 4], &bits[..4]),
            BarKind::Memory64 => self.with(offset, &[4, 0, 0, 0, 0, 0, 0, 0], &bits),
        }
    }

    /// Every register back to its reset value.
    pub fn reset(&mut self) {
        self.bytes = self.initial;
    }

    /// Reads `width` bits at `offset`; past the end it goes on at the beginning.
    pub fn read(&self, offset: u8, width: Width) -> u32 {
        (0..width.bytes() as u8).take(4).fold(0, |value, n| value | u32::from(self.byte(offset.wrapping_add(n))) << (8 * n))
    }

    /// Writes `width` bits at `offset`, as far as they can be written.
    pub fn write(&mut self, offset: u8, width: Width, value: u32) {
        for (n, byte) in value.to_le_bytes().into_iter().enumerate().take(width.bytes() as usize) {
            let at = usize::from(offset.wrapping_add(n as u8));
            let kept = self.bytes[at] & !self.writable[at] & !(byte & self.clears[at]);
            self.bytes[at] = kept | byte & self.writable[at];
        }
    }

    /// The byte at `offset`.
    pub fn byte(&self, offset: u8) -> u8 {
        self.bytes[usize::from(offset)]
    }

    /// The command register.
    pub fn command(&self) -> Command {
        Command::from_bits_retain(self.read(at::COMMAND as u8, Width::Word) as u16)
    }

    /// Where software put window `index`; `None` while it is switched off.
    pub fn window(&self, index: usize) -> Option<Window> {
        let (kind, size) = (*self.windows.get(index)?)?;
        let offset = (at::BARS + 4 * index) as u8;
        let low = self.read(offset, Width::Dword);
        let command = self.command();
        match kind {
            BarKind::Io => command.contains(Command::IO).then_some(Window::Ports(Port((low & !3) as u16), size as u32)),
            BarKind::Memory | BarKind::Memory64 => {
                let high = if kind == BarKind::Memory64 { self.read(offset + 4, Width::Dword) } else { 0 };
                let base = GuestPhys(u64::from(high) << 32 | u64::from(low & !0xf));
                command.contains(Command::MEMORY).then_some(Window::Memory(base, size))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { vendor: 0x1af4, device: 0x1041, revision: 1, class: 0x02_00_00 };

    #[test]
    fn the_identity_is_where_the_specification_has_it_and_cannot_be_written() {
        let mut space = ConfigSpace::new(IDENTITY).with_subsystem(0x1af4, 1).with_interrupt_pin(1).with_siblings();
        for offset in [0, 8, 0x2c] {
            space.write(offset, Width::Dword, 0);
        }
        assert_eq!(space.read(0, Width::Dword), 0x1041_1af4);
        assert_eq!(space.read(8, Width::Dword), 0x0200_0001);
        assert_eq!(space.read(0x2c, Width::Dword), 0x0001_1af4);
        assert_eq!(space.read(0x0e, Width::Byte), 0x80);
        space.write(0x3c, Width::Word, 0xffff);
        assert_eq!(space.read(0x3c, Width::Word), 0x01ff);
    }

    #[test]
    fn windows_tell_their_size_and_are_off_until_the_command_register_says_so() {
        let command = Command::IO | Command::MEMORY;
        let mut space = ConfigSpace::new(IDENTITY)
            .with_command(Command::empty(), command)
            .with_window(0, BarKind::Io, 32)
            .with_window(1, BarKind::Memory, 4096)
            .with_window(4, BarKind::Memory64, 1 << 33);
        for bar in 0..6 {
            space.write(0x10 + 4 * bar, Width::Dword, u32::MAX);
        }
        let sizes: Vec<u32> = (0..6).map(|bar| space.read(0x10 + 4 * bar, Width::Dword)).collect();
        assert_eq!(sizes, [0xffe1, 0xffff_f000, 0, 0, 0x0000_0004, 0xffff_fffe]);
        space.write(0x10, Width::Dword, 0xc000);
        space.write(0x14, Width::Dword, 0xe000_0000);
        space.write(0x20, Width::Dword, 0);
        space.write(0x24, Width::Dword, 0x40);
        assert_eq!((space.window(0), space.window(1)), (None, None));
        space.write(4, Width::Word, 0xffff);
        assert_eq!(space.window(0), Some(Window::Ports(Port(0xc000), 32)));
        assert_eq!(space.window(1), Some(Window::Memory(GuestPhys(0xe000_0000), 4096)));
        assert_eq!(space.window(4), Some(Window::Memory(GuestPhys(0x40_0000_0000), 1 << 33)));
        assert_eq!((space.window(2), space.window(9)), (None, None));
        space.reset();
        assert_eq!(space.window(0), None);
    }

    #[test]
    fn status_bits_are_cleared_by_ones() {
        let mut space = ConfigSpace::new(IDENTITY).with_status(0xfa80, 0xf900);
        space.write(6, Width::Word, 0x8000);
        assert_eq!(space.read(6, Width::Word), 0x7a80);
        space.write(7, Width::Byte, 0xff);
        assert_eq!(space.read(6, Width::Word), 0x0280);
    }

    #[test]
    fn any_offset_and_width_is_some_bytes_of_the_space() {
        let mut space = ConfigSpace::new(IDENTITY).with(255, &[1, 2], &[]).with(300, &[1], &[]);
        assert_eq!(space.read(0xff, Width::Dword), 0x411a_f401, "goes on at the beginning");
        assert_eq!(space.read(1, Width::Word), 0x411a);
        for width in Width::ALL {
            for offset in 0..=255 {
                space.write(offset, width, 0xffff_ffff);
                space.read(offset, width);
            }
        }
    }
}
