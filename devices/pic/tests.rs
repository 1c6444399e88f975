//! What the 8259A datasheet promises, one claim a test.

use super::*;
use crate::testing::loose_line;

const MASTER: Port = Port(0x20);
const MASTER_DATA: Port = Port(0x21);
const SLAVE: Port = Port(0xa0);
const SLAVE_DATA: Port = Port(0xa1);

fn write(pic: &mut Pic, port: Port, value: u8) {
    pic.write(port, Width::Byte, value.into()).expect("a register of the pair");
}

fn read(pic: &mut Pic, port: Port) -> u8 {
    pic.read(port, Width::Byte).expect("a register of the pair") as u8
}

fn initialised(icw4: u8) -> Pic {
    let mut pic = Pic::new(loose_line());
    for (command, data, base, icw3) in [(MASTER, MASTER_DATA, 0x30, 4), (SLAVE, SLAVE_DATA, 0x38, 2)] {
        write(&mut pic, command, 0x11);
        for word in [base, icw3, icw4, 0x00] {
            write(&mut pic, data, word);
        }
    }
    pic
}

fn pulse(pic: &mut Pic, irq: u32) {
    pic.set_input(irq, false);
    pic.set_input(irq, true);
}

fn isr(pic: &mut Pic, port: Port) -> u8 {
    write(pic, port, 0x0b);
    read(pic, port)
}

fn irr(pic: &mut Pic, port: Port) -> u8 {
    write(pic, port, 0x0a);
    read(pic, port)
}

const NON_SPECIFIC_EOI: u8 = 0x20;

#[test]
fn an_edge_becomes_one_interrupt_and_blocks_its_equals_until_the_end() {
    let mut pic = initialised(1);
    pulse(&mut pic, 3);
    assert!(pic.intr.is_high());
    assert_eq!(pic.acknowledge(), 0x33);
    assert!(!pic.intr.is_high(), "the level alone asks nothing in edge mode");
    pulse(&mut pic, 3);
    pulse(&mut pic, 4);
    assert!(!pic.intr.is_high());
    pulse(&mut pic, 1);
    assert_eq!(pic.acknowledge(), 0x31, "a higher priority nests");
    assert_eq!(isr(&mut pic, MASTER), 0b1010);
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    assert_eq!(isr(&mut pic, MASTER), 0b1000, "a non-specific end is for the highest in service");
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    assert_eq!(pic.acknowledge(), 0x33);
}

#[test]
fn a_specific_end_names_its_input() {
    let mut pic = initialised(1);
    pulse(&mut pic, 5);
    pic.acknowledge();
    pulse(&mut pic, 1);
    pic.acknowledge();
    write(&mut pic, MASTER, 0x60 | 5);
    assert_eq!(isr(&mut pic, MASTER), 0b10);
}

#[test]
fn an_input_that_falls_before_the_acknowledge_gives_a_spurious_seven() {
    let mut pic = initialised(1);
    pulse(&mut pic, 3);
    pic.set_input(3, false);
    assert!(!pic.intr.is_high());
    assert_eq!(pic.acknowledge(), 0x37);
    assert_eq!(isr(&mut pic, MASTER), 0, "a spurious interrupt is not in service");
}

#[test]
fn a_slave_that_lost_its_request_answers_fifteen_with_the_master_in_service() {
    let mut pic = initialised(1);
    pulse(&mut pic, 8);
    assert_eq!(irr(&mut pic, MASTER), 0b100);
    // The master has answered the first INTA pulse when the slave's input falls: only the pair's inside can show that.
    pic.core.slave = core::Pair::new().slave;
    let vector = pic.acknowledge();
    assert_eq!(vector, 0x07, "an uninitialised slave has base 0");
    assert_eq!(isr(&mut pic, MASTER), 0b100);
}

#[test]
fn the_slave_asks_through_input_two_and_needs_two_ends() {
    let mut pic = initialised(1);
    pulse(&mut pic, 12);
    assert_eq!(pic.acknowledge(), 0x3c);
    assert_eq!((isr(&mut pic, MASTER), isr(&mut pic, SLAVE)), (0b100, 0b1_0000));
    pulse(&mut pic, 8);
    assert!(!pic.intr.is_high(), "fully nested: the slave's input is in service at the master");
    write(&mut pic, SLAVE, NON_SPECIFIC_EOI);
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    assert_eq!(pic.acknowledge(), 0x38);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_interrupt_itself_and_nobody_lower() {
    let mut pic = initialised(0x11);
    pulse(&mut pic, 12);
    pic.acknowledge();
    pulse(&mut pic, 4);
    assert!(!pic.intr.is_high());
    pulse(&mut pic, 8);
    assert_eq!(pic.acknowledge(), 0x38);
}

#[test]
fn level_triggered_inputs_ask_again_for_as_long_as_they_are_high() {
    let mut pic = initialised(1);
    write(&mut pic, Port(0x4d1), 1 << 3);
    pic.set_input(11, true);
    assert_eq!(pic.acknowledge(), 0x3b);
    write(&mut pic, SLAVE, NON_SPECIFIC_EOI);
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    assert_eq!(pic.acknowledge(), 0x3b, "still high");
    pic.set_input(11, false);
    write(&mut pic, SLAVE, NON_SPECIFIC_EOI);
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    assert!(!pic.intr.is_high());
}

#[test]
fn the_timer_keyboard_cascade_rtc_and_fpu_cannot_be_made_level_triggered() {
    let mut pic = initialised(1);
    write(&mut pic, Port(0x4d0), 0xff);
    write(&mut pic, Port(0x4d1), 0xff);
    assert_eq!((read(&mut pic, Port(0x4d0)), read(&mut pic, Port(0x4d1))), (0xf8, 0xde));
}

#[test]
fn automatic_end_leaves_nothing_in_service() {
    let mut pic = initialised(3);
    pulse(&mut pic, 9);
    pulse(&mut pic, 10);
    assert_eq!(pic.acknowledge(), 0x39);
    assert_eq!((isr(&mut pic, MASTER), isr(&mut pic, SLAVE)), (0, 0));
    assert_eq!(pic.acknowledge(), 0x3a, "the slave asks on without a dip anyone could see");
}

#[test]
fn rotation_makes_the_input_just_served_the_lowest() {
    let mut pic = initialised(1);
    for irq in [3, 4] {
        pulse(&mut pic, irq);
    }
    assert_eq!(pic.acknowledge(), 0x33);
    pulse(&mut pic, 3);
    write(&mut pic, MASTER, 0xa0);
    assert_eq!(pic.acknowledge(), 0x34, "4 is now the highest, 3 the lowest");
    write(&mut pic, MASTER, 0xc0 | 2);
    write(&mut pic, MASTER, 0xe0 | 4);
    assert_eq!(pic.acknowledge(), 0x33);
}

#[test]
fn set_priority_names_the_lowest() {
    let mut pic = initialised(1);
    write(&mut pic, MASTER, 0xc0 | 5);
    for irq in [0, 6] {
        pulse(&mut pic, irq);
    }
    assert_eq!(pic.acknowledge(), 0x36);
}

#[test]
fn rotation_in_automatic_end_mode_can_be_switched() {
    let mut pic = initialised(3);
    write(&mut pic, MASTER, 0x80);
    pulse(&mut pic, 0);
    assert_eq!(pic.acknowledge(), 0x30);
    pulse(&mut pic, 0);
    pulse(&mut pic, 1);
    assert_eq!(pic.acknowledge(), 0x31);
    write(&mut pic, MASTER, 0x00);
    assert_eq!(pic.acknowledge(), 0x30);
}

#[test]
fn special_mask_mode_lets_lower_priorities_through_a_masked_service() {
    let mut pic = initialised(1);
    pulse(&mut pic, 1);
    pic.acknowledge();
    write(&mut pic, MASTER_DATA, 0b10);
    pulse(&mut pic, 6);
    assert!(!pic.intr.is_high());
    write(&mut pic, MASTER, 0x68);
    assert_eq!(pic.acknowledge(), 0x36);
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    assert_eq!(isr(&mut pic, MASTER), 0b10, "a non-specific end does not touch a masked service");
    write(&mut pic, MASTER, 0x48);
    write(&mut pic, MASTER, NON_SPECIFIC_EOI);
    assert_eq!(isr(&mut pic, MASTER), 0);
}

#[test]
fn a_poll_is_an_acknowledge_by_reading() {
    let mut pic = initialised(1);
    write(&mut pic, MASTER, 0x0c);
    assert_eq!(read(&mut pic, MASTER), 0);
    pulse(&mut pic, 6);
    write(&mut pic, MASTER, 0x0c);
    assert_eq!(read(&mut pic, MASTER), 0x86);
    assert!(!pic.intr.is_high());
    assert_eq!(isr(&mut pic, MASTER), 0x40);
}

#[test]
fn masked_requests_wait() {
    let mut pic = initialised(1);
    write(&mut pic, MASTER_DATA, 0xff);
    pulse(&mut pic, 1);
    assert!(!pic.intr.is_high());
    assert_eq!(irr(&mut pic, MASTER), 0b10);
    write(&mut pic, MASTER_DATA, 0xfd);
    assert_eq!(pic.acknowledge(), 0x31);
    assert_eq!(read(&mut pic, MASTER_DATA), 0xfd);
}

#[test]
fn initialisation_clears_masks_services_and_latched_edges_and_asks_for_the_words_icw1_names() {
    let mut pic = initialised(3);
    pulse(&mut pic, 1);
    write(&mut pic, MASTER_DATA, 0xff);
    write(&mut pic, MASTER, 0x12); // single, no fourth word
    assert_eq!(irr(&mut pic, MASTER), 0, "the edge sense circuit is reset");
    write(&mut pic, MASTER_DATA, 0x50);
    assert_eq!(read(&mut pic, MASTER_DATA), 0);
    pulse(&mut pic, 1);
    assert_eq!(pic.acknowledge(), 0x51);
    assert_eq!(isr(&mut pic, MASTER), 0b10, "no fourth word: no automatic end");
}

#[test]
fn reset_forgets_all_but_the_levels_of_the_wires() {
    let mut pic = initialised(1);
    pulse(&mut pic, 4);
    Device::reset(&mut pic);
    assert!(!pic.intr.is_high());
    assert_eq!((irr(&mut pic, MASTER), isr(&mut pic, MASTER), read(&mut pic, MASTER_DATA)), (0, 0, 0));
    pic.set_input(4, true);
    assert!(!pic.intr.is_high(), "the wire was high all along: no edge");
}

#[test]
fn inputs_and_ports_that_do_not_exist_do_nothing() {
    let mut pic = initialised(1);
    for irq in [2, 16, 31, u32::MAX] {
        pic.set_input(irq, true);
    }
    assert!(!pic.intr.is_high());
    assert_eq!(pic.read(Port(0x22), Width::Byte), Err(IoError::NoRegister));
    assert!(pic.is_byte_wide(), "the bus makes bytes of wider accesses");
}
