//! What happens to a machine from outside its processors, in one queue; and the clock that wakes the queue's reader.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
    mpsc::Sender,
};

use dragoman_accel::{StopToken, VcpuHandle};
use dragoman_devices::{Alarm, PowerControl};
use dragoman_state::VmInstant;

use crate::control::Asked;

/// Something that the machine's main loop has to deal with.
#[derive(Debug)]
pub enum Event {
    /// A deadline is earlier than was known.
    Wake,
    /// Bytes for the serial port. The reader waits until it is told that they were taken.
    Input(Vec<u8>),
    /// The serial port can take bytes again.
    Room,
    /// The guest asked for something about the whole machine.
    Power(PowerRequest),
    /// The processor stopped, after it was started for the so many-th time.
    ProcessorStopped(u64),
    /// A client of the control socket asks.
    Asked(Asked),
    /// A signal came.
    Signal(i32),
}

/// What a guest can ask of whoever runs the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    /// Off.
    Off,
    /// Reset.
    Reset,
    /// The end, with a value.
    DebugExit(u32),
}

/// Wakes the main loop when something is due earlier than it knew.
pub struct Bell {
    asleep_until: AtomicU64,
    events: Sender<Event>,
}

impl Bell {
    pub fn new(events: Sender<Event>) -> Self {
        Self { asleep_until: AtomicU64::new(0), events }
    }

    /// The main loop will not look before `until`. It must look at all deadlines once more after it has said so.
    pub fn set(&self, until: VmInstant) {
        self.asleep_until.store(until.0, Ordering::SeqCst);
    }
}

impl Alarm for Bell {
    fn wake_by(&self, at: VmInstant) {
        if self.asleep_until.fetch_min(at.0, Ordering::SeqCst) > at.0 {
            // The loop's end is the machine's end: nobody is left to be woken.
            let _ = self.events.send(Event::Wake);
        }
    }
}

/// Carries the guest's requests to the main loop, and stops the processor so that it does not run on meanwhile.
pub struct PowerSwitch {
    pub events: Sender<Event>,
    pub stop: StopToken,
    pub processor: OnceLock<Arc<dyn VcpuHandle>>,
}

impl PowerSwitch {
    fn request(&self, request: PowerRequest) {
        let _ = self.events.send(Event::Power(request));
        self.stop.stop();
        if let Some(processor) = self.processor.get() {
            processor.kick();
        }
    }
}

impl PowerControl for PowerSwitch {
    fn power_off(&self) {
        self.request(PowerRequest::Off);
    }

    fn reset(&self) {
        self.request(PowerRequest::Reset);
    }

    fn debug_exit(&self, value: u32) {
        self.request(PowerRequest::DebugExit(value));
    }
}
