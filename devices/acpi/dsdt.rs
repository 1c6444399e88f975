//! The DSDT: devices that software cannot find by itself, and who interrupts whom.
//!
//! Rule of this file: a device is listed with the ports and interrupts that its chip has. Methods do no more than
//! choose and remember; the machine behind them is the south bridge's interrupt router.
//! Reference: ACPI specification 6.4, chapters 6 and 20; PCI Firmware Specification 3.0 for `_PRT`.

use acpi_tables::{
    Aml, AmlSink,
    aml::{
        AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal, Field, FieldAccessType,
        FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, Interrupt, Memory32Fixed, Method, Name, OpRegion, OpRegionSpace, Or,
        Package, PackageBuilder, Path, ResourceTemplate, Return, Scope, Store, ZERO,
    },
    sdt::Sdt,
};

use super::{MOST_CPUS, OEM, OEM_REVISION, OEM_TABLE, PCI_ISA_INTERRUPTS, PIRQ_GSI, Platform, sealed, to_bytes};
use crate::{
    acpi_pm::{self, SLP_TYP_S5, SMI_PORTS},
    hpet, piix4, uart,
};

/// A finished piece of AML.
struct Code(Vec<u8>);

impl Code {
    fn of(parts: &[&dyn Aml]) -> Self {
        Self(parts.iter().flat_map(|part| to_bytes(*part)).collect())
    }
}

impl Aml for Code {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// The interrupts of an ISA device, edge-triggered and its own: the small IRQ descriptor, which old systems know.
struct Irq(u8);

impl Aml for Irq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << (self.0 & 0xf));
    }
}

/// The interrupts that a link can be set to, level-triggered and shared: an extended descriptor with several numbers.
struct PossibleInterrupts(&'static [u8]);

impl Aml for PossibleInterrupts {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let count = self.0.len() as u8;
        sink.byte(0x89);
        sink.word(2 + 4 * u16::from(count));
        sink.vec(&[0b1001, count]);
        self.0.iter().for_each(|irq| sink.dword((*irq).into()));
    }
}

/// `count` ports from `first`.
fn ports(first: u16, count: u8) -> IO {
    IO::new(first, first, 1, count)
}

fn name(path: &str, value: &dyn Aml) -> Name {
    Name::new(Path::new(path), value)
}

/// The whole table.
pub(super) fn dsdt(platform: &Platform) -> Vec<u8> {
    let mut table = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    let parts = [
        sleep_states(),
        interrupt_model(),
        Code::of(&[&Scope::new(
            Path::new("\\_SB_"),
            vec![&pci_root(platform), &links(), &motherboard(platform), &event_timer(platform), &processors(platform)],
        )]),
    ];
    table.append_slice(&to_bytes(&Code::of(&parts.each_ref().map(|part| part as &dyn Aml))));
    sealed(&table)
}

/// `\_S5`: how to switch off. There is no other sleep state.
fn sleep_states() -> Code {
    let package = Package::new(vec![&SLP_TYP_S5, &SLP_TYP_S5, &ZERO, &ZERO]);
    Code::of(&[&name("\\_S5_", &package)])
}

/// `\_PIC`: the system says whether it uses the I/O APIC.
fn interrupt_model() -> Code {
    let remember = Store::new(&Path::new("PICF"), &Arg(0)).to_code();
    Code::of(&[&name("\\PICF", &ZERO), &Method::new(Path::new("\\_PIC"), 1, false, vec![&remember])])
}

/// Serialises a term whose operands do not live long enough to be kept.
trait ToCode: Aml + Sized {
    fn to_code(self) -> Code {
        Code(to_bytes(&self))
    }
}
impl<T: Aml> ToCode for T {}

/// `\_SB.PCI0`: the bus, its windows, its interrupts, and the ISA bridge with what is behind it.
fn pci_root(platform: &Platform) -> Code {
    let windows = windows(platform);
    Device::new(
        Path::new("PCI0"),
        vec![
            &name("_HID", &EISAName::new("PNP0A03")),
            &name("_UID", &ZERO),
            &name("_BBN", &ZERO),
            &name("_CRS", &ResourceTemplate::new(windows.iter().map(|window| window as &dyn Aml).collect())),
            &name("PRTA", &interrupt_routing(|pirq| (Code::of(&[&ZERO]), PIRQ_GSI + pirq))),
            &name("PRTP", &interrupt_routing(|pirq| (Code::of(&[&Path::new(LINKS[pirq as usize].0)]), 0))),
            &Method::new(
                Path::new("_PRT"),
                0,
                false,
                vec![
                    &If::new(&Equal::new(&Path::new("PICF"), &ZERO), vec![&Return::new(&Path::new("PRTP"))]),
                    &Else::new(vec![&Return::new(&Path::new("PRTA"))]),
                ],
            ),
            &isa_bridge(),
        ],
    )
    .to_code()
}

/// What the bus passes on: all bus numbers, ports and addresses that are not the board's own.
fn windows(platform: &Platform) -> Vec<Code> {
    let memory =
        |from: u32, to: u32| AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, from, to, None).to_code();
    let mut windows = vec![
        AddressSpace::new_bus_number(0u16, 0xff).to_code(),
        ports(0xcf8, 8).to_code(),
        AddressSpace::new_io(0u16, 0x0cf7, None).to_code(),
        AddressSpace::new_io(0x0d00u16, 0xffff, None).to_code(),
        memory(0xa_0000, 0xb_ffff),
    ];
    if !platform.pci_hole.is_empty() {
        windows.push(memory(platform.pci_hole.start, platform.pci_hole.end - 1));
    }
    if let Some(high) = platform.pci_hole_high.clone().filter(|high| !high.is_empty()) {
        let cacheable = AddressSpaceCacheable::NotCacheable;
        windows.push(AddressSpace::new_memory(cacheable, true, high.start, high.end - 1, None).to_code());
    }
    windows
}

/// The links, by name, field of the router, and place in it.
const LINKS: [(&str, &str); 4] = [("LNKA", "PRQA"), ("LNKB", "PRQB"), ("LNKC", "PRQC"), ("LNKD", "PRQD")];
/// PIRQRC's bit for "not routed".
const UNROUTED: u8 = 0x80;

/// A `_PRT`: for each pin of each device a source and an index, given its PIRQ.
fn interrupt_routing(source: impl Fn(u32) -> (Code, u32)) -> PackageBuilder {
    let mut routing = PackageBuilder::new();
    for device in 1..32u32 {
        for pin in 0..4u32 {
            let (link, index) = source((device + pin + 3) % 4);
            routing.add_element(&Package::new(vec![&(device << 16 | 0xffff), &(pin as u8), &link, &index]));
        }
    }
    routing
}

/// Function 0 of the south bridge, with its router's registers, and the ISA devices.
fn isa_bridge() -> Code {
    let place = piix4::PLACE;
    let address = u32::from(place.device()) << 16 | u32::from(place.function());
    let registers = LINKS.map(|(_, field)| {
        let mut name = [0; 4];
        name.copy_from_slice(field.as_bytes());
        FieldEntry::Named(name, 8)
    });
    Device::new(
        Path::new("ISA_"),
        vec![
            &name("_ADR", &address),
            &OpRegion::new(Path::new("P40C"), OpRegionSpace::PCIConfig, &piix4::PIRQRC, &4u8),
            &Field::new(
                Path::new("P40C"),
                FieldAccessType::Byte,
                FieldLockRule::NoLock,
                FieldUpdateRule::Preserve,
                registers.to_vec(),
            ),
            &isa_device("PIC_", "PNP0000", &[&ports(0x20, 2), &ports(0xa0, 2), &ports(0x4d0, 2), &Irq(2)]),
            &isa_device("TIMR", "PNP0100", &[&ports(0x40, 4), &Irq(0)]),
            &isa_device("RTC_", "PNP0B00", &[&ports(0x70, 4), &Irq(8)]),
            &isa_device("KBD_", "PNP0303", &[&ports(0x60, 1), &ports(0x64, 1), &Irq(1)]),
            &isa_device("MOU_", "PNP0F13", &[&Irq(12)]),
            &isa_device("COM1", "PNP0501", &[&ports(uart::COM1.0, uart::PORTS as u8), &Irq(4)]),
        ],
    )
    .to_code()
}

fn isa_device(path: &str, hid: &str, resources: &[&dyn Aml]) -> Code {
    Device::new(
        Path::new(path),
        vec![&name("_HID", &EISAName::new(hid)), &name("_CRS", &ResourceTemplate::new(resources.to_vec()))],
    )
    .to_code()
}

/// The PCI interrupt links: what PIRQA to PIRQD are routed to.
fn links() -> Code {
    let links = [0, 1, 2, 3].map(|n| link(n as u8, LINKS[n]));
    Code::of(&links.each_ref().map(|link| link as &dyn Aml))
}

fn link(number: u8, (path, field): (&str, &str)) -> Code {
    let register = Path::new(&format!("\\_SB_.PCI0.ISA_.{field}"));
    let unrouted = And::new(&ZERO, &register, &UNROUTED).to_code();
    // The interrupt's number is at byte 5 of the descriptor, in what _CRS returns and in what _SRS is given.
    let current = ResourceTemplate::new(vec![&Interrupt::new(true, false, false, true, 0)]).to_code();
    let number_in = |buffer: &dyn Aml| CreateDWordField::new(&Path::new("IRQN"), buffer, &5u8).to_code();
    Device::new(
        Path::new(path),
        vec![
            &name("_HID", &EISAName::new("PNP0C0F")),
            &name("_UID", &(number + 1)),
            &name("_PRS", &ResourceTemplate::new(vec![&PossibleInterrupts(&PCI_ISA_INTERRUPTS)])),
            &Method::new(
                Path::new("_STA"),
                0,
                false,
                vec![&If::new(&unrouted, vec![&Return::new(&0x09u8)]), &Return::new(&0x0bu8)],
            ),
            &Method::new(Path::new("_DIS"), 0, false, vec![&Or::new(&register, &register, &UNROUTED)]),
            &Method::new(
                Path::new("_CRS"),
                0,
                true,
                vec![
                    &name("BUFF", &current),
                    &number_in(&Path::new("BUFF")),
                    &If::new(&unrouted, vec![&Return::new(&Path::new("BUFF"))]),
                    &Store::new(&Path::new("IRQN"), &register),
                    &Return::new(&Path::new("BUFF")),
                ],
            ),
            &Method::new(Path::new("_SRS"), 1, true, vec![&number_in(&Arg(0)), &Store::new(&register, &Path::new("IRQN"))]),
        ],
    )
    .to_code()
}

/// Ports of the board that belong to no device above and must not be given to one.
fn motherboard(platform: &Platform) -> Code {
    Device::new(
        Path::new("MBRD"),
        vec![
            &name("_HID", &EISAName::new("PNP0C02")),
            &name("_UID", &ZERO),
            &name(
                "_CRS",
                &ResourceTemplate::new(vec![
                    &ports(0x61, 1),
                    &ports(0x92, 1),
                    &ports(SMI_PORTS.0.0, SMI_PORTS.1 as u8),
                    &ports(platform.pm_base.0, acpi_pm::BLOCK as u8),
                ]),
            ),
        ],
    )
    .to_code()
}

fn event_timer(platform: &Platform) -> Code {
    let registers = Memory32Fixed::new(true, platform.hpet_base, hpet::LENGTH as u32);
    Device::new(
        Path::new("HPET"),
        vec![
            &name("_HID", &EISAName::new("PNP0103")),
            &name("_UID", &ZERO),
            &name("_CRS", &ResourceTemplate::new(vec![&registers])),
        ],
    )
    .to_code()
}

/// The processors, whose `_UID` is what the MADT calls them.
fn processors(platform: &Platform) -> Code {
    let devices = (0..platform.cpus.min(MOST_CPUS)).map(|id| {
        Device::new(
            Path::new(&format!("C{id:03X}")),
            vec![&name("_HID", &"ACPI0007"), &name("_UID", &id), &name("_STA", &0x0fu8)],
        )
        .to_code()
        .0
    });
    Code(devices.flatten().collect())
}
