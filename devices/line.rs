//! Interrupt wires and interrupt messages between chips.
//!
//! Rule of this file: a chip sets its outputs while it is locked, and nothing travels until it is unlocked. [`Slot`]
//! (crate::Slot) then calls [`Outputs::flush`], and the receiving end reads the wire's *present* level under its own
//! lock. So no two chips are ever locked at once, and whoever comes last leaves the receiver with the newest level.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::LineInputs;

/// How an interrupt message is to be delivered. SDM: vol. 3 §11.6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Delivery {
    /// To the processors named, with the vector given.
    Fixed = 0,
    /// To the one of them that runs at the lowest priority.
    LowestPriority = 1,
    /// A system-management interrupt.
    Smi = 2,
    /// A non-maskable interrupt.
    Nmi = 4,
    /// INIT.
    Init = 5,
    /// Start-up at the page the vector names.
    StartUp = 6,
    /// As if from the 8259 pair: the vector comes from an acknowledge cycle.
    ExtInt = 7,
}

impl Delivery {
    /// The mode that three bits of a register select; `None` for the reserved one.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 7 {
            0 => Some(Self::Fixed),
            1 => Some(Self::LowestPriority),
            2 => Some(Self::Smi),
            4 => Some(Self::Nmi),
            5 => Some(Self::Init),
            6 => Some(Self::StartUp),
            7 => Some(Self::ExtInt),
            _ => None,
        }
    }
}

/// An interrupt on its way to local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptMessage {
    /// Who is meant: an APIC ID, or a set of logical ones.
    pub destination: u32,
    /// Whether `destination` is a logical set.
    pub is_logical: bool,
    /// How it is delivered.
    pub delivery: Delivery,
    /// The vector, where `delivery` uses one.
    pub vector: u8,
    /// Level-triggered: the end of interrupt is broadcast to the IOAPIC.
    pub is_level: bool,
}

/// The receiving end of a wire. It locks itself, calls `apply` with its inputs, unlocks, and passes on what changed.
pub trait LineSink: Send + Sync {
    /// Calls `apply` once with the inputs, under the receiver's own lock.
    fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs));
}

/// Who takes interrupt messages to the processors. Never blocks.
pub trait MessageSink: Send + Sync {
    /// Delivers `message` to every processor it names.
    fn deliver(&self, message: InterruptMessage);
}

struct Target {
    sink: Arc<dyn LineSink>,
    pin: u32,
    /// The count of rising edges this target has seen; only used under the sink's lock.
    seen: AtomicU64,
}

impl Target {
    /// Replays what happened on the wire since last time: a pulse that is over already still shows as a pulse.
    fn replay(&self, state: u64, inputs: &mut dyn LineInputs) {
        let (edges, high) = (state >> 1, state & 1 != 0);
        let missed = edges.wrapping_sub(self.seen.swap(edges, Ordering::Relaxed));
        if missed > u64::from(high) {
            inputs.set_input(self.pin, true);
        }
        if missed > 0 {
            inputs.set_input(self.pin, false);
        }
        inputs.set_input(self.pin, high);
    }
}

struct Wire {
    /// Rising edges so far, shifted left by one; the present level in bit 0.
    state: AtomicU64,
    /// A state that all targets have learnt of, perhaps not the newest such.
    told: AtomicU64,
    targets: Vec<Target>,
}

impl Wire {
    /// Tells the targets what they have not learnt yet. Several threads may: what a target is told twice it has seen.
    fn flush(&self) {
        loop {
            let state = self.state.load(Ordering::Acquire);
            if self.told.load(Ordering::Acquire) == state {
                break;
            }
            for target in &self.targets {
                target.sink.with_inputs(&mut |inputs| target.replay(self.state.load(Ordering::Acquire), inputs));
            }
            self.told.store(state, Ordering::Release);
        }
    }
}

/// The driving end of a wire. Deliberately not `Clone`: a wire has one driver, and levels that two drive are ORed by
/// whoever joins them.
pub struct IrqLine(Arc<Wire>);

impl IrqLine {
    /// Drives the wire high or low. Takes no lock; what is at the other end learns of it at the next flush.
    pub fn set(&self, high: bool) {
        let state = self.0.state.load(Ordering::Relaxed);
        if (state & 1 != 0) != high {
            // One driver, locked while it drives: load and store need not be one operation.
            let next = if high { (state | 1).wrapping_add(2) } else { state & !1 };
            self.0.state.store(next, Ordering::Release);
        }
    }

    /// The level last driven.
    pub fn is_high(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & 1 != 0
    }
}

struct Mailbox {
    waiting: Mutex<VecDeque<InterruptMessage>>,
    sink: Arc<dyn MessageSink>,
}

/// The driving end of a path for interrupt messages.
pub struct MessageLine(Arc<Mailbox>);

impl MessageLine {
    /// Sends `message` at the next flush.
    pub fn send(&self, message: InterruptMessage) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
    }
}

/// All outputs of one chip: made while the board is wired, flushed by the chip's slot after every access.
#[derive(Default)]
pub struct Outputs {
    wires: Vec<Arc<Wire>>,
    mailboxes: Vec<Arc<Mailbox>>,
}

impl Outputs {
    /// A chip without outputs, so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// A wire from this chip to each of `targets`: a receiver and the number of its input.
    pub fn line(&mut self, targets: &[(Arc<dyn LineSink>, u32)]) -> IrqLine {
        let targets = targets.iter().map(|(sink, pin)| Target { sink: sink.clone(), pin: *pin, seen: AtomicU64::new(0) });
        let wire = Arc::new(Wire { state: AtomicU64::new(0), told: AtomicU64::new(0), targets: targets.collect() });
        self.wires.push(wire.clone());
        IrqLine(wire)
    }

    /// A path for interrupt messages from this chip to `sink`.
    pub fn messages(&mut self, sink: Arc<dyn MessageSink>) -> MessageLine {
        let mailbox = Arc::new(Mailbox { waiting: Mutex::default(), sink });
        self.mailboxes.push(mailbox.clone());
        MessageLine(mailbox)
    }

    /// Lets what was set travel: all of it has arrived on return, whoever set it. A processor that reads of a request in one
    /// chip finds it at the next, too. The chip must not be locked by the caller.
    pub fn flush(&self) {
        for wire in &self.wires {
            wire.flush();
        }
        for mailbox in &self.mailboxes {
            // Locked while it is emptied, so that nobody takes it for empty before everything is delivered.
            let mut waiting = mailbox.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain(..).for_each(|message| mailbox.sink.deliver(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(u32, bool)>>);
    impl LineInputs for Vec<(u32, bool)> {
        fn set_input(&mut self, pin: u32, high: bool) {
            self.push((pin, high));
        }
    }
    impl LineSink for Recorder {
        fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs)) {
            apply(&mut *self.0.lock().expect("not poisoned"));
        }
    }
    impl Recorder {
        fn take(&self) -> Vec<(u32, bool)> {
            std::mem::take(&mut *self.0.lock().expect("not poisoned"))
        }
    }

    fn wired() -> (Arc<Recorder>, Outputs, IrqLine) {
        let recorder = Arc::new(Recorder::default());
        let mut outputs = Outputs::new();
        let line = outputs.line(&[(recorder.clone(), 3)]);
        (recorder, outputs, line)
    }

    #[test]
    fn nothing_travels_before_the_flush_and_nothing_twice() {
        let (recorder, outputs, line) = wired();
        line.set(true);
        assert_eq!(recorder.take(), []);
        outputs.flush();
        assert_eq!(recorder.take().last(), Some(&(3, true)));
        line.set(true);
        outputs.flush();
        assert_eq!(recorder.take(), []);
    }

    #[test]
    fn what_was_set_has_arrived_after_a_flush_whoever_else_is_at_it() {
        /// Whoever comes first waits for the second at the gate, in the middle of its flush.
        struct Gate(Recorder, std::sync::Barrier, AtomicU64);
        impl LineSink for Gate {
            fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs)) {
                if self.2.fetch_add(1, Ordering::SeqCst) == 0 {
                    self.1.wait();
                    self.1.wait();
                }
                self.0.with_inputs(apply);
            }
        }
        let gate = Arc::new(Gate(Recorder::default(), std::sync::Barrier::new(2), AtomicU64::new(0)));
        let mut outputs = Outputs::new();
        let line = outputs.line(&[(gate.clone(), 3)]);
        line.set(true);
        std::thread::scope(|scope| {
            scope.spawn(|| outputs.flush());
            gate.1.wait();
            outputs.flush();
            assert_eq!(gate.0.take().last(), Some(&(3, true)));
            gate.1.wait();
        });
    }

    #[test]
    fn a_pulse_between_flushes_is_seen_as_a_pulse() {
        let (recorder, outputs, line) = wired();
        line.set(true);
        line.set(false);
        outputs.flush();
        assert_eq!(recorder.take(), [(3, true), (3, false), (3, false)]);
    }

    #[test]
    fn a_dip_between_flushes_is_seen_as_a_new_edge() {
        let (recorder, outputs, line) = wired();
        line.set(true);
        outputs.flush();
        recorder.take();
        line.set(false);
        line.set(true);
        outputs.flush();
        assert_eq!(recorder.take(), [(3, false), (3, true)]);
    }
}
