//! The board as a table: which chips there are, where they answer, and how their interrupt lines run.
//!
//! Rule of this file: it wires, and decides nothing that a chip could decide. The wiring is a PC's: ISA interrupts go to
//! the 8259 pair and to the I/O APIC at once, the timer through the HPET, PCI interrupts through the south bridge.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dragoman_accel::{CpuBus, Pending, VcpuHandle};
use dragoman_devices::{
    Alarm, Bus, BusBuilder, Clock, Device, InterruptMessage, IrqLine, LineInputs, LineSink, MapError, MessageSink, Outputs,
    PowerControl, Slot,
    acpi::{Platform, SCANNED, Tables},
    acpi_pm::{self, AcpiPm},
    backend::ByteSink,
    coprocessor::{self, Coprocessor},
    debug_exit::{self, DebugExit},
    debugcon::{self, DebugConsole},
    fw_cfg::{self, FwCfg},
    hpet::{self, Hpet},
    i8042::{self, I8042},
    ioapic::{self, IoApic},
    lapic::{Ipi, Recipients},
    memory::{GuestRam, HIGH_RAM, LOW_RAM_END},
    pci::{self, PciHost},
    pic::{self, Pic},
    piix4::{self, Piix4},
    pit::{self, Pit},
    rtc::{self, MemorySize, Rtc},
    testdev::{self, TestDevice},
    uart::{self, Uart},
};
use dragoman_state::{GuestPhys, Port, VcpuId, Width};

use super::clock::wall_clock;

/// The I/O APIC's identity, above those of the processors.
const IOAPIC_ID: u8 = 0;
/// Where the local APICs answer.
const LAPIC_BASE: u32 = 0xfee0_0000;

/// What the board is given.
pub struct Parts {
    pub ram: Arc<GuestRam>,
    pub clock: Arc<dyn Clock>,
    pub alarm: Arc<dyn Alarm>,
    pub power: Arc<dyn PowerControl>,
    pub processors: u32,
    /// Where COM1's bytes go.
    pub serial: Box<dyn ByteSink>,
    /// Told when COM1 can take bytes.
    pub serial_room: Arc<dyn LineSink>,
    /// Where port 0xE9's bytes go, where there is one.
    pub debugcon: Option<Box<dyn ByteSink>>,
    /// The debug-exit port, where there is one.
    pub debug_exit: Option<u16>,
    /// The test device is there.
    pub testdev: bool,
}

/// The board.
pub struct Board {
    bus: Bus,
    pic: Arc<Slot<Pic>>,
    ioapic: Arc<Slot<IoApic>>,
    uart: Arc<Slot<Uart>>,
    coprocessor: Arc<Slot<Coprocessor>>,
    rtc: Arc<Slot<Rtc>>,
    sockets: Arc<Sockets>,
    tables: Tables,
}

/// Where the processors are plugged in: a handle is its processor's, whichever engine runs that.
#[derive(Default)]
struct Sockets {
    processors: OnceLock<Vec<Arc<dyn VcpuHandle>>>,
    /// The level of the 8259 pair's output; keeps two that drive it from overtaking each other.
    intr: Mutex<bool>,
}

impl Sockets {
    fn processors(&self) -> &[Arc<dyn VcpuHandle>] {
        self.processors.get().map_or(&[], Vec::as_slice)
    }
}

impl MessageSink for Sockets {
    fn deliver(&self, message: InterruptMessage) {
        for processor in self.processors() {
            processor.raise(Pending::Message(message));
        }
    }
}

/// The bootstrap processor's INTR.
struct Intr<'a> {
    sockets: &'a Sockets,
    level: &'a mut bool,
}

impl LineInputs for Intr<'_> {
    fn set_input(&mut self, _pin: u32, high: bool) {
        *self.level = high;
        if let Some(bootstrap) = self.sockets.processors().first() {
            bootstrap.raise(Pending::ExternalInterrupt(high));
        }
    }
}

impl LineSink for Sockets {
    fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs)) {
        let mut level = self.intr.lock().unwrap_or_else(PoisonError::into_inner);
        apply(&mut Intr { sockets: self, level: &mut level });
    }
}

/// Puts chips on the board.
struct Builder {
    bus: BusBuilder,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Alarm>,
}

impl Builder {
    fn place<D: Device>(&self, device: D, outputs: Outputs) -> Arc<Slot<D>> {
        Slot::new(device, outputs, self.clock.clone(), self.alarm.clone())
    }

    fn ports<D: Device + 'static>(&mut self, slot: &Arc<Slot<D>>, ranges: &[(Port, u32)]) -> Result<(), MapError> {
        let slot: Arc<Slot> = slot.clone();
        ranges.iter().try_for_each(|(first, count)| self.bus.map_ports(&slot, *first, *count))
    }

    fn mmio<D: Device + 'static>(&mut self, slot: &Arc<Slot<D>>, first: GuestPhys, length: u64) -> Result<(), MapError> {
        let slot: Arc<Slot> = slot.clone();
        self.bus.map_mmio(&slot, first, length)
    }
}

/// The wire of an ISA interrupt, to both interrupt controllers. The timer's is input 2 of the I/O APIC.
fn isa(outputs: &mut Outputs, pic: &Arc<Slot<Pic>>, ioapic: &Arc<Slot<IoApic>>, irq: u32) -> IrqLine {
    outputs.line(&[(pic.clone(), irq), (ioapic.clone(), if irq == 0 { 2 } else { irq })])
}

impl Board {
    /// The board made of `parts`, reset.
    pub fn new(parts: Parts) -> Result<Self, MapError> {
        let sockets = Arc::<Sockets>::default();
        let mut builder = Builder { bus: BusBuilder::new(), clock: parts.clock, alarm: parts.alarm };

        let mut out = Outputs::new();
        let intr = out.line(&[(sockets.clone(), 0)]);
        let pic = builder.place(Pic::new(intr), out);
        let mut out = Outputs::new();
        let messages = out.messages(sockets.clone());
        let ioapic = builder.place(IoApic::new(messages), out);

        let mut out = Outputs::new();
        let legacy = [0, 8].map(|irq| isa(&mut out, &pic, &ioapic, irq));
        let routes = (20..24).map(|pin| (pin as u8, out.line(&[(ioapic.clone(), pin)]))).collect();
        let hpet = builder.place(Hpet::new(legacy, routes), out);
        let mut out = Outputs::new();
        let timer = out.line(&[(hpet.clone(), hpet::PIT_INPUT)]);
        let pit = builder.place(Pit::new(timer), out);
        let mut out = Outputs::new();
        let alarm = out.line(&[(hpet.clone(), hpet::RTC_INPUT)]);
        let low = parts.ram.size().min(LOW_RAM_END.0);
        let memory = MemorySize { below_4g: low, above_4g: parts.ram.size() - low };
        let rtc = builder.place(Rtc::new(alarm, wall_clock(), memory), out);

        let mut out = Outputs::new();
        let (irq4, room) = (isa(&mut out, &pic, &ioapic, 4), out.line(&[(parts.serial_room, 0)]));
        let uart = builder.place(Uart::new(uart::COM1, irq4, room, parts.serial), out);
        let mut out = Outputs::new();
        let (irq1, irq12) = (isa(&mut out, &pic, &ioapic, 1), isa(&mut out, &pic, &ioapic, 12));
        let keyboard = builder.place(I8042::new(irq1, irq12, parts.power.clone()), out);

        let mut out = Outputs::new();
        let irq13 = isa(&mut out, &pic, &ioapic, 13);
        let coprocessor = builder.place(Coprocessor::new(irq13), out);

        let mut out = Outputs::new();
        let isa_lines = [5, 9, 10, 11].map(|irq| (irq as u8, isa(&mut out, &pic, &ioapic, irq))).into();
        let apic_lines = [16, 17, 18, 19].map(|pin| out.line(&[(ioapic.clone(), pin)]));
        let bridge = builder.place(Piix4::new(isa_lines, apic_lines), out);
        let mut out = Outputs::new();
        let sci = out.line(&[(bridge.clone(), piix4::SCI_INPUT)]);
        let pm = builder.place(AcpiPm::new(acpi_pm::DEFAULT_BASE, sci, parts.power.clone()), out);
        let mut host = PciHost::new(parts.power.clone());
        host.attach(piix4::PLACE, bridge.clone());
        host.attach(acpi_pm::PLACE, pm.clone());
        let host = builder.place(host, Outputs::new());

        let tables = Tables::build(&platform(&parts.ram, parts.processors), GuestPhys(SCANNED.end - 0x1_0000));
        let mut config = FwCfg::new(parts.ram.clone());
        config.set_item(fw_cfg::key::NB_CPUS, (parts.processors as u16).to_le_bytes().into());
        config.set_item(fw_cfg::key::RAM_SIZE, parts.ram.size().to_le_bytes().into());
        let config = builder.place(config, Outputs::new());

        builder.ports(&pic, &pic::PORTS)?;
        builder.ports(&pit, &pit::PORTS)?;
        builder.ports(&rtc, &[rtc::PORTS])?;
        builder.ports(&uart, &[(uart::COM1, uart::PORTS)])?;
        builder.ports(&keyboard, &i8042::PORTS)?;
        builder.ports(&coprocessor, &[coprocessor::PORTS])?;
        builder.ports(&host, &[pci::PORTS])?;
        builder.ports(&pm, &[(acpi_pm::DEFAULT_BASE, acpi_pm::BLOCK.into()), acpi_pm::SMI_PORTS])?;
        builder.ports(&config, &[fw_cfg::PORTS])?;
        builder.mmio(&ioapic, ioapic::BASE, ioapic::LENGTH)?;
        builder.mmio(&hpet, hpet::BASE, hpet::LENGTH)?;
        builder.bus.add(&(bridge as Arc<Slot>));
        if let Some(sink) = parts.debugcon {
            let debugcon = builder.place(DebugConsole::new(sink), Outputs::new());
            builder.ports(&debugcon, &[(debugcon::PORT, 1)])?;
        }
        if let Some(port) = parts.debug_exit {
            let exit = builder.place(DebugExit::new(parts.power), Outputs::new());
            builder.ports(&exit, &[(Port(port), debug_exit::PORTS)])?;
        }
        if parts.testdev {
            let mut out = Outputs::new();
            // Input 2 of the 8259 pair is its own cascade.
            let lines = std::array::from_fn(|n| match n as u32 {
                pin @ (2 | 16..) => out.line(&[(ioapic.clone(), pin)]),
                irq => isa(&mut out, &pic, &ioapic, irq),
            });
            let device = builder.place(TestDevice::new(lines), out);
            builder.ports(&device, &[testdev::PORTS, testdev::LINE_PORTS])?;
            builder.mmio(&device, testdev::MEMORY, testdev::MEMORY_LENGTH)?;
        }
        let bus = builder.bus.build();
        bus.reset();
        Ok(Self { bus, pic, ioapic, uart, coprocessor, rtc, sockets, tables })
    }

    /// Plugs the processors in, the bootstrap processor first. Once.
    pub fn plug(&self, processors: Vec<Arc<dyn VcpuHandle>>) {
        // A second time nothing happens: a board has its processors for good.
        let _ = self.sockets.processors.set(processors);
    }

    /// Time and ports of all chips.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Puts every chip back to its reset state; the clock on the wall goes on.
    pub fn reset(&self) {
        self.bus.reset();
    }

    /// The clock on the wall went on for so many seconds in which guest time stood.
    pub fn skip_seconds(&self, seconds: u64) {
        self.rtc.access(|rtc| rtc.skip(seconds));
    }

    /// Gives COM1 bytes from the host. Returns how many it took.
    pub fn type_bytes(&self, bytes: &[u8]) -> usize {
        self.uart.access(|uart| uart.receive(bytes))
    }

    /// The ACPI tables, to be put into memory.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}

/// What the tables say of this board.
fn platform(ram: &GuestRam, processors: u32) -> Platform {
    let above = ram.ranges().map(|(at, length)| at.0 + length).max().unwrap_or(0).max(HIGH_RAM.0);
    let high_hole = above.next_multiple_of(1 << 30)..above.next_multiple_of(1 << 30) + (64 << 30);
    Platform {
        cpus: processors,
        lapic_base: LAPIC_BASE,
        ioapic_id: IOAPIC_ID,
        ioapic_base: ioapic::BASE.0 as u32,
        hpet_base: hpet::BASE.0 as u32,
        pm_base: acpi_pm::DEFAULT_BASE,
        pci_hole: LOW_RAM_END.0 as u32..ioapic::BASE.0 as u32,
        pci_hole_high: Some(high_hole),
        has_vga: false,
    }
}

impl CpuBus for Board {
    fn read_mmio(&self, at: GuestPhys, width: Width) -> u64 {
        self.bus.read_mmio(at, width)
    }

    fn write_mmio(&self, at: GuestPhys, width: Width, value: u64) {
        self.bus.write_mmio(at, width, value);
    }

    fn read_port(&self, port: Port, width: Width) -> u32 {
        self.bus.read_port(port, width)
    }

    fn write_port(&self, port: Port, width: Width, value: u32) {
        self.bus.write_port(port, width, value);
    }

    fn acknowledge_interrupt(&self) -> u8 {
        self.pic.access(Pic::acknowledge)
    }

    fn assert_ferr(&self) -> bool {
        self.coprocessor.access(Coprocessor::assert_error)
    }

    fn release_ferr(&self) {
        self.coprocessor.access(Coprocessor::release_error);
    }

    fn end_of_interrupt(&self, vector: u8) {
        self.ioapic.access(|ioapic| ioapic.end_of_interrupt(vector));
    }

    fn may_send_nmi(&self) -> bool {
        self.ioapic.access(|ioapic| ioapic.may_send_nmi())
    }

    fn send(&self, sender: VcpuId, ipi: Ipi) {
        for (n, processor) in self.sockets.processors().iter().enumerate() {
            if ipi.recipients != Recipients::Others || n != sender.0 as usize {
                processor.raise(Pending::Message(ipi.message));
            }
        }
    }
}
