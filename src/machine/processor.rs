//! The thread that a processor runs on.

use std::{
    sync::mpsc::Sender,
    thread::{Builder, JoinHandle},
};

use dragoman_accel::{AccelError, ExitReason, StopToken, Vcpu};

use super::events::Event;
use crate::failure::Failure;

/// A processor that runs on a thread of its own.
pub struct RunningProcessor(JoinHandle<Box<dyn Vcpu>>);

/// Tells the main loop that the thread is over, however it ends: a panic included.
struct LastWord {
    events: Sender<Event>,
    result: Option<Result<ExitReason, AccelError>>,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        let _ = self.events.send(Event::ProcessorEnded(self.result.take()));
    }
}

impl RunningProcessor {
    /// Runs `vcpu` until `stop` asks for its end or it cannot go on; [`Event::ProcessorEnded`] says why.
    pub fn start(mut vcpu: Box<dyn Vcpu>, stop: StopToken, events: Sender<Event>) -> Result<Self, Failure> {
        let body = move || {
            let mut last_word = LastWord { events, result: None };
            last_word.result = Some(vcpu.run(&stop));
            vcpu
        };
        let thread = Builder::new().name("vcpu 0".into()).spawn(body);
        thread.map(Self).map_err(|error| Failure::resource(format!("no thread can be had for the processor: {error}")))
    }

    /// The processor, after its thread has ended.
    pub fn join(self) -> Result<Box<dyn Vcpu>, Failure> {
        self.0.join().map_err(|_| Failure::internal("the processor's thread panicked"))
    }
}
