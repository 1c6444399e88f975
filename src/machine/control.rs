//! What is asked on the control socket, done to the machine between two events of its main loop.
//!
//! Rule of this file: whatever is asked, the processor comes to rest at an instruction boundary first, and what cannot be had
//! leaves the guest as it was.

use std::sync::Arc;

use dragoman_devices::Clock;
use dragoman_state::{VcpuId, VmDuration};

use super::{
    Engine, Outcome,
    ledger::Ledger,
    report::seconds,
    run::{Machine, Next},
};
use crate::{
    control::{Asked, EngineTotals, Reply, Request, State, Status},
    failure::Failure,
};

impl Machine {
    /// Does what is asked, and answers.
    pub fn obey(&mut self, asked: Asked) -> Result<Next, Failure> {
        if let Some(reason) = self.processor.rest()? {
            // Asked again where the guest begins anew; where that was its end, the client sees the end of the connection.
            self.ask_again(asked);
            return Ok(self.processor_ended(reason));
        }
        let done = match &asked.request {
            Request::Status => Ok(()),
            Request::Pause => {
                self.pause();
                Ok(())
            }
            Request::Resume => {
                self.resume();
                Ok(())
            }
            Request::Quit => {
                // The process may be gone before another thread has written the answer.
                let reply = Reply::from(Ok(self.status()));
                asked.answer_and_wait(reply);
                return Ok(Next::End(Outcome::Quit));
            }
            Request::Switch(name) => {
                let old = self.accelerator.name();
                self.switch_to(name).map_err(|why| why.with(format!("the guest goes on with {old}")))
            }
        };
        let reply = Reply::from(done.map(|()| self.status()));
        if !self.is_paused {
            self.processor.start()?;
        }
        asked.answer(reply);
        Ok(Next::GoOn)
    }

    /// Guest time stands still, and so does the guest.
    pub fn pause(&mut self) {
        if !self.is_paused {
            self.clock.stop();
            self.is_paused = true;
            // Whoever types goes on being read for our keys.
            self.pass_input_on();
        }
    }

    /// Both go on. The clock on the wall never stood.
    fn resume(&mut self) {
        if self.is_paused {
            self.clock.go_on();
            self.is_paused = false;
            let stood = self.clock.stood().as_secs();
            self.board.skip_seconds(stood - self.wall_seconds);
            self.wall_seconds = stood;
            self.pass_input_on();
        }
    }

    /// Gives the guest to the engine called `name`.
    fn switch_to(&mut self, name: &str) -> Result<(), Failure> {
        let is_counted = self.config.stats || self.config.stats_json.is_some();
        let engine = match self.config.engine {
            // As it was asked for when the machine was started.
            first if first.name() == name => first,
            _ => Engine::parse(name, is_counted)?.0,
        };
        self.give_to(engine)
    }

    /// Gives the guest to `engine`.
    pub fn give_to(&mut self, engine: Engine) -> Result<(), Failure> {
        if engine == self.engine {
            return Ok(());
        }
        let name = engine.name();
        let state = self.processor.vcpu()?.save()?;
        // Nothing has happened to the old one until the new one has everything.
        let accelerator = engine.accelerator();
        let (mut vcpu, handle) = accelerator.create_vcpu(VcpuId(0), self.context.clone())?;
        if !std::ptr::addr_eq(Arc::as_ptr(&handle), Arc::as_ptr(self.processor.handle())) {
            return Err(Failure::internal(format!("the engine {name} does not listen where the processor is spoken to")));
        }
        vcpu.load(&state)?;
        let old = std::mem::replace(self.processor.vcpu()?, vcpu);
        self.ledger.add(self.accelerator.name(), self.ran(), old.as_ref());
        drop(old);
        self.accelerator = accelerator;
        // With the old ones went all code that was decoded.
        self.ram.tracker().clear_all_code();
        (self.engine, self.since) = (engine, self.clock.now());
        self.switches += 1;
        Ok(())
    }

    fn ran(&self) -> VmDuration {
        self.clock.now().since(self.since)
    }

    /// What each engine did until now. The processor is at rest, or lost.
    pub fn accounts(&mut self) -> Ledger {
        let (mut ledger, ran) = (self.ledger.clone(), self.ran());
        if let Ok(vcpu) = self.processor.vcpu() {
            ledger.add(self.accelerator.name(), ran, vcpu.as_ref());
        }
        ledger
    }

    fn status(&mut self) -> Status {
        let ledger = self.accounts();
        let engines = ledger.accounts().iter().map(|account| EngineTotals {
            engine: account.engine.into(),
            seconds: seconds(account.ran.0),
            instructions: account.instructions,
            counters: account.counters.iter().map(|(name, count)| (name.to_string(), *count)).collect(),
        });
        Status {
            program: env!("CARGO_PKG_VERSION").into(),
            state: if self.is_paused { State::Paused } else { State::Running },
            engine: self.accelerator.name().into(),
            since: seconds(self.since.0),
            guest_seconds: seconds(self.clock.now().0),
            host_seconds: seconds(self.clock.host_nanos()),
            switches: self.switches,
            engines: engines.collect(),
        }
    }
}
