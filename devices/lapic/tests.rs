//! What the SDM promises of a local APIC, one claim a test. The bus clock here is 1 GHz unless a test says otherwise.

use dragoman_state::{ApicBase, GuestPhys, LapicState, LvtIndex, Msrs, VcpuId, VmDuration, VmInstant, Width};

use super::*;
use crate::{Delivery, InterruptMessage, IoError};

const START: VmInstant = VmInstant(1_000_000);
const TIMEBASE: (u64, u64, u64) = (1_000_000_000, 2_500_000_000, 77);

/// A processor's registers, and the view of them that each operation makes.
struct Bench {
    state: LapicState,
    base: ApicBase,
    timebase: Timebase,
    now: VmInstant,
}

impl Bench {
    /// Software-enabled, in xAPIC mode.
    fn new(id: u32) -> Self {
        let (bus, tsc, offset) = TIMEBASE;
        let mut bench = Self {
            state: LapicState::power_on(VcpuId(id)),
            base: Msrs::power_on().apic_base,
            timebase: Timebase::new(bus, tsc, offset),
            now: START,
        };
        let _ = bench.write(0xf0, 0x1ff);
        bench
    }

    /// Software-enabled, in x2APIC mode.
    fn x2apic(id: u32) -> Self {
        let mut bench = Self::new(id);
        bench.apic().write_base(0xfee0_0c00, 48).expect("the one way");
        bench
    }

    fn apic(&mut self) -> Lapic<'_> {
        Lapic::new(&mut self.state, &mut self.base, self.timebase)
    }

    fn read(&mut self, offset: u64) -> u32 {
        let now = self.now;
        self.apic().read(offset, Width::Dword, now).expect("aligned") as u32
    }

    fn write(&mut self, offset: u64, value: u32) -> Effect {
        let now = self.now;
        self.apic().write(offset, Width::Dword, value.into(), now).expect("aligned")
    }

    fn rdmsr(&mut self, index: u32) -> Result<u64, GeneralProtection> {
        let now = self.now;
        self.apic().read_msr(index, now)
    }

    fn wrmsr(&mut self, index: u32, value: u64) -> Result<Effect, GeneralProtection> {
        let now = self.now;
        self.apic().write_msr(index, value, now)
    }

    fn pass(&mut self, nanos: u64) {
        self.now = self.now + VmDuration(nanos);
        let now = self.now;
        self.apic().advance(now);
    }

    fn receive(&mut self, vector: u8, is_level: bool) -> Accepted {
        self.apic().accept(&message(u32::MAX, vector, is_level))
    }

    /// Takes the highest pending interrupt.
    fn take(&mut self) -> Option<u8> {
        let vector = self.apic().highest_pending()?;
        self.apic().acknowledge(vector);
        Some(vector)
    }

    fn eoi(&mut self) -> Effect {
        self.write(0xb0, 0)
    }
}

fn message(destination: u32, vector: u8, is_level: bool) -> InterruptMessage {
    InterruptMessage { destination, is_logical: false, delivery: Delivery::Fixed, vector, is_level }
}

const ESR: u64 = 0x280;
const TIMER: u64 = 0x320;
const LINT0: u64 = 0x350;
const LINT1: u64 = 0x360;
const ERROR: u64 = 0x370;
const INITIAL_COUNT: u64 = 0x380;
const CURRENT_COUNT: u64 = 0x390;
const DIVIDE: u64 = 0x3e0;
const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;
const TSC_DEADLINE: u32 = 2 << 17;

#[test]
fn registers_after_power_on_are_those_of_the_manual() {
    let mut bench = Bench::new(5);
    bench.state = LapicState::power_on(VcpuId(5));
    let expected = [
        (0x020, 0x0500_0000),
        (0x030, 0x0106_0015),
        (0x080, 0),
        (0x0a0, 0),
        (0x0d0, 0),
        (0x0e0, 0xffff_ffff),
        (0x0f0, 0xff),
        (0x2f0, MASKED),
        (0x320, MASKED),
        (0x350, MASKED),
        (0x380, 0),
        (0x390, 0),
        (0x3e0, 0),
    ];
    for (offset, value) in expected {
        assert_eq!(bench.read(offset), value, "{offset:#x}");
    }
    assert_eq!(bench.apic().page(), Some(GuestPhys(0xfee0_0000)));
}

#[test]
fn the_highest_vector_is_taken_first_and_its_class_blocks_equals_and_lower() {
    let mut bench = Bench::new(0);
    for vector in [0x31, 0x52, 0x5f, 0x20] {
        assert_eq!(bench.receive(vector, false), Accepted::Requested);
    }
    assert_eq!(bench.take(), Some(0x5f));
    assert_eq!(bench.read(0xa0), 0x50);
    assert_eq!(bench.take(), None, "0x52 is of the same class");
    assert_eq!(bench.receive(0x60, false), Accepted::Requested);
    assert_eq!(bench.take(), Some(0x60));
    assert_eq!([bench.read(0x100 + 0x20), bench.read(0x100 + 0x30)], [1 << 31, 1], "ISR");
    let _ = (bench.eoi(), bench.eoi());
    assert_eq!([bench.take(), bench.take()], [Some(0x52), None]);
}

#[test]
fn the_task_priority_holds_off_its_class_and_is_cr8() {
    let mut bench = Bench::new(0);
    let _ = bench.receive(0x45, false);
    let _ = bench.write(0x80, 0x4f);
    assert_eq!((bench.take(), bench.read(0xa0), bench.apic().cr8()), (None, 0x4f, 4));
    bench.apic().set_cr8(3);
    assert_eq!(bench.read(0x80), 0x30);
    assert_eq!(bench.take(), Some(0x45));
    assert_eq!(bench.read(0xa0), 0x40);
}

#[test]
fn the_end_of_a_level_interrupt_is_broadcast_unless_suppressed() {
    let mut bench = Bench::new(0);
    let _ = bench.receive(0x41, true);
    let _ = bench.receive(0x31, false);
    bench.take();
    assert_eq!(bench.read(0x180 + 0x20), 1 << 1, "TMR");
    assert_eq!(bench.eoi(), Effect::EndOfInterrupt(0x41));
    bench.take();
    assert_eq!(bench.eoi(), Effect::None, "an edge");
    let _ = bench.write(0xf0, 0x11ff);
    let _ = bench.receive(0x41, true);
    bench.take();
    assert_eq!(bench.eoi(), Effect::None);
    assert_eq!(bench.eoi(), Effect::None, "nothing in service");
    let _ = bench.receive(0x41, false);
    assert_eq!(bench.read(0x180 + 0x20), 0, "the newest message says how it is triggered");
}

#[test]
fn software_disable_masks_the_local_vectors_and_refuses_messages() {
    let mut bench = Bench::new(0);
    let _ = bench.write(LINT1, 0x400);
    let _ = bench.receive(0x40, false);
    let _ = bench.write(0xf0, 0xff);
    assert_eq!(bench.read(LINT1), 0x400 | MASKED);
    let _ = bench.write(LINT1, 0x400);
    assert_eq!(bench.read(LINT1), 0x400 | MASKED, "the mask cannot be cleared");
    assert_eq!(bench.receive(0x41, false), Accepted::Ignored);
    let nmi = InterruptMessage { delivery: Delivery::Nmi, ..message(u32::MAX, 0, false) };
    assert_eq!(bench.apic().accept(&nmi), Accepted::Nmi);
    assert_eq!(bench.take(), None, "what is pending is held");
    let _ = bench.write(0xf0, 0x1ff);
    assert_eq!(bench.take(), Some(0x40));
}

#[test]
fn physical_destinations_name_one_or_everyone() {
    let mut xapic = Bench::new(0x103);
    let mut x2apic = Bench::x2apic(0x103);
    let requested = |bench: &mut Bench, destination| bench.apic().accept(&message(destination, 0x40, false)) != Accepted::Ignored;
    assert!(requested(&mut xapic, 3) && !requested(&mut xapic, 4) && requested(&mut xapic, u32::MAX));
    assert!(!requested(&mut x2apic, 3) && requested(&mut x2apic, 0x103) && requested(&mut x2apic, u32::MAX));
    xapic.base = ApicBase::empty();
    assert!(!requested(&mut xapic, u32::MAX), "switched off");
}

#[test]
fn logical_destinations_are_flat_or_clusters_or_x2apic_s() {
    let logical = |bench: &mut Bench, destination| {
        let message = InterruptMessage { is_logical: true, ..message(destination, 0x40, false) };
        bench.apic().address().matches(&message)
    };
    let mut bench = Bench::new(0);
    let _ = bench.write(0xd0, 0x2412_3456);
    assert_eq!(bench.read(0xd0), 0x2400_0000);
    assert!(logical(&mut bench, 0x04) && logical(&mut bench, 0x21) && !logical(&mut bench, 0x03));
    let _ = bench.write(0xe0, 0);
    assert_eq!(bench.read(0xe0), 0x0fff_ffff);
    assert!(logical(&mut bench, 0x24) && logical(&mut bench, 0x2f) && !logical(&mut bench, 0x21));
    assert!(!logical(&mut bench, 0x34) && logical(&mut bench, u32::MAX));
    let mut bench = Bench::x2apic(0x25);
    assert_eq!(bench.rdmsr(0x80d), Ok(0x0002_0020));
    assert!(logical(&mut bench, 0x0002_0030) && !logical(&mut bench, 0x0002_0010) && !logical(&mut bench, 0x20));
}

#[test]
fn messages_that_are_no_interrupts_come_out_as_what_they_are() {
    let mut bench = Bench::new(0);
    let expected = [
        (Delivery::Smi, Accepted::Smi),
        (Delivery::Nmi, Accepted::Nmi),
        (Delivery::Init, Accepted::Init),
        (Delivery::StartUp, Accepted::StartUp(0x9a)),
        (Delivery::ExtInt, Accepted::ExtInt),
        (Delivery::LowestPriority, Accepted::Requested),
    ];
    for (delivery, accepted) in expected {
        let message = InterruptMessage { delivery, ..message(0, 0x9a, false) };
        assert_eq!(bench.apic().accept(&message), accepted);
    }
}

#[test]
fn the_interrupt_command_register_sends_what_it_says() {
    let mut bench = Bench::new(0);
    let _ = bench.write(0x310, 0x0312_3456);
    let Effect::Send(ipi) = bench.write(0x300, 0x0000_4841) else { panic!("an IPI") };
    let expected = InterruptMessage { is_logical: true, ..message(3, 0x41, false) };
    assert_eq!((ipi.message, ipi.recipients), (expected, Recipients::Named));
    assert_eq!((bench.read(0x300), bench.read(0x310)), (0x0000_4841, 0x0300_0000), "idle at once");
    let _ = bench.write(0x310, 0xff00_0000);
    let Effect::Send(ipi) = bench.write(0x300, 0x0000_4608) else { panic!("a start-up") };
    assert_eq!((ipi.message.destination, ipi.message.delivery, ipi.message.vector), (u32::MAX, Delivery::StartUp, 8));
    let Effect::Send(ipi) = bench.write(0x300, 0x000c_4500) else { panic!("an INIT") };
    assert_eq!((ipi.recipients, ipi.message.delivery), (Recipients::Others, Delivery::Init));
    let Effect::Send(ipi) = bench.write(0x300, 0x0008_0041) else { panic!("an IPI") };
    assert_eq!((ipi.recipients, ipi.message.destination), (Recipients::All, u32::MAX));
    assert_eq!(bench.write(0x300, 0x0008_8500), Effect::None, "INIT level de-assert");
    assert_eq!(bench.write(0x300, 0x0000_0341), Effect::None, "a reserved delivery mode");
    assert_eq!(bench.take(), None);
    assert_eq!(bench.write(0x300, 0x0004_0041), Effect::None);
    assert_eq!(bench.take(), Some(0x41), "to itself");
}

#[test]
fn errors_collect_until_the_status_register_is_written() {
    let mut bench = Bench::new(0);
    let _ = bench.write(ERROR, 0xfe);
    assert_eq!(bench.write(0x300, 0x0000_000f), Effect::None, "an illegal vector is not sent");
    assert_eq!(bench.take(), Some(0xfe));
    let _ = bench.eoi();
    assert_eq!(bench.receive(0x0f, false), Accepted::Ignored);
    assert_eq!(bench.take(), Some(0xfe));
    let _ = bench.eoi();
    bench.read(0x3f0);
    let _ = bench.write(0x000, 0);
    assert_eq!(bench.read(ESR), 0, "not before it is written");
    let _ = bench.write(ESR, 0);
    assert_eq!(bench.read(ESR), 0xe0);
    let _ = bench.write(ESR, 0);
    assert_eq!(bench.read(ESR), 0);
}

#[test]
fn an_illegal_error_vector_is_noted_and_does_not_go_round() {
    let mut bench = Bench::new(0);
    let _ = bench.write(ERROR, 0x01);
    bench.read(0x010);
    let _ = bench.write(ESR, 0);
    assert_eq!(bench.read(ESR), 0xc0);
}

#[test]
fn one_shot_counts_down_once() {
    let mut bench = Bench::new(0);
    let _ = bench.write(TIMER, 0x40);
    let _ = bench.write(DIVIDE, 0xb);
    let _ = bench.write(INITIAL_COUNT, 1000);
    assert_eq!(bench.apic().next_deadline(), START + VmDuration(1000));
    bench.pass(1);
    assert_eq!(bench.read(CURRENT_COUNT), 999);
    bench.pass(998);
    assert_eq!((bench.read(CURRENT_COUNT), bench.take()), (1, None));
    bench.pass(1);
    assert_eq!((bench.read(CURRENT_COUNT), bench.take()), (0, Some(0x40)));
    assert_eq!(bench.apic().next_deadline(), VmInstant::NEVER);
    assert_eq!(bench.read(INITIAL_COUNT), 1000);
    let _ = bench.write(INITIAL_COUNT, 1000);
    let _ = bench.write(INITIAL_COUNT, 0);
    assert_eq!(bench.apic().next_deadline(), VmInstant::NEVER, "zero stops it");
}

#[test]
fn the_divider_divides_by_one_to_128() {
    let divisors = [(0b0000, 2), (0b0001, 4), (0b0010, 8), (0b0011, 16), (0b1000, 32), (0b1001, 64), (0b1010, 128), (0b1011, 1)];
    for (bits, divisor) in divisors {
        let mut bench = Bench::new(0);
        let _ = bench.write(TIMER, 0x40);
        let _ = bench.write(DIVIDE, bits);
        let _ = bench.write(INITIAL_COUNT, 10);
        assert_eq!(bench.apic().next_deadline(), START + VmDuration(10 * divisor), "{bits:#b}");
        bench.pass(divisor);
        assert_eq!(bench.read(CURRENT_COUNT), 9);
    }
}

#[test]
fn a_running_count_goes_on_when_the_divider_changes() {
    let mut bench = Bench::new(0);
    let _ = bench.write(TIMER, 0x40);
    let _ = bench.write(INITIAL_COUNT, 100);
    bench.pass(120);
    assert_eq!(bench.read(CURRENT_COUNT), 40);
    let _ = bench.write(DIVIDE, 0xb);
    assert_eq!(bench.read(CURRENT_COUNT), 40);
    assert_eq!(bench.apic().next_deadline(), START + VmDuration(160));
}

#[test]
fn a_periodic_timer_does_not_drift_at_a_frequency_that_nanoseconds_cannot_express() {
    const BUS: u64 = 19_200_000; // 52.083... ns
    let mut bench = Bench::new(0);
    bench.timebase = Timebase::new(BUS, 1, 0);
    let _ = bench.write(TIMER, 0x40 | PERIODIC);
    let _ = bench.write(DIVIDE, 0xb);
    let _ = bench.write(INITIAL_COUNT, 19_201);
    let start = START.to_ticks(BUS);
    for n in 1..=100_000 {
        let deadline = bench.apic().next_deadline();
        assert_eq!(deadline.to_ticks(BUS), start + n * 19_201);
        bench.now = deadline;
        bench.apic().advance(deadline);
    }
}

#[test]
fn a_late_periodic_timer_fires_once_and_keeps_its_phase() {
    let mut bench = Bench::new(0);
    let _ = bench.write(TIMER, 0x40 | PERIODIC);
    let _ = bench.write(DIVIDE, 0xb);
    let _ = bench.write(INITIAL_COUNT, 1000);
    bench.pass(10 * 366 * 86_400 * 1_000_000_000 + 300);
    assert_eq!((bench.take(), bench.take()), (Some(0x40), None));
    assert_eq!(bench.apic().next_deadline(), bench.now + VmDuration(700));
    assert_eq!(bench.read(CURRENT_COUNT), 700);
    bench.now = VmInstant::NEVER;
    bench.pass(0);
}

#[test]
fn a_masked_timer_runs_and_wakes_nobody() {
    let mut bench = Bench::new(0);
    let _ = bench.write(TIMER, 0x40 | MASKED | PERIODIC);
    let _ = bench.write(DIVIDE, 0xb);
    let _ = bench.write(INITIAL_COUNT, 1000);
    assert_eq!(bench.apic().next_deadline(), VmInstant::NEVER);
    bench.pass(1400);
    assert_eq!((bench.read(CURRENT_COUNT), bench.take()), (600, None));
    let _ = bench.write(TIMER, 0x40 | PERIODIC);
    assert_eq!((bench.take(), bench.apic().next_deadline()), (None, START + VmDuration(2000)));
}

#[test]
fn tsc_deadline_fires_when_the_counter_gets_there_and_disarms() {
    let mut bench = Bench::new(0);
    let now = bench.now;
    bench.apic().write_tsc_deadline(5, now);
    assert_eq!(bench.apic().read_tsc_deadline(now), 0, "ignored in other modes");
    let _ = bench.write(TIMER, 0x40 | TSC_DEADLINE);
    let tsc = bench.timebase.tsc(now);
    assert_eq!(tsc, START.0 / 2 * 5 + 77);
    bench.apic().write_tsc_deadline(tsc + 1001, now);
    assert_eq!(bench.apic().next_deadline(), START + VmDuration(401), "1001 ticks of 0.4 ns");
    assert_eq!(bench.apic().read_tsc_deadline(now), tsc + 1001);
    let _ = bench.write(INITIAL_COUNT, 50);
    assert_eq!((bench.read(INITIAL_COUNT), bench.read(CURRENT_COUNT)), (0, 0), "ignored in this mode");
    bench.pass(400);
    assert_eq!(bench.take(), None);
    bench.pass(1);
    assert_eq!(bench.take(), Some(0x40));
    let now = bench.now;
    assert_eq!(bench.apic().read_tsc_deadline(now), 0);
    let _ = bench.eoi();
    bench.apic().write_tsc_deadline(tsc, now);
    assert_eq!(bench.take(), Some(0x40), "in the past: at once");
    bench.apic().write_tsc_deadline(u64::MAX, now);
    let _ = bench.write(TIMER, 0x40);
    assert_eq!(bench.apic().next_deadline(), VmInstant::NEVER, "a change of mode disarms");
}

#[test]
fn a_change_of_the_counter_moves_the_deadline() {
    let mut bench = Bench::new(0);
    let now = bench.now;
    let _ = bench.write(TIMER, 0x40 | TSC_DEADLINE);
    let tsc = bench.timebase.tsc(now);
    bench.apic().write_tsc_deadline(tsc + 10_000, now);
    bench.timebase = Timebase::new(1_000_000_000, 2_500_000_000, 77 + 5000);
    bench.apic().retime(now);
    assert_eq!(bench.apic().next_deadline(), START + VmDuration(2000));
}

#[test]
fn the_pins_follow_their_local_vectors() {
    let mut bench = Bench::new(0);
    assert!(!bench.apic().takes_external_interrupts());
    assert_eq!(bench.apic().signal(LvtIndex::Lint0), Accepted::Ignored, "masked");
    bench.apic().enter_virtual_wire_mode();
    assert!(bench.apic().takes_external_interrupts());
    assert_eq!(bench.apic().signal(LvtIndex::Lint0), Accepted::ExtInt);
    assert_eq!(bench.apic().signal(LvtIndex::Lint1), Accepted::Nmi);
    let _ = bench.write(LINT0, 0x8041);
    assert_eq!(bench.apic().signal(LvtIndex::Lint0), Accepted::Requested);
    assert_eq!(bench.apic().signal(LvtIndex::Lint0), Accepted::Ignored, "a level, until its end");
    assert_eq!(bench.read(LINT0), 0xc041);
    bench.take();
    let _ = bench.eoi();
    assert_eq!(bench.read(LINT0), 0x8041);
    let _ = bench.write(0x340, 0x0400);
    assert_eq!(bench.apic().signal(LvtIndex::Performance), Accepted::Nmi);
    bench.base.remove(ApicBase::EN);
    assert!(bench.apic().takes_external_interrupts());
    assert_eq!(bench.apic().signal(LvtIndex::Lint0), Accepted::ExtInt);
    assert_eq!(bench.apic().signal(LvtIndex::Lint1), Accepted::Nmi);
    assert_eq!(bench.apic().signal(LvtIndex::Timer), Accepted::Ignored);
}

#[test]
fn local_vectors_keep_the_bits_they_have() {
    let mut bench = Bench::new(0);
    let expected = [
        (0x2f0, 0x0001_07ff),
        (TIMER, 0x0007_00ff),
        (0x330, 0x0001_07ff),
        (0x340, 0x0001_07ff),
        (LINT0, 0x0001_a7ff),
        (LINT1, 0x0001_a7ff),
        (ERROR, 0x0001_00ff),
    ];
    for (offset, value) in expected {
        let _ = bench.write(offset, u32::MAX);
        assert_eq!(bench.read(offset), value, "{offset:#x}");
    }
}

#[test]
fn the_page_is_written_with_aligned_words_of_32_bits_and_read_in_part() {
    let mut bench = Bench::new(0x12);
    let mut read = |offset, width| bench.apic().read(offset, width, START);
    assert_eq!([read(0x20, Width::Word), read(0x23, Width::Byte)], [Ok(0), Ok(0x12)]);
    for (offset, width) in
        [(0x20, Width::Qword), (0x24, Width::Byte), (0x23, Width::Word), (0x22, Width::Dword), (0x2c, Width::Dword)]
    {
        assert_eq!(bench.apic().read(offset, width, START), Err(IoError::BadWidth));
    }
    for (offset, width) in [(0x80, Width::Byte), (0x80, Width::Qword), (0x84, Width::Dword), (0x81, Width::Dword)] {
        assert_eq!(bench.apic().write(offset, width, 0x20, START), Err(IoError::BadWidth));
    }
    assert_eq!(bench.apic().read(u64::MAX, Width::Byte, START), Err(IoError::BadWidth));
    assert_eq!(bench.apic().read(!0xf, Width::Dword, START), Ok(0));
}

#[test]
fn modes_change_only_along_the_manual_s_arrows() {
    const DISABLED: u64 = 0xfee0_0000;
    const INVALID: u64 = 0xfee0_0400;
    const XAPIC: u64 = 0xfee0_0800;
    const X2APIC: u64 = 0xfee0_0c00;
    let allowed = |from: u64, to: u64| {
        let mut bench = Bench::new(1);
        bench.base = ApicBase::from_bits_retain(from);
        bench.apic().write_base(to, 48).is_ok()
    };
    for (from, to, is_allowed) in [
        (DISABLED, DISABLED, true),
        (DISABLED, XAPIC, true),
        (DISABLED, X2APIC, false),
        (DISABLED, INVALID, false),
        (XAPIC, DISABLED, true),
        (XAPIC, XAPIC, true),
        (XAPIC, X2APIC, true),
        (XAPIC, INVALID, false),
        (X2APIC, DISABLED, true),
        (X2APIC, XAPIC, false),
        (X2APIC, X2APIC, true),
        (X2APIC, INVALID, false),
    ] {
        assert_eq!(allowed(from, to), is_allowed, "{from:#x} to {to:#x}");
    }
    for reserved in [1, 1 << 9, 1 << 48, 1 << 63] {
        assert!(!allowed(XAPIC, XAPIC | reserved), "{reserved:#x}");
    }
}

#[test]
fn switching_off_forgets_all_but_the_id_and_going_to_x2apic_nothing() {
    let mut bench = Bench::new(3);
    let _ = bench.receive(0x40, false);
    let _ = bench.write(TIMER, 0x55);
    bench.apic().write_base(0xfee0_0c00, 48).expect("allowed");
    assert_eq!((bench.rdmsr(0x832), bench.rdmsr(0x80f)), (Ok(0x55), Ok(0x1ff)));
    assert_eq!(bench.take(), Some(0x40));
    assert_eq!(bench.apic().page(), None);
    assert_eq!(bench.apic().read(0x20, Width::Dword, START), Err(IoError::NoRegister));
    bench.apic().write_base(0xfee0_0000, 48).expect("allowed");
    assert_eq!(bench.apic().highest_pending(), None);
    bench.apic().write_base(0xfee0_0800, 48).expect("allowed");
    assert_eq!(bench.state, LapicState::power_on(VcpuId(3)));
}

#[test]
fn x2apic_registers_are_msrs() {
    let mut bench = Bench::x2apic(0x1234_5678);
    assert_eq!(bench.rdmsr(0x802), Ok(0x1234_5678));
    assert_eq!(bench.rdmsr(0x803), Ok(0x0106_0015));
    let Ok(Effect::Send(ipi)) = bench.wrmsr(0x830, 0x8765_4321_0000_0041) else { panic!("an IPI") };
    assert_eq!(ipi.message, message(0x8765_4321, 0x41, false));
    assert_eq!(bench.rdmsr(0x830), Ok(0x8765_4321_0000_0041));
    let Ok(Effect::Send(ipi)) = bench.wrmsr(0x830, 0xff_0000_1041) else { panic!("an IPI") };
    assert_eq!(ipi.message.destination, 0xff, "no broadcast: it is 32 bits wide");
    assert_eq!(bench.wrmsr(0x83f, 0x42), Ok(Effect::None));
    assert_eq!(bench.take(), Some(0x42));
    assert_eq!(bench.rdmsr(0x812), Ok(1 << 2));
    assert_eq!(bench.wrmsr(0x80b, 0), Ok(Effect::None));
    assert_eq!(bench.rdmsr(0x812), Ok(0));
    assert_eq!(bench.wrmsr(0x83f, 0x05), Ok(Effect::None));
    assert_eq!(bench.wrmsr(0x828, 0), Ok(Effect::None));
    assert_eq!(bench.rdmsr(0x828), Ok(0x20), "send illegal vector");
}

#[test]
fn x2apic_accesses_that_the_manual_forbids_raise_general_protection_and_leave_no_trace() {
    let mut bench = Bench::x2apic(0);
    let before = bench.state.clone();
    let unreadable = [0x800, 0x801, 0x804, 0x809, 0x80b, 0x80c, 0x80e, 0x829, 0x82e, 0x831, 0x83a, 0x83f, 0x840, 0x8ff];
    for index in unreadable {
        assert_eq!(bench.rdmsr(index), Err(GeneralProtection), "{index:#x}");
    }
    for index in [0x800, 0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810, 0x818, 0x820, 0x827, 0x831, 0x839, 0x8ff] {
        assert_eq!(bench.wrmsr(index, 0), Err(GeneralProtection), "{index:#x}");
    }
    let reserved = [
        (0x808, 0x100),
        (0x80b, 1),
        (0x80f, 1 << 10),
        (0x80f, 1 << 32),
        (0x828, 1),
        (0x82f, 1 << 11),
        (0x830, 1 << 13),
        (0x830, 1 << 16),
        (0x830, 1 << 20),
        (0x832, 1 << 19),
        (0x832, 1 << 8),
        (0x835, 1 << 17),
        (0x837, 1 << 8),
        (0x838, 1 << 32),
        (0x83e, 1 << 2),
        (0x83e, 1 << 4),
        (0x83f, 0x100),
    ];
    for (index, value) in reserved {
        assert_eq!(bench.wrmsr(index, value), Err(GeneralProtection), "{index:#x} = {value:#x}");
    }
    assert_eq!(bench.state, before);
    let mut xapic = Bench::new(0);
    assert_eq!((xapic.rdmsr(0x802), xapic.wrmsr(0x808, 0)), (Err(GeneralProtection), Err(GeneralProtection)));
}

#[test]
fn init_resets_the_registers_and_keeps_mode_and_id() {
    let mut bench = Bench::x2apic(9);
    let _ = bench.receive(0x40, false);
    bench.apic().reset_by_init();
    assert_eq!(bench.state, LapicState::power_on(VcpuId(9)));
    assert!(bench.apic().is_x2apic());
}

#[test]
fn any_access_at_any_time_is_survived() {
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..50 {
        let mut bench = if next() % 2 == 0 { Bench::new(next() as u32) } else { Bench::x2apic(next() as u32) };
        bench.timebase = Timebase::new(next() >> (next() % 64), next() >> (next() % 64), next());
        for _ in 0..20_000 {
            let value = next() >> (next() % 64);
            let now = bench.now;
            match next() % 8 {
                0 => bench.now = VmInstant(bench.now.0.saturating_add(next() >> (next() % 64))),
                1 => _ = bench.apic().read(next() % 0x1000, Width::ALL[next() as usize % 4], now),
                2 => _ = bench.apic().write((next() % 0x40) << 4, Width::Dword, value, now),
                3 => _ = bench.rdmsr(0x800 + next() as u32 % 0x100),
                4 => _ = bench.wrmsr(0x800 + next() as u32 % 0x40, value),
                5 => bench.apic().write_tsc_deadline(value, now),
                6 => _ = bench.take(),
                _ => {
                    let _ = bench.receive(next() as u8, next() % 2 == 0);
                }
            }
            let now = bench.now;
            bench.apic().advance(now);
            let deadline = bench.apic().next_deadline();
            assert!(deadline > now || deadline == VmInstant::NEVER, "a deadline that has come does not stay");
        }
    }
}
