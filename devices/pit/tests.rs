//! The waveforms of the 82C54 datasheet, clock by clock, and the adapter's sense of time.

use super::{core::Timer, *};
use crate::testing::loose_line;

/// OUT of a counter after each of `clocks` clocks.
fn waveform(channel: &mut channel::Channel, clocks: usize) -> String {
    (0..clocks)
        .map(|_| {
            channel.advance(1);
            if channel.output() { '#' } else { '_' }
        })
        .collect()
}

/// A counter with its gate high, low byte only, in `mode`, with `count` just written.
fn running(mode: u8, count: u8) -> channel::Channel {
    let mut channel = channel::Channel::new(true);
    channel.write_control(0x10 | mode << 1);
    channel.write_count(count);
    channel
}

fn count(channel: &mut channel::Channel) -> u8 {
    channel.latch_count();
    channel.read()
}

#[test]
fn mode_0_rises_n_plus_1_clocks_after_the_count_and_stays() {
    let mut channel = running(0, 4);
    assert!(!channel.output());
    assert_eq!(waveform(&mut channel, 8), "____####");
    assert_eq!(count(&mut channel), 0xfd, "the element wraps and counts on: 4 3 2 1 0 FF FE FD");
    channel.write_count(2);
    assert!(!channel.output(), "a new count takes OUT low");
    assert_eq!(waveform(&mut channel, 3), "__#");
}

#[test]
fn mode_0_counts_only_while_the_gate_is_high_but_loads_all_the_same() {
    let mut channel = running(0, 3);
    channel.set_gate(false);
    assert_eq!(waveform(&mut channel, 5), "_____");
    assert_eq!(count(&mut channel), 3);
    channel.set_gate(true);
    assert_eq!(waveform(&mut channel, 3), "__#", "no clock is needed for the load any more");
}

#[test]
fn the_first_byte_of_two_stops_mode_0() {
    let mut channel = channel::Channel::new(true);
    channel.write_control(0x30);
    channel.write_count(2);
    channel.write_count(0);
    channel.advance(10);
    assert!(channel.output());
    channel.write_count(5);
    assert!(!channel.output());
    assert_eq!(waveform(&mut channel, 9), "_________");
    channel.write_count(0);
    assert_eq!(waveform(&mut channel, 6), "_____#");
}

#[test]
fn mode_1_is_low_for_n_clocks_from_the_clock_after_the_trigger_and_retriggers() {
    let mut channel = channel::Channel::new(false);
    channel.write_control(0x12);
    channel.write_count(3);
    assert_eq!(waveform(&mut channel, 3), "###", "no trigger yet");
    channel.set_gate(true);
    assert_eq!(waveform(&mut channel, 5), "___##");
    channel.set_gate(false);
    channel.set_gate(true);
    assert_eq!(waveform(&mut channel, 2), "__");
    channel.set_gate(false);
    channel.set_gate(true);
    assert_eq!(waveform(&mut channel, 4), "___#");
}

#[test]
fn mode_2_is_low_for_one_clock_in_n() {
    let mut channel = running(2, 3);
    assert_eq!(waveform(&mut channel, 10), "##_##_##_#");
    channel.write_count(4);
    assert_eq!(waveform(&mut channel, 10), "#_###_###_", "a new count waits for the period's end");
}

#[test]
fn mode_2_stops_high_at_a_low_gate_and_starts_over_at_a_rising_one() {
    let mut channel = running(2, 3);
    assert_eq!(waveform(&mut channel, 3), "##_");
    channel.set_gate(false);
    assert!(channel.output(), "at once");
    assert_eq!(waveform(&mut channel, 3), "###");
    channel.set_gate(true);
    assert_eq!(waveform(&mut channel, 4), "##_#");
}

#[test]
fn mode_3_is_a_square_wave_and_an_odd_count_is_high_one_clock_longer() {
    assert_eq!(waveform(&mut running(3, 4), 9), "##__##__#");
    assert_eq!(waveform(&mut running(3, 5), 11), "###__###__#");
}

#[test]
fn mode_3_counts_by_two() {
    let mut even = running(3, 4);
    let mut odd = running(3, 5);
    let reading = |channel: &mut channel::Channel| {
        channel.advance(1);
        count(channel)
    };
    assert_eq!([0; 6].map(|_| reading(&mut even)), [4, 2, 4, 2, 4, 2]);
    assert_eq!([0; 6].map(|_| reading(&mut odd)), [4, 2, 0, 4, 2, 4]);
}

#[test]
fn mode_4_strobes_once_for_one_clock_n_clocks_after_the_load() {
    let mut channel = running(4, 3);
    assert_eq!(waveform(&mut channel, 6), "###_##");
    assert_eq!(count(&mut channel), 0xfe, "3 2 1 0 FF FE");
    assert_eq!(waveform(&mut channel, 300), "#".repeat(300), "a wrap is no second strobe");
}

#[test]
fn mode_5_strobes_after_its_trigger() {
    let mut channel = channel::Channel::new(false);
    channel.write_control(0x1a);
    channel.write_count(3);
    channel.advance(9);
    channel.set_gate(true);
    channel.set_gate(false);
    assert_eq!(waveform(&mut channel, 6), "###_##", "the gate's level does not matter");
}

#[test]
fn any_number_of_clocks_at_once_is_the_same_as_one_by_one() {
    for mode in 0..6 {
        for n in [2, 3, 4, 5, 7] {
            for step in 2..40 {
                let (mut slow, mut fast) = (running(mode, n), running(mode, n));
                if mode == 1 || mode == 5 {
                    for channel in [&mut slow, &mut fast] {
                        channel.set_gate(false);
                        channel.set_gate(true);
                    }
                }
                for _ in 0..8 {
                    (0..step).for_each(|_| slow.advance(1));
                    fast.advance(step);
                    assert_eq!(slow, fast, "mode {mode}, count {n}, steps of {step}");
                }
            }
        }
    }
}

#[test]
fn the_next_change_is_where_the_waveform_says() {
    for mode in [0, 3, 4] {
        for n in [2, 3, 5] {
            let mut channel = running(mode, n);
            for _ in 0..4 {
                let Some(ticks) = channel.ticks_to_change() else { break };
                let before = channel.output();
                channel.advance(ticks - 1);
                assert_eq!(channel.output(), before, "mode {mode}, count {n}");
                channel.advance(1);
                assert_ne!(channel.output(), before, "mode {mode}, count {n}");
            }
        }
    }
    let mut channel = running(2, 5);
    assert_eq!(channel.ticks_to_change(), Some(6), "the rate generator's next change is its next rise");
    channel.take_rise();
    channel.advance(5);
    assert!(!channel.take_rise());
    channel.advance(1);
    assert!(channel.take_rise());
}

#[test]
fn bcd_counts_in_decimal() {
    let mut channel = channel::Channel::new(true);
    channel.write_control(0x31);
    channel.write_count(0x00);
    channel.write_count(0x10); // 1000
    channel.advance(1 + 1);
    channel.latch_count();
    assert_eq!([channel.read(), channel.read()], [0x99, 0x09]);
    channel.advance(999);
    assert!(channel.output());
    channel.advance(1);
    channel.latch_count();
    assert_eq!([channel.read(), channel.read()], [0x99, 0x99]);
}

#[test]
fn a_count_of_zero_is_the_greatest() {
    let mut channel = running(0, 0);
    channel.advance(0x1_0000);
    assert!(!channel.output());
    channel.advance(1);
    assert!(channel.output());
}

#[test]
fn a_latched_count_stays_until_it_is_read_and_a_second_latch_is_ignored() {
    let mut timer = Timer::new();
    timer.write_control(0x34);
    timer.write_counter(0, 0x34);
    timer.write_counter(0, 0x12);
    timer.advance(1);
    timer.write_control(0x00);
    timer.advance(0x101);
    timer.write_control(0x00);
    assert_eq!([timer.read_counter(0), timer.read_counter(0)], [Some(0x34), Some(0x12)]);
    assert_eq!([timer.read_counter(0), timer.read_counter(0)], [Some(0x34), Some(0x11)], "live again");
}

#[test]
fn read_back_gives_status_first_and_count_after_it() {
    let mut timer = Timer::new();
    timer.write_control(0x74);
    timer.write_counter(1, 0x20);
    timer.write_control(0xe4); // status of counter 1
    assert_eq!(timer.read_counter(1), Some(0x80 | 0x40 | 0x34), "OUT high, null count: half the count is written");
    timer.write_counter(1, 0x00);
    timer.advance(3);
    timer.write_control(0xc4); // both of counter 1
    assert_eq!(
        [timer.read_counter(1), timer.read_counter(1), timer.read_counter(1)],
        [Some(0x80 | 0x34), Some(0x1e), Some(0x00)]
    );
}

#[test]
fn port_61h_is_gate_output_and_refresh_toggle() {
    let mut pit = Pit::new(loose_line());
    let read = |pit: &mut Pit| pit.read(Port(0x61), Width::Byte).expect("port 61h");
    pit.write(Port(0x43), Width::Byte, 0xb0).expect("control");
    pit.write(Port(0x42), Width::Byte, 9).expect("counter 2");
    pit.write(Port(0x42), Width::Byte, 0).expect("counter 2");
    pit.advance(VmInstant(10_000));
    assert_eq!(read(&mut pit) & 0x2f, 0, "the gate is low: 11 clocks have not moved it");
    pit.write(Port(0x61), Width::Byte, 0xff).expect("port 61h");
    assert_eq!(read(&mut pit) & 0xef, 0x0f, "bits 4 to 7 cannot be written");
    pit.advance(VmInstant(20_000));
    assert_eq!(read(&mut pit) & 0x20, 0x20);
    let toggles: Vec<u32> = (0..8)
        .map(|n| {
            pit.advance(VmInstant(20_000 + n * 15_086));
            read(&mut pit) >> 4 & 1
        })
        .collect();
    assert!(toggles.windows(2).all(|pair| pair[0] != pair[1]), "a refresh takes 18 clocks: {toggles:?}");
}

#[test]
fn a_thousand_hertz_for_an_hour_is_exact_to_the_tick_however_it_is_cut() {
    let mut pit = Pit::new(loose_line());
    pit.write(Port(0x43), Width::Byte, 0x34).expect("control");
    pit.write(Port(0x40), Width::Byte, 0xa9).expect("counter 0");
    pit.write(Port(0x40), Width::Byte, 0x04).expect("counter 0"); // 1193
    let mut rises = 0;
    let hour = VmInstant::ZERO + VmDuration::from_secs(3600);
    while pit.next_deadline() <= hour {
        let deadline = pit.next_deadline();
        pit.advance(VmInstant(deadline.0 - 1));
        assert!(pit.core.next_change().is_some());
        pit.advance(deadline);
        rises += 1;
    }
    assert_eq!(rises, (3600 * FREQUENCY - 1) / 1193);
}

#[test]
fn years_at_once_are_one_edge_and_keep_the_phase() {
    let mut pit = Pit::new(loose_line());
    pit.write(Port(0x43), Width::Byte, 0x34).expect("control");
    pit.write(Port(0x40), Width::Byte, 0xe8).expect("counter 0");
    pit.write(Port(0x40), Width::Byte, 0x03).expect("counter 0"); // 1000
    let years = VmInstant::ZERO + VmDuration::from_secs(10 * 366 * 86_400) + VmDuration::from_micros(5);
    pit.advance(years);
    assert!(pit.irq0.is_high());
    let tick = pit.core.next_change().expect("periodic");
    assert_eq!(tick % 1000, 1, "the load took one clock");
    assert!(tick > years.to_ticks(FREQUENCY));
    pit.advance(VmInstant::NEVER);
}

#[test]
fn a_rise_that_is_seen_late_is_not_seen_with_its_end() {
    for (mode, late) in [(0x34, 2000), (0x36, 1700)] {
        let mut pit = Pit::new(loose_line());
        pit.write(Port(0x43), Width::Byte, mode).expect("control");
        pit.write(Port(0x40), Width::Byte, 0xe8).expect("counter 0");
        pit.write(Port(0x40), Width::Byte, 0x03).expect("counter 0"); // 1000
        let at = |tick| VmInstant::ZERO + VmDuration::from_ticks(tick, FREQUENCY);
        pit.advance(at(900));
        pit.advance(at(late));
        assert!(!pit.core.take_output().0, "the output has fallen again");
        assert!(pit.irq0.is_high());
        pit.write(Port(0x61), Width::Byte, 0).expect("port 61h");
        assert!(pit.irq0.is_high(), "until time moves");
        pit.advance(at(late) + VmDuration(1));
        pit.advance(at(late) + VmDuration(1));
        assert!(pit.irq0.is_high(), "by a tick");
    }
    let mut pit = Pit::new(loose_line());
    pit.write(Port(0x43), Width::Byte, 0x36).expect("control");
    pit.write(Port(0x40), Width::Byte, 0xe8).expect("counter 0");
    pit.write(Port(0x40), Width::Byte, 0x03).expect("counter 0");
    pit.advance(VmInstant(1_700_000));
    pit.advance(VmInstant(1_702_000));
    assert_eq!(pit.irq0.is_high(), pit.core.take_output().0);
}

#[test]
fn reset_stops_all_counters() {
    let mut pit = Pit::new(loose_line());
    pit.write(Port(0x43), Width::Byte, 0x34).expect("control");
    pit.write(Port(0x61), Width::Byte, 0x0f).expect("port 61h");
    assert!(pit.irq0.is_high());
    Device::reset(&mut pit);
    assert!(!pit.irq0.is_high());
    assert_eq!(pit.next_deadline(), VmInstant::NEVER);
    assert_eq!(pit.read(Port(0x61), Width::Byte), Ok(0));
}

#[test]
fn the_control_word_register_cannot_be_read() {
    let mut pit = Pit::new(loose_line());
    assert_eq!(pit.read(Port(0x43), Width::Byte), Err(IoError::NoRegister));
    assert!(pit.is_byte_wide(), "the bus makes bytes of wider accesses");
}
