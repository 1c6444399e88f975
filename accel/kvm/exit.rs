//! Why the guest was left, read out of the page that KVM shares with us.
//!
//! UNSAFETY: the page's union is read by the field that the reason names, as the kernel documents it; all of its fields are plain
//! numbers, for which every pattern of bits is a value. Data of port accesses is where the kernel says, within the pages that
//! were mapped with it, which is checked.
#![expect(unsafe_code, reason = "a union and an offset written by the kernel")]

use dragoman_state::{GuestPhys, Port, Width};
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IO_OUT,
    KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, KVM_EXIT_SET_TPR, KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR,
    KVM_INTERNAL_ERROR_EMULATION, kvm_run,
};

/// Why the guest was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Somebody called, or nothing in particular happened.
    Called,
    /// Interrupts are let in now, or the task priority was lowered.
    Window,
    /// An access to a port, or a run of them.
    Port(PortAccess),
    /// An access to memory that is none of the slots.
    Memory { at: GuestPhys, length: usize, write: Option<[u8; 8]> },
    /// RDMSR, of a register that is not KVM's.
    ReadMsr(u32),
    /// WRMSR likewise.
    WriteMsr(u32, u64),
    /// HLT; RIP is behind it.
    Halt,
    /// A triple fault.
    Shutdown,
    /// One step is done, or a breakpoint of ours was met.
    Debug,
    /// KVM's emulator does not know the instruction.
    NotEmulated,
    /// KVM does not go on, for another reason: the number of it.
    InternalError(u32),
    /// The processor refused the state: its number for why.
    NoEntry(u64),
    /// Anything else: its number.
    Other(u32),
}

/// An access to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortAccess {
    pub port: Port,
    pub width: Width,
    pub count: usize,
    pub is_write: bool,
    /// Where in the shared pages the data is.
    offset: usize,
}

/// A width of so many bytes.
pub(super) fn width_of(bytes: usize) -> Option<Width> {
    match bytes {
        1 => Some(Width::Byte),
        2 => Some(Width::Word),
        4 => Some(Width::Dword),
        8 => Some(Width::Qword),
        _ => None,
    }
}

/// Why the guest was left, as `run` has it.
pub(super) fn reason(run: &kvm_run) -> Exit {
    let union = &run.__bindgen_anon_1;
    match run.exit_reason {
        KVM_EXIT_INTR => Exit::Called,
        KVM_EXIT_IRQ_WINDOW_OPEN | KVM_EXIT_SET_TPR => Exit::Window,
        KVM_EXIT_HLT => Exit::Halt,
        KVM_EXIT_SHUTDOWN => Exit::Shutdown,
        KVM_EXIT_DEBUG => Exit::Debug,
        KVM_EXIT_IO => {
            // SAFETY: the reason says that it is a port access.
            let io = unsafe { union.io };
            match width_of(io.size.into()) {
                Some(width) => Exit::Port(PortAccess {
                    port: Port(io.port),
                    width,
                    count: io.count as usize,
                    is_write: u32::from(io.direction) == KVM_EXIT_IO_OUT,
                    offset: io.data_offset as usize,
                }),
                None => Exit::Other(KVM_EXIT_IO),
            }
        }
        KVM_EXIT_MMIO => {
            // SAFETY: the reason says that it is a memory access.
            let mmio = unsafe { union.mmio };
            let length = (mmio.len as usize).min(mmio.data.len());
            Exit::Memory { at: GuestPhys(mmio.phys_addr), length, write: (mmio.is_write != 0).then_some(mmio.data) }
        }
        KVM_EXIT_X86_RDMSR => {
            // SAFETY: the reason says that it is an access to a model-specific register.
            Exit::ReadMsr(unsafe { union.msr.index })
        }
        KVM_EXIT_X86_WRMSR => {
            // SAFETY: likewise.
            let msr = unsafe { union.msr };
            Exit::WriteMsr(msr.index, msr.data)
        }
        KVM_EXIT_INTERNAL_ERROR => {
            // SAFETY: the reason says that it is an internal error; its kind is there whether it has data or not.
            match unsafe { union.internal.suberror } {
                KVM_INTERNAL_ERROR_EMULATION => Exit::NotEmulated,
                other => Exit::InternalError(other),
            }
        }
        KVM_EXIT_FAIL_ENTRY => {
            // SAFETY: the reason says that the entry failed.
            Exit::NoEntry(unsafe { union.fail_entry.hardware_entry_failure_reason })
        }
        other => Exit::Other(other),
    }
}

/// The data of `access`, within the `size` bytes that begin with `run`; empty where it is not there.
pub(super) fn port_data(run: &mut kvm_run, size: usize, access: PortAccess) -> &mut [u8] {
    let length = access.count.saturating_mul(access.width.bytes() as usize);
    let is_inside = access.offset >= size_of::<kvm_run>() && access.offset.checked_add(length).is_some_and(|end| end <= size);
    let length = if is_inside { length } else { 0 };
    let first = std::ptr::from_mut(run).cast::<u8>().wrapping_add(if is_inside { access.offset } else { 0 });
    // SAFETY: the bytes are in the mapping that `run` begins, behind `run` itself, and nobody else has them while the guest
    // does not run.
    unsafe { std::slice::from_raw_parts_mut(first, length) }
}

/// Answers the memory access that the guest was left for.
pub(super) fn answer_memory(run: &mut kvm_run, value: [u8; 8]) {
    run.__bindgen_anon_1.mmio.data = value;
}

/// Answers the access to a model-specific register that the guest was left for: with its value, or with #GP.
pub(super) fn answer_msr(run: &mut kvm_run, value: Option<u64>) {
    // SAFETY: every pattern of bits is a value of the field.
    let msr = unsafe { &mut run.__bindgen_anon_1.msr };
    msr.error = value.is_none().into();
    msr.data = value.unwrap_or(msr.data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(exit_reason: u32) -> kvm_run {
        kvm_run { exit_reason, ..Default::default() }
    }

    #[test]
    fn what_the_kernel_wrote_is_read_by_its_reason() {
        let mut run = left(KVM_EXIT_MMIO);
        run.__bindgen_anon_1.mmio = Default::default();
        // SAFETY: it was just written.
        let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
        (mmio.phys_addr, mmio.len, mmio.is_write, mmio.data) = (0xfee0_00b0, 4, 1, [1, 2, 3, 4, 0, 0, 0, 0]);
        let write = Some([1, 2, 3, 4, 0, 0, 0, 0]);
        assert_eq!(reason(&run), Exit::Memory { at: GuestPhys(0xfee0_00b0), length: 4, write });
        run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
        run.__bindgen_anon_1.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
        assert_eq!(reason(&run), Exit::NotEmulated);
        run.__bindgen_anon_1.internal.suberror = 3;
        assert_eq!(reason(&run), Exit::InternalError(3));
        assert_eq!(reason(&left(999)), Exit::Other(999));
    }

    #[test]
    fn data_outside_the_pages_is_none() {
        let mut run = left(KVM_EXIT_IO);
        let access = |offset, count| PortAccess { port: Port(0x3f8), width: Width::Dword, count, is_write: true, offset };
        let size = size_of::<kvm_run>();
        for (offset, count) in [(0, 1), (size, 1), (size - 4, 1), (usize::MAX, 1), (size, usize::MAX)] {
            assert!(port_data(&mut run, size, access(offset, count)).is_empty(), "{offset} {count}");
        }
    }
}
