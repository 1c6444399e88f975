//! Configuration mechanism #1 as software uses it, one claim a test.

use std::sync::Mutex;

use super::*;
use crate::testing::{Asked, PowerRecorder};

const ADDRESS: Port = Port(0xcf8);
const DATA: u16 = 0xcfc;

struct Function(Mutex<ConfigSpace>);
impl ConfigTarget for Function {
    fn read_config(&self, offset: u8, width: Width) -> u32 {
        self.0.lock().expect("not poisoned").read(offset, width)
    }
    fn write_config(&self, offset: u8, width: Width, value: u32) {
        self.0.lock().expect("not poisoned").write(offset, width, value);
    }
}

fn bench() -> (PciHost, Arc<PowerRecorder>) {
    let power = Arc::new(PowerRecorder::default());
    let mut host = PciHost::new(power.clone());
    let identity = Identity { vendor: 0x1234, device: 0x5678, revision: 0, class: 0x03_00_00 };
    let space = ConfigSpace::new(identity).with(0x40, &[0; 4], &[0xff; 4]);
    host.attach(DevFn::new(2, 3), Arc::new(Function(Mutex::new(space))));
    (host, power)
}

fn select(host: &mut PciHost, address: u32) {
    host.write(ADDRESS, Width::Dword, address).expect("CONFADD");
}

#[test]
fn linux_finds_mechanism_1() {
    let (mut host, _) = bench();
    assert_eq!(host.write(Port(0xcfb), Width::Byte, 1), Err(IoError::NoRegister));
    select(&mut host, 0x8000_0000);
    assert_eq!(host.read(ADDRESS, Width::Dword), Ok(0x8000_0000));
    assert_eq!(host.read(Port(DATA), Width::Dword), Ok(0x1237_8086));
    select(&mut host, 0x8000_0008);
    assert_eq!(host.read(Port(DATA + 2), Width::Word), Ok(0x0600));
}

#[test]
fn functions_answer_at_all_sizes_and_the_rest_of_the_bus_with_ones() {
    let (mut host, _) = bench();
    select(&mut host, 0x8000_1300);
    assert_eq!(host.read(Port(DATA), Width::Dword), Ok(0x5678_1234));
    assert_eq!(host.read(Port(DATA + 1), Width::Word), Ok(0x7812));
    assert_eq!(host.read(Port(DATA + 3), Width::Byte), Ok(0x56));
    select(&mut host, 0x8000_1343);
    assert_eq!(host.read(ADDRESS, Width::Dword), Ok(0x8000_1340), "the low two bits are not there");
    host.write(Port(DATA), Width::Dword, 0x1122_3344).expect("data");
    host.write(Port(DATA + 1), Width::Byte, 0xaa).expect("data");
    host.write(Port(DATA + 2), Width::Word, 0xbbcc).expect("data");
    assert_eq!(host.read(Port(DATA), Width::Dword), Ok(0xbbcc_aa44));
    for absent in [0x8000_1200, 0x8000_0100, 0x8000_f800] {
        select(&mut host, absent);
        assert_eq!(host.read(Port(DATA), Width::Dword), Ok(u32::MAX));
        host.write(Port(DATA), Width::Dword, 0).expect("nobody minds");
    }
}

#[test]
fn a_disabled_mechanism_and_other_buses_decode_nothing() {
    let (mut host, _) = bench();
    for address in [0x0000_0000, 0x8001_0000, 0x80ff_1300] {
        select(&mut host, address);
        assert_eq!(host.read(Port(DATA), Width::Dword), Err(IoError::NoRegister));
        assert_eq!(host.write(Port(DATA), Width::Dword, 0), Err(IoError::NoRegister));
    }
}

#[test]
fn the_address_register_has_32_bits_and_the_reset_register_eight() {
    let (mut host, _) = bench();
    assert!(!host.is_byte_wide());
    for (port, width) in
        [(0xcf8, Width::Byte), (0xcf8, Width::Word), (0xcf9, Width::Word), (0xcfa, Width::Byte), (0xcf9, Width::Dword)]
    {
        assert_eq!(host.read(Port(port), width), Err(IoError::NoRegister));
        assert_eq!(host.write(Port(port), width, 0), Err(IoError::NoRegister));
    }
    assert_eq!(host.read(Port(0xcf7), Width::Dword), Err(IoError::NoRegister));
}

#[test]
fn a_rise_of_rcpu_resets_the_machine() {
    let (mut host, power) = bench();
    host.write(RESET_CONTROL, Width::Byte, 0x02).expect("RC");
    assert_eq!(power.take(), []);
    host.write(RESET_CONTROL, Width::Byte, RESET_VALUE.into()).expect("RC");
    host.write(RESET_CONTROL, Width::Byte, 0x06).expect("RC");
    assert_eq!(power.take(), [Asked::Reset]);
    assert_eq!(host.read(RESET_CONTROL, Width::Byte), Ok(0x06));
}

#[test]
fn reset_restores_the_bridge_and_leaves_the_bus_attached() {
    let (mut host, _) = bench();
    select(&mut host, 0x8000_0058);
    host.write(Port(DATA + 1), Width::Byte, 0xff).expect("PAM0");
    assert_eq!(host.read(Port(DATA + 1), Width::Byte), Ok(0xf0));
    Device::reset(&mut host);
    assert_eq!(host.read(ADDRESS, Width::Dword), Ok(0));
    select(&mut host, 0x8000_0058);
    assert_eq!(host.read(Port(DATA + 1), Width::Byte), Ok(0));
    select(&mut host, 0x8000_1300);
    assert_eq!(host.read(Port(DATA), Width::Dword), Ok(0x5678_1234));
}
