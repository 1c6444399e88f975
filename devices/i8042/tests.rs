//! What the PS/2 technical reference promises, and what Linux' driver probes for, one claim a test.

use std::sync::Mutex;

use super::*;
use crate::{
    LineInputs, LineSink, Outputs,
    testing::{Asked, PowerRecorder, loose_line},
};

const DATA: Port = Port(0x60);
const COMMAND: Port = Port(0x64);
const FAST: Port = Port(0x92);

const OBF: u8 = 0x01;
const AUX_OBF: u8 = 0x20;
const TIMEOUT: u8 = 0x40;

fn bench() -> (I8042, Arc<PowerRecorder>) {
    let power = Arc::new(PowerRecorder::default());
    (I8042::new(loose_line(), loose_line(), power.clone()), power)
}

fn read(chip: &mut I8042, port: Port) -> u8 {
    chip.read(port, Width::Byte).expect("a register") as u8
}

fn write(chip: &mut I8042, port: Port, value: u8) {
    chip.write(port, Width::Byte, value.into()).expect("a register");
}

/// All bytes that wait, with the status each was announced by.
fn drain(chip: &mut I8042) -> Vec<u8> {
    std::iter::from_fn(|| (read(chip, COMMAND) & OBF != 0).then(|| read(chip, DATA))).collect()
}

fn command(chip: &mut I8042, command: u8, data: &[u8]) -> Vec<u8> {
    write(chip, COMMAND, command);
    for byte in data {
        write(chip, DATA, *byte);
    }
    drain(chip)
}

fn keyboard(chip: &mut I8042, bytes: &[u8]) -> Vec<u8> {
    let mut replies = Vec::new();
    for byte in bytes {
        write(chip, DATA, *byte);
        replies.extend(drain(chip));
    }
    replies
}

#[test]
fn the_controller_passes_its_tests() {
    let (mut chip, _) = bench();
    assert_eq!(command(&mut chip, 0xaa, &[]), [0x55]);
    assert_eq!(command(&mut chip, 0xab, &[]), [0x00]);
    assert_eq!(command(&mut chip, 0xa9, &[]), [0x00]);
    assert_eq!(read(&mut chip, COMMAND), 0x1c, "tested, unlocked, last write a command, nothing to read");
}

#[test]
fn the_command_byte_is_read_as_it_was_written_and_follows_the_enable_commands() {
    let (mut chip, _) = bench();
    assert_eq!(command(&mut chip, 0x20, &[]), [0x47]);
    assert_eq!(command(&mut chip, 0x60, &[0x65]), []);
    assert_eq!(command(&mut chip, 0x20, &[]), [0x65]);
    command(&mut chip, 0xad, &[]);
    assert_eq!(command(&mut chip, 0x20, &[]), [0x75]);
    command(&mut chip, 0xa8, &[]);
    command(&mut chip, 0xae, &[]);
    assert_eq!(command(&mut chip, 0x20, &[]), [0x45]);
    command(&mut chip, 0xa7, &[]);
    assert_eq!(command(&mut chip, 0x20, &[]), [0x65]);
    command(&mut chip, 0x63, &[0x12]);
    assert_eq!(command(&mut chip, 0x23, &[]), [0x12]);
}

#[test]
fn the_keyboard_answers_untranslated_as_an_enhanced_one() {
    let (mut chip, _) = bench();
    command(&mut chip, 0x60, &[0x05]);
    assert_eq!(keyboard(&mut chip, &[0xff]), [0xfa, 0xaa]);
    assert_eq!(keyboard(&mut chip, &[0xf2]), [0xfa, 0xab, 0x83]);
    assert_eq!(keyboard(&mut chip, &[0xed, 0x05]), [0xfa, 0xfa]);
    assert_eq!(chip.leds(), 5);
    assert_eq!(keyboard(&mut chip, &[0xf3, 0x00]), [0xfa, 0xfa]);
    assert_eq!(keyboard(&mut chip, &[0xf0, 0x00]), [0xfa, 0xfa, 0x02]);
    assert_eq!(keyboard(&mut chip, &[0xf4]), [0xfa]);
    assert_eq!(keyboard(&mut chip, &[0xf5]), [0xfa]);
    assert_eq!(keyboard(&mut chip, &[0xf6]), [0xfa]);
    assert_eq!(keyboard(&mut chip, &[0xee]), [0xee]);
    assert_eq!(keyboard(&mut chip, &[0xfe]), [0xee], "resend");
    assert_eq!(keyboard(&mut chip, &[0x00]), [0xfe]);
    assert_eq!(keyboard(&mut chip, &[0xed, 0xee]), [0xfa, 0xee], "a command ends the wait for an argument");
}

#[test]
fn translation_makes_scan_code_set_1_of_keys_and_releases() {
    let (mut chip, _) = bench();
    assert!(chip.press(&[0x1c]) && chip.press(&[0xf0, 0x1c]) && chip.press(&[0xe0, 0xf0, 0x75]));
    assert_eq!(drain(&mut chip), [0x1e, 0x9e, 0xe0, 0xc8]);
    assert_eq!(keyboard(&mut chip, &[0xf2]), [0xfa, 0xab, 0x41], "replies are translated too");
    command(&mut chip, 0x60, &[0x05]);
    chip.press(&[0xf0, 0x1c]);
    assert_eq!(drain(&mut chip), [0xf0, 0x1c]);
}

#[test]
fn a_release_whose_code_has_not_come_yet_marks_it_when_it_does() {
    let (mut chip, _) = bench();
    chip.press(&[0xf0]);
    assert_eq!(drain(&mut chip), []);
    chip.press(&[0x1c]);
    assert_eq!(drain(&mut chip), [0x9e]);
}

#[test]
fn a_full_keyboard_takes_a_key_whole_or_not_at_all() {
    let (mut chip, _) = bench();
    command(&mut chip, 0xad, &[]);
    for _ in 0..5 {
        assert!(chip.press(&[0xe0, 0xf0, 0x75]));
    }
    assert!(!chip.press(&[0xf0, 0x1c]));
    write(&mut chip, COMMAND, 0xae);
    assert!(chip.press(&[0x1c]), "one byte is in the output buffer now");
    assert_eq!(drain(&mut chip), [0xe0, 0xc8, 0xe0, 0xc8, 0xe0, 0xc8, 0xe0, 0xc8, 0xe0, 0xc8, 0x1e]);
}

#[test]
fn a_keyboard_that_does_not_scan_ignores_its_keys() {
    let (mut chip, _) = bench();
    keyboard(&mut chip, &[0xf5]);
    assert!(chip.press(&[0x1c]));
    assert_eq!(drain(&mut chip), []);
}

#[derive(Default)]
struct Edges(Mutex<u32>);
impl LineSink for Edges {
    fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs)) {
        struct Count<'a>(&'a mut u32);
        impl LineInputs for Count<'_> {
            fn set_input(&mut self, _pin: u32, high: bool) {
                *self.0 += u32::from(!high);
            }
        }
        apply(&mut Count(&mut self.0.lock().expect("not poisoned")));
    }
}

#[test]
fn each_byte_is_an_edge_of_irq_1_and_its_reading_the_end_of_it() {
    let edges = Arc::new(Edges::default());
    let mut outputs = Outputs::new();
    let irq = outputs.line(&[(edges.clone(), 1)]);
    let mut chip = I8042::new(irq, loose_line(), Arc::new(PowerRecorder::default()));
    chip.press(&[0x1c]);
    chip.press(&[0x32]);
    outputs.flush();
    assert!(chip.keyboard_irq.is_high());
    *edges.0.lock().expect("not poisoned") = 0;
    read(&mut chip, DATA);
    outputs.flush();
    assert!(chip.keyboard_irq.is_high());
    assert_eq!(*edges.0.lock().expect("not poisoned"), 1, "low between the two");
    read(&mut chip, DATA);
    assert!(!chip.keyboard_irq.is_high());
    command(&mut chip, 0x60, &[0x64]);
    chip.press(&[0x1c]);
    assert!(!chip.keyboard_irq.is_high(), "switched off in the command byte");
}

#[test]
fn replies_of_the_controller_itself_raise_nothing() {
    let (mut chip, _) = bench();
    write(&mut chip, COMMAND, 0x20);
    assert!(!chip.keyboard_irq.is_high() && !chip.auxiliary_irq.is_high());
}

#[test]
fn the_auxiliary_port_echoes_and_has_nothing_behind_it() {
    let (mut chip, _) = bench();
    write(&mut chip, COMMAND, 0xd3);
    write(&mut chip, DATA, 0x5a);
    assert!(chip.auxiliary_irq.is_high() && !chip.keyboard_irq.is_high());
    assert_eq!(read(&mut chip, COMMAND) & (OBF | AUX_OBF | TIMEOUT), OBF | AUX_OBF);
    assert_eq!(read(&mut chip, DATA), 0x5a);
    assert!(!chip.auxiliary_irq.is_high());
    write(&mut chip, COMMAND, 0xd4);
    write(&mut chip, DATA, 0xf2);
    assert_eq!(read(&mut chip, COMMAND) & (OBF | AUX_OBF | TIMEOUT), OBF | AUX_OBF | TIMEOUT);
    assert_eq!(drain(&mut chip), [0xfe]);
    assert_eq!(command(&mut chip, 0xd2, &[0x33]), [0x33]);
}

#[test]
fn reset_has_three_ways_in() {
    let (mut chip, power) = bench();
    write(&mut chip, COMMAND, 0xff);
    assert_eq!(power.take(), [], "a pulse of no line");
    write(&mut chip, COMMAND, 0xfe);
    assert_eq!(power.take(), [Asked::Reset]);
    command(&mut chip, 0xd1, &[0x02]);
    assert_eq!(power.take(), [Asked::Reset]);
    write(&mut chip, FAST, 0x03);
    write(&mut chip, FAST, 0x03);
    assert_eq!(power.take(), [Asked::Reset], "a rise of bit 0, once");
}

#[test]
fn either_gate_opens_a20() {
    let (mut chip, _) = bench();
    assert!(chip.is_a20_open());
    command(&mut chip, 0xd1, &[0x01]);
    assert!(chip.is_a20_open(), "port 92h keeps it open");
    write(&mut chip, FAST, 0x00);
    assert!(!chip.is_a20_open());
    assert_eq!(read(&mut chip, FAST), 0);
    assert_eq!(command(&mut chip, 0xd0, &[]), [0x01]);
    command(&mut chip, 0xdf, &[]);
    assert!(chip.is_a20_open());
    assert_eq!(command(&mut chip, 0xd0, &[]), [0x03]);
}

#[test]
fn device_reset_empties_everything() {
    let (mut chip, _) = bench();
    chip.press(&[0x1c]);
    command(&mut chip, 0x60, &[0x00]);
    write(&mut chip, COMMAND, 0xd4);
    Device::reset(&mut chip);
    assert!(!chip.keyboard_irq.is_high());
    assert_eq!(read(&mut chip, COMMAND), 0x14);
    assert_eq!(command(&mut chip, 0x20, &[]), [0x47]);
}

#[test]
fn a_guest_that_never_reads_loses_replies_and_nothing_grows() {
    let (mut chip, _) = bench();
    for _ in 0..10_000 {
        write(&mut chip, COMMAND, 0xaa);
        write(&mut chip, DATA, 0xff);
    }
    assert!(drain(&mut chip).len() < 40);
    assert_eq!(chip.read(Port(0x61), Width::Byte), Err(IoError::NoRegister));
    assert!(chip.is_byte_wide(), "the bus makes bytes of wider accesses");
}
