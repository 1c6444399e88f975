//! The map of physical memory that a guest is told of.

use dragoman_devices::memory::GuestRam;

/// What a range of addresses is for, as the BIOS call E820 numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Use {
    /// Memory for whatever the guest likes.
    Usable = 1,
    /// Not to be touched.
    Reserved = 2,
}

/// One range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub length: u64,
    pub kind: Use,
}

/// Where the extended BIOS data area of a PC begins.
const EXTENDED_BIOS_DATA: u64 = 0x9_fc00;
const VIDEO: u64 = 0xa_0000;
/// Where system ROM begins: our ACPI tables are in it.
const SYSTEM_ROM: u64 = 0xf_0000;
const EXTENDED_MEMORY: u64 = 0x10_0000;

/// The map of `ram`, lowest address first.
pub fn memory_map(ram: &GuestRam) -> Vec<Range> {
    let range = |start, end, kind| Range { start, length: end - start, kind };
    let mut map = vec![
        range(0, EXTENDED_BIOS_DATA, Use::Usable),
        range(EXTENDED_BIOS_DATA, VIDEO, Use::Reserved),
        range(SYSTEM_ROM, EXTENDED_MEMORY, Use::Reserved),
    ];
    for (at, length) in ram.ranges() {
        let (start, end) = (at.0.max(EXTENDED_MEMORY), at.0 + length);
        if end > start {
            map.push(range(start, end, Use::Usable));
        }
    }
    map
}
