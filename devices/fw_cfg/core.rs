//! The firmware configuration device: numbered items that firmware reads, one byte or one transfer at a time.
//!
//! Rule of this file: nothing the guest says is an index. An item is looked up, an offset is clamped to its length,
//! and a transfer does no more than the item's bytes and [`LONGEST_FILL`] zeros after them.
//! Reference: QEMU, `docs/specs/fw_cfg.rst`.

use std::collections::BTreeMap;

use bitflags::bitflags;
use dragoman_state::GuestPhys;

use crate::memory::{GuestRam, MemoryError};

/// Numbers of items, as QEMU gives them.
pub mod key {
    /// "QEMU".
    pub const SIGNATURE: u16 = 0x00;
    /// Which interfaces there are.
    pub const ID: u16 = 0x01;
    /// The machine's UUID, 16 bytes.
    pub const UUID: u16 = 0x02;
    /// Bytes of RAM, 64 bits.
    pub const RAM_SIZE: u16 = 0x03;
    /// There is no display, 16 bits.
    pub const NOGRAPHIC: u16 = 0x04;
    /// How many processors run, 16 bits.
    pub const NB_CPUS: u16 = 0x05;
    /// Where the kernel goes, 32 bits, and likewise below.
    pub const KERNEL_ADDR: u16 = 0x07;
    /// The kernel's length.
    pub const KERNEL_SIZE: u16 = 0x08;
    /// Where the initial RAM disk goes.
    pub const INITRD_ADDR: u16 = 0x0a;
    /// The initial RAM disk's length.
    pub const INITRD_SIZE: u16 = 0x0b;
    /// Whether firmware offers a boot menu, 16 bits.
    pub const BOOT_MENU: u16 = 0x0e;
    /// How many processors there can be, 16 bits.
    pub const MAX_CPUS: u16 = 0x0f;
    /// Where the kernel starts.
    pub const KERNEL_ENTRY: u16 = 0x10;
    /// The kernel.
    pub const KERNEL_DATA: u16 = 0x11;
    /// The initial RAM disk.
    pub const INITRD_DATA: u16 = 0x12;
    /// Where the command line goes.
    pub const CMDLINE_ADDR: u16 = 0x13;
    /// The command line's length, with its zero.
    pub const CMDLINE_SIZE: u16 = 0x14;
    /// The command line, with a zero at its end.
    pub const CMDLINE_DATA: u16 = 0x15;
    /// Where the kernel's real-mode part goes.
    pub const SETUP_ADDR: u16 = 0x16;
    /// That part's length.
    pub const SETUP_SIZE: u16 = 0x17;
    /// That part.
    pub const SETUP_DATA: u16 = 0x18;
    /// The directory of files.
    pub const FILE_DIR: u16 = 0x19;
    /// The first file.
    pub const FILE_FIRST: u16 = 0x20;
    /// The number after the last file's.
    pub const FILE_END: u16 = 0x4000;
}

/// Bytes of a name in the directory, its zero included.
const NAME: usize = 56;
/// The most zeros that one transfer writes beyond an item's end.
pub const LONGEST_FILL: u64 = 64 << 10;
/// Item [`key::ID`]: ports, and DMA.
const INTERFACES: u32 = 0b11;

bitflags! {
    /// The low half of a transfer's control word; with `SELECT` the high half is the item's number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct DmaControl: u32 {
        const ERROR = 1 << 0;
        const READ = 1 << 1;
        const SKIP = 1 << 2;
        const SELECT = 1 << 3;
        const WRITE = 1 << 4;
    }
}

/// Why a file cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The directory has 55 bytes for a name, none of them zero.
    #[error("a file's name has 1 to 55 bytes, none of them zero")]
    Name,
    /// There is a file of this name.
    #[error("there is a file of this name already")]
    Exists,
    /// Every number is taken, or the file is larger than the directory can say.
    #[error("no place for another file, or the file is too long")]
    Full,
}

/// The items, and how far the guest has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    // Configuration
    items: BTreeMap<u16, Vec<u8>>,
    names: Vec<String>,
    // Guest-visible state
    selected: u16,
    offset: usize,
}

impl Default for Items {
    fn default() -> Self {
        Self::new()
    }
}

impl Items {
    /// The two items that say what this device is, and an empty directory.
    pub fn new() -> Self {
        let mut items = Self { items: BTreeMap::new(), names: Vec::new(), selected: 0, offset: 0 };
        items.set(key::SIGNATURE, b"QEMU".to_vec());
        items.set(key::ID, INTERFACES.to_le_bytes().to_vec());
        items.write_directory();
        items
    }

    /// The selection after power-on. The items are the board's and stay.
    pub fn reset(&mut self) {
        self.select(key::SIGNATURE);
    }

    /// Gives item `key` its bytes.
    pub fn set(&mut self, key: u16, bytes: Vec<u8>) {
        self.items.insert(key, bytes);
    }

    /// Offers `bytes` as the file `name`.
    pub fn add_file(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), FileError> {
        if name.is_empty() || name.len() >= NAME || name.contains('\0') {
            return Err(FileError::Name);
        }
        if self.names.iter().any(|known| known == name) {
            return Err(FileError::Exists);
        }
        let key = usize::from(key::FILE_FIRST) + self.names.len();
        if key >= usize::from(key::FILE_END) || u32::try_from(bytes.len()).is_err() {
            return Err(FileError::Full);
        }
        self.names.push(name.to_owned());
        self.set(key as u16, bytes);
        self.write_directory();
        Ok(())
    }

    /// The directory: a count, and for each file its length, its number and its name; numbers are big-endian.
    fn write_directory(&mut self) {
        let mut directory = (self.names.len() as u32).to_be_bytes().to_vec();
        for (name, key) in self.names.iter().zip(key::FILE_FIRST..) {
            let length = self.items.get(&key).map_or(0, Vec::len) as u32;
            directory.extend(length.to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0; 2]);
            directory.extend(name.as_bytes());
            directory.resize(directory.len() + NAME - name.len(), 0);
        }
        self.set(key::FILE_DIR, directory);
    }

    /// Selects an item, from its beginning. One that does not exist is empty.
    pub fn select(&mut self, key: u16) {
        self.selected = key;
        self.offset = 0;
    }

    /// What is left of the selected item.
    fn rest(&self) -> &[u8] {
        self.items.get(&self.selected).and_then(|item| item.get(self.offset..)).unwrap_or_default()
    }

    /// The next byte of the selected item; zero past its end.
    pub fn read_byte(&mut self) -> u8 {
        let byte = self.rest().first().copied();
        self.offset += usize::from(byte.is_some());
        byte.unwrap_or(0)
    }

    /// Does the transfer that the guest describes at `at`: control, length and address, big-endian. Success or failure
    /// is written to where control was read from; a description that is not all in RAM is ignored.
    pub fn transfer(&mut self, ram: &GuestRam, at: GuestPhys) {
        let mut request = [0; 16];
        if at.0.checked_add(16).is_none() || ram.read(at, &mut request).is_err() {
            return;
        }
        let [c0, c1, c2, c3, l0, l1, l2, l3, address @ ..] = request;
        let control = u32::from_be_bytes([c0, c1, c2, c3]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]).into();
        let address = GuestPhys(u64::from_be_bytes(address));
        let result = self.run_transfer(ram, control, length, address);
        let answer = if result.is_ok() { DmaControl::empty() } else { DmaControl::ERROR };
        // It was read from there just now, so it is RAM.
        let _ = ram.write(at, &answer.bits().to_be_bytes());
    }

    fn run_transfer(&mut self, ram: &GuestRam, control: u32, length: u64, address: GuestPhys) -> Result<(), MemoryError> {
        let flags = DmaControl::from_bits_truncate(control);
        if flags.contains(DmaControl::SELECT) {
            self.select((control >> 16) as u16);
        }
        let available = length.min(self.rest().len() as u64);
        if flags.contains(DmaControl::READ) {
            let refused = MemoryError::NotRam { at: address, length };
            let fill = length - available;
            let Some(end) = address.0.checked_add(available) else { return Err(refused) };
            if fill > LONGEST_FILL || end.checked_add(fill).is_none() {
                return Err(refused);
            }
            for (at, bytes) in [(address, &self.rest()[..available as usize]), (GuestPhys(end), &vec![0; fill as usize])] {
                // Nothing can be written anywhere, even past the end of RAM.
                if !bytes.is_empty() {
                    ram.write(at, bytes)?;
                }
            }
        } else if flags.contains(DmaControl::WRITE) {
            // No item can be written.
            return Err(MemoryError::NotRam { at: address, length });
        } else if !flags.contains(DmaControl::SKIP) {
            return Ok(());
        }
        self.offset += available as usize;
        Ok(())
    }
}
