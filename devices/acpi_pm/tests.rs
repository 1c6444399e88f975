//! What the ACPI specification promises of fixed hardware, one claim a test.

use super::*;
use crate::testing::{Asked, PowerRecorder, loose_line};

const PM1_STS: u16 = 0;
const PM1_EN: u16 = 2;
const PM1_CNT: u16 = 4;
const PM_TMR: u16 = 8;
const GPE0_STS: u16 = 0xc;
const GPE0_EN: u16 = 0xe;

const TMR: u32 = 1;
const PWRBTN: u32 = 1 << 8;
const SLP_EN: u32 = 1 << 13;

fn bench() -> (AcpiPm, Arc<PowerRecorder>) {
    let power = Arc::new(PowerRecorder::default());
    (AcpiPm::new(DEFAULT_BASE, loose_line(), power.clone()), power)
}

fn read(pm: &mut AcpiPm, offset: u16, width: Width) -> u32 {
    pm.read(Port(DEFAULT_BASE.0 + offset), width).expect("in the block")
}

fn write(pm: &mut AcpiPm, offset: u16, width: Width, value: u32) {
    pm.write(Port(DEFAULT_BASE.0 + offset), width, value).expect("in the block");
}

fn smi(pm: &mut AcpiPm, value: u8) {
    pm.write(SMI_COMMAND, Width::Byte, value.into()).expect("the SMI port");
}

#[test]
fn acpi_is_enabled_and_disabled_at_once() {
    let (mut pm, _) = bench();
    assert_eq!(read(&mut pm, PM1_CNT, Width::Word), 0);
    smi(&mut pm, ACPI_ENABLE);
    assert_eq!(read(&mut pm, PM1_CNT, Width::Word), 1);
    smi(&mut pm, ACPI_DISABLE);
    assert_eq!(read(&mut pm, PM1_CNT, Width::Word), 0);
    assert_eq!(pm.read(SMI_COMMAND, Width::Byte), Ok(ACPI_DISABLE.into()));
}

#[test]
fn the_timer_counts_3_579_545_a_second_in_24_bits() {
    const COUNT: u32 = 35_795_450 % (1 << 24);
    let (mut pm, _) = bench();
    pm.advance(VmInstant::ZERO + VmDuration::from_secs(1));
    assert_eq!(read(&mut pm, PM_TMR, Width::Dword), 3_579_545);
    pm.advance(VmInstant::ZERO + VmDuration::from_secs(10));
    assert_eq!(read(&mut pm, PM_TMR, Width::Dword), COUNT);
    assert_eq!(read(&mut pm, PM_TMR + 1, Width::Word), COUNT >> 8);
    write(&mut pm, PM_TMR, Width::Dword, 0);
    assert_eq!(read(&mut pm, PM_TMR, Width::Dword), COUNT, "read-only");
}

#[test]
fn the_timer_s_highest_bit_raises_the_interrupt_when_it_changes() {
    let (mut pm, _) = bench();
    smi(&mut pm, ACPI_ENABLE);
    assert_eq!(pm.next_deadline(), VmInstant::NEVER);
    write(&mut pm, PM1_EN, Width::Word, TMR);
    let first = VmInstant::ZERO + VmDuration::from_ticks(1 << 23, FREQUENCY);
    assert_eq!(pm.next_deadline(), first);
    pm.advance(first - VmDuration(1));
    assert!(!pm.sci.is_high());
    pm.advance(first);
    assert!(pm.sci.is_high());
    assert_eq!(pm.next_deadline(), VmInstant::NEVER, "the level holds until it is cleared");
    write(&mut pm, PM1_STS, Width::Word, TMR);
    assert!(!pm.sci.is_high());
    assert_eq!(pm.next_deadline(), VmInstant::ZERO + VmDuration::from_ticks(2 << 23, FREQUENCY));
    pm.advance(VmInstant::NEVER);
    assert_eq!(read(&mut pm, PM1_STS, Width::Word), TMR);
}

#[test]
fn the_power_button_is_a_level_until_its_status_is_cleared() {
    let (mut pm, _) = bench();
    write(&mut pm, PM1_EN, Width::Word, PWRBTN);
    pm.press_power_button();
    assert!(!pm.sci.is_high(), "ACPI is off");
    smi(&mut pm, ACPI_ENABLE);
    assert!(pm.sci.is_high());
    assert_eq!(read(&mut pm, PM1_STS, Width::Dword), PWRBTN << 16 | PWRBTN);
    write(&mut pm, PM1_STS, Width::Word, !PWRBTN & 0xffff);
    assert!(pm.sci.is_high(), "only ones clear");
    write(&mut pm, PM1_STS + 1, Width::Byte, 1);
    assert!(!pm.sci.is_high());
}

#[test]
fn general_purpose_events_have_their_own_status_and_enable() {
    let (mut pm, _) = bench();
    smi(&mut pm, ACPI_ENABLE);
    pm.raise_gpe(3);
    pm.raise_gpe(16);
    assert!(!pm.sci.is_high());
    write(&mut pm, GPE0_EN, Width::Byte, 0x08);
    assert!(pm.sci.is_high());
    assert_eq!(read(&mut pm, GPE0_STS, Width::Dword), 0x0008_0008);
    write(&mut pm, GPE0_STS, Width::Word, 0xffff);
    assert!(!pm.sci.is_high());
}

#[test]
fn soft_off_switches_the_machine_off_and_other_sleeps_do_not() {
    let (mut pm, power) = bench();
    write(&mut pm, PM1_CNT, Width::Word, 1 << 10 | SLP_EN);
    assert_eq!(power.take(), []);
    assert_eq!(read(&mut pm, PM1_CNT, Width::Word), 1 << 10, "SLP_EN is write-only");
    write(&mut pm, PM1_CNT, Width::Word, u32::from(SLP_TYP_S5) << 10 | 1);
    assert_eq!(power.take(), [], "first the type, as Linux does");
    write(&mut pm, PM1_CNT, Width::Word, u32::from(SLP_TYP_S5) << 10 | SLP_EN | 1);
    assert_eq!(power.take(), [Asked::PowerOff]);
    write(&mut pm, PM1_CNT + 1, Width::Byte, SLP_EN >> 8);
    assert_eq!(power.take(), [Asked::PowerOff]);
}

#[test]
fn the_block_is_where_pmbase_says_while_it_is_switched_on() {
    let (mut pm, _) = bench();
    assert_eq!(pm.read_config(0, Width::Dword), 0x7113_8086);
    assert_eq!(pm.read_config(0x40, Width::Dword), 0x601);
    pm.write_config(0x40, Width::Dword, 0xb07f);
    assert_eq!(pm.read_config(0x40, Width::Dword), 0xb041);
    assert_eq!(pm.read(DEFAULT_BASE, Width::Word), Err(IoError::NoRegister));
    assert_eq!(pm.read(Port(0xb040), Width::Word), Ok(0));
    assert_eq!(pm.write(Port(0xb07f), Width::Byte, 0), Ok(()));
    pm.write_config(0x80, Width::Byte, 0);
    assert_eq!(pm.read(Port(0xb040), Width::Word), Err(IoError::NoRegister));
    Device::reset(&mut pm);
    assert_eq!(pm.read(DEFAULT_BASE, Width::Word), Ok(0));
}

#[test]
fn reset_forgets_events_and_lowers_the_interrupt() {
    let (mut pm, _) = bench();
    smi(&mut pm, ACPI_ENABLE);
    write(&mut pm, PM1_EN, Width::Word, PWRBTN);
    pm.press_power_button();
    assert!(pm.sci.is_high());
    Device::reset(&mut pm);
    assert!(!pm.sci.is_high());
    assert_eq!((read(&mut pm, PM1_STS, Width::Dword), read(&mut pm, PM1_CNT, Width::Word)), (0, 0));
}

#[test]
fn odd_sizes_and_places_are_some_bytes_of_the_block_or_refused() {
    let (mut pm, _) = bench();
    write(&mut pm, PM1_EN + 1, Width::Byte, 0x01);
    assert_eq!(read(&mut pm, PM1_STS + 1, Width::Dword), 0x0001_0000);
    assert_eq!(read(&mut pm, 0x3f, Width::Dword), 0);
    write(&mut pm, 0x3f, Width::Dword, u32::MAX);
    write(&mut pm, 0x14, Width::Dword, u32::MAX);
    assert_eq!(pm.read(SMI_COMMAND, Width::Word), Err(IoError::BadWidth));
    assert_eq!(pm.write(SMI_COMMAND, Width::Word, 0), Err(IoError::BadWidth));
    assert_eq!(pm.write(Port(0x5ff), Width::Byte, 0), Err(IoError::NoRegister));
}
