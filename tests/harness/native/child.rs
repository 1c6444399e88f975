//! The child process: a loop that lives inside its signal handlers.
//!
//! The processor enters a case by returning from a signal handler whose frame was rewritten, and leaves it through the
//! exception that the case's HLT, or the case itself, raises. The handler takes the outcome and rewrites the frame for the
//! next case. So a case costs one signal and no other system call, and any state that the kernel can restore, compatibility
//! mode included, can be entered.
//!
//! UNSAFETY: after the fork, only this code runs in the child, on one thread; handlers run with all signals blocked. While
//! a handler runs, FS may not point to thread-local storage: nothing here uses any, or allocates, or unwinds.

use std::{
    arch::{asm, global_asm},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use libc::{c_int, c_void, siginfo_t, ucontext_t};

use super::{
    frame::Frame,
    memory::Memory,
    segments,
    shared::{RawEnd, Shared},
};

/// How often the timer looks for a case that does not end, in microseconds of the processor's time.
const TICK: libc::suseconds_t = 4_000;
/// How many ticks a case may see.
const PATIENCE: u32 = 2;
const SIGNALS: [c_int; 6] = [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS, libc::SIGTRAP, libc::SIGVTALRM];
const SIGNAL_STACK: usize = 1 << 18;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for the parent.
    Idle,
    /// About to leave for the first case.
    Leaving,
    /// In the case that the shared memory names.
    Running,
}

struct Child {
    shared: *mut Shared,
    memory: Memory,
    phase: Phase,
    generation: u32,
    map: u32,
    ticks: u32,
    home: [i64; 23],
    bases: (u64, u64),
    selectors: [u16; 6],
}

/// The one child of this process, for its handlers.
static CHILD: AtomicPtr<Child> = AtomicPtr::new(ptr::null_mut());

// A case may set AC, under which compiled code would fault, and NT and ID, which the kernel would hand on to the next case.
global_asm!(
    ".globl dragoman_harness_signal_entry",
    "dragoman_harness_signal_entry:",
    "pushfq",
    "and dword ptr [rsp], 0xffdbbfff",
    "popfq",
    "jmp {handler}",
    handler = sym handle,
);

unsafe extern "C" {
    fn dragoman_harness_signal_entry();
}

extern "C" fn handle(signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: set before the handlers were, and only this thread uses it.
    let child = unsafe { &mut *CHILD.load(Ordering::Relaxed) };
    // SAFETY: this is what the kernel gave us.
    let mut frame = unsafe { Frame::new(context.cast::<ucontext_t>()) };
    match child.phase {
        Phase::Idle if signal == libc::SIGVTALRM => {}
        // SAFETY: ends this process.
        Phase::Idle => unsafe { libc::_exit(100) },
        Phase::Leaving if signal == libc::SIGVTALRM => {}
        Phase::Leaving => {
            child.home = frame.save_general();
            child.bases = segments::bases();
            child.selectors = segments::data_selectors();
            child.phase = Phase::Running;
            child.begin(&mut frame);
        }
        Phase::Running if signal == libc::SIGVTALRM && child.ticks < PATIENCE => child.ticks += 1,
        Phase::Running => {
            child.finish(&frame, if signal == libc::SIGVTALRM { RawEnd::Hang } else { RawEnd::Exception });
            child.begin(&mut frame);
        }
    }
}

impl Child {
    fn shared(&mut self) -> &'static mut Shared {
        // SAFETY: the mapping lives as long as the process, and it is this side's turn.
        unsafe { &mut *self.shared }
    }

    /// Takes the outcome of the case under way.
    fn finish(&mut self, frame: &Frame, end: RawEnd) {
        let shared = self.shared();
        let n = shared.current.load(Ordering::Relaxed) as usize;
        let (case, outcome) = (&shared.cases[n], &mut shared.outcomes[n]);
        outcome.end = end;
        (outcome.vector, outcome.error, outcome.address) = (frame.vector(), frame.error(), frame.address());
        frame.read(&mut outcome.registers);
        self.memory.read(case, &mut outcome.memory);
        shared.current.store(n as u32 + 1, Ordering::Release);
    }

    /// Makes the frame return into the next case, or home where there is none.
    fn begin(&mut self, frame: &mut Frame) {
        let shared = self.shared();
        self.ticks = 0;
        while shared.current.load(Ordering::Relaxed) < shared.end {
            let n = shared.current.load(Ordering::Relaxed) as usize;
            let case = &shared.cases[n];
            if self.map != case.map || self.generation != shared.generation {
                if !self.memory.apply(&shared.maps[case.map as usize]) {
                    // The map cannot be had; the outcome stays as the parent prepared it.
                    self.map = u32::MAX;
                    shared.current.store(n as u32 + 1, Ordering::Release);
                    continue;
                }
                (self.map, self.generation) = (case.map, shared.generation);
            }
            self.memory.write(case);
            frame.write(&case.registers);
            // SAFETY: the oracle lets only cases through whose selectors and bases can be loaded.
            unsafe {
                segments::load_selectors(&case.registers.selectors);
                segments::set_bases(case.registers.fs_base, case.registers.gs_base);
            }
            return;
        }
        self.phase = Phase::Idle;
        frame.restore_general(&self.home);
        // SAFETY: they are what the process had.
        unsafe {
            segments::load_selectors(&self.selectors);
            segments::set_bases(self.bases.0, self.bases.1);
        }
    }
}

/// What the child tells its parent when it is ready: which modes it can enter.
pub const READY_WITH_LDT: u8 = 2;
/// Ready, but without a local descriptor table.
pub const READY: u8 = 1;
/// A batch is done.
pub const DONE: u8 = 3;
/// The child cannot work here.
pub const UNFIT: u8 = 4;

/// The life of the child: batches from `orders`, reports to `reports`, until the parent is gone.
///
/// # Safety
/// Only right after a fork, in the child, with `shared` a mapping that both processes share.
pub unsafe fn live(shared: *mut Shared, orders: c_int, reports: c_int) -> ! {
    // SAFETY: this process is ours alone, and everything is done with its own memory and descriptors.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        close_all_but(orders, reports);
        let memory = Memory::new();
        let report = |word: u8| libc::write(reports, (&raw const word).cast(), 1) == 1;
        let Some(memory) = memory.filter(|_| segments::has_base_instructions()) else {
            report(UNFIT);
            libc::_exit(0)
        };
        let has_ldt = segments::fill_ldt();
        let mut child = Child {
            shared,
            memory,
            phase: Phase::Idle,
            generation: 0,
            map: u32::MAX,
            ticks: 0,
            home: [0; 23],
            bases: (0, 0),
            selectors: [0; 6],
        };
        CHILD.store(&raw mut child, Ordering::Relaxed);
        if !install_handlers() || !report(if has_ldt { READY_WITH_LDT } else { READY }) {
            libc::_exit(1);
        }
        loop {
            let mut word = 0_u8;
            match libc::read(orders, (&raw mut word).cast(), 1) {
                1 => {}
                -1 if *libc::__errno_location() == libc::EINTR => continue,
                _ => libc::_exit(0),
            }
            run_batch(CHILD.load(Ordering::Relaxed));
            if !report(DONE) {
                libc::_exit(0);
            }
        }
    }
}

/// # Safety
/// In the child, with handlers installed.
unsafe fn run_batch(child: *mut Child) {
    // SAFETY: only this thread uses it; handlers do while this function is inside the HLT.
    unsafe {
        (*child).phase = Phase::Leaving;
        (*(*child).shared).current.store((*(*child).shared).first, Ordering::Relaxed);
        set_timer(TICK);
        asm!("hlt", clobber_abi("sysv64"));
        set_timer(0);
    }
}

fn set_timer(interval: libc::suseconds_t) {
    let value = libc::timeval { tv_sec: 0, tv_usec: interval };
    let timer = libc::itimerval { it_interval: value, it_value: value };
    // SAFETY: the structure is valid.
    unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &timer, ptr::null_mut()) };
}

/// # Safety
/// In the child.
unsafe fn install_handlers() -> bool {
    // SAFETY: the stack is never freed; the structures are valid; the entry is a function that handlers may be.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let stack = libc::mmap(ptr::null_mut(), SIGNAL_STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if stack == libc::MAP_FAILED {
            return false;
        }
        let stack = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: SIGNAL_STACK };
        if libc::sigaltstack(&stack, ptr::null_mut()) != 0 {
            return false;
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = dragoman_harness_signal_entry as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigfillset(&mut action.sa_mask);
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &empty, ptr::null_mut());
        SIGNALS.iter().all(|signal| libc::sigaction(*signal, &action, ptr::null_mut()) == 0)
    }
}

/// Closes what was inherited, so that no other oracle's pipe is held open.
///
/// # Safety
/// In the child.
unsafe fn close_all_but(a: c_int, b: c_int) {
    let (low, high) = (a.min(b) as u32, a.max(b) as u32);
    // SAFETY: nothing in this process uses any other descriptor.
    unsafe {
        for (first, last) in [(3, low.wrapping_sub(1)), (low + 1, high.wrapping_sub(1)), (high + 1, u32::MAX)] {
            if first <= last {
                libc::syscall(libc::SYS_close_range, first, last, 0);
            }
        }
    }
}
