//! What the chips' own tests share: ends of wires that remember, and a loose wire.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{InterruptMessage, IrqLine, MessageLine, MessageSink, Outputs, PowerControl};

/// What a guest asked of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    PowerOff,
    Reset,
    DebugExit(u32),
}

/// A machine that only remembers what was asked of it.
#[derive(Default)]
pub struct PowerRecorder(Mutex<Vec<Asked>>);

impl PowerRecorder {
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn asked(&self, what: Asked) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

impl PowerControl for PowerRecorder {
    fn power_off(&self) {
        self.asked(Asked::PowerOff);
    }
    fn reset(&self) {
        self.asked(Asked::Reset);
    }
    fn debug_exit(&self, value: u32) {
        self.asked(Asked::DebugExit(value));
    }
}

/// A wire that leads nowhere; its driver's end still tells the level.
pub fn loose_line() -> IrqLine {
    Outputs::new().line(&[])
}

/// Interrupt messages as they arrive.
#[derive(Default)]
pub struct MessageRecorder(Mutex<Vec<InterruptMessage>>);

impl MessageRecorder {
    pub fn take(&self) -> Vec<InterruptMessage> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MessageSink for MessageRecorder {
    fn deliver(&self, message: InterruptMessage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }
}

/// A path for messages to a recorder; nothing arrives before the outputs are flushed.
pub fn message_line() -> (Arc<MessageRecorder>, Outputs, MessageLine) {
    let recorder = Arc::new(MessageRecorder::default());
    let mut outputs = Outputs::new();
    let line = outputs.messages(recorder.clone());
    (recorder, outputs, line)
}
