//! All chips on one board: that they work together, and that nothing a guest does to them is a panic.
//!
//! Rule of this file: the wiring is what a PC's is. Whatever is random comes from a fixed seed, and a failure names it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use dragoman_devices::{
    Alarm, Bus, BusBuilder, Clock, Device, InterruptMessage, LineInputs, LineSink, MessageSink, Outputs, PowerControl, Slot,
    acpi_pm::{self, AcpiPm},
    backend::MemorySink,
    debug_exit::{self, DebugExit},
    debugcon::{self, DebugConsole},
    fw_cfg::{self, FwCfg},
    hpet::{self, Hpet},
    i8042::{self, I8042},
    ioapic::{self, IoApic},
    memory::GuestRam,
    pci::{self, PciHost},
    pic::{self, Pic},
    piix4::{self, Piix4},
    pit::{self, Pit},
    rtc::{self, MemorySize, Rtc},
    uart::{self, Uart},
};
use dragoman_state::{GuestPhys, Port, VmDuration, VmInstant, Width};

/// Guest time, moved by hand.
#[derive(Default)]
struct Hand(AtomicU64);
impl Clock for Hand {
    fn now(&self) -> VmInstant {
        VmInstant(self.0.load(Ordering::Relaxed))
    }
}
impl Alarm for Hand {
    fn wake_by(&self, _at: VmInstant) {}
}

/// The processor's end: its INTR pin, the messages to its APIC, and what its guest asked of the machine.
#[derive(Default)]
struct Processor {
    intr: Mutex<bool>,
    messages: Mutex<Vec<InterruptMessage>>,
    asked: Mutex<Vec<&'static str>>,
}
impl LineSink for Processor {
    fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs)) {
        struct Intr<'a>(&'a mut bool);
        impl LineInputs for Intr<'_> {
            fn set_input(&mut self, _pin: u32, high: bool) {
                *self.0 = high;
            }
        }
        apply(&mut Intr(&mut self.intr.lock().expect("not poisoned")));
    }
}
impl MessageSink for Processor {
    fn deliver(&self, message: InterruptMessage) {
        self.messages.lock().expect("not poisoned").push(message);
    }
}
impl PowerControl for Processor {
    fn power_off(&self) {
        self.asked.lock().expect("not poisoned").push("off");
    }
    fn reset(&self) {
        self.asked.lock().expect("not poisoned").push("reset");
    }
    fn debug_exit(&self, _value: u32) {
        self.asked.lock().expect("not poisoned").push("exit");
    }
}

struct Board {
    bus: Bus,
    clock: Arc<Hand>,
    processor: Arc<Processor>,
    pic: Arc<Slot<Pic>>,
    ioapic: Arc<Slot<IoApic>>,
    uart: Arc<Slot<Uart>>,
    keyboard: Arc<Slot<I8042>>,
    pm: Arc<Slot<AcpiPm>>,
    console: MemorySink,
}

/// The inputs of both interrupt controllers for an ISA interrupt.
fn isa(outputs: &mut Outputs, pic: &Arc<Slot<Pic>>, ioapic: &Arc<Slot<IoApic>>, irq: u32) -> dragoman_devices::IrqLine {
    outputs.line(&[(pic.clone(), irq), (ioapic.clone(), if irq == 0 { 2 } else { irq })])
}

impl Board {
    fn new() -> Self {
        let clock = Arc::new(Hand::default());
        let processor = Arc::new(Processor::default());
        let ram = Arc::new(GuestRam::new(4 << 20).expect("small"));
        let console = MemorySink::new(1 << 10);
        let mut builder = BusBuilder::new();
        let put = |outputs, clock: &Arc<Hand>| (outputs, clock.clone() as Arc<dyn Clock>, clock.clone() as Arc<dyn Alarm>);
        fn slot<D: Device>(device: D, (outputs, clock, alarm): (Outputs, Arc<dyn Clock>, Arc<dyn Alarm>)) -> Arc<Slot<D>> {
            Slot::new(device, outputs, clock, alarm)
        }

        let mut out = Outputs::new();
        let pic = slot(Pic::new(out.line(&[(processor.clone(), 0)])), put(out, &clock));
        let mut out = Outputs::new();
        let ioapic = slot(IoApic::new(out.messages(processor.clone())), put(out, &clock));
        let mut out = Outputs::new();
        let legacy = [0, 8].map(|irq| isa(&mut out, &pic, &ioapic, irq));
        let routes = (20..24).map(|pin| (pin as u8, out.line(&[(ioapic.clone(), pin)]))).collect();
        let hpet = slot(Hpet::new(legacy, routes), put(out, &clock));
        let mut out = Outputs::new();
        let pit = slot(Pit::new(out.line(&[(hpet.clone(), hpet::PIT_INPUT)])), put(out, &clock));
        let mut out = Outputs::new();
        let irq8 = out.line(&[(hpet.clone(), hpet::RTC_INPUT)]);
        let memory = MemorySize { below_4g: 4 << 20, above_4g: 0 };
        let rtc = slot(Rtc::new(irq8, 1_700_000_000, memory), put(out, &clock));
        let mut out = Outputs::new();
        let (irq4, room) = (isa(&mut out, &pic, &ioapic, 4), out.line(&[]));
        let uart = slot(Uart::new(uart::COM1, irq4, room, Box::new(console.clone())), put(out, &clock));
        let mut out = Outputs::new();
        let (irq1, irq12) = (isa(&mut out, &pic, &ioapic, 1), isa(&mut out, &pic, &ioapic, 12));
        let keyboard = slot(I8042::new(irq1, irq12, processor.clone()), put(out, &clock));
        let mut out = Outputs::new();
        let isa_lines = [5, 9, 10, 11].map(|irq| (irq as u8, isa(&mut out, &pic, &ioapic, irq))).into();
        let apic_lines = [16, 17, 18, 19].map(|pin| out.line(&[(ioapic.clone(), pin)]));
        let bridge = slot(Piix4::new(isa_lines, apic_lines), put(out, &clock));
        let mut out = Outputs::new();
        let sci = out.line(&[(bridge.clone(), piix4::SCI_INPUT)]);
        let pm = slot(AcpiPm::new(acpi_pm::DEFAULT_BASE, sci, processor.clone()), put(out, &clock));
        let mut host = PciHost::new(processor.clone());
        host.attach(piix4::PLACE, bridge.clone());
        host.attach(acpi_pm::PLACE, pm.clone());
        let host = slot(host, put(Outputs::new(), &clock));
        let mut config = FwCfg::new(ram);
        config.add_file("etc/test", vec![1; 1000]).expect("a good name");
        let config = slot(config, put(Outputs::new(), &clock));
        let debug = slot(DebugConsole::new(Box::new(console.clone())), put(Outputs::new(), &clock));
        let exit = slot(DebugExit::new(processor.clone()), put(Outputs::new(), &clock));

        let mut ports = |slot: &Arc<Slot>, range: (Port, u32)| builder.map_ports(slot, range.0, range.1).expect("free");
        for range in pic::PORTS {
            ports(&(pic.clone() as _), range);
        }
        for range in pit::PORTS {
            ports(&(pit.clone() as _), range);
        }
        for range in i8042::PORTS {
            ports(&(keyboard.clone() as _), range);
        }
        for range in [(acpi_pm::DEFAULT_BASE, acpi_pm::BLOCK.into()), acpi_pm::SMI_PORTS] {
            ports(&(pm.clone() as _), range);
        }
        ports(&(rtc as _), rtc::PORTS);
        ports(&(uart.clone() as _), (uart::COM1, uart::PORTS));
        ports(&(host as _), pci::PORTS);
        ports(&(config as _), fw_cfg::PORTS);
        ports(&(debug as _), (debugcon::PORT, 1));
        ports(&(exit as _), (debug_exit::PORT, debug_exit::PORTS));
        builder.add(&(bridge as _));
        builder.map_mmio(&(ioapic.clone() as _), ioapic::BASE, ioapic::LENGTH).expect("free");
        builder.map_mmio(&(hpet as _), hpet::BASE, hpet::LENGTH).expect("free");
        let bus = builder.build();
        bus.reset();
        Self { bus, clock, processor, pic, ioapic, uart, keyboard, pm, console }
    }

    fn pass(&self, span: VmDuration) {
        let now = self.clock.now() + span;
        self.clock.0.store(now.0, Ordering::Relaxed);
        self.bus.advance(now);
    }

    fn outb(&self, port: u16, value: u32) {
        self.bus.write_port(Port(port), Width::Byte, value);
    }

    fn intr(&self) -> bool {
        *self.processor.intr.lock().expect("not poisoned")
    }

    fn messages(&self) -> Vec<u8> {
        self.processor.messages.lock().expect("not poisoned").drain(..).map(|message| message.vector).collect()
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.processor.asked.lock().expect("not poisoned"))
    }

    /// Programs the 8259 pair with vectors 30h to 3Fh and all inputs open.
    fn open_pic(&self) {
        for (command, data, words) in [(0x20, 0x21, [0x30, 4, 1, 0]), (0xa0, 0xa1, [0x38, 2, 1, 0])] {
            self.outb(command, 0x11);
            words.into_iter().for_each(|word| self.outb(data, word));
        }
    }

    /// Opens an input of the I/O APIC.
    fn open_ioapic(&self, pin: u64, entry: u64) {
        for (register, value) in [(0x10 + 2 * pin, entry), (0x11 + 2 * pin, 0)] {
            self.bus.write_mmio(ioapic::BASE, Width::Dword, register);
            self.bus.write_mmio(GuestPhys(ioapic::BASE.0 + 0x10), Width::Dword, value);
        }
    }
}

#[test]
fn the_timer_interrupts_through_both_controllers() {
    let board = Board::new();
    board.open_pic();
    board.open_ioapic(2, 0x51);
    board.outb(0x43, 0x34);
    board.messages();
    board.outb(0x20, 0x20);
    while board.intr() {
        board.pic.access(Pic::acknowledge);
        board.outb(0x20, 0x20);
    }
    board.outb(0x40, 0xa9);
    board.outb(0x40, 0x04); // 1193: a little more than a millisecond
    for _ in 0..10 {
        board.pass(VmDuration::from_micros(1_001));
        assert!(board.intr());
        assert_eq!(board.pic.access(Pic::acknowledge), 0x30);
        board.outb(0x20, 0x20);
        assert_eq!(board.messages(), [0x51]);
    }
}

#[test]
fn the_hpet_takes_the_timer_s_place_and_gives_it_back() {
    let board = Board::new();
    board.open_ioapic(2, 0x51);
    let hpet = |offset: u64, value| board.bus.write_mmio(GuestPhys(hpet::BASE.0 + offset), Width::Qword, value);
    hpet(0x100, 1 << 2);
    hpet(0x108, 1000);
    hpet(0x10, 3);
    board.messages();
    board.outb(0x43, 0x34);
    assert_eq!(board.messages(), [], "the interval timer is cut off");
    board.pass(VmDuration::from_micros(11));
    assert_eq!(board.messages(), [0x51]);
    hpet(0x10, 0);
    board.outb(0x43, 0x30);
    board.outb(0x43, 0x34);
    assert_eq!(board.messages().last(), Some(&0x51));
}

#[test]
fn a_level_is_delivered_again_at_its_end_until_the_device_lets_go() {
    let board = Board::new();
    board.open_ioapic(9, 0x61 | 1 << 15);
    board.outb(0xb2, acpi_pm::ACPI_ENABLE.into());
    board.bus.write_port(Port(0x602), Width::Word, 1 << 8);
    board.pm.access(AcpiPm::press_power_button);
    assert_eq!(board.messages(), [0x61]);
    board.ioapic.access(|ioapic| ioapic.end_of_interrupt(0x61));
    assert_eq!(board.messages(), [0x61]);
    board.bus.write_port(Port(0x600), Width::Word, 1 << 8);
    board.ioapic.access(|ioapic| ioapic.end_of_interrupt(0x61));
    assert_eq!(board.messages(), []);
}

#[test]
fn bytes_and_keys_from_the_host_interrupt_the_guest() {
    let board = Board::new();
    board.open_pic();
    board.outb(0x3fc, 0x08);
    board.outb(0x3f9, 0x01);
    assert_eq!(board.uart.access(|uart| uart.receive(b"hello")), 1);
    assert_eq!(board.pic.access(Pic::acknowledge), 0x34);
    assert_eq!(board.bus.read_port(Port(0x3f8), Width::Byte), u32::from(b'h'));
    board.outb(0x20, 0x20);
    assert!(board.keyboard.access(|keyboard| keyboard.press(&[0x1c])));
    assert_eq!(board.pic.access(Pic::acknowledge), 0x31);
    assert_eq!(board.bus.read_port(Port(0x60), Width::Byte), 0x1e);
    board.outb(0x20, 0x20);
    assert!(!board.intr());
}

#[test]
fn configuration_cycles_reach_functions_in_other_slots() {
    let board = Board::new();
    let select = |address| board.bus.write_port(Port(0xcf8), Width::Dword, address);
    let ids = [0x8000_0000, 0x8000_0800, 0x8000_0b00, 0x8000_0900].map(|address| {
        select(address);
        board.bus.read_port(Port(0xcfc), Width::Dword)
    });
    assert_eq!(ids, [0x1237_8086, 0x7110_8086, 0x7113_8086, u32::MAX]);
    select(0x8000_0b40);
    board.bus.write_port(Port(0xcfc), Width::Dword, 0xb000);
    assert_eq!(board.bus.read_port(Port(0x600), Width::Word), 0xffff, "the block has moved away");
    assert_eq!(board.bus.read_port(Port(0xcfd), Width::Word), 0x00b0, "bytes 1 and 2");
}

/// A xorshift generator: the same numbers on every machine.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Any number, small ones as likely as large ones.
    fn any(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }
}

/// Ports worth trying, with how many follow.
const PORTS: [(u16, u64); 16] = [
    (0x20, 2),
    (0x40, 4),
    (0x60, 5),
    (0x70, 4),
    (0x92, 1),
    (0xa0, 2),
    (0xb2, 2),
    (0xe9, 1),
    (0xf4, 4),
    (0x3f8, 8),
    (0x4d0, 2),
    (0x510, 12),
    (0x600, 64),
    (0xcf8, 8),
    (0xcfc, 4),
    (0, 0x1_0000),
];

#[test]
fn nothing_a_guest_does_is_a_panic() {
    for seed in 1..=20u64 {
        let board = Board::new();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for step in 0..20_000 {
            let width = Width::ALL[random.below(3) as usize];
            let (first, count) = PORTS[random.below(PORTS.len() as u64) as usize];
            let port = Port(first.wrapping_add(random.below(count) as u16));
            let (base, length) = [(ioapic::BASE, 0x50), (hpet::BASE, 0x180), (hpet::BASE, 0x400)][random.below(3) as usize];
            let aligned = random.below(4) != 0;
            let address = GuestPhys((base.0 + random.below(length)) & if aligned { !7 } else { !0 });
            let value = random.any();
            match random.below(12) {
                0..3 => _ = board.bus.read_port(port, width),
                3..6 => board.bus.write_port(port, width, value as u32),
                6 => _ = board.bus.read_mmio(address, Width::ALL[random.below(4) as usize]),
                7 | 8 => board.bus.write_mmio(address, Width::ALL[random.below(4) as usize], value),
                9 => board.pass(VmDuration(random.any() >> 8)),
                10 if board.intr() => _ = board.pic.access(Pic::acknowledge),
                10 => board.ioapic.access(|ioapic| ioapic.end_of_interrupt(value as u8)),
                _ => match random.below(5) {
                    0 => _ = board.uart.access(|uart| uart.receive(&value.to_le_bytes())),
                    1 => _ = board.keyboard.access(|keyboard| keyboard.press(&value.to_le_bytes()[..3])),
                    2 => board.pm.access(AcpiPm::press_power_button),
                    3 => board.pass(VmDuration(board.bus.next_deadline().since(board.clock.now()).0 % (1 << 50))),
                    _ if random.below(100) == 0 => board.bus.reset(),
                    _ => _ = board.console.take(),
                },
            }
            let now = board.clock.now();
            board.bus.advance(now);
            assert!(board.bus.next_deadline() > now, "seed {seed}, step {step}: a deadline that has come stays");
            board.messages();
            board.asked();
        }
        board.pass(VmDuration(u64::MAX));
        for (first, count) in PORTS {
            for n in 0..count.min(64) as u16 {
                board.bus.read_port(Port(first + n), Width::Byte);
            }
        }
    }
}

#[test]
fn the_guest_can_reset_and_switch_off_in_every_way_a_pc_has() {
    let board = Board::new();
    board.outb(0x64, 0xfe);
    board.outb(0x92, 0x01);
    board.outb(0xcf9, 0x06);
    board.bus.write_port(Port(0x604), Width::Word, 1 << 13);
    board.outb(0xf4, 3);
    assert_eq!(board.asked(), ["reset", "reset", "reset", "off", "exit"]);
}
