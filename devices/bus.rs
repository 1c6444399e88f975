//! Who answers at which address. Built once while the board is wired, read without a lock afterwards.
//!
//! Rule of this file: the bus supplies what no chip does: all-ones where nobody answers or the chip refuses, and the
//! splitting of accesses that are wider than the chip or run past its end.

use std::{ops::Range, sync::Arc};

use dragoman_state::{GuestPhys, Port, VmInstant, Width};
use log::debug;

use crate::{IoError, Slot};

struct MmioRange {
    addresses: Range<u64>,
    slot: Arc<Slot>,
}

/// Two chips were given the same address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{new} and {old} both want address {at:#x}")]
pub struct MapError {
    new: &'static str,
    old: &'static str,
    at: u64,
}

/// A bus under construction.
#[derive(Default)]
pub struct BusBuilder {
    slots: Vec<Arc<Slot>>,
    ports: Vec<(Range<u32>, usize)>,
    mmio: Vec<MmioRange>,
}

impl BusBuilder {
    /// A bus with nothing on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a chip on the board, to be reset and timed with the others. Mapping it does this too.
    pub fn add(&mut self, slot: &Arc<Slot>) -> usize {
        match self.slots.iter().position(|known| Arc::ptr_eq(known, slot)) {
            Some(index) => index,
            None => {
                self.slots.push(slot.clone());
                self.slots.len() - 1
            }
        }
    }

    /// Lets `slot` answer at `count` ports from `first`.
    pub fn map_ports(&mut self, slot: &Arc<Slot>, first: Port, count: u32) -> Result<(), MapError> {
        let range = u32::from(first.0)..u32::from(first.0) + count;
        if let Some((old, index)) = self.ports.iter().find(|(old, _)| old.start < range.end && range.start < old.end) {
            return Err(MapError { new: slot.name(), old: self.slots[*index].name(), at: range.start.max(old.start).into() });
        }
        let index = self.add(slot);
        self.ports.push((range, index));
        Ok(())
    }

    /// Lets `slot` answer at `length` bytes of physical address space from `first`.
    pub fn map_mmio(&mut self, slot: &Arc<Slot>, first: GuestPhys, length: u64) -> Result<(), MapError> {
        let addresses = first.0..first.0 + length;
        if let Some(old) = self.mmio.iter().find(|old| old.addresses.start < addresses.end && addresses.start < old.addresses.end)
        {
            return Err(MapError { new: slot.name(), old: old.slot.name(), at: addresses.start.max(old.addresses.start) });
        }
        self.add(slot);
        self.mmio.push(MmioRange { addresses, slot: slot.clone() });
        Ok(())
    }

    /// The finished bus.
    pub fn build(mut self) -> Bus {
        const NOBODY: u16 = u16::MAX;
        let mut ports = vec![NOBODY; 1 << 16];
        for (range, index) in &self.ports {
            for port in range.clone().filter(|port| *port < 1 << 16) {
                ports[port as usize] = *index as u16;
            }
        }
        self.mmio.sort_by_key(|range| range.addresses.start);
        Bus { ports: ports.into_boxed_slice(), slots: self.slots, mmio: self.mmio }
    }
}

/// Port and memory-mapped I/O of the whole board. Shared by all vCPUs; takes only the lock of the chip that answers.
pub struct Bus {
    ports: Box<[u16]>,
    slots: Vec<Arc<Slot>>,
    mmio: Vec<MmioRange>,
}

impl Bus {
    /// Reads `width` (8, 16 or 32 bits) at `port`. All ones where nobody answers.
    pub fn read_port(&self, port: Port, width: Width) -> u32 {
        let Some(slot) = self.whole_port_slot(port, width) else { return self.read_port_bytes(port, width) };
        let value = slot.access(|device| device.as_pio().ok_or(IoError::NoRegister)?.read(port, width));
        width.truncate(value.unwrap_or_else(|error| refused_read(slot, port.0.into(), width, error) as u32).into()) as u32
    }

    /// Writes the low `width` bits of `value` at `port`.
    pub fn write_port(&self, port: Port, width: Width, value: u32) {
        let Some(slot) = self.whole_port_slot(port, width) else { return self.write_port_bytes(port, width, value) };
        let value = width.truncate(value.into()) as u32;
        slot.access(|device| device.as_pio().ok_or(IoError::NoRegister)?.write(port, width, value))
            .unwrap_or_else(|error| refused_write(slot, port.0.into(), width, value.into(), error));
    }

    /// Reads `width` bits at physical address `at`, which is not RAM. All ones where nobody answers.
    pub fn read_mmio(&self, at: GuestPhys, width: Width) -> u64 {
        let Some((slot, offset)) = self.mmio_slot(at, width) else { return width.mask() };
        let value = slot.access(|device| device.as_mmio().ok_or(IoError::NoRegister)?.read(offset, width));
        width.truncate(value.unwrap_or_else(|error| refused_read(slot, at.0, width, error)))
    }

    /// Writes the low `width` bits of `value` at physical address `at`, which is not RAM.
    pub fn write_mmio(&self, at: GuestPhys, width: Width, value: u64) {
        let Some((slot, offset)) = self.mmio_slot(at, width) else { return };
        let value = width.truncate(value);
        slot.access(|device| device.as_mmio().ok_or(IoError::NoRegister)?.write(offset, width, value))
            .unwrap_or_else(|error| refused_write(slot, at.0, width, value, error));
    }

    /// Resets every chip.
    pub fn reset(&self) {
        for slot in &self.slots {
            slot.reset();
        }
    }

    /// The earliest moment at which some chip wants [`Bus::advance`].
    pub fn next_deadline(&self) -> VmInstant {
        self.slots.iter().map(|slot| slot.deadline()).min().unwrap_or(VmInstant::NEVER)
    }

    /// Brings every chip whose deadline is not after `now` to the present.
    pub fn advance(&self, now: VmInstant) {
        for slot in self.slots.iter().filter(|slot| slot.deadline() <= now) {
            slot.advance();
        }
    }

    fn port_slot(&self, port: Port) -> Option<&Arc<Slot>> {
        self.slots.get(usize::from(self.ports[usize::from(port.0)]))
    }

    /// The chip that answers the whole access by itself; `None` where it is to be done byte by byte.
    fn whole_port_slot(&self, port: Port, width: Width) -> Option<&Arc<Slot>> {
        let slot = self.port_slot(port)?;
        if width == Width::Byte {
            return Some(slot);
        }
        let last = port.0.checked_add(width.bytes() as u16 - 1)?;
        let is_whole = (port.0..=last).all(|p| self.ports[usize::from(p)] == self.ports[usize::from(port.0)]);
        (is_whole && !slot.is_byte_wide()).then_some(slot)
    }

    fn read_port_bytes(&self, port: Port, width: Width) -> u32 {
        (0..width.bytes() as u16).fold(0, |value, n| {
            let at = Port(port.0.wrapping_add(n));
            let byte = if self.port_slot(at).is_some() { self.read_port(at, Width::Byte) } else { 0xff };
            value | byte << (8 * n)
        })
    }

    fn write_port_bytes(&self, port: Port, width: Width, value: u32) {
        for n in 0..width.bytes() as u16 {
            let at = Port(port.0.wrapping_add(n));
            if self.port_slot(at).is_some() {
                self.write_port(at, Width::Byte, value >> (8 * n) & 0xff);
            }
        }
    }

    fn mmio_slot(&self, at: GuestPhys, width: Width) -> Option<(&Arc<Slot>, u64)> {
        let next = self.mmio.partition_point(|range| range.addresses.start <= at.0);
        let range = self.mmio.get(next.checked_sub(1)?)?;
        let end = at.0.checked_add(width.bytes())?;
        (end <= range.addresses.end).then(|| (&range.slot, at.0 - range.addresses.start))
    }
}

fn refused_read(slot: &Slot, at: u64, width: Width, error: IoError) -> u64 {
    debug!("{}: read of {} bits at {at:#x}: {error}", slot.name(), width.bits());
    width.mask()
}

fn refused_write(slot: &Slot, at: u64, width: Width, value: u64, error: IoError) {
    debug!("{}: write of {value:#x} ({} bits) at {at:#x}: {error}", slot.name(), width.bits());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alarm, Clock, Device, Outputs, PioDevice};

    struct Still;
    impl Clock for Still {
        fn now(&self) -> VmInstant {
            VmInstant::ZERO
        }
    }
    impl Alarm for Still {
        fn wake_by(&self, _at: VmInstant) {}
    }

    /// Answers a read with the port's low byte; remembers the last write.
    struct Echo {
        is_byte_wide: bool,
        written: Vec<(u16, Width, u32)>,
    }
    impl Device for Echo {
        fn name(&self) -> &'static str {
            "echo"
        }
        fn reset(&mut self) {
            self.written.clear();
        }
        fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
            Some(self)
        }
    }
    impl PioDevice for Echo {
        fn is_byte_wide(&self) -> bool {
            self.is_byte_wide
        }
        fn read(&mut self, port: Port, width: Width) -> Result<u32, IoError> {
            if port.0 == 0x13 { Err(IoError::NoRegister) } else { Ok(u32::from(port.0 & 0xff) | (width.bits() << 8)) }
        }
        fn write(&mut self, port: Port, width: Width, value: u32) -> Result<(), IoError> {
            self.written.push((port.0, width, value));
            Ok(())
        }
    }

    fn slot(is_byte_wide: bool) -> Arc<Slot> {
        Slot::new(Echo { is_byte_wide, written: vec![] }, Outputs::new(), Arc::new(Still), Arc::new(Still))
    }

    #[test]
    fn nobody_answers_with_all_ones() {
        let bus = BusBuilder::new().build();
        assert_eq!(bus.read_port(Port(0x80), Width::Byte), 0xff);
        assert_eq!(bus.read_port(Port(0xffff), Width::Dword), 0xffff_ffff);
        assert_eq!(bus.read_mmio(GuestPhys(0xfec0_0000), Width::Dword), 0xffff_ffff);
        bus.write_port(Port(0xffff), Width::Word, 1);
        bus.write_mmio(GuestPhys(u64::MAX), Width::Qword, 1);
    }

    #[test]
    fn wide_accesses_to_a_byte_wide_chip_become_bytes_lowest_first() {
        let mut builder = BusBuilder::new();
        let chip = slot(true);
        builder.map_ports(&chip, Port(0x10), 4).expect("free");
        let bus = builder.build();
        assert_eq!(bus.read_port(Port(0x10), Width::Word), 0x1110);
        assert_eq!(bus.read_port(Port(0x12), Width::Dword), 0xffff_ff12, "0x13 refuses, 0x14 is nobody");
    }

    #[test]
    fn wide_accesses_to_a_wide_chip_stay_whole_unless_they_run_past_its_end() {
        let mut builder = BusBuilder::new();
        let chip = slot(false);
        builder.map_ports(&chip, Port(0x20), 4).expect("free");
        let bus = builder.build();
        assert_eq!(bus.read_port(Port(0x20), Width::Word), 0x1020);
        assert_eq!(bus.read_port(Port(0x23), Width::Word), 0xff23);
        bus.write_port(Port(0x23), Width::Dword, 0x1234_5678);
        chip.access(|_| ());
    }

    #[test]
    fn two_chips_cannot_have_one_port() {
        let mut builder = BusBuilder::new();
        builder.map_ports(&slot(true), Port(0x10), 4).expect("free");
        assert!(builder.map_ports(&slot(true), Port(0x13), 1).is_err());
    }
}
