//! The machine's processor: at rest, or running on a thread of its own.
//!
//! Rule of this file: the thread lives as long as the machine, whichever engine runs the processor. A processor that does not
//! run is here, and whoever wants something of it brings it to rest first.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::Builder,
};

use dragoman_accel::{AccelError, ExitReason, StopToken, Vcpu, VcpuHandle};

use super::events::Event;
use crate::failure::Failure;

/// A processor and its thread.
pub struct Processor {
    /// While it does not run.
    vcpu: Option<Box<dyn Vcpu>>,
    handle: Arc<dyn VcpuHandle>,
    stop: StopToken,
    /// How often it was started.
    starts: u64,
    work: Sender<Work>,
    done: Receiver<Done>,
}

struct Work {
    vcpu: Box<dyn Vcpu>,
    start: u64,
}

struct Done {
    vcpu: Box<dyn Vcpu>,
    result: Result<ExitReason, AccelError>,
}

/// Tells the main loop that the processor stopped, however that came: by a panic, too.
struct LastWord<'a> {
    events: &'a Sender<Event>,
    start: u64,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        let _ = self.events.send(Event::ProcessorStopped(self.start));
    }
}

impl Processor {
    /// The processor that `vcpu` is and `handle` reaches, at rest. Each time that it stops after [`Processor::start`],
    /// [`Event::ProcessorStopped`] is sent to `events`.
    pub fn new(
        vcpu: Box<dyn Vcpu>,
        handle: Arc<dyn VcpuHandle>,
        stop: StopToken,
        events: Sender<Event>,
    ) -> Result<Self, Failure> {
        let ((work, orders), (finished, done)) = (mpsc::channel::<Work>(), mpsc::channel());
        let token = stop.clone();
        let body = move || {
            for Work { mut vcpu, start } in orders {
                let _last_word = LastWord { events: &events, start };
                let result = vcpu.run(&token);
                if finished.send(Done { vcpu, result }).is_err() {
                    break;
                }
            }
        };
        let thread = Builder::new().name("vcpu 0".into()).spawn(body);
        thread.map_err(|error| Failure::resource(format!("no thread can be had for the processor: {error}")))?;
        Ok(Self { vcpu: Some(vcpu), handle, stop, starts: 0, work, done })
    }

    /// Lets it run, where it does not.
    pub fn start(&mut self) -> Result<(), Failure> {
        let Some(vcpu) = self.vcpu.take() else { return Ok(()) };
        self.starts += 1;
        self.work.send(Work { vcpu, start: self.starts }).map_err(|_| panicked())
    }

    /// Brings it to rest, at an instruction boundary. Why it could not go on, where it had stopped by itself.
    pub fn rest(&mut self) -> Result<Option<ExitReason>, Failure> {
        if self.vcpu.is_some() {
            return Ok(None);
        }
        self.stop.stop();
        self.handle.kick();
        let done = self.done.recv();
        self.stop.clear();
        let Done { vcpu, result } = done.map_err(|_| panicked())?;
        self.vcpu = Some(vcpu);
        Ok(match result? {
            ExitReason::Stopped | ExitReason::StepDone => None,
            reason @ (ExitReason::HaltedForever | ExitReason::TripleFault(_)) => Some(reason),
        })
    }

    /// Whether it runs, and has since its start number `start`: what is said of an earlier one is old.
    pub fn runs_since(&self, start: u64) -> bool {
        self.vcpu.is_none() && self.starts == start
    }

    /// The processor at rest.
    pub fn vcpu(&mut self) -> Result<&mut Box<dyn Vcpu>, Failure> {
        self.vcpu.as_mut().ok_or_else(|| Failure::internal("the processor is not at rest"))
    }

    /// How it is reached while it runs.
    pub fn handle(&self) -> &Arc<dyn VcpuHandle> {
        &self.handle
    }
}

fn panicked() -> Failure {
    Failure::internal("the processor's thread panicked")
}
