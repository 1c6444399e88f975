//! What other threads have to tell a running processor, and how they wake it when it sleeps.
//!
//! Rule of this file: telling is setting bits. The processor looks at one word between blocks; a lock is taken only by
//! a processor that was told there is something behind it, or that goes to sleep.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use bitflags::bitflags;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use dragoman_devices::Delivery;
use dragoman_devices::{InterruptMessage, memory::CodeListener};
use dragoman_state::{GuestPhys, VmInstant};

use crate::{Pending, SafepointWork, VcpuHandle};

bitflags! {
    /// What the processor is to look at.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Signals: u32 {
        /// Its stop token.
        const STOP = 1 << 0;
        /// Its local APIC's timer.
        const DEADLINE = 1 << 1;
        /// Interrupt messages.
        const MESSAGES = 1 << 2;
        /// The level of the external interrupt line.
        const EXTERNAL = 1 << 3;
        /// Code that was overwritten.
        const CODE = 1 << 4;
        /// Work to be done at a safepoint.
        const WORK = 1 << 5;
        /// Somebody wants the world alone.
        const SAFEPOINT = 1 << 6;
    }
}

#[derive(Default)]
struct Letters {
    messages: Vec<InterruptMessage>,
    overwritten: Vec<(GuestPhys, u64)>,
    work: Vec<SafepointWork>,
}

/// Calls a processor back from where it does not look at its inbox.
pub(crate) trait Caller: Send + Sync {
    /// Calls it, where it is away. What it is called for was signalled before.
    fn call(&self);
}

/// One processor's inbox.
pub struct Inbox {
    signals: AtomicU32,
    external_line: AtomicBool,
    deadline: AtomicU64,
    letters: Mutex<Letters>,
    is_sleeping: AtomicBool,
    bed: Mutex<()>,
    awake: Condvar,
    /// Where the processor can be away.
    caller: RwLock<Option<Arc<dyn Caller>>>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            signals: AtomicU32::new(0),
            external_line: AtomicBool::new(false),
            deadline: AtomicU64::new(VmInstant::NEVER.0),
            letters: Mutex::default(),
            is_sleeping: AtomicBool::new(false),
            bed: Mutex::default(),
            awake: Condvar::new(),
            caller: RwLock::default(),
        }
    }
}

impl Inbox {
    /// Whether there is anything to look at. The one thing a running processor asks between blocks.
    #[inline(always)]
    pub(crate) fn has_any(&self) -> bool {
        self.signals.load(Ordering::Relaxed) != 0
    }

    /// Where the word of signals is, for translated code to look at.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn signals_address(&self) -> u64 {
        self.signals.as_ptr().expose_provenance() as u64
    }

    /// From now on `caller`, if anybody, is asked to call the processor back for each signal. Whoever sets one takes it back when
    /// the processor stops running.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn set_caller(&self, caller: Option<Arc<dyn Caller>>) {
        *self.caller.write().unwrap_or_else(PoisonError::into_inner) = caller;
    }

    /// Which signals there are, without taking them.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn peek(&self) -> Signals {
        Signals::from_bits_retain(self.signals.load(Ordering::Acquire))
    }

    /// Whether one of the messages changes more of the processor than its local APIC.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn has_startup_message(&self) -> bool {
        let is_startup = |message: &InterruptMessage| matches!(message.delivery, Delivery::Init | Delivery::StartUp);
        self.letters().messages.iter().any(is_startup)
    }

    /// Takes all signals.
    pub(crate) fn take(&self) -> Signals {
        Signals::from_bits_retain(self.signals.swap(0, Ordering::AcqRel))
    }

    /// The level of the external interrupt line.
    pub(crate) fn external_line(&self) -> bool {
        self.external_line.load(Ordering::Acquire)
    }

    pub(crate) fn take_messages(&self) -> Vec<InterruptMessage> {
        std::mem::take(&mut self.letters().messages)
    }

    pub(crate) fn take_overwritten(&self) -> Vec<(GuestPhys, u64)> {
        std::mem::take(&mut self.letters().overwritten)
    }

    pub(crate) fn take_work(&self) -> Vec<SafepointWork> {
        std::mem::take(&mut self.letters().work)
    }

    /// Says when the processor's timer is due.
    pub(crate) fn set_deadline(&self, at: VmInstant) {
        self.deadline.store(at.0, Ordering::Release);
    }

    pub(crate) fn call_to_safepoint(&self) {
        self.signal(Signals::SAFEPOINT);
    }

    /// Sleeps until there is a signal, or for `limit` at most.
    pub(crate) fn sleep(&self, limit: Option<Duration>) {
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_sleeping.store(true, Ordering::SeqCst);
        // The other side sets a signal, then looks whether we sleep; one of the two sees the other.
        fence(Ordering::SeqCst);
        if !self.has_any() {
            bed = match limit {
                Some(limit) => self.awake.wait_timeout(bed, limit).unwrap_or_else(PoisonError::into_inner).0,
                None => self.awake.wait(bed).unwrap_or_else(PoisonError::into_inner),
            };
        }
        self.is_sleeping.store(false, Ordering::SeqCst);
        drop(bed);
    }

    fn letters(&self) -> std::sync::MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signals: Signals) {
        self.signals.fetch_or(signals.bits(), Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if self.is_sleeping.load(Ordering::SeqCst) {
            let _bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.awake.notify_one();
        }
        if let Some(caller) = self.caller.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            caller.call();
        }
    }
}

impl VcpuHandle for Inbox {
    fn raise(&self, what: Pending) {
        self.signal(match what {
            Pending::Message(message) => {
                self.letters().messages.push(message);
                Signals::MESSAGES
            }
            Pending::ExternalInterrupt(high) => {
                self.external_line.store(high, Ordering::Release);
                Signals::EXTERNAL
            }
            Pending::Deadline => {
                // It is told once; the processor says when the next one is.
                self.set_deadline(VmInstant::NEVER);
                Signals::DEADLINE
            }
        });
    }

    fn kick(&self) {
        self.signal(Signals::STOP);
    }

    fn at_safepoint(&self, work: SafepointWork) {
        self.letters().work.push(work);
        self.signal(Signals::WORK);
    }

    fn deadline(&self) -> VmInstant {
        VmInstant(self.deadline.load(Ordering::Acquire))
    }
}

impl CodeListener for Inbox {
    fn code_written(&self, at: GuestPhys, length: u64) {
        self.letters().overwritten.push((at, length));
        self.signal(Signals::CODE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_signal_wakes_a_sleeper_however_the_two_race() {
        let inbox = Arc::new(Inbox::default());
        for _ in 0..2000 {
            let other = inbox.clone();
            let thread = std::thread::spawn(move || other.kick());
            while !inbox.has_any() {
                inbox.sleep(None);
            }
            assert_eq!(inbox.take(), Signals::STOP);
            thread.join().expect("the thread only kicks");
        }
    }

    #[test]
    fn a_sleep_ends_at_its_limit() {
        Inbox::default().sleep(Some(Duration::from_millis(1)));
    }
}
