//! The ACPI tables of the board, for guests that are started without firmware and for firmware that asks for them.
//!
//! Rule of this folder: the tables describe what the chips in this crate are, and take numbers from them where they
//! have names; what the board decides comes in as a [`Platform`].
//! Reference: ACPI specification 6.4.

mod dsdt;
mod tables;
#[cfg(test)]
mod tests;

use std::ops::Range;

use acpi_tables::{Aml, facs::FACS, rsdp::Rsdp, sdt::Sdt, xsdt::XSDT};
use dragoman_state::{GuestPhys, Port};

/// Who made the tables.
const OEM: [u8; 6] = *b"DRAGMN";
/// Which tables they are.
const OEM_TABLE: [u8; 8] = *b"DRAGOMAN";
/// Which issue of them.
const OEM_REVISION: u32 = 1;

/// Where software that scans for the RSDP looks: 16-byte steps through the last 128 KiB of the first mebibyte.
pub const SCANNED: Range<u64> = 0xe_0000..0x10_0000;
/// The most processors that the tables can describe.
pub const MOST_CPUS: u32 = 4096;
/// The ISA interrupts that a PCI interrupt may be routed to, for guests that do not use the I/O APIC. The board wires
/// these from the south bridge, and nothing else to them.
pub const PCI_ISA_INTERRUPTS: [u8; 3] = [5, 10, 11];
/// The I/O APIC input of PIRQA; those of PIRQB to PIRQD follow.
pub const PIRQ_GSI: u32 = 16;
/// The system control interrupt, a level.
pub const SCI: u8 = 9;

/// What the tables are to say of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// How many processors there are, up to [`MOST_CPUS`]; their APIC IDs count from zero.
    pub cpus: u32,
    /// Where local APICs answer.
    pub lapic_base: u32,
    /// The I/O APIC's ID.
    pub ioapic_id: u8,
    /// Where it answers.
    pub ioapic_base: u32,
    /// Where the HPET answers.
    pub hpet_base: u32,
    /// Where the block of power management ports is.
    pub pm_base: Port,
    /// What PCI devices may have of the address space below 4 GiB.
    pub pci_hole: Range<u32>,
    /// What they may have above, where they may.
    pub pci_hole_high: Option<Range<u64>>,
    /// There is a VGA.
    pub has_vga: bool,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its signature.
    pub signature: [u8; 4],
    /// Where it begins in guest memory.
    pub address: GuestPhys,
    /// Its bytes; addresses of other tables in them hold where they are now.
    pub bytes: Vec<u8>,
}

/// All tables at their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Where the RSDP is.
    pub rsdp: GuestPhys,
    /// The RSDP's bytes.
    pub rsdp_bytes: Vec<u8>,
    /// The tables, lowest first, the XSDT last.
    pub tables: Vec<Table>,
}

impl Tables {
    /// The tables of `platform`, from `at` on, which is rounded up to a multiple of 64 and lies below 4 GiB.
    pub fn build(platform: &Platform, at: GuestPhys) -> Self {
        let rsdp = GuestPhys(at.0.next_multiple_of(64));
        let mut tables = Placer { next: rsdp.0 + 64, tables: Vec::new() };
        let facs = tables.place(*b"FACS", to_bytes(&FACS::new()));
        let dsdt = tables.place(*b"DSDT", dsdt::dsdt(platform));
        let listed = [
            tables.place(*b"FACP", tables::fadt(platform, facs, dsdt)),
            tables.place(*b"APIC", tables::madt(platform)),
            tables.place(*b"HPET", tables::hpet(platform)),
        ];
        let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
        listed.into_iter().for_each(|table| xsdt.add_entry(table.0));
        let xsdt = tables.place(*b"XSDT", to_bytes(&xsdt));
        Self { rsdp, rsdp_bytes: to_bytes(&Rsdp::new(OEM, xsdt.0)), tables: tables.tables }
    }

    /// Everything as one piece of memory, to be copied to the RSDP's address.
    pub fn blob(&self) -> Vec<u8> {
        let mut blob = self.rsdp_bytes.clone();
        for table in &self.tables {
            blob.resize((table.address.0 - self.rsdp.0) as usize, 0);
            blob.extend(&table.bytes);
        }
        blob
    }

    /// The table with this signature.
    pub fn table(&self, signature: &[u8; 4]) -> Option<&Table> {
        self.tables.iter().find(|table| table.signature == *signature)
    }
}

/// Puts one table after the other.
struct Placer {
    next: u64,
    tables: Vec<Table>,
}

impl Placer {
    fn place(&mut self, signature: [u8; 4], bytes: Vec<u8>) -> GuestPhys {
        let address = GuestPhys(self.next.next_multiple_of(64)); // the FACS must be so aligned; it does the others good
        self.next = address.0 + bytes.len() as u64;
        self.tables.push(Table { signature, address, bytes });
        address
    }
}

/// The bytes of `table`, with the length and the sum in its header. The library writes the length in the host's byte order.
fn sealed(table: &Sdt) -> Vec<u8> {
    const LENGTH: std::ops::Range<usize> = 4..8;
    const CHECKSUM: usize = 9;
    let mut bytes = table.as_slice().to_vec();
    let length = bytes.len() as u32;
    bytes[LENGTH].copy_from_slice(&length.to_le_bytes());
    bytes[CHECKSUM] = 0;
    bytes[CHECKSUM] = bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte));
    bytes
}

fn to_bytes(aml: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    bytes
}
