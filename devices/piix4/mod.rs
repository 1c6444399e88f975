//! The PIIX4's ISA bridge on the bus: function 0 of the south bridge, and the router of PCI interrupts.
//!
//! Rule of this file: a PIRQ goes two ways, always to its own I/O APIC input and, where PIRQRC says so, to an ISA
//! interrupt. What PCI devices and the power management share of the ISA interrupts is joined here.
//! Reference: see the core.

mod core;
#[cfg(test)]
mod tests;

use dragoman_state::Width;

pub use self::core::SCI as SCI_INPUT;
use self::core::{PINS, Router};
use crate::{
    Device, IrqLine, LineInputs,
    pci::{Command, ConfigSpace, DevFn, Identity, PciFunction},
};

/// Where the bridge is on the bus.
pub const PLACE: DevFn = DevFn::new(1, 0);
/// Its PIRQRC registers, PIRQA's first.
pub const PIRQRC: u8 = 0x60;

/// The bridge's input for interrupt `pin` (0 is INTA#) of a device on the bus.
pub const fn pin_input(device: u8, pin: u8) -> u32 {
    (device as u32 * 4 + (pin & 3) as u32) % PINS
}

/// The ISA bridge of the south bridge. Inputs: [`pin_input`] and [`SCI_INPUT`].
pub struct Piix4 {
    // Wiring
    isa: Vec<(u8, IrqLine)>,
    apic: [IrqLine; 4],
    // Guest-visible state
    config: ConfigSpace,
    // Bookkeeping
    router: Router,
}

impl Piix4 {
    /// A bridge that drives the ISA interrupts in `isa` (number, and wire to both controllers) and with PIRQA to PIRQD
    /// the I/O APIC inputs behind `apic`. An ISA interrupt that some chip drives already must not be among `isa`.
    pub fn new(isa: Vec<(u8, IrqLine)>, apic: [IrqLine; 4]) -> Self {
        Self { isa, apic, config: config(), router: Router::default() }
    }

    fn drive(&self) {
        let pirqs = self.router.pirqs();
        for (n, line) in self.apic.iter().enumerate() {
            line.set(pirqs >> n & 1 != 0);
        }
        let levels = self.router.isa_levels([0, 1, 2, 3].map(|n| self.config.byte(PIRQRC + n)));
        for (irq, line) in &self.isa {
            line.set(levels >> (irq & 0xf) & 1 != 0);
        }
    }
}

fn config() -> ConfigSpace {
    let identity = Identity { vendor: 0x8086, device: 0x7110, revision: 2, class: 0x06_01_00 };
    ConfigSpace::new(identity)
        .with_command(Command::IO | Command::MEMORY | Command::BUS_MASTER, Command::SERR)
        .with_status(0x0280, 0x7800)
        .with_siblings()
        .with(0x4c, &[0x4d], &[0xff]) // IORT
        .with(0x4e, &[0x03, 0x00], &[0xff, 0x07]) // XBCS
        .with(PIRQRC.into(), &[0x80; 4], &[0x8f; 4])
        .with(0x64, &[0x10], &[0xdf]) // SERIRQC
        .with(0x69, &[0x02], &[0xfe]) // TOM
        .with(0x76, &[0x04, 0x04], &[0x87, 0x87]) // MBDMA
        .with(0x80, &[0x00], &[0x7f]) // APICBASE
        .with(0x82, &[0x00], &[0x0f]) // DLC
        .with(0xb0, &[0x00; 4], &[0xff; 4]) // GENCFG
        .with(0xcb, &[0x21], &[0x3d]) // RTCCFG
}

impl Device for Piix4 {
    fn name(&self) -> &'static str {
        "piix4"
    }

    fn reset(&mut self) {
        self.config.reset();
        self.drive();
    }

    fn as_pci(&mut self) -> Option<&mut dyn PciFunction> {
        Some(self)
    }

    fn as_line_inputs(&mut self) -> Option<&mut dyn LineInputs> {
        Some(self)
    }
}

impl PciFunction for Piix4 {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn write_config(&mut self, offset: u8, width: Width, value: u32) {
        self.config.write(offset, width, value);
        self.drive();
    }
}

impl LineInputs for Piix4 {
    fn set_input(&mut self, pin: u32, high: bool) {
        self.router.set_input(pin, high);
        self.drive();
    }
}
