//! The local APIC: interrupts as one processor sees them.
//!
//! Rule of this folder: no state of its own, no lock, no bus. A [`Lapic`] is a view of the registers in a processor's
//! state, made by whoever runs that processor for as long as an operation takes; what has to leave the processor comes
//! back as an [`Effect`] for the caller to route.
//! Reference: SDM vol. 3 chapter 11.

mod core;
mod destination;
mod ipi;
mod page;
mod register;
#[cfg(test)]
mod tests;
mod timer;
mod vectors;
mod x2apic;

pub use self::core::{Accepted, Effect, Lapic};
pub use self::destination::Address;
pub use self::ipi::{Ipi, Recipients};
pub use self::timer::Timebase;
pub use self::x2apic::GeneralProtection;

/// Bytes of the page at which an APIC in xAPIC mode answers.
pub const LENGTH: u64 = 0x1000;
/// The first model-specific register of an APIC in x2APIC mode.
pub const FIRST_MSR: u32 = 0x800;
/// The last one.
pub const LAST_MSR: u32 = 0x8ff;
