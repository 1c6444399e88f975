//! The board: a bus, chips on it, guest memory, and the host side of what the chips talk to.
//!
//! Rule of this crate: a chip's `core.rs` is a pure state machine. It has no thread, lock, clock or host handle; time
//! comes in as a [`VmInstant`](dragoman_state::VmInstant), interrupts go out as an [`IrqLine`], bytes go out through a
//! backend. The chip's `mod.rs` is the adapter that ties the core to the bus. No chip knows which engine runs the guest.

pub mod acpi;
pub mod acpi_pm;
pub mod backend;
mod bus;
pub mod coprocessor;
pub mod debug_exit;
pub mod debugcon;
mod device;
pub mod fw_cfg;
pub mod hpet;
pub mod i8042;
pub mod ioapic;
pub mod lapic;
mod line;
pub mod memory;
pub mod pci;
pub mod pic;
pub mod piix4;
pub mod pit;
pub mod rtc;
mod slot;
pub mod testdev;
#[cfg(test)]
mod testing;
pub mod uart;

pub use bus::{Bus, BusBuilder, MapError};
pub use device::{Device, IoError, LineInputs, MmioDevice, PioDevice, PowerControl, TimedDevice};
pub use line::{Delivery, InterruptMessage, IrqLine, LineSink, MessageLine, MessageSink, Outputs};
pub use slot::{Alarm, Clock, Slot};
