//! The HPET on the bus: a kibibyte of memory-mapped registers, the way to the I/O APIC, and the switch through which
//! the interval timer's and the real-time clock's interrupts pass.
//!
//! Rule of this file: the wires of IRQ0 and IRQ8 have one driver, this chip. It passes on what the other two say for
//! as long as legacy replacement is off.
//! Reference: see the core.

mod comparator;
mod core;
#[cfg(test)]
mod tests;

use dragoman_state::{GuestPhys, VmDuration, VmInstant, Width};

use self::core::{Destination, EventTimer};
pub use self::core::{EVENT_TIMER_BLOCK_ID, FREQUENCY};
use crate::{Device, IoError, IrqLine, LineInputs, MmioDevice, TimedDevice};

/// Where a PC has its HPET.
pub const BASE: GuestPhys = GuestPhys(0xfed0_0000);
/// How many bytes it answers at.
pub const LENGTH: u64 = 0x400;
/// The input for the interval timer's output.
pub const PIT_INPUT: u32 = 0;
/// The input for the real-time clock's output.
pub const RTC_INPUT: u32 = 1;

/// A high precision event timer.
pub struct Hpet {
    // Wiring
    legacy: [IrqLine; 2],
    routes: Vec<(u8, IrqLine)>,
    // Guest-visible state
    core: EventTimer,
    // Bookkeeping
    /// The levels of the interval timer and the real-time clock.
    inputs: [bool; 2],
}

impl Hpet {
    /// A timer that drives `legacy` (IRQ0 and IRQ8) for itself or for the two chips at its inputs, and that can be
    /// routed to the I/O APIC pins that `routes` lead to: the pin's number, below 32, and the wire to it.
    pub fn new(legacy: [IrqLine; 2], routes: Vec<(u8, IrqLine)>) -> Self {
        let capability = routes.iter().fold(0, |mask, (pin, _)| mask | 1u32.checked_shl((*pin).into()).unwrap_or(0));
        Self { legacy, routes, core: EventTimer::new(capability), inputs: [false; 2] }
    }

    fn drive(&mut self) {
        let outputs = self.core.take_outputs();
        let route = |line: &IrqLine, destination: Destination| {
            let mine = || outputs.iter().filter(|output| output.destination == destination);
            if mine().any(|output| output.has_edge) {
                line.set(false);
                line.set(true);
            }
            line.set(mine().any(|output| output.is_high));
        };
        for (pin, line) in &self.routes {
            route(line, Destination::Pin(*pin));
        }
        for (n, line) in self.legacy.iter().enumerate() {
            if self.core.is_legacy() {
                route(line, Destination::Legacy(n));
            } else {
                line.set(self.inputs[n]);
            }
        }
    }
}

/// The register that `width` bits at `offset` lie in, and by how many bits they are shifted there.
fn split(offset: u64, width: Width) -> Result<(u64, u64), IoError> {
    match width {
        Width::Qword if offset % 8 == 0 => Ok((offset, 0)),
        Width::Dword if offset % 4 == 0 => Ok((offset & !7, 8 * (offset & 7))),
        _ => Err(IoError::BadWidth),
    }
}

impl Device for Hpet {
    fn name(&self) -> &'static str {
        "hpet"
    }

    fn reset(&mut self) {
        self.core.reset();
        self.drive();
    }

    fn as_mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn TimedDevice> {
        Some(self)
    }

    fn as_line_inputs(&mut self) -> Option<&mut dyn LineInputs> {
        Some(self)
    }
}

impl MmioDevice for Hpet {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, IoError> {
        let (register, shift) = split(offset, width)?;
        Ok(width.truncate(self.core.read(register).ok_or(IoError::NoRegister)? >> shift))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), IoError> {
        let (register, shift) = split(offset, width)?;
        let is_there = self.core.write(register, value << shift, width.mask() << shift);
        self.drive();
        is_there.then_some(()).ok_or(IoError::NoRegister)
    }
}

impl TimedDevice for Hpet {
    fn advance(&mut self, now: VmInstant) {
        self.core.advance(now.to_ticks(FREQUENCY));
        self.drive();
    }

    fn next_deadline(&self) -> VmInstant {
        match self.core.next_change() {
            Some(tick) => VmInstant::ZERO + VmDuration::from_ticks(tick, FREQUENCY),
            None => VmInstant::NEVER,
        }
    }
}

impl LineInputs for Hpet {
    fn set_input(&mut self, pin: u32, high: bool) {
        let Some(input) = self.inputs.get_mut(pin as usize) else { return };
        *input = high;
        self.drive();
    }
}
