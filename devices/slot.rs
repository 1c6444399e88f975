//! A chip's place on the board: its lock, its clock, its outputs.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use dragoman_state::VmInstant;

use crate::{Device, LineInputs, LineSink, Outputs};

/// Where guest time comes from. Never decreases.
pub trait Clock: Send + Sync {
    /// The present moment of guest time.
    fn now(&self) -> VmInstant;
}

/// Who must be told when something wants to happen earlier than was known. Takes no lock that a vCPU holds.
pub trait Alarm: Send + Sync {
    /// Something is due at `at`; be awake by then.
    fn wake_by(&self, at: VmInstant);
}

/// One chip with everything that its core must not have: the lock, the clock, and the way out for its interrupts.
///
/// An `Arc<Slot<Pic>>` is for those who speak to that chip (an acknowledge cycle, bytes for a serial line); the board
/// takes the same `Arc` as an `Arc<Slot>`, the slot of some chip or other.
pub struct Slot<D: Device + ?Sized = dyn Device> {
    // Configuration
    name: &'static str,
    is_timed: bool,
    is_byte_wide: bool,
    // Wiring
    outputs: Outputs,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Alarm>,
    // Bookkeeping
    deadline: AtomicU64,
    /// Last, because only the last field of a struct may lose its type.
    device: Mutex<D>,
}

impl<D: Device> Slot<D> {
    /// Puts `device`, which drives `outputs`, on the board.
    pub fn new(mut device: D, outputs: Outputs, clock: Arc<dyn Clock>, alarm: Arc<dyn Alarm>) -> Arc<Self> {
        let is_byte_wide = device.as_pio().is_some_and(|pio| pio.is_byte_wide());
        Arc::new(Self {
            name: device.name(),
            is_timed: device.as_timed().is_some(),
            is_byte_wide,
            device: Mutex::new(device),
            outputs,
            clock,
            alarm,
            deadline: AtomicU64::new(VmInstant::NEVER.0),
        })
    }
}

impl<D: Device + ?Sized> Slot<D> {
    /// The chip's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the chip answers port accesses of one byte only.
    pub fn is_byte_wide(&self) -> bool {
        self.is_byte_wide
    }

    /// When the chip next wants [`Slot::advance`].
    pub fn deadline(&self) -> VmInstant {
        VmInstant(self.deadline.load(Ordering::Acquire))
    }

    /// Brings the chip to the present; its interrupts follow.
    pub fn advance(&self) {
        self.access(|_| ());
    }

    /// Puts the chip back to its reset state.
    pub fn reset(&self) {
        self.access(|device| device.reset());
    }

    /// Runs `f` on the chip, brought to the present, under its lock; then lets its outputs travel.
    pub fn access<R>(&self, f: impl FnOnce(&mut D) -> R) -> R {
        let result = {
            let mut device = self.lock();
            let now = if self.is_timed { self.clock.now() } else { VmInstant::ZERO };
            if let Some(timed) = device.as_timed() {
                timed.advance(now);
            }
            let result = f(&mut *device);
            if let Some(timed) = device.as_timed() {
                let next = timed.next_deadline();
                if self.deadline.swap(next.0, Ordering::AcqRel) > next.0 {
                    self.alarm.wake_by(next);
                }
            }
            result
        };
        self.outputs.flush();
        result
    }

    fn lock(&self) -> MutexGuard<'_, D> {
        // A panic inside a chip has already been reported; its state is still a valid state of a pure machine.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Device + ?Sized> LineSink for Slot<D> {
    fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs)) {
        self.access(|device| {
            if let Some(inputs) = device.as_line_inputs() {
                apply(inputs);
            }
        });
    }
}
