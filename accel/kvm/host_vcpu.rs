//! A processor of KVM's: entering it, leaving it, and what can be asked of it. What the library has no words for is said here.
//!
//! UNSAFETY: each call gives the kernel the address of a structure of the kind and size that the call's number says, which lives
//! until it returns. An image of extended state is never larger than the structure: no feature that makes it so is asked for.
#![expect(unsafe_code, reason = "calls of the kernel")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::Arc,
};

use kvm_bindings::{
    KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, Msrs, kvm_device_attr, kvm_interrupt, kvm_msr_entry, kvm_sregs2, kvm_xsave,
};
use kvm_ioctls::VcpuFd;

use super::{
    KvmError,
    exit::{self, Exit, PortAccess},
    kick::Kick,
};

/// Numbers of calls: the direction, the size of the structure, KVM's letter, its own number.
pub(super) const fn number(direction: u64, size: usize, own: u64) -> u64 {
    direction << 30 | (size as u64) << 16 | 0xae << 8 | own
}

pub(super) const WRITE: u64 = 1;
pub(super) const READ: u64 = 2;
const INTERRUPT: u64 = number(WRITE, size_of::<kvm_interrupt>(), 0x86);
const GET_SREGS2: u64 = number(READ, size_of::<kvm_sregs2>(), 0xcc);
const SET_SREGS2: u64 = number(WRITE, size_of::<kvm_sregs2>(), 0xcd);
const SET_DEVICE_ATTR: u64 = number(WRITE, size_of::<kvm_device_attr>(), 0xe1);

/// What the host's error numbers come to.
pub(super) fn io_error(error: kvm_ioctls::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}

/// A processor of KVM's.
pub(super) struct HostVcpu {
    pub fd: VcpuFd,
    kick: Arc<Kick>,
    /// How many bytes KVM shares with us.
    shared: usize,
}

impl HostVcpu {
    /// The processor behind `fd`, which shares `shared` bytes with us.
    pub fn new(fd: VcpuFd, shared: usize) -> io::Result<Self> {
        // SAFETY: `fd` has it open, for longer than the call.
        let kick = Arc::new(Kick::new(unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) })?);
        Ok(Self { fd, kick, shared })
    }

    /// What calls it back.
    pub fn kick(&self) -> &Arc<Kick> {
        &self.kick
    }

    fn call<T>(&self, number: u64, argument: &T) -> io::Result<()> {
        // SAFETY: `argument` is what the number says, by this file's constants; the kernel keeps nothing of it.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), number as libc::c_ulong as _, std::ptr::from_ref(argument)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Runs the guest until it is left, unless `has_work` says that there is something else to do first.
    pub fn enter(&mut self, has_work: impl FnOnce() -> bool) -> io::Result<Exit> {
        if !self.kick.leave(has_work) {
            return Ok(Exit::Called);
        }
        let result = self.fd.run().map(drop);
        self.kick.come_back();
        self.left(result)
    }

    /// Brings to its end what the guest was left for, and no more. Something else may be needed for that.
    pub fn complete(&mut self) -> io::Result<Exit> {
        self.kick.complete_only();
        let result = self.fd.run().map(drop);
        self.left(result)
    }

    fn left(&mut self, result: Result<(), kvm_ioctls::Error>) -> io::Result<Exit> {
        match result {
            Ok(()) => Ok(exit::reason(self.fd.get_kvm_run())),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Ok(Exit::Called),
            Err(error) => Err(io_error(error)),
        }
    }

    /// The data of a port access.
    pub fn port_data(&mut self, access: PortAccess) -> &mut [u8] {
        exit::port_data(self.fd.get_kvm_run(), self.shared, access)
    }

    /// Has the guest take a maskable interrupt at once, which it can.
    pub fn interrupt(&self, vector: u8) -> io::Result<()> {
        self.call(INTERRUPT, &kvm_interrupt { irq: vector.into() })
    }

    /// What is added to the host's time-stamp counter.
    pub fn set_tsc_offset(&self, offset: u64) -> io::Result<()> {
        let attribute = kvm_device_attr {
            group: KVM_VCPU_TSC_CTRL,
            attr: KVM_VCPU_TSC_OFFSET.into(),
            addr: std::ptr::from_ref(&offset).expose_provenance() as u64,
            flags: 0,
        };
        self.call(SET_DEVICE_ATTR, &attribute)
    }

    /// System registers, with page-directory pointers.
    pub fn get_sregs2(&self) -> io::Result<kvm_sregs2> {
        let mut sregs = kvm_sregs2::default();
        // SAFETY: the number says that a structure of this kind is filled in.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), GET_SREGS2 as libc::c_ulong as _, &raw mut sregs) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(sregs) }
    }

    /// Sets them.
    pub fn set_sregs2(&self, sregs: &kvm_sregs2) -> io::Result<()> {
        self.call(SET_SREGS2, sregs)
    }

    /// Sets model-specific registers.
    pub fn set_registers(&self, registers: &[(u32, u64)]) -> Result<(), KvmError> {
        let entries: Vec<_> =
            registers.iter().map(|(index, data)| kvm_msr_entry { index: *index, data: *data, ..Default::default() }).collect();
        let failed = |error| KvmError::of("it takes no model-specific registers", error);
        let list = Msrs::from_entries(&entries).map_err(|_| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
        let taken = self.fd.set_msrs(&list).map_err(io_error).map_err(failed)?;
        match registers.get(taken) {
            Some((index, value)) => Err(KvmError::RejectedMsr { index: *index, value: *value }),
            None => Ok(()),
        }
    }

    /// The image of floating-point and vector registers.
    pub fn set_xsave(&self, image: &kvm_xsave) -> io::Result<()> {
        // SAFETY: the image is as large as KVM takes it to be.
        unsafe { self.fd.set_xsave(image) }.map_err(io_error)
    }
}
