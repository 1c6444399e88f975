//! An engine on a test stand that runs as it does in a machine: whatever it executes in one go, up to a HLT.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use dragoman_accel::{AccelError, Accelerator, Created, ExitReason, StopToken, Vcpu, VcpuContext, VcpuHandle, World};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Activity, Cr0, VcpuId, VcpuState};

use super::{Course, Finish, Memory, Ports, RigError, settled, stand::Stand, surroundings::StandingClock};
use crate::{
    Mode,
    case::{End, PageMap},
    layout::HLT,
};

/// How long a processor may run before somebody looks whether it sleeps, and how often somebody does.
const FIRST_LOOK: Duration = Duration::from_micros(500);
const LOOKS: u32 = 14;

/// A processor of an engine.
pub struct Runner<'a> {
    engine: &'a dyn Accelerator,
    model: CpuModel,
    memory: Memory,
    ports: Arc<Ports>,
    map: PageMap,
    kept: Option<Kept>,
}

/// A processor that can run the next code, too: where that finds the page tables as they were, which KVM may keep shadows of.
struct Kept {
    mode: Mode,
    map: PageMap,
    processor: Created,
}

impl<'a> Runner<'a> {
    /// A processor that `engine` runs and that is a `model`.
    pub fn new(engine: &'a dyn Accelerator, model: CpuModel) -> Result<Self, RigError> {
        let runner = Self { engine, model, memory: Memory::new()?, ports: Arc::default(), map: PageMap::new(), kept: None };
        runner.create().map(|_| runner)
    }

    /// A processor in a world of its own, of which nothing is left in it, nor in the host's kernel.
    fn create(&self) -> Result<Created, RigError> {
        let clock = Arc::new(StandingClock);
        let context = VcpuContext {
            bus: self.ports.clone(),
            ram: self.memory.ram().clone(),
            clock: clock.clone(),
            alarm: clock,
            model: self.model.clone(),
            world: World::new(),
        };
        self.engine.create_vcpu(VcpuId(0), context).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: AccelError) -> RigError {
        RigError::Engine { engine: self.engine.name(), source }
    }
}

/// Runs until the processor halts, for good or until an interrupt that never comes. `None` where it does not come to that.
fn run_to_halt(vcpu: &mut dyn Vcpu, handle: &dyn VcpuHandle) -> Result<Option<(ExitReason, VcpuState)>, AccelError> {
    let (stop, is_over) = (StopToken::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut time = FIRST_LOOK;
            while !is_over.load(Ordering::Acquire) {
                thread::park_timeout(time);
                stop.stop();
                handle.kick();
                time = (time * 2).min(FIRST_LOOK * (1 << LOOKS));
            }
        });
        let mut run = || {
            for _ in 0..LOOKS {
                stop.clear();
                let reason = vcpu.run(&stop)?;
                let state = vcpu.save()?;
                if reason != ExitReason::Stopped || state.events.activity != Activity::Running {
                    return Ok(Some((reason, state)));
                }
            }
            Ok(None)
        };
        let end = run();
        is_over.store(true, Ordering::Release);
        watch.thread().unpark();
        end
    })
}

impl Stand for Runner<'_> {
    fn prepare(&mut self, mode: Mode, map: &PageMap) {
        if !self.kept.as_ref().is_some_and(|kept| kept.mode == mode && kept.map == *map) {
            self.kept = None;
            // Memory keeps who listens to it; where there is no more of it, the old does.
            if let Ok(memory) = Memory::new() {
                self.memory = memory;
            }
        }
        self.map = map.clone();
        self.memory.prepare(mode, map);
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn run(&mut self, mode: Mode, start: &VcpuState, code: &[u8]) -> Result<Finish, RigError> {
        let course = Course::begin(&self.memory, mode, start);
        // Without paging, code can go anywhere, and must come to an end there.
        if !start.cr0.contains(Cr0::PG) {
            self.memory.fill_rest(HLT);
        }
        let (mut vcpu, handle) = match self.kept.take() {
            Some(kept) => kept.processor,
            None => self.create()?,
        };
        vcpu.load(start).map_err(|source| self.failed(source))?;
        let end = run_to_halt(&mut *vcpu, &*handle).map_err(|source| self.failed(source))?;
        // User code cannot have changed them.
        if start.cpl() == 3 && end.is_some() {
            self.kept = Some(Kept { mode, map: self.map.clone(), processor: (vcpu, handle) });
        }
        let Some((reason, mut state)) = end else {
            return Ok(Finish { state: start.clone(), end: End::Hang, delivered: None });
        };
        state.events = settled(state.events.nmi_blocked);
        // The counter is the host's, and went on.
        state.tsc_offset = start.tsc_offset;
        if let ExitReason::TripleFault(_) = reason {
            return Ok(Finish { state, end: End::Crash, delivered: None });
        }
        Ok(course.end(state, code))
    }
}
