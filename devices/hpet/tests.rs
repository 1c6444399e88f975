//! What the HPET specification promises, one claim a test. A tick is ten nanoseconds.

use super::*;
use crate::testing::loose_line;

const CONFIGURATION: u64 = 0x10;
const STATUS: u64 = 0x20;
const COUNTER: u64 = 0xf0;

const ENABLE: u64 = 1;
const LEGACY: u64 = 2;
const LEVEL: u64 = 1 << 1;
const INTERRUPTS: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const VAL_SET: u64 = 1 << 6;
const MODE32: u64 = 1 << 8;

fn hpet() -> Hpet {
    Hpet::new([loose_line(), loose_line()], vec![(20, loose_line()), (21, loose_line())])
}

fn config(n: u64) -> u64 {
    0x100 + 0x20 * n
}

fn comparator(n: u64) -> u64 {
    0x108 + 0x20 * n
}

fn read(hpet: &mut Hpet, offset: u64) -> u64 {
    hpet.read(offset, Width::Qword).expect("a register")
}

fn write(hpet: &mut Hpet, offset: u64, value: u64) {
    hpet.write(offset, Width::Qword, value).expect("a register");
}

fn at_tick(hpet: &mut Hpet, tick: u64) {
    hpet.advance(VmInstant(tick * 10));
}

fn deadline(hpet: &Hpet) -> u64 {
    hpet.next_deadline().0 / 10
}

#[test]
fn capabilities_say_three_64_bit_comparators_at_100_megahertz_with_legacy_replacement() {
    assert_eq!(read(&mut hpet(), 0), 0x0098_9680_8086_a201);
}

#[test]
fn the_counter_runs_only_while_enabled_and_in_both_widths() {
    let mut hpet = hpet();
    at_tick(&mut hpet, 5);
    assert_eq!(read(&mut hpet, COUNTER), 0);
    write(&mut hpet, COUNTER, 0xffff_fff0);
    write(&mut hpet, CONFIGURATION, ENABLE);
    at_tick(&mut hpet, 5 + 0x11);
    assert_eq!(read(&mut hpet, COUNTER), 0x1_0000_0001);
    assert_eq!(hpet.read(COUNTER, Width::Dword), Ok(1));
    assert_eq!(hpet.read(COUNTER + 4, Width::Dword), Ok(1));
    write(&mut hpet, CONFIGURATION, 0);
    at_tick(&mut hpet, 10_000);
    assert_eq!(read(&mut hpet, COUNTER), 0x1_0000_0001);
    hpet.write(COUNTER + 4, Width::Dword, 7).expect("half a register");
    assert_eq!(read(&mut hpet, COUNTER), 0x7_0000_0001);
}

#[test]
fn a_one_shot_fires_when_the_counter_reaches_the_comparator_and_not_before() {
    let mut hpet = hpet();
    write(&mut hpet, config(0), INTERRUPTS | 20 << 9);
    write(&mut hpet, comparator(0), 100);
    write(&mut hpet, CONFIGURATION, ENABLE);
    assert_eq!(deadline(&hpet), 100);
    at_tick(&mut hpet, 99);
    assert!(!hpet.routes[0].1.is_high());
    at_tick(&mut hpet, 100);
    assert!(hpet.routes[0].1.is_high());
    assert_eq!(read(&mut hpet, STATUS), 0, "edges have no status");
}

#[test]
fn a_level_stays_until_its_status_is_cleared() {
    let mut hpet = hpet();
    write(&mut hpet, config(2), INTERRUPTS | LEVEL | 21 << 9);
    write(&mut hpet, comparator(2), 100);
    write(&mut hpet, CONFIGURATION, ENABLE);
    at_tick(&mut hpet, 150);
    assert!(hpet.routes[1].1.is_high());
    assert_eq!(read(&mut hpet, STATUS), 0b100);
    write(&mut hpet, STATUS, 0b011);
    assert!(hpet.routes[1].1.is_high());
    write(&mut hpet, STATUS, 0b100);
    assert!(!hpet.routes[1].1.is_high());
    assert_eq!(read(&mut hpet, STATUS), 0);
}

#[test]
fn a_level_without_interrupts_sets_its_status_alone() {
    let mut hpet = hpet();
    write(&mut hpet, config(0), LEVEL | 20 << 9);
    write(&mut hpet, comparator(0), 100);
    write(&mut hpet, CONFIGURATION, ENABLE);
    assert_eq!(hpet.next_deadline(), VmInstant::NEVER);
    at_tick(&mut hpet, 100);
    assert!(!hpet.routes[0].1.is_high());
    assert_eq!(read(&mut hpet, STATUS), 1);
}

#[test]
fn val_set_writes_accumulator_and_period_and_a_second_write_the_period_alone() {
    let mut hpet = hpet();
    write(&mut hpet, config(0), INTERRUPTS | PERIODIC | VAL_SET | 20 << 9);
    write(&mut hpet, comparator(0), 1000);
    assert_eq!(read(&mut hpet, config(0)) & VAL_SET, 0, "clears itself");
    write(&mut hpet, comparator(0), 300);
    assert_eq!(read(&mut hpet, comparator(0)), 1000);
    write(&mut hpet, CONFIGURATION, ENABLE);
    at_tick(&mut hpet, 1000);
    assert_eq!(read(&mut hpet, comparator(0)), 1300);
    assert_eq!(deadline(&hpet), 1300);
}

#[test]
fn a_late_periodic_timer_sends_one_edge_and_keeps_its_phase() {
    let mut hpet = hpet();
    write(&mut hpet, config(0), INTERRUPTS | PERIODIC | VAL_SET | 20 << 9);
    write(&mut hpet, comparator(0), 7);
    write(&mut hpet, CONFIGURATION, ENABLE);
    let years = 10 * 366 * 86_400 * FREQUENCY;
    at_tick(&mut hpet, years);
    assert_eq!(read(&mut hpet, comparator(0)), (years / 7 + 1) * 7);
    assert_eq!(deadline(&hpet), (years / 7 + 1) * 7);
    hpet.advance(VmInstant::NEVER);
}

#[test]
fn a_32_bit_comparator_matches_the_low_half_and_wraps() {
    let mut hpet = hpet();
    write(&mut hpet, COUNTER, 0x5_ffff_fff0);
    write(&mut hpet, config(0), INTERRUPTS | MODE32 | PERIODIC | VAL_SET | 20 << 9);
    write(&mut hpet, comparator(0), 0xffff_0000_0008);
    assert_eq!(read(&mut hpet, comparator(0)), 8);
    write(&mut hpet, comparator(0), 0x8000_0000);
    write(&mut hpet, CONFIGURATION, ENABLE);
    assert_eq!(deadline(&hpet), 0x18);
    at_tick(&mut hpet, 0x18);
    assert_eq!(read(&mut hpet, comparator(0)), 0x8000_0008);
    at_tick(&mut hpet, 0x18 + 0x8000_0000);
    assert_eq!(read(&mut hpet, comparator(0)), 8);
}

#[test]
fn a_comparator_in_the_past_fires_after_the_counter_has_gone_round() {
    let mut hpet = hpet();
    write(&mut hpet, COUNTER, 100);
    write(&mut hpet, config(0), INTERRUPTS | MODE32 | 20 << 9);
    write(&mut hpet, comparator(0), 99);
    write(&mut hpet, CONFIGURATION, ENABLE);
    assert_eq!(deadline(&hpet), 0xffff_ffff);
}

#[test]
fn legacy_replacement_takes_the_places_of_the_interval_timer_and_the_clock() {
    let mut hpet = hpet();
    hpet.set_input(PIT_INPUT, true);
    hpet.set_input(RTC_INPUT, true);
    assert!(hpet.legacy[0].is_high() && hpet.legacy[1].is_high(), "passed on while it is off");
    write(&mut hpet, config(0), INTERRUPTS);
    write(&mut hpet, comparator(0), 10);
    write(&mut hpet, config(1), INTERRUPTS | LEVEL);
    write(&mut hpet, comparator(1), 20);
    write(&mut hpet, CONFIGURATION, ENABLE | LEGACY);
    assert!(!hpet.legacy[0].is_high() && !hpet.legacy[1].is_high());
    hpet.set_input(PIT_INPUT, false);
    hpet.set_input(PIT_INPUT, true);
    assert!(!hpet.legacy[0].is_high(), "gated");
    at_tick(&mut hpet, 10);
    assert!(hpet.legacy[0].is_high() && !hpet.legacy[1].is_high());
    at_tick(&mut hpet, 20);
    assert!(hpet.legacy[1].is_high());
    write(&mut hpet, CONFIGURATION, ENABLE);
    hpet.set_input(PIT_INPUT, false);
    assert!(!hpet.legacy[0].is_high() && hpet.legacy[1].is_high(), "the clock's level is back");
}

#[test]
fn a_route_that_is_not_wired_is_not_taken() {
    let mut hpet = hpet();
    assert_eq!(read(&mut hpet, config(0)) >> 32, 1 << 20 | 1 << 21);
    write(&mut hpet, config(0), 21 << 9);
    write(&mut hpet, config(0), 2 << 9);
    assert_eq!(read(&mut hpet, config(0)) >> 9 & 0x1f, 21);
}

#[test]
fn reset_halts_and_lowers_everything() {
    let mut hpet = hpet();
    write(&mut hpet, config(0), INTERRUPTS | LEVEL | 20 << 9);
    write(&mut hpet, comparator(0), 1);
    write(&mut hpet, CONFIGURATION, ENABLE);
    at_tick(&mut hpet, 2);
    assert!(hpet.routes[0].1.is_high());
    Device::reset(&mut hpet);
    assert!(!hpet.routes[0].1.is_high());
    assert_eq!((read(&mut hpet, CONFIGURATION), read(&mut hpet, COUNTER), read(&mut hpet, STATUS)), (0, 0, 0));
    assert_eq!(read(&mut hpet, comparator(0)), u64::MAX);
    at_tick(&mut hpet, 50);
    assert_eq!(read(&mut hpet, COUNTER), 0);
}

#[test]
fn odd_sizes_and_holes_are_refused() {
    let mut hpet = hpet();
    for (offset, width) in [(0, Width::Byte), (0, Width::Word), (2, Width::Dword), (4, Width::Qword), (1, Width::Qword)] {
        assert_eq!(hpet.read(offset, width), Err(IoError::BadWidth));
        assert_eq!(hpet.write(offset, width, 0), Err(IoError::BadWidth));
    }
    for offset in [0x8, 0x28, 0xf8, 0x118, 0x160, 0x3f8, 0xffff_fff8] {
        assert_eq!(hpet.read(offset, Width::Qword), Err(IoError::NoRegister));
        assert_eq!(hpet.write(offset, Width::Qword, 0), Err(IoError::NoRegister));
    }
    assert_eq!(hpet.read(0x110, Width::Qword), Ok(0));
}
