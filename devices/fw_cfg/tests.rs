//! What QEMU's specification of the device promises, and what hostile firmware tries, one claim a test.

use super::*;

const READ: u32 = 2;
const SKIP: u32 = 4;
const SELECT: u32 = 8;
const WRITE: u32 = 16;
const ERROR: u32 = 1;
/// Where the tests describe a transfer, and where its bytes go.
const REQUEST: u64 = 0x1000;
const BUFFER: u64 = 0x2000;

fn bench() -> (FwCfg, Arc<GuestRam>) {
    let ram = Arc::new(GuestRam::new(4 << 20).expect("small"));
    (FwCfg::new(ram.clone()), ram)
}

fn select(chip: &mut FwCfg, key: u16) {
    chip.write(Port(SELECTOR), Width::Word, key.into()).expect("selector");
}

fn read(chip: &mut FwCfg, count: usize) -> Vec<u8> {
    (0..count).map(|_| chip.read(Port(DATA), Width::Byte).expect("data") as u8).collect()
}

/// Describes and starts a transfer; returns the control word afterwards.
fn transfer(chip: &mut FwCfg, ram: &GuestRam, control: u32, length: u32, address: u64) -> u32 {
    let mut request = [control.to_be_bytes(), length.to_be_bytes()].concat();
    request.extend(address.to_be_bytes());
    ram.write(GuestPhys(REQUEST), &request).expect("RAM");
    chip.write(Port(DMA_HIGH), Width::Dword, 0).expect("DMA");
    chip.write(Port(DMA_LOW), Width::Dword, (REQUEST as u32).swap_bytes()).expect("DMA");
    let mut control = [0; 4];
    ram.read(GuestPhys(REQUEST), &mut control).expect("RAM");
    u32::from_be_bytes(control)
}

fn buffer(ram: &GuestRam, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    ram.read(GuestPhys(BUFFER), &mut bytes).expect("RAM");
    bytes
}

#[test]
fn firmware_recognises_the_device_and_its_dma() {
    let (mut chip, _) = bench();
    assert_eq!(read(&mut chip, 6), b"QEMU\0\0", "zeros past the end");
    select(&mut chip, key::ID);
    assert_eq!(read(&mut chip, 4), [3, 0, 0, 0]);
    assert_eq!(chip.read(Port(DMA_HIGH), Width::Dword), Ok(u32::from_le_bytes(*b"QEMU")));
    assert_eq!(chip.read(Port(DMA_LOW), Width::Dword), Ok(u32::from_le_bytes(*b" CFG")));
    assert_eq!(chip.read(Port(DMA_LOW + 1), Width::Byte), Ok(u32::from(b'C')));
}

#[test]
fn the_directory_lists_files_by_length_number_and_name() {
    let (mut chip, _) = bench();
    chip.add_file("etc/one", vec![1, 2, 3]).expect("a good name");
    chip.add_file("opt/two", vec![9; 300]).expect("a good name");
    select(&mut chip, key::FILE_DIR);
    assert_eq!(read(&mut chip, 4), [0, 0, 0, 2]);
    let entry = |bytes: Vec<u8>| (bytes[..8].to_vec(), String::from_utf8_lossy(&bytes[8..]).trim_end_matches('\0').to_owned());
    assert_eq!(entry(read(&mut chip, 64)), (vec![0, 0, 0, 3, 0, 0x20, 0, 0], "etc/one".to_owned()));
    assert_eq!(entry(read(&mut chip, 64)), (vec![0, 0, 1, 44, 0, 0x21, 0, 0], "opt/two".to_owned()));
    select(&mut chip, 0x20);
    assert_eq!(read(&mut chip, 3), [1, 2, 3]);
}

#[test]
fn bad_names_are_refused() {
    let (mut chip, _) = bench();
    let longest = "x".repeat(55);
    assert_eq!(chip.add_file(&longest, vec![]), Ok(()));
    assert_eq!(chip.add_file(&longest, vec![]), Err(FileError::Exists));
    for name in [String::new(), "x".repeat(56), "a\0b".to_owned()] {
        assert_eq!(chip.add_file(&name, vec![]), Err(FileError::Name));
    }
}

#[test]
fn a_transfer_selects_reads_and_goes_on_where_it_was() {
    let (mut chip, ram) = bench();
    chip.set_item(key::KERNEL_DATA, (0..100).collect());
    let control = u32::from(key::KERNEL_DATA) << 16 | SELECT | READ;
    assert_eq!(transfer(&mut chip, &ram, control, 10, BUFFER), 0);
    assert_eq!(buffer(&ram, 11), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    assert_eq!(transfer(&mut chip, &ram, SKIP, 80, 0), 0);
    assert_eq!(transfer(&mut chip, &ram, READ, 4, BUFFER), 0);
    assert_eq!(buffer(&ram, 4), [90, 91, 92, 93]);
    assert_eq!(read(&mut chip, 1), [94], "ports and transfers share the place");
    ram.write(GuestPhys(BUFFER), &[0xff; 12]).expect("RAM");
    assert_eq!(transfer(&mut chip, &ram, READ, 10, BUFFER), 0);
    assert_eq!(buffer(&ram, 12), [95, 96, 97, 98, 99, 0, 0, 0, 0, 0, 0xff, 0xff], "zeros past the end");
    assert_eq!(transfer(&mut chip, &ram, SKIP, u32::MAX, 0), 0);
    assert_eq!(read(&mut chip, 1), [0]);
}

#[test]
fn hostile_transfers_set_the_error_bit() {
    let (mut chip, ram) = bench();
    chip.set_item(key::KERNEL_DATA, vec![7; 100]);
    let select_read = u32::from(key::KERNEL_DATA) << 16 | SELECT | READ;
    for address in [u64::MAX, u64::MAX - 50, 0xa_0000, 4 << 20, (4 << 20) - 50, 1 << 63] {
        assert_eq!(transfer(&mut chip, &ram, select_read, 100, address), ERROR, "{address:#x}");
    }
    assert_eq!(transfer(&mut chip, &ram, select_read, 100, (4 << 20) - 100), 0, "the last bytes of RAM are RAM");
    assert_eq!(transfer(&mut chip, &ram, select_read, u32::MAX, BUFFER), ERROR, "more zeros than anyone needs");
    assert_eq!(transfer(&mut chip, &ram, select_read | WRITE, 4, u64::MAX), ERROR);
    assert_eq!(transfer(&mut chip, &ram, WRITE, 4, BUFFER), ERROR, "nothing can be written");
    assert_eq!(transfer(&mut chip, &ram, 0xbeef << 16 | SELECT | READ, 4, BUFFER), 0, "what does not exist is empty");
    assert_eq!(buffer(&ram, 4), [0; 4]);
    assert_eq!(transfer(&mut chip, &ram, 0, u32::MAX, u64::MAX), 0, "nothing asked, nothing done");
}

#[test]
fn a_description_outside_ram_is_ignored() {
    let (mut chip, _) = bench();
    for address in [0xa_0000u64, u64::MAX, u64::MAX - 15, (4 << 20) - 8] {
        chip.write(Port(DMA_HIGH), Width::Dword, ((address >> 32) as u32).swap_bytes()).expect("DMA");
        chip.write(Port(DMA_LOW), Width::Dword, (address as u32).swap_bytes()).expect("DMA");
    }
}

#[test]
fn odd_widths_are_refused() {
    let (mut chip, _) = bench();
    assert_eq!(chip.read(Port(DATA), Width::Word), Err(IoError::BadWidth));
    assert_eq!(chip.write(Port(SELECTOR), Width::Byte, 0), Err(IoError::BadWidth));
    assert_eq!(chip.write(Port(DMA_LOW), Width::Word, 0), Err(IoError::BadWidth));
    assert_eq!(chip.write(Port(DATA), Width::Byte, 0), Err(IoError::ReadOnly));
    assert_eq!(chip.read(Port(0x51a), Width::Dword), Err(IoError::NoRegister));
    assert_eq!(chip.read(Port(SELECTOR), Width::Word), Err(IoError::NoRegister));
}

#[test]
fn reset_selects_the_signature_and_keeps_the_items() {
    let (mut chip, _) = bench();
    chip.add_file("etc/one", vec![5]).expect("a good name");
    select(&mut chip, 0x20);
    Device::reset(&mut chip);
    assert_eq!(read(&mut chip, 4), b"QEMU");
    select(&mut chip, 0x20);
    assert_eq!(read(&mut chip, 1), [5]);
}
