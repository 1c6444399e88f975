//! What software that walks the tables relies on. That they mean the right things to Linux and to ACPICA is shown by
//! running them; here are the sums, the pointers and the numbers.

use super::*;

fn platform(cpus: u32) -> Platform {
    Platform {
        cpus,
        lapic_base: 0xfee0_0000,
        ioapic_id: 3,
        ioapic_base: 0xfec0_0000,
        hpet_base: 0xfed0_0000,
        pm_base: Port(0x600),
        pci_hole: 0xc000_0000..0xfec0_0000,
        pci_hole_high: Some(1 << 40..1 << 41),
        has_vga: false,
    }
}

fn build(cpus: u32) -> Tables {
    Tables::build(&platform(cpus), GuestPhys(SCANNED.start))
}

fn bytes<'a>(tables: &'a Tables, signature: &[u8; 4]) -> &'a [u8] {
    &tables.table(signature).expect("built").bytes
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The structures of a MADT: type and bytes.
fn structures(madt: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &madt[44..];
    let mut found = Vec::new();
    while let [kind, length, ..] = rest {
        let (one, others) = rest.split_at(usize::from(*length));
        found.push((*kind, one.to_vec()));
        rest = others;
    }
    found
}

#[test]
fn every_table_has_its_length_and_its_sum() {
    for cpus in [1, 2, 300, MOST_CPUS] {
        let tables = build(cpus);
        assert_eq!((sum(&tables.rsdp_bytes), sum(&tables.rsdp_bytes[..20])), (0, 0));
        for table in &tables.tables {
            assert_eq!(table.bytes[..4], table.signature);
            assert_eq!(number(&table.bytes, 4, 4), table.bytes.len() as u64, "{table:?}");
            if table.signature != *b"FACS" {
                assert_eq!(sum(&table.bytes), 0, "{table:?}");
            }
        }
    }
}

#[test]
fn pointers_lead_to_the_tables_they_mean() {
    let tables = build(2);
    let blob = tables.blob();
    assert!(SCANNED.contains(&tables.rsdp.0) && tables.rsdp.0 + (blob.len() as u64) < SCANNED.end);
    let at = |address: u64| &blob[(address - tables.rsdp.0) as usize..];
    assert_eq!(at(tables.rsdp.0)[..8], *b"RSD PTR ");
    let xsdt = at(number(&blob, 24, 8));
    assert_eq!(xsdt[..4], *b"XSDT");
    let listed: Vec<&[u8]> = (36..number(xsdt, 4, 4) as usize).step_by(8).map(|n| &at(number(xsdt, n, 8))[..4]).collect();
    assert_eq!(listed, [b"FACP", b"APIC", b"HPET"]);
    let fadt = bytes(&tables, b"FACP");
    assert_eq!(at(number(fadt, 36, 4))[..4], *b"FACS");
    assert_eq!(number(fadt, 36, 4) % 64, 0);
    assert_eq!(at(number(fadt, 40, 4))[..4], *b"DSDT");
    assert_eq!(number(fadt, 140, 8), number(fadt, 40, 4));
}

#[test]
fn the_blob_may_be_anywhere_and_is_aligned() {
    let tables = Tables::build(&platform(1), GuestPhys(0x7f_f001));
    assert_eq!(tables.rsdp, GuestPhys(0x7f_f040));
    for table in &tables.tables {
        let from = (table.address.0 - tables.rsdp.0) as usize;
        assert_eq!(tables.blob()[from..from + table.bytes.len()], table.bytes);
    }
}

#[test]
fn fixed_hardware_is_where_the_chips_have_it() {
    let tables = build(1);
    let fadt = bytes(&tables, b"FACP");
    let field = |at, size| number(fadt, at, size);
    assert_eq!((field(46, 2), field(48, 4), field(52, 1), field(53, 1)), (9, 0xb2, 0xf1, 0xf0), "SCI, SMI, enable, disable");
    assert_eq!((field(56, 4), field(64, 4), field(76, 4), field(80, 4)), (0x600, 0x604, 0x608, 0x60c));
    assert_eq!((field(88, 1), field(89, 1), field(91, 1), field(92, 1)), (4, 2, 4, 4), "lengths");
    assert_eq!((field(108, 1), field(109, 2)), (0x32, 0b111), "century; legacy devices, 8042, no VGA");
    assert_eq!((field(116, 4), field(120, 8), field(128, 1)), (0x01_00_08_01, 0xcf9, 6), "reset register and value");
    assert_eq!(field(112, 4) & (1 << 10), 1 << 10, "which is there");
}

#[test]
fn processors_beyond_a_byte_are_x2apics() {
    let tables = build(257);
    let found = structures(bytes(&tables, b"APIC"));
    let count = |kind| found.iter().filter(|(found, _)| *found == kind).count();
    assert_eq!((count(0), count(9), count(1), count(2), count(4), count(0x0a)), (255, 2, 1, 2, 1, 1));
    let last = &found.iter().rfind(|(kind, _)| *kind == 9).expect("two").1;
    assert_eq!((number(last, 4, 4), number(last, 8, 4), number(last, 12, 4)), (256, 1, 256));
    assert_eq!(structures(bytes(&build(255), b"APIC")).iter().filter(|(kind, _)| *kind == 9).count(), 0);
}

#[test]
fn the_timer_is_at_input_2_and_the_system_control_interrupt_a_level() {
    let tables = build(1);
    let madt = bytes(&tables, b"APIC");
    assert_eq!((number(madt, 36, 4), number(madt, 40, 4)), (0xfee0_0000, 1), "and there is an 8259 pair");
    let found = structures(madt);
    assert!(found.contains(&(1, vec![1, 12, 3, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0])));
    assert!(found.contains(&(2, vec![2, 10, 0, 0, 2, 0, 0, 0, 0, 0])));
    assert!(found.contains(&(2, vec![2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0])));
}

#[test]
fn the_hpet_says_of_itself_what_its_register_says() {
    let tables = build(1);
    let hpet = bytes(&tables, b"HPET");
    assert_eq!((number(hpet, 36, 4), number(hpet, 44, 8)), (0x8086_a201, 0xfed0_0000));
}

#[test]
fn an_empty_hole_is_no_window() {
    let with = build(1);
    let without = Tables::build(&Platform { pci_hole: 0..0, pci_hole_high: None, ..platform(1) }, GuestPhys(SCANNED.start));
    let (dword, qword) = (26, 46);
    assert_eq!(bytes(&with, b"DSDT").len(), bytes(&without, b"DSDT").len() + dword + qword);
}
