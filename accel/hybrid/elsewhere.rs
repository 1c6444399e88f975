//! User mode in another place: going there and coming back, and what that costs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use log::{debug, warn};

use super::{
    Back, UserRunner,
    policy::{Policy, Space},
};
use crate::{
    inbox::Caller,
    interpret::{BlockEnd, InterpretedVcpu, processor::Processor},
    mmu::ViewIndex,
};

/// What the way into user mode elsewhere and back is expected to take, before it was measured.
const TRIP: Duration = Duration::from_micros(100);

/// The other place, and what decides who goes there.
pub(crate) struct Elsewhere {
    runner: Option<Box<dyn UserRunner>>,
    policy: Policy,
    always: bool,
    /// An instruction of user mode is to be executed here.
    owes: bool,
    /// The interrupts in user mode that were looked at, and when the last one was.
    seen: u64,
    entered: u64,
    last: Instant,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    runs: u64,
    called: u64,
    nanoseconds: u64,
    moved_there: u64,
    moved_back: u64,
    given_up: u64,
}

impl Elsewhere {
    /// User mode of `cpu` that `runner` runs: whenever it can if `always`, where it pays otherwise.
    pub fn new(runner: Box<dyn UserRunner>, always: bool, cpu: &mut Processor) -> Self {
        cpu.leaves_for_user = always;
        Self {
            runner: Some(runner),
            policy: Policy::new(TRIP),
            always,
            owes: false,
            seen: 0,
            entered: 0,
            last: Instant::now(),
            counts: Counts::default(),
        }
    }

    /// What calls the processor back from there.
    pub fn caller(&self) -> Option<Arc<dyn Caller>> {
        self.runner.as_ref().map(|runner| runner.caller())
    }

    /// What was counted.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.counts;
        let own = [
            ("user runs", counts.runs),
            ("user runs called back", counts.called),
            ("user microseconds", counts.nanoseconds / 1000),
            ("spaces to kvm", counts.moved_there),
            ("spaces back", counts.moved_back),
            ("kvm given up", counts.given_up),
            ("trip nanoseconds", self.policy.trip().as_nanos() as u64),
        ];
        own.into_iter().chain(self.runner.iter().flat_map(|runner| runner.counters())).collect()
    }

    /// Runs user mode elsewhere, where it is about to run and belongs there: how that ended. `None` where the translator is to
    /// run what comes next.
    pub fn run(&mut self, vcpu: &mut InterpretedVcpu) -> Option<BlockEnd> {
        self.look(&mut vcpu.cpu);
        if std::mem::take(&mut self.owes) && vcpu.cpu.view == ViewIndex::User {
            return Some(vcpu.run_block(1));
        }
        let runner = self.runner.as_mut()?;
        let cpu = &mut vcpu.cpu;
        let space: Space = cpu.state.top_table();
        // By what translated code leaves by, so that it never leaves for nothing.
        if cpu.view != ViewIndex::User || cpu.frame.user_elsewhere == 0 || !runner.can_run(cpu) {
            return None;
        }
        let (start, faults) = (Instant::now(), runner.page_faults());
        let back = runner.run(cpu);
        let (time, faults) = (start.elapsed(), runner.page_faults().saturating_sub(faults));
        self.counts.runs += 1;
        self.counts.nanoseconds += time.as_nanos() as u64;
        match back {
            Ok(back) => {
                let is_over = !self.always
                    && match back {
                        Back::NewSpace => {
                            self.policy.forget(space);
                            true
                        }
                        Back::Called | Back::Instruction => self.policy.ran(space, time, faults),
                    };
                if is_over {
                    debug!("user mode of {space:#x} comes back after {time:?} with {faults} pages");
                    self.counts.moved_back += 1;
                    cpu.spaces_elsewhere.retain(|known| *known != space);
                    cpu.derive();
                }
                self.counts.called += u64::from(back == Back::Called);
                // Not before what was said meanwhile is heard: that code was overwritten, perhaps this.
                self.owes = back == Back::Instruction;
                Some(BlockEnd::Done)
            }
            Err(error) => {
                warn!("user mode runs in the translator from here on: {error}");
                self.counts.given_up += 1;
                self.runner = None;
                cpu.leaves_for_user = false;
                cpu.spaces_elsewhere.clear();
                cpu.load_flags();
                cpu.derive();
                Some(BlockEnd::Done)
            }
        }
    }

    /// Looks whether an interrupt has found user mode running in the translator.
    fn look(&mut self, cpu: &mut Processor) {
        let interrupts = cpu.user_interrupts;
        if interrupts.count == self.seen {
            return;
        }
        self.seen = interrupts.count;
        let now = Instant::now();
        let entries = cpu.frame.user_entries;
        let (span, entries) =
            (now - std::mem::replace(&mut self.last, now), entries - std::mem::replace(&mut self.entered, entries));
        if self.policy.sample(interrupts.space, span, entries) {
            debug!("user mode of {:#x} goes elsewhere", interrupts.space);
            self.counts.moved_there += 1;
            if !cpu.spaces_elsewhere.contains(&interrupts.space) {
                cpu.spaces_elsewhere.push(interrupts.space);
            }
            cpu.derive();
        }
    }
}
