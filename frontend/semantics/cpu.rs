//! The processor as helpers see it: its complete state, its memory, and the few things that only an engine can do.

use dragoman_state::{GuestPhys, GuestVirt, Port, VcpuState, Width};

use super::system::Objection;
use crate::{fault::Fault, model::CpuModel};

/// On whose behalf memory is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// The running code, at its privilege level.
    Current,
    /// The processor itself, for descriptor tables and task state: supervisor, whatever runs.
    System,
    /// Ring 3: an interrupt's new stack, or what a gate hands to user code.
    User,
}

/// Which remembered translations are to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// All of them, global ones too.
    All,
    /// All but global ones, of the current process-context identifier.
    NotGlobal,
    /// Those of one page, in the current context, and global ones of it.
    Page(GuestVirt),
    /// Those of one page in the context given, not global ones.
    ContextPage(u16, GuestVirt),
    /// Those of one context, not global ones.
    Context(u16),
    /// All but global ones, of every context.
    AllNotGlobal,
}

/// An access to a local APIC register through its model-specific register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicAccess {
    /// Reads.
    Read,
    /// Writes the value.
    Write(u64),
}

/// The processor, for code that needs all of it. While a helper runs, [`Cpu::state`] is complete: flags included, RIP
/// that of the next instruction.
pub trait Cpu {
    /// The complete state.
    fn state(&self) -> &VcpuState;
    /// The complete state, to be changed. Changes to control registers, segments or EFER take effect when the helper
    /// returns; translations are forgotten only by [`Cpu::flush`].
    fn state_mut(&mut self) -> &mut VcpuState;
    /// What this processor is.
    fn model(&self) -> &CpuModel;
    /// Notes why a check failed; the fault that it raises comes next. For reports alone.
    fn object(&mut self, _: Objection) {}
    /// The objection noted since it was last taken.
    fn take_objection(&mut self) -> Option<Objection> {
        None
    }

    /// Asserts FERR#: an x87 error waits to be handled, and CR0.NE is clear. Whether IGNNE# is asserted in return.
    fn assert_ferr(&mut self) -> bool {
        false
    }
    /// Releases FERR#.
    fn release_ferr(&mut self) {}

    /// Reads linear memory.
    fn read(&mut self, at: GuestVirt, width: Width, privilege: Privilege) -> Result<u64, Fault>;
    /// Writes linear memory.
    fn write(&mut self, at: GuestVirt, width: Width, value: u64, privilege: Privilege) -> Result<(), Fault>;
    /// Checks that `length` bytes from `at` can be written, as a write would, without writing. After it has returned
    /// `Ok`, writes to them by the same helper do not fault.
    fn check_write(&mut self, at: GuestVirt, length: u64, privilege: Privilege) -> Result<(), Fault>;
    /// Copies up to `count` elements of `width` upwards from `from` to `to`, as if one by one, within one page of each,
    /// where both are plain memory that needs no attention. Returns how many it copied: none where it cannot, and the
    /// caller then copies one itself.
    fn copy_run(&mut self, to: GuestVirt, from: GuestVirt, width: Width, count: u64) -> u64;
    /// Writes `value` to up to `count` elements of `width` upwards from `to`, under the same rules.
    fn fill_run(&mut self, to: GuestVirt, width: Width, value: u64, count: u64) -> u64;
    /// Compares 16 bytes at `at` with `expected` and replaces them by `new` where equal, atomically where `is_locked`.
    /// Returns what was there.
    fn compare_exchange_16(&mut self, at: GuestVirt, expected: u128, new: u128, is_locked: bool) -> Result<u128, Fault>;

    /// Reads eight bytes of physical memory at `at`, which is aligned; zero where there is no memory.
    fn read_physical(&mut self, at: GuestPhys) -> u64;

    /// Reads an I/O port. Permission has been checked.
    fn port_in(&mut self, port: Port, width: Width) -> u32;
    /// Writes an I/O port. Permission has been checked.
    fn port_out(&mut self, port: Port, width: Width, value: u32);

    /// The time-stamp counter, offset and adjustment included.
    fn time_stamp(&mut self) -> u64;
    /// Makes the time-stamp counter `value` from now on.
    fn set_time_stamp(&mut self, value: u64);

    /// Sixty-four bits that nobody can foretell; `None` where there are none just now. Every call may answer otherwise: whoever
    /// records a run records the answers.
    fn random(&mut self) -> Option<u64>;

    /// Lets time pass until there is something to do for this processor, and no longer than a moment.
    fn doze(&mut self) {}

    /// Forgets translations.
    fn flush(&mut self, what: Flush);

    /// CR3 names another process context whose translations are to be kept.
    fn switch_context(&mut self);

    /// Accesses local APIC register `index` (0 to 0xff, as the x2APIC numbers them), or fails where the register does
    /// not allow it.
    fn apic_register(&mut self, index: u8, access: ApicAccess) -> Result<u64, Fault>;
    /// The TSC-deadline register.
    fn set_tsc_deadline(&mut self, value: u64);
    /// Moves, enables or disables the local APIC; `base` has been checked against reserved bits.
    fn set_apic_base(&mut self, base: u64) -> Result<(), Fault>;
    /// Sets the task priority of the local APIC: CR8.
    fn set_task_priority(&mut self, priority: u8);
}
