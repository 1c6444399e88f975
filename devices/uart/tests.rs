//! What the PC16550D datasheet promises, and what drivers probe for, one claim a test.

use super::*;
use crate::{backend::MemorySink, testing::loose_line};

const DATA: u16 = 0;
const IER: u16 = 1;
const IIR: u16 = 2;
const FCR: u16 = 2;
const LCR: u16 = 3;
const MCR: u16 = 4;
const LSR: u16 = 5;
const MSR: u16 = 6;
const SCR: u16 = 7;
const OUT2: u8 = 0x08;
const LOOP: u8 = 0x10;

fn bench(capacity: usize) -> (Uart, MemorySink) {
    let sink = MemorySink::new(capacity);
    (Uart::new(COM1, loose_line(), loose_line(), Box::new(sink.clone())), sink)
}

fn uart() -> Uart {
    bench(1 << 20).0
}

fn read(uart: &mut Uart, offset: u16) -> u8 {
    PioDevice::read(uart, Port(COM1.0 + offset), Width::Byte).expect("a register") as u8
}

fn write(uart: &mut Uart, offset: u16, value: u8) {
    PioDevice::write(uart, Port(COM1.0 + offset), Width::Byte, value.into()).expect("a register");
}

/// FIFOs on, trigger at fourteen, all interrupts on and connected.
fn with_interrupts() -> Uart {
    let mut uart = uart();
    write(&mut uart, FCR, 0xc1);
    write(&mut uart, MCR, OUT2);
    write(&mut uart, IER, 0x0d);
    uart
}

#[test]
fn a_byte_goes_out_when_it_is_written_and_the_transmitter_is_empty_again() {
    let (mut uart, sink) = bench(100);
    for byte in b"hello" {
        write(&mut uart, DATA, *byte);
        assert_eq!(read(&mut uart, LSR), 0x60);
    }
    assert_eq!(sink.take(), b"hello");
}

#[test]
fn the_empty_transmitter_interrupts_when_enabled_when_it_empties_and_is_told_once() {
    let mut uart = with_interrupts();
    write(&mut uart, IER, 0x02);
    assert!(uart.irq.is_high(), "it was empty already");
    assert_eq!(read(&mut uart, IIR), 0xc2);
    assert!(!uart.irq.is_high());
    assert_eq!(read(&mut uart, IIR), 0xc1);
    write(&mut uart, DATA, b'x');
    assert!(uart.irq.is_high());
    write(&mut uart, IER, 0x00);
    assert!(!uart.irq.is_high());
    write(&mut uart, IER, 0x02);
    assert_eq!([read(&mut uart, IIR), read(&mut uart, IIR)], [0xc2, 0xc1]);
}

#[test]
fn a_slow_host_makes_a_slow_line_and_not_a_stuck_one() {
    let (mut uart, sink) = bench(2);
    write(&mut uart, FCR, 0x01);
    write(&mut uart, MCR, OUT2);
    write(&mut uart, IER, 0x02);
    read(&mut uart, IIR);
    for byte in b"abcd" {
        write(&mut uart, DATA, *byte);
    }
    assert_eq!(read(&mut uart, LSR), 0x00, "two bytes wait");
    assert!(!uart.irq.is_high());
    assert_eq!(sink.take(), b"ab");
    let retry = uart.next_deadline();
    assert!(retry < VmInstant::NEVER);
    uart.advance(retry);
    assert_eq!(sink.take(), b"cd");
    assert_eq!(read(&mut uart, LSR), 0x60);
    assert!(uart.irq.is_high());
    assert_eq!(uart.next_deadline(), VmInstant::NEVER);
}

#[test]
fn a_dead_host_loses_what_the_fifo_cannot_hold() {
    let (mut uart, sink) = bench(0);
    write(&mut uart, FCR, 0x01);
    for byte in 0..20 {
        write(&mut uart, DATA, byte);
    }
    assert_eq!((uart.core.to_send().len(), sink.take().len()), (16, 0));
    write(&mut uart, FCR, 0x05);
    assert_eq!(read(&mut uart, LSR), 0x60, "the FIFO was cleared");
}

#[test]
fn the_receiver_takes_what_it_has_room_for_and_says_when_it_has_more() {
    let mut uart = uart();
    assert_eq!(uart.receive(b"ab"), 1, "without FIFOs there is one place");
    assert_eq!(read(&mut uart, DATA), b'a');
    write(&mut uart, FCR, 0x01);
    assert_eq!(uart.receive(&[b'x'; 20]), 16);
    assert!(!uart.room.is_high());
    assert_eq!(read(&mut uart, LSR), 0x61, "and never overruns");
    read(&mut uart, DATA);
    assert!(uart.room.is_high());
    assert_eq!(uart.receive(b"yz"), 1);
}

#[test]
fn received_data_interrupt_at_the_trigger_level_and_stop_below_it() {
    for (fcr, level) in [(0x01, 1), (0x41, 4), (0x81, 8), (0xc1, 14)] {
        let mut uart = with_interrupts();
        write(&mut uart, FCR, fcr);
        assert_eq!(uart.receive(&vec![0; level - 1]), level - 1);
        assert!(!uart.irq.is_high(), "{level}");
        uart.receive(&[0]);
        assert_eq!(read(&mut uart, IIR), 0xc4);
        read(&mut uart, DATA);
        assert!(!uart.irq.is_high(), "{level}");
    }
}

#[test]
fn bytes_below_the_trigger_time_out_after_four_characters() {
    let mut uart = with_interrupts();
    write(&mut uart, LCR, 0x83);
    write(&mut uart, DATA, 1); // 115 200 baud, ten bits a character
    write(&mut uart, LCR, 0x03);
    uart.advance(VmInstant(1_000_000));
    uart.receive(b"ab");
    let four_characters = VmDuration::from_ticks(40, 115_200);
    assert_eq!(uart.next_deadline(), VmInstant(1_000_000) + four_characters);
    uart.advance(uart.next_deadline() - VmDuration(1));
    assert!(!uart.irq.is_high());
    uart.advance(uart.next_deadline());
    assert_eq!(read(&mut uart, IIR), 0xcc);
    read(&mut uart, DATA);
    assert!(!uart.irq.is_high(), "reading starts the time again");
    uart.advance(uart.next_deadline());
    assert_eq!(read(&mut uart, IIR), 0xcc);
    read(&mut uart, DATA);
    assert_eq!(uart.next_deadline(), VmInstant::NEVER);
}

#[test]
fn interrupts_are_named_in_order_of_urgency() {
    let mut uart = with_interrupts();
    write(&mut uart, IER, 0x0f);
    uart.receive(&[0; 16]);
    write(&mut uart, MCR, LOOP | OUT2);
    write(&mut uart, DATA, 1);
    write(&mut uart, MCR, OUT2);
    assert_eq!(read(&mut uart, IIR), 0xc6);
    assert_eq!(read(&mut uart, LSR) & 0x03, 0x03, "overrun");
    assert_eq!(read(&mut uart, IIR), 0xc4);
    for _ in 0..16 {
        read(&mut uart, DATA);
    }
    assert_eq!(read(&mut uart, IIR), 0xc2);
    assert_eq!(read(&mut uart, IIR), 0xc0);
    read(&mut uart, MSR);
    assert_eq!(read(&mut uart, IIR), 0xc1);
}

#[test]
fn out2_connects_the_interrupt_to_its_wire() {
    let mut uart = with_interrupts();
    write(&mut uart, IER, 0x02);
    write(&mut uart, MCR, 0x00);
    assert!(!uart.irq.is_high());
    write(&mut uart, MCR, OUT2);
    assert!(uart.irq.is_high());
    write(&mut uart, MCR, OUT2 | LOOP);
    assert!(!uart.irq.is_high(), "in loopback the pin is inactive");
}

#[test]
fn loopback_joins_transmitter_and_receiver_and_the_modem_lines() {
    let (mut uart, sink) = bench(100);
    assert_eq!(read(&mut uart, MSR), 0xb0);
    write(&mut uart, MCR, LOOP | 0x0a);
    assert_eq!(read(&mut uart, MSR) & 0xf0, 0x90, "RTS to CTS, OUT2 to DCD: Linux looks for this");
    write(&mut uart, MCR, LOOP | 0x05);
    assert_eq!(read(&mut uart, MSR), 0x6b, "all but the leading edge of RI are changes");
    write(&mut uart, MCR, LOOP);
    assert_eq!(read(&mut uart, MSR), 0x06);
    assert_eq!(uart.receive(b"typed"), 0, "the pin is disconnected");
    write(&mut uart, DATA, 0x5a);
    write(&mut uart, DATA, 0xa5);
    assert_eq!(read(&mut uart, LSR), 0x63, "one place without FIFOs: overrun");
    assert_eq!(read(&mut uart, LSR), 0x61, "told once");
    assert_eq!(read(&mut uart, DATA), 0xa5);
    assert_eq!(sink.take(), b"");
}

#[test]
fn linux_finds_a_16550a_and_nothing_newer() {
    let mut uart = uart();
    write(&mut uart, IER, 0x00);
    assert_eq!(read(&mut uart, IER), 0);
    write(&mut uart, IER, 0xff);
    assert_eq!(read(&mut uart, IER), 0x0f, "no sleep mode, no XScale unit enable");
    write(&mut uart, IER, 0x00);
    write(&mut uart, LCR, 0xbf);
    write(&mut uart, 2, 0x00);
    write(&mut uart, LCR, 0x00);
    write(&mut uart, FCR, 0x01);
    assert_eq!(read(&mut uart, IIR) >> 6, 3);
    write(&mut uart, LCR, 0x80);
    assert_ne!(read(&mut uart, 2), 0, "no EFR with DLAB: not a 16650");
    write(&mut uart, LCR, 0xbf);
    assert_ne!(read(&mut uart, 2), 0, "no EFR: not a 16650V2");
    write(&mut uart, LCR, 0xe0);
    assert_eq!(read(&mut uart, 2) & LOOP, 0, "not a National Semiconductor SuperIO");
    write(&mut uart, LCR, 0x00);
    write(&mut uart, FCR, 0x21);
    assert_eq!(read(&mut uart, IIR) >> 5, 6, "no 64-byte FIFO: not a 16750");
    write(&mut uart, LCR, 0x80);
    write(&mut uart, FCR, 0x21);
    assert_eq!(read(&mut uart, IIR) >> 5, 6);
}

#[test]
fn without_fifos_it_looks_like_a_16450_with_a_scratch_register() {
    let mut uart = uart();
    assert_eq!(read(&mut uart, IIR), 0x01);
    write(&mut uart, SCR, 0xa5);
    assert_eq!(read(&mut uart, SCR), 0xa5);
    write(&mut uart, LCR, 0x80);
    write(&mut uart, 0, 0x34);
    write(&mut uart, 1, 0x12);
    assert_eq!([read(&mut uart, 0), read(&mut uart, 1)], [0x34, 0x12]);
    write(&mut uart, LCR, 0x00);
    assert_eq!([read(&mut uart, 0), read(&mut uart, 1)], [0x00, 0x00]);
}

#[test]
fn switching_the_fifos_empties_them() {
    let mut uart = with_interrupts();
    uart.receive(b"abc");
    write(&mut uart, FCR, 0x00);
    assert_eq!(read(&mut uart, LSR), 0x60);
    assert_eq!(uart.next_deadline(), VmInstant::NEVER);
}

#[test]
fn reset_silences_the_port() {
    let mut uart = with_interrupts();
    uart.receive(&[0; 16]);
    assert!(uart.irq.is_high());
    Device::reset(&mut uart);
    assert!(!uart.irq.is_high());
    assert_eq!([IER, LCR, MCR, LSR, MSR].map(|offset| read(&mut uart, offset)), [0, 0, 0, 0x60, 0xb0]);
    assert_eq!(read(&mut uart, IIR), 0x01);
}

#[test]
fn a_divisor_of_zero_and_the_end_of_time_are_survived() {
    let mut uart = with_interrupts();
    write(&mut uart, LCR, 0xff);
    write(&mut uart, 0, 0);
    write(&mut uart, 1, 0);
    uart.receive(b"a");
    uart.advance(VmInstant::NEVER);
    uart.receive(b"a");
    assert!(uart.irq.is_high(), "a timeout that has come waits for a read");
    assert!(uart.is_byte_wide(), "the bus makes bytes of wider accesses");
    assert_eq!(PioDevice::read(&mut uart, Port(COM1.0 + 8), Width::Byte), Err(IoError::NoRegister));
    assert_eq!(PioDevice::read(&mut uart, Port(COM1.0 - 1), Width::Byte), Err(IoError::NoRegister));
}
