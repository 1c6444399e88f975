//! How the PIIX4 routes PCI interrupts.
//!
//! Rule of this file: all wires here are levels, `true` when asserted; those that are joined are ORed.
//! Reference: Intel 82371AB (PIIX4) datasheet (290562), §4.1.9 (PIRQRC); i440FX design guide, for which device's pins
//! are which PIRQ.

/// Interrupt pins of all devices on the bus.
pub const PINS: u32 = 32 * 4;
/// The input for the system control interrupt, after the pins.
pub const SCI: u32 = PINS;
/// The interrupt that the system control interrupt is wired to inside the chip.
const SCI_IRQ: u8 = 9;
/// PIRQRC: not routed.
const DISABLED: u8 = 0x80;
/// The interrupts that a PIRQ can be routed to: all that no chip of the board itself has.
const ROUTABLE: u16 = 0b1101_1110_1111_1000;

/// The levels at the router's inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Router {
    // Bookkeeping
    /// One bit a pin: four for each device.
    pins: u128,
    sci: bool,
}

impl Router {
    /// Input `input` is now `high`.
    pub fn set_input(&mut self, input: u32, high: bool) {
        match input {
            0..PINS => self.pins = self.pins & !(1 << input) | u128::from(high) << input,
            SCI => self.sci = high,
            _ => {}
        }
    }

    /// The levels of PIRQA to PIRQD, bits 0 to 3. INTA of device 1 is PIRQA, and so on round the circle.
    pub fn pirqs(&self) -> u8 {
        (0..32).fold(0, |pirqs, device| {
            let pins = (self.pins >> (4 * device) & 0xf) as u8;
            let turn = (device + 3) % 4;
            pirqs | (pins << turn | pins >> (4 - turn)) & 0xf
        })
    }

    /// The levels that the router asserts at the interrupt controllers' inputs 0 to 15, given PIRQRC.
    pub fn isa_levels(&self, routes: [u8; 4]) -> u16 {
        let pirqs = self.pirqs();
        let routed = routes.iter().enumerate().filter(|(n, route)| **route & DISABLED == 0 && pirqs >> n & 1 != 0);
        let levels = routed.fold(0, |levels, (_, route)| levels | 1 << (route & 0xf));
        levels & ROUTABLE | u16::from(self.sci) << SCI_IRQ
    }
}
