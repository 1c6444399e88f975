//! The oracle's side: starting the child, giving it batches, and starting another where one did not survive.
//!
//! UNSAFETY: the shared mapping lives as long as the process object and is written by one side at a time, whose turn the
//! pipes tell; the child runs nothing but `child::live` after the fork.

use std::{io, ptr, sync::atomic::Ordering};

use super::{
    child,
    shared::{RawEnd, Shared},
};

/// A child process, with the memory that it shares with this one.
pub struct Process {
    shared: *mut Shared,
    child: Option<Running>,
}

// SAFETY: the mapping belongs to this object alone, as far as this process goes.
unsafe impl Send for Process {}

struct Running {
    id: libc::pid_t,
    orders: libc::c_int,
    reports: libc::c_int,
}

/// Why there is no child.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused something.
    #[error("the host refused a process for the native oracle: {0}")]
    System(#[from] io::Error),
    /// The child said that it cannot do its work.
    #[error(
        "the host lets no program map memory at {:#x} or use RDFSBASE, which the native oracle needs; \
         lower vm.mmap_min_addr, or use a kernel from 5.9 on",
        crate::layout::ARENA
    )]
    Unfit,
}

impl Process {
    /// Starts a child; also says whether it has a local descriptor table.
    pub fn start() -> Result<(Self, bool), StartError> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping.
        let shared = unsafe { libc::mmap(ptr::null_mut(), size_of::<Shared>(), protection, flags, -1, 0) };
        if shared == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        let mut process = Self { shared: shared.cast(), child: None };
        let has_ldt = process.spawn()?;
        Ok((process, has_ldt))
    }

    /// The shared memory. It is this side's turn: no batch is under way while the caller holds it.
    pub fn shared(&mut self) -> &mut Shared {
        // SAFETY: the mapping is as large as the structure, all zeros is a valid value of it, and `self` is borrowed.
        unsafe { &mut *self.shared }
    }

    fn spawn(&mut self) -> Result<bool, StartError> {
        let (mut orders, mut reports) = ([0; 2], [0; 2]);
        // SAFETY: the arrays have room for two descriptors each; the child runs `live` alone.
        let id = unsafe {
            if libc::pipe2(orders.as_mut_ptr(), libc::O_CLOEXEC) != 0 || libc::pipe2(reports.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
                return Err(io::Error::last_os_error().into());
            }
            match libc::fork() {
                -1 => return Err(io::Error::last_os_error().into()),
                0 => child::live(self.shared, orders[0], reports[1]),
                id => {
                    libc::close(orders[0]);
                    libc::close(reports[1]);
                    id
                }
            }
        };
        let running = Running { id, orders: orders[1], reports: reports[0] };
        let word = running.hear();
        self.child = Some(running);
        match word {
            Some(child::READY_WITH_LDT) => Ok(true),
            Some(child::READY) => Ok(false),
            Some(child::UNFIT) => Err(StartError::Unfit),
            _ => Err(io::Error::other("the process ended at once").into()),
        }
    }

    /// Runs cases `0..count` of the shared memory. A case that the child does not survive is left with [`RawEnd::None`].
    pub fn run(&mut self, count: usize) -> Result<(), StartError> {
        let shared = self.shared();
        shared.outcomes[..count].iter_mut().for_each(|outcome| outcome.end = RawEnd::None);
        (shared.first, shared.end) = (0, count as u32);
        loop {
            if self.child.is_none() {
                self.spawn()?;
            }
            let is_done = self.child.as_ref().is_some_and(|child| child.order() && child.hear() == Some(child::DONE));
            if is_done {
                return Ok(());
            }
            self.child = None;
            let shared = self.shared();
            shared.first = shared.current.load(Ordering::Acquire) + 1;
            if shared.first >= shared.end {
                return Ok(());
            }
        }
    }
}

impl Running {
    fn order(&self) -> bool {
        // SAFETY: writes one byte to a pipe whose other end is held by the child; SIGPIPE is ignored in Rust programs.
        unsafe { libc::write(self.orders, [0_u8].as_ptr().cast(), 1) == 1 }
    }

    fn hear(&self) -> Option<u8> {
        let mut word = 0_u8;
        loop {
            // SAFETY: reads one byte into a byte.
            match unsafe { libc::read(self.reports, (&raw mut word).cast(), 1) } {
                1 => return Some(word),
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return None,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: the descriptors and the child are ours; it holds nothing that is lost with it.
        unsafe {
            libc::kill(self.id, libc::SIGKILL);
            libc::waitpid(self.id, ptr::null_mut(), 0);
            libc::close(self.orders);
            libc::close(self.reports);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child = None;
        // SAFETY: nobody uses the mapping any more.
        unsafe { libc::munmap(self.shared.cast(), size_of::<Shared>()) };
    }
}
