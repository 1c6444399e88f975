//! What the 82093AA datasheet promises, one claim a test.

use std::sync::Arc;

use super::*;
use crate::{
    Delivery, InterruptMessage, Outputs,
    testing::{MessageRecorder, message_line},
};

struct Bench {
    chip: IoApic,
    outputs: Outputs,
    recorder: Arc<MessageRecorder>,
}

impl Bench {
    fn new() -> Self {
        let (recorder, outputs, messages) = message_line();
        Self { chip: IoApic::new(messages), outputs, recorder }
    }

    fn read(&mut self, index: u8) -> u32 {
        self.chip.write(IOREGSEL, Width::Dword, index.into()).expect("IOREGSEL");
        self.chip.read(IOWIN, Width::Dword).expect("IOWIN") as u32
    }

    fn write(&mut self, index: u8, value: u32) {
        self.chip.write(IOREGSEL, Width::Dword, index.into()).expect("IOREGSEL");
        self.chip.write(IOWIN, Width::Dword, value.into()).expect("IOWIN");
    }

    fn sent(&mut self) -> Vec<InterruptMessage> {
        self.outputs.flush();
        self.recorder.take()
    }

    fn vectors(&mut self) -> Vec<u8> {
        self.sent().iter().map(|message| message.vector).collect()
    }
}

const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
const REMOTE_IRR: u32 = 1 << 14;

#[test]
fn an_entry_that_no_processor_can_mask_is_told_of_while_it_is_open() {
    let mut bench = Bench::new();
    bench.write(0x14, 0x31);
    assert!(!bench.chip.may_send_nmi());
    for (delivery, may) in [(0x200, false), (0x400, true), (0x500, true), (0x700, false)] {
        bench.write(0x14, delivery);
        assert_eq!(bench.chip.may_send_nmi(), may, "{delivery:#x}");
        bench.write(0x14, MASKED | delivery);
        assert!(!bench.chip.may_send_nmi());
    }
}

#[test]
fn version_is_20h_with_24_entries_all_masked_after_reset() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(1), 0x0017_0020);
    bench.write(0x12, 0x31);
    bench.write(0, u32::MAX);
    bench.chip.reset();
    for n in 0..24 {
        assert_eq!((bench.read(0x10 + 2 * n), bench.read(0x11 + 2 * n)), (MASKED, 0));
    }
    assert_eq!(bench.read(0), 0);
    assert_eq!(bench.read(0x40), 0, "past the last entry");
}

#[test]
fn the_id_has_four_bits_and_the_arbitration_id_follows_it() {
    let mut bench = Bench::new();
    bench.write(0, 0xffff_ffff);
    assert_eq!((bench.read(0), bench.read(2)), (0x0f00_0000, 0x0f00_0000));
}

#[test]
fn status_bits_of_an_entry_cannot_be_written() {
    let mut bench = Bench::new();
    bench.write(0x10, 0xffff_ffff);
    bench.write(0x11, 0xffff_ffff);
    assert_eq!((bench.read(0x10), bench.read(0x11)), (0x0001_afff, 0xff00_0000));
}

#[test]
fn an_edge_sends_the_entry_s_message_once() {
    let mut bench = Bench::new();
    bench.write(0x14, 0x0951); // logical, lowest priority
    bench.write(0x15, 0x0300_0000);
    bench.chip.set_input(2, true);
    bench.chip.set_input(2, true);
    let expected =
        InterruptMessage { destination: 3, is_logical: true, delivery: Delivery::LowestPriority, vector: 0x51, is_level: false };
    assert_eq!(bench.sent(), [expected]);
    bench.chip.set_input(2, false);
    bench.chip.set_input(2, true);
    assert_eq!(bench.sent(), [expected]);
}

#[test]
fn an_edge_at_a_masked_input_is_lost() {
    let mut bench = Bench::new();
    bench.write(0x14, 0x51 | MASKED);
    bench.chip.set_input(2, true);
    bench.write(0x14, 0x51);
    assert_eq!(bench.sent(), []);
}

#[test]
fn a_level_is_sent_once_until_its_end_and_again_while_it_is_high() {
    let mut bench = Bench::new();
    bench.write(0x10 + 2 * 9, 0x61 | LEVEL);
    bench.chip.set_input(9, true);
    assert!(bench.sent()[0].is_level);
    assert_eq!(bench.read(0x10 + 2 * 9), 0x61 | LEVEL | REMOTE_IRR);
    bench.chip.set_input(9, false);
    bench.chip.set_input(9, true);
    assert_eq!(bench.sent(), [], "not before the end");
    bench.chip.end_of_interrupt(0x60);
    assert_eq!(bench.sent(), [], "another vector's end");
    bench.chip.end_of_interrupt(0x61);
    assert_eq!(bench.vectors(), [0x61]);
    bench.chip.set_input(9, false);
    bench.chip.write(EOI, Width::Dword, 0x61).expect("the EOI register");
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.read(0x10 + 2 * 9), 0x61 | LEVEL);
}

#[test]
fn a_level_at_a_masked_input_is_sent_when_it_is_unmasked() {
    let mut bench = Bench::new();
    bench.write(0x10 + 2 * 9, 0x61 | LEVEL | MASKED);
    bench.chip.set_input(9, true);
    assert_eq!(bench.sent(), []);
    bench.write(0x10 + 2 * 9, 0x61 | LEVEL);
    assert_eq!(bench.vectors(), [0x61]);
    bench.write(0x10 + 2 * 9, 0x61 | LEVEL | MASKED);
    bench.write(0x10 + 2 * 9, 0x61 | LEVEL);
    assert_eq!(bench.sent(), [], "remote IRR survives masking");
}

#[test]
fn switching_to_edge_forgets_the_remote_irr() {
    let mut bench = Bench::new();
    bench.write(0x10, 0x61 | LEVEL);
    bench.chip.set_input(0, true);
    bench.write(0x10, 0x61);
    assert_eq!(bench.read(0x10), 0x61);
}

#[test]
fn destination_ff_means_everyone_and_a_reserved_delivery_mode_nobody() {
    let mut bench = Bench::new();
    bench.write(0x11, 0xff00_0000);
    bench.write(0x10, 0x0061);
    bench.chip.set_input(0, true);
    assert_eq!(bench.sent()[0].destination, u32::MAX);
    bench.chip.set_input(0, false);
    bench.write(0x10, 0x0361);
    bench.chip.set_input(0, true);
    assert_eq!(bench.sent(), []);
}

#[test]
fn nmi_is_an_edge_even_where_the_entry_says_level() {
    let mut bench = Bench::new();
    bench.write(0x10, 0x0400 | LEVEL);
    bench.chip.set_input(0, true);
    let sent = bench.sent();
    assert_eq!((sent[0].delivery, sent[0].is_level), (Delivery::Nmi, false));
    assert_eq!(bench.read(0x10) & REMOTE_IRR, 0);
}

#[test]
fn accesses_the_datasheet_forbids_are_refused() {
    let mut bench = Bench::new();
    for width in [Width::Byte, Width::Word, Width::Qword] {
        assert_eq!(bench.chip.read(IOWIN, width), Err(IoError::BadWidth));
        assert_eq!(bench.chip.write(IOWIN, width, 0), Err(IoError::BadWidth));
        assert_eq!(bench.chip.write(EOI, width, 0), Err(IoError::BadWidth));
    }
    assert_eq!(bench.chip.read(IOWIN + 1, Width::Dword), Err(IoError::NoRegister));
    assert_eq!(bench.chip.write(0x20, Width::Dword, 0), Err(IoError::NoRegister));
    bench.chip.set_input(24, true);
    bench.chip.set_input(u32::MAX, true);
}
