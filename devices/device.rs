//! What a chip may be, each power an optional trait: a half-implemented one does not compile.
//!
//! The bus owns everything that is not the chip's own: the lock, the all-ones value of an address nobody answers,
//! splitting an access that is wider than the chip's registers, and saying when time has passed.

use dragoman_state::{Port, VmInstant, Width};

use crate::pci::PciFunction;

/// A chip as the board sees it. It is locked while any of these run; none may block or call another device.
pub trait Device: Send {
    /// The chip's name, for logs and traces.
    fn name(&self) -> &'static str;

    /// Puts the guest-visible state back to what the chip's reset pin gives. Outputs follow.
    fn reset(&mut self);

    /// The chip's port registers, where it has any.
    fn as_pio(&mut self) -> Option<&mut dyn PioDevice> {
        None
    }

    /// The chip's memory-mapped registers, where it has any.
    fn as_mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        None
    }

    /// The chip's sense of time, where it has any.
    fn as_timed(&mut self) -> Option<&mut dyn TimedDevice> {
        None
    }

    /// The chip's interrupt inputs, where it has any.
    fn as_line_inputs(&mut self) -> Option<&mut dyn LineInputs> {
        None
    }

    /// The chip's PCI configuration space, where it has one.
    fn as_pci(&mut self) -> Option<&mut dyn PciFunction> {
        None
    }
}

/// Registers in port space.
pub trait PioDevice {
    /// Whether the chip has eight data lines: the bus then splits wider accesses into bytes at successive ports,
    /// lowest first, and never passes anything but [`Width::Byte`].
    fn is_byte_wide(&self) -> bool {
        true
    }

    /// Reads `width` bits at `port`, which lies within a range the chip is mapped at.
    fn read(&mut self, port: Port, width: Width) -> Result<u32, IoError>;

    /// Writes the low `width` bits of `value` at `port`; the bits above are zero.
    fn write(&mut self, port: Port, width: Width, value: u32) -> Result<(), IoError>;
}

/// Registers in physical memory space.
pub trait MmioDevice {
    /// Reads `width` bits at `offset` into the range the chip is mapped at. The access need not be aligned.
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, IoError>;

    /// Writes the low `width` bits of `value` at `offset`; the bits above are zero.
    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), IoError>;
}

/// A chip whose state changes with time alone.
pub trait TimedDevice {
    /// Brings the chip to `now`. Called before every access and when a deadline has come; `now` never decreases.
    fn advance(&mut self, now: VmInstant);

    /// The next moment at which an output changes by itself; never where none does.
    fn next_deadline(&self) -> VmInstant;
}

/// Interrupt inputs.
pub trait LineInputs {
    /// Input `pin` is now `high`. The same level may be reported twice.
    fn set_input(&mut self, pin: u32, high: bool);
}

/// What the board's chips ask of whoever runs the machine. Callable from any thread; returns at once.
pub trait PowerControl: Send + Sync {
    /// The guest switched the machine off (ACPI S5).
    fn power_off(&self);
    /// The guest asked for a reset of the whole machine.
    fn reset(&self);
    /// The guest wrote `value` to the debug-exit port.
    fn debug_exit(&self, value: u32);
}

/// A guest's breach of a device's contract. The bus answers all-ones (a read) or drops the value (a write), and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// No register lives there.
    #[error("no register there")]
    NoRegister,
    /// The register cannot be accessed with this width or alignment.
    #[error("a width or alignment the register does not have")]
    BadWidth,
    /// The register cannot be written.
    #[error("a write to a read-only register")]
    ReadOnly,
    /// The value means nothing to the register.
    #[error("a value the register does not know")]
    BadValue,
}
