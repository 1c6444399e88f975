//! What the MC146818A datasheet promises, one claim a test.

use dragoman_state::VmDuration;

use super::*;
use crate::testing::loose_line;

const SECOND: u64 = 1_000_000_000;
/// 13 February 2009, a Friday, 23:31:30.
const EPOCH: u64 = 1_234_567_890;
const NO_MEMORY: MemorySize = MemorySize { below_4g: 0, above_4g: 0 };

fn rtc() -> Rtc {
    Rtc::new(loose_line(), EPOCH, NO_MEMORY)
}

fn read(rtc: &mut Rtc, index: u8) -> u8 {
    rtc.write(Port(0x70), Width::Byte, index.into()).expect("index");
    rtc.read(Port(0x71), Width::Byte).expect("data") as u8
}

fn write(rtc: &mut Rtc, index: u8, value: u8) {
    rtc.write(Port(0x70), Width::Byte, index.into()).expect("index");
    rtc.write(Port(0x71), Width::Byte, value.into()).expect("data");
}

/// Century, year, month, day, weekday, hours, minutes, seconds.
fn time(rtc: &mut Rtc) -> [u8; 8] {
    [0x32, 0x09, 0x08, 0x07, 0x06, 0x04, 0x02, 0x00].map(|index| read(rtc, index))
}

#[test]
fn the_time_is_the_epoch_plus_guest_time_in_bcd_and_24_hours() {
    let mut rtc = rtc();
    assert_eq!(time(&mut rtc), [0x20, 0x09, 0x02, 0x13, 0x06, 0x23, 0x31, 0x30]);
    rtc.advance(VmInstant(29 * SECOND + 999_999_999));
    assert_eq!(time(&mut rtc)[6..], [0x31, 0x59]);
    rtc.advance(VmInstant(30 * SECOND));
    assert_eq!(time(&mut rtc)[6..], [0x32, 0x00]);
    rtc.advance(VmInstant(30 * SECOND + 1680 * SECOND));
    assert_eq!(time(&mut rtc), [0x20, 0x09, 0x02, 0x14, 0x07, 0x00, 0x00, 0x00]);
    rtc.set_epoch(0);
    assert_eq!(time(&mut rtc), [0x19, 0x70, 0x01, 0x01, 0x05, 0x00, 0x28, 0x30], "1710 s of guest time");
}

#[test]
fn software_may_choose_binary_and_twelve_hours() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0b, 0x84);
    for (index, value) in [(0x32, 19), (0x09, 99), (0x08, 12), (0x07, 31), (0x06, 6), (0x04, 0x8b), (0x02, 59), (0x00, 59)] {
        write(&mut rtc, index, value);
    }
    rtc.advance(VmInstant(10 * SECOND));
    assert_eq!(read(&mut rtc, 0x00), 59, "SET holds off updates");
    write(&mut rtc, 0x0b, 0x04);
    rtc.advance(VmInstant(11 * SECOND));
    assert_eq!(time(&mut rtc), [20, 0, 1, 1, 7, 12, 0, 0]);
}

#[test]
fn uip_warns_244_microseconds_before_the_update_and_not_while_set() {
    let mut rtc = rtc();
    rtc.advance(VmInstant(SECOND - 244_001));
    assert_eq!(read(&mut rtc, 0x0a), 0x26);
    rtc.advance(VmInstant(SECOND - 244_000));
    assert_eq!(read(&mut rtc, 0x0a), 0xa6);
    write(&mut rtc, 0x0b, 0x82);
    assert_eq!(read(&mut rtc, 0x0a), 0x26);
    write(&mut rtc, 0x0b, 0x02);
    rtc.advance(VmInstant(SECOND));
    assert_eq!(read(&mut rtc, 0x0a), 0x26);
}

#[test]
fn the_update_ended_interrupt_comes_each_second_and_reading_c_ends_it() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0b, 0x12);
    assert_eq!(rtc.next_deadline(), VmInstant(SECOND));
    rtc.advance(VmInstant(SECOND));
    assert!(rtc.irq8.is_high());
    assert_eq!(rtc.next_deadline(), VmInstant::NEVER, "the level holds until it is read");
    assert_eq!(read(&mut rtc, 0x0c) & 0x90, 0x90);
    assert!(!rtc.irq8.is_high());
    assert_eq!(read(&mut rtc, 0x0c), 0);
    assert_eq!(rtc.next_deadline(), VmInstant(2 * SECOND));
}

#[test]
fn setting_set_clears_the_update_ended_enable() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0b, 0x92);
    assert_eq!(read(&mut rtc, 0x0b), 0x82);
}

#[test]
fn the_periodic_interrupt_divides_32768_hertz() {
    for (rate, hertz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let mut rtc = rtc();
        write(&mut rtc, 0x0a, 0x20 | rate);
        write(&mut rtc, 0x0b, 0x42);
        let mut count = 0;
        while rtc.next_deadline() <= VmInstant(SECOND) {
            rtc.advance(rtc.next_deadline());
            assert!(rtc.irq8.is_high());
            assert_eq!(read(&mut rtc, 0x0c) & 0xc0, 0xc0);
            count += 1;
        }
        assert_eq!(count, hertz, "rate {rate}");
    }
}

#[test]
fn a_late_periodic_interrupt_keeps_its_phase() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0b, 0x42);
    rtc.advance(VmInstant(1_000_000_000 * SECOND + 1));
    assert_eq!(read(&mut rtc, 0x0c) & 0xc0, 0xc0);
    assert_eq!(rtc.next_deadline(), VmInstant(1_000_000_000 * SECOND) + VmDuration::from_ticks(32, 32_768));
}

#[test]
fn the_alarm_matches_a_time_of_day() {
    let mut rtc = rtc();
    for (index, value) in [(0x05, 0x23), (0x03, 0x31), (0x01, 0x29)] {
        write(&mut rtc, index, value);
    }
    write(&mut rtc, 0x0b, 0x22);
    assert_eq!(rtc.next_deadline(), VmInstant(86_399 * SECOND), "23:31:29 has just been");
    rtc.advance(VmInstant(86_398 * SECOND));
    assert!(!rtc.irq8.is_high());
    rtc.advance(VmInstant(86_399 * SECOND));
    assert!(rtc.irq8.is_high());
    assert_eq!(read(&mut rtc, 0x0c), 0xf0);
}

#[test]
fn an_alarm_byte_from_c0_matches_anything_and_an_impossible_one_nothing() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0b, 0x22);
    for (index, value) in [(0x05, 0xff), (0x03, 0xc0), (0x01, 0x05)] {
        write(&mut rtc, index, value);
    }
    assert_eq!(rtc.next_deadline(), VmInstant(35 * SECOND));
    write(&mut rtc, 0x03, 0x77);
    assert_eq!(rtc.next_deadline(), VmInstant::NEVER);
    rtc.advance(VmInstant(1_000_000 * SECOND));
    assert!(!rtc.irq8.is_high());
}

#[test]
fn the_first_update_comes_half_a_second_after_the_divider_is_released() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0a, 0x76);
    rtc.advance(VmInstant(10 * SECOND + 200));
    assert_eq!(read(&mut rtc, 0x00), 0x30, "the divider is held");
    write(&mut rtc, 0x0a, 0x26);
    write(&mut rtc, 0x0b, 0x12);
    assert_eq!(rtc.next_deadline(), VmInstant(10 * SECOND + SECOND / 2 + 200));
    rtc.advance(VmInstant(10 * SECOND + SECOND / 2 + 200));
    assert_eq!(read(&mut rtc, 0x00), 0x31);
    rtc.advance(VmInstant(11 * SECOND + SECOND / 2 + 199));
    assert_eq!(read(&mut rtc, 0x00), 0x31);
}

#[test]
fn reset_stops_interrupts_and_keeps_time_and_ram() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0b, 0x72);
    write(&mut rtc, 0x40, 0x5a);
    rtc.advance(VmInstant(5 * SECOND));
    assert!(rtc.irq8.is_high());
    Device::reset(&mut rtc);
    assert!(!rtc.irq8.is_high());
    assert_eq!((read(&mut rtc, 0x0b), read(&mut rtc, 0x0c), read(&mut rtc, 0x40)), (0x02, 0, 0x5a));
    assert_eq!(read(&mut rtc, 0x00), 0x35);
}

#[test]
fn registers_c_and_d_cannot_be_written() {
    let mut rtc = rtc();
    write(&mut rtc, 0x0c, 0xff);
    write(&mut rtc, 0x0d, 0x00);
    assert_eq!((read(&mut rtc, 0x0c), read(&mut rtc, 0x0d)), (0, 0x80));
}

#[test]
fn memory_sizes_are_where_firmware_looks() {
    let memory = MemorySize { below_4g: 3 << 30, above_4g: 5 << 30 };
    let mut rtc = Rtc::new(loose_line(), EPOCH, memory);
    let mut word = |index: u8| u16::from_le_bytes([read(&mut rtc, index), read(&mut rtc, index + 1)]);
    assert_eq!((word(0x15), word(0x17), word(0x30)), (640, 0xffff, 0xffff));
    assert_eq!(word(0x34), (((3 << 30) - (16 << 20)) >> 16) as u16);
    assert_eq!((word(0x5b), word(0x5d)), ((5u64 << 30 >> 16) as u16, 1));
    let rtc = Rtc::new(loose_line(), EPOCH, MemorySize { below_4g: 8 << 20, above_4g: 0 });
    assert_eq!((rtc.cmos(0x17), rtc.cmos(0x18), rtc.cmos(0x34)), (0x00, 0x1c, 0));
}

#[test]
fn the_second_bank_is_behind_72h_and_the_index_registers_cannot_be_read() {
    let mut rtc = rtc();
    rtc.write(Port(0x72), Width::Byte, 0x8c).expect("index");
    rtc.write(Port(0x73), Width::Byte, 0x77).expect("data");
    assert_eq!(rtc.read(Port(0x73), Width::Byte), Ok(0x77), "no register there, whatever the index");
    assert_eq!(rtc.cmos(0x8c), 0x77);
    assert_eq!(rtc.read(Port(0x70), Width::Byte), Err(IoError::NoRegister));
    assert_eq!(rtc.read(Port(0x72), Width::Byte), Err(IoError::NoRegister));
    assert!(rtc.is_byte_wide(), "the bus makes bytes of wider accesses");
}

#[test]
fn nonsense_in_the_registers_and_the_end_of_time_are_survived() {
    let mut rtc = rtc();
    for index in (0..10).chain([0x32]) {
        write(&mut rtc, index, 0xff);
    }
    write(&mut rtc, 0x0b, 0x72);
    rtc.advance(VmInstant(3 * SECOND));
    read(&mut rtc, 0x0c);
    rtc.advance(VmInstant::NEVER);
    rtc.next_deadline();
    write(&mut rtc, 0x0a, 0x70);
    write(&mut rtc, 0x0a, 0x2f);
    rtc.next_deadline();
}

#[test]
fn seconds_in_which_guest_time_stood_move_the_time_and_nothing_else() {
    let mut rtc = rtc();
    rtc.advance(VmInstant(SECOND / 3));
    rtc.skip(0);
    rtc.skip(3600);
    assert_eq!(time(&mut rtc), [0x20, 0x09, 0x02, 0x14, 0x07, 0x00, 0x31, 0x30]);
    rtc.advance(VmInstant(SECOND));
    assert_eq!(time(&mut rtc)[6..], [0x31, 0x31], "the next second begins when it would have");
    assert_eq!(read(&mut rtc, 0x0c) & 0x30, 0x30, "midnight, which the alarm is set to, was among them");
    for (index, value) in [(0x01, 0x00), (0x03, 0x32), (0x05, 0x00), (0x0b, 0x22)] {
        write(&mut rtc, index, value);
    }
    rtc.skip(60);
    assert!(rtc.irq8.is_high(), "an alarm that came meanwhile is heard of");
    assert_eq!(read(&mut rtc, 0x0c) & 0xb0, 0xb0);
    write(&mut rtc, 0x0b, 0x82);
    rtc.skip(60);
    assert_eq!(time(&mut rtc)[6..], [0x32, 0x31], "who sets the time is not disturbed");
}
