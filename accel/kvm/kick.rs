//! Getting a thread out of the guest, from any other thread and without losing a call.
//!
//! Whoever calls sets the byte in the processor's shared page that lets no entry begin, and interrupts the thread for the case
//! that it is inside already. The thread clears the byte, says that it is away, and only then looks for a last time whether
//! there is anything to do: one of the two always sees the other. No lock is taken by either.
//!
//! UNSAFETY: the page is mapped here a second time and unmapped with the last owner, so that it is there for every caller; the
//! signal goes to a thread of this process by number, and its handler does nothing.
#![expect(unsafe_code, reason = "a page shared with the kernel, and a signal to a thread")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::{
        Once,
        atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering, fence},
    },
};

use kvm_bindings::kvm_run;

use crate::inbox::Caller;

/// Where a processor is, and how it is called back from there.
pub(super) struct Kick {
    page: NonNull<kvm_run>,
    thread: AtomicI32,
    is_away: AtomicBool,
}

// SAFETY: of the page, only one byte is touched through this pointer, as an atomic.
unsafe impl Send for Kick {}
// SAFETY: likewise.
unsafe impl Sync for Kick {}

extern "C" fn nothing(_: libc::c_int) {}

/// The signal that interrupts a thread in the guest: the first that is free for programs to use.
fn signal() -> libc::c_int {
    libc::SIGRTMIN()
}

fn install_handler() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: a zeroed action is one without flags and mask; the handler touches nothing. What it interrupts elsewhere is
        // begun again.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal(), &action, std::ptr::null_mut());
        }
    });
}

impl Kick {
    /// For the processor behind `fd`.
    pub fn new(fd: BorrowedFd) -> io::Result<Self> {
        install_handler();
        // SAFETY: a new mapping of the file's first bytes; KVM has that page for every processor.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<kvm_run>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        let page = NonNull::new(page).filter(|page| page.as_ptr() != libc::MAP_FAILED).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { page: page.cast(), thread: AtomicI32::new(0), is_away: AtomicBool::new(false) })
    }

    fn immediate_exit(&self) -> &AtomicU8 {
        // SAFETY: the byte is in the page, which is mapped as long as `self` is there; kernel and threads access it as a byte.
        unsafe { AtomicU8::from_ptr(&raw mut (*self.page.as_ptr()).immediate_exit) }
    }

    /// The calling thread is about to run the guest, unless `has_work` says that there is something else to do first: what is
    /// signalled after that was asked calls it back. Whether it may.
    pub fn leave(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.immediate_exit().store(0, Ordering::Relaxed);
        // SAFETY: it asks for the number of the calling thread.
        self.thread.store(unsafe { libc::gettid() }, Ordering::Relaxed);
        self.is_away.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let may = !has_work();
        if !may {
            self.is_away.store(false, Ordering::SeqCst);
        }
        may
    }

    /// The calling thread is back from the guest.
    pub fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    /// Lets the next entry do no more than bring what is under way to its end.
    pub fn complete_only(&self) {
        self.immediate_exit().store(1, Ordering::Relaxed);
    }
}

impl Caller for Kick {
    fn call(&self) {
        fence(Ordering::SeqCst);
        if !self.is_away.load(Ordering::SeqCst) || self.immediate_exit().swap(1, Ordering::SeqCst) != 0 {
            return;
        }
        let thread = self.thread.load(Ordering::Relaxed);
        // SAFETY: the thread is one of this process, or was: then another gets a signal that does nothing, or nobody does.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal()) };
    }
}

impl Drop for Kick {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nobody has it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), size_of::<kvm_run>()) };
    }
}
