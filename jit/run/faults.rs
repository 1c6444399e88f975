//! Host faults in translated code: an integer division, an unmasked floating-point exception, an operand that is not
//! aligned. What they mean to the guest is found out by executing the guest's instruction again, where every fault is known
//! exactly; here they are only led out of the code.
//!
//! UNSAFETY: sound because the handler touches nothing but the interrupted thread's registers, and those only where the
//! interrupted instruction lies in memory registered here, whose code expects to be left at any instruction that faults.
//! It reads the registered ranges through atomics; they are never taken back while code can run there. Every other fault
//! goes to whoever handled it before.
#![expect(unsafe_code, reason = "signal handlers")]

use std::{
    io,
    mem::zeroed,
    ops::Range,
    ptr::null_mut,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use libc::{
    REG_R11, REG_RIP, SA_ONSTACK, SA_SIGINFO, SIGBUS, SIGFPE, SIGILL, SIGSEGV, c_int, c_void, sigaction, siginfo_t, ucontext_t,
};

const SIGNALS: [c_int; 4] = [SIGSEGV, SIGFPE, SIGBUS, SIGILL];
/// As many machines as one process may have.
const MOST: usize = 256;

/// A range of code and where faults in it go on. `end` is written last, and zero until then.
struct Place {
    start: AtomicU64,
    end: AtomicU64,
    handler: AtomicU64,
}

static PLACES: [Place; MOST] =
    [const { Place { start: AtomicU64::new(0), end: AtomicU64::new(0), handler: AtomicU64::new(0) } }; MOST];
static EARLIER: OnceLock<[sigaction; SIGNALS.len()]> = OnceLock::new();
static REGISTERING: Mutex<()> = Mutex::new(());

/// Has faults of instructions at host addresses in `code` go on at `handler`, with the instruction's address in R11.
pub(super) fn catch(code: Range<u64>, handler: u64) -> io::Result<()> {
    let _one_at_a_time = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
    if EARLIER.get().is_none() {
        let earlier = install()?;
        EARLIER.get_or_init(|| earlier);
    }
    let free = PLACES.iter().find(|place| place.end.load(Ordering::Acquire) == 0);
    let place = free.ok_or_else(|| io::Error::other("too many machines in one process"))?;
    place.start.store(code.start, Ordering::Release);
    place.handler.store(handler, Ordering::Release);
    place.end.store(code.end, Ordering::Release);
    Ok(())
}

/// Lets faults at `code` go where they went before.
pub(super) fn release(code: &Range<u64>) {
    let _one_at_a_time = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = PLACES.iter().find(|place| place.start.load(Ordering::Acquire) == code.start);
    if let Some(place) = ours {
        place.end.store(0, Ordering::Release);
        place.start.store(0, Ordering::Release);
    }
}

fn install() -> io::Result<[sigaction; SIGNALS.len()]> {
    // SAFETY: all zeros is a valid `sigaction`; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut earlier = [zeroed::<sigaction>(); SIGNALS.len()];
        for (signal, earlier) in SIGNALS.iter().zip(&mut earlier) {
            let mut action: sigaction = zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            if libc::sigaction(*signal, &action, earlier) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(earlier)
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands in the interrupted thread's registers.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let at = registers[REG_RIP as usize] as u64;
    let is_inside = |place: &&Place| (place.start.load(Ordering::Acquire)..place.end.load(Ordering::Acquire)).contains(&at);
    if let Some(place) = PLACES.iter().find(is_inside) {
        registers[REG_R11 as usize] = at as i64;
        registers[REG_RIP as usize] = place.handler.load(Ordering::Acquire) as i64;
        return;
    }
    let earlier = EARLIER.get().and_then(|all| all.iter().zip(SIGNALS).find(|(_, number)| *number == signal));
    let Some((earlier, _)) = earlier else { return };
    // SAFETY: the action is one that the kernel gave out, called as its flags say; or it is put back, so that the
    // instruction faults again and the process ends as it would have.
    unsafe {
        match earlier.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, earlier, null_mut());
            }
            handler if earlier.sa_flags & SA_SIGINFO != 0 => {
                let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}
