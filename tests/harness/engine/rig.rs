//! One processor of an engine on a test stand: memory around it, ports beside it, and gates that catch what it raises.

use std::sync::Arc;

use dragoman_accel::{AccelError, Accelerator, ExitReason, StopToken, Vcpu, VcpuContext, World};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Activity, RFlags, VcpuId, VcpuState};
use iced_x86::Instruction;

use super::{
    MakeEngine,
    delivery::{self, Delivered},
    memory::Memory,
    stand::Stand,
    surroundings::{Ports, StandingClock},
    template,
};
use crate::{
    Mode,
    case::{Case, End, Outcome, PageMap},
    generate::Random,
    layout,
};

/// Why there is no rig, or why it stopped working. Never the instruction's doing.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// The engine failed.
    #[error("the engine {engine} failed: {source}")]
    Engine {
        /// Its name.
        engine: &'static str,
        /// What it said.
        source: AccelError,
    },
    /// A machine that is not ours did not get through.
    #[error("{0}")]
    GaveUp(String),
    /// There is no memory for it.
    #[error("a test stand cannot be had: {0}")]
    Memory(#[from] dragoman_devices::memory::MemoryError),
}

/// How often one repeated instruction is stepped before it counts as endless.
const PATIENCE: usize = 100_000;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The state at the end; where an exception was delivered, as it was raised.
    pub state: VcpuState,
    /// How it ended.
    pub end: End,
    /// What was delivered.
    pub delivered: Option<Delivered>,
}

/// A processor on a test stand.
pub struct Rig {
    engine: &'static str,
    model: CpuModel,
    context: VcpuContext,
    vcpu: Box<dyn Vcpu>,
    memory: Memory,
    ports: Arc<Ports>,
    template: Option<(Mode, VcpuState)>,
}

impl Rig {
    /// A processor that `engine` runs and that is a `model`.
    pub fn new(engine: &dyn Accelerator, model: CpuModel) -> Result<Self, RigError> {
        let (memory, ports, clock) = (Memory::new()?, Arc::new(Ports::default()), Arc::new(StandingClock));
        let context = VcpuContext {
            bus: ports.clone(),
            ram: memory.ram().clone(),
            clock: clock.clone(),
            alarm: clock,
            model: model.clone(),
            world: World::new(),
        };
        let made = engine.create_vcpu(VcpuId(0), context.clone());
        let (vcpu, handle) = made.map_err(|source| RigError::Engine { engine: engine.name(), source })?;
        ports.connect(handle);
        Ok(Self { engine: engine.name(), model, context, vcpu, memory, ports, template: None })
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Maps what `map` names, and makes ready what exceptions need in `mode`.
    pub fn prepare(&mut self, mode: Mode, map: &PageMap) {
        let root = self.memory.root();
        self.memory.prepare(mode, map);
        if self.memory.root() != root || self.template.as_ref().is_none_or(|(known, _)| *known != mode) {
            self.template = None;
        }
    }

    /// Memory, as [`Rig::prepare`] mapped it.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Memory, to be put back.
    pub fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The state at `cpl` in `mode`, with the register pattern.
    pub fn start(&self, mode: Mode, cpl: u8) -> VcpuState {
        template::state(&self.model, mode, cpl, self.memory.root())
    }

    fn failed(&self, source: AccelError) -> RigError {
        RigError::Engine { engine: self.engine, source }
    }

    /// Runs the instructions in `code`, which lie where `start` says, until they are done or one of them raises something.
    /// Repeated ones are run to their end.
    pub fn run(&mut self, mode: Mode, start: &VcpuState, code: &[u8]) -> Result<Finish, RigError> {
        let repeated = shape(mode, code);
        self.run_shape(mode, start, &repeated)
    }

    fn run_shape(&mut self, mode: Mode, start: &VcpuState, repeated: &[bool]) -> Result<Finish, RigError> {
        let below_stack = delivery::below_stack(&self.memory, mode, start);
        self.vcpu.load(start).map_err(|source| self.failed(source))?;
        let mut state = start.clone();
        for is_repeated in repeated {
            let at = state.rip;
            for round in 0.. {
                if round == PATIENCE {
                    return Ok(Finish { state, end: End::Hang, delivered: None });
                }
                if let Some(finish) = self.step(mode, start, &mut state, &below_stack)? {
                    return Ok(finish);
                }
                // The next step would wait for an interrupt, which never comes.
                if state.events.activity == Activity::Halted {
                    return Ok(Finish { state, end: End::Done, delivered: None });
                }
                if !is_repeated || state.rip != at {
                    break;
                }
            }
        }
        Ok(Finish { state, end: End::Done, delivered: None })
    }

    /// One step. What it returns is the end.
    fn step(
        &mut self,
        mode: Mode,
        start: &VcpuState,
        state: &mut VcpuState,
        below_stack: &[(u64, Vec<u8>)],
    ) -> Result<Option<Finish>, RigError> {
        let reason = self.vcpu.step().map_err(|source| self.failed(source))?;
        *state = self.vcpu.save().map_err(|source| self.failed(source))?;
        let is_trapped = !state.events.pending_debug.is_empty() && state.events.activity == Activity::Running;
        if is_trapped && state.events.shadow == dragoman_state::InterruptShadow::None {
            // A trap comes before the next instruction.
            self.vcpu.step().map_err(|source| self.failed(source))?;
            *state = self.vcpu.save().map_err(|source| self.failed(source))?;
        }
        match reason {
            ExitReason::TripleFault(_) => return Ok(Some(Finish { state: state.clone(), end: End::Crash, delivered: None })),
            ExitReason::Stopped | ExitReason::StepDone | ExitReason::HaltedForever => {}
        }
        let Some(delivered) = delivery::take_back(mode, &self.memory, start, state) else { return Ok(None) };
        for (at, bytes) in below_stack {
            self.memory.write(*at, bytes);
        }
        // Delivery halts nothing, but the step after a trap may have come to the handler's HLT.
        state.events.activity = Activity::Running;
        let address = if delivered.vector == 14 { state.cr2 } else { 0 };
        let end = End::Fault { vector: delivered.vector, error: delivered.error.unwrap_or(0), address };
        Ok(Some(Finish { state: state.clone(), end, delivered: Some(delivered) }))
    }

    /// Runs from `start`, exceptions and all, until `is_end` says so of the state after a step: that is [`End::Done`]. A
    /// triple fault is [`End::Crash`], and no end within `steps` steps is [`End::Hang`].
    pub fn run_until(
        &mut self,
        start: &VcpuState,
        steps: usize,
        is_end: impl Fn(&Memory, &VcpuState) -> bool,
    ) -> Result<Finish, RigError> {
        self.vcpu.load(start).map_err(|source| self.failed(source))?;
        let mut finish = Finish { state: start.clone(), end: End::Hang, delivered: None };
        for _ in 0..steps {
            let reason = self.vcpu.step().map_err(|source| self.failed(source))?;
            finish.state = self.vcpu.save().map_err(|source| self.failed(source))?;
            if let ExitReason::TripleFault(_) = reason {
                finish.end = End::Crash;
                break;
            }
            if is_end(&self.memory, &finish.state) {
                finish.end = End::Done;
                break;
            }
        }
        Ok(finish)
    }

    /// Runs from `start`, exceptions and all, until the processor halts with interrupts off.
    pub fn run_to_halt(&mut self, start: &VcpuState) -> Result<VcpuState, RigError> {
        self.vcpu.load(start).map_err(|source| self.failed(source))?;
        self.vcpu.run(&StopToken::new()).map_err(|source| self.failed(source))?;
        self.vcpu.save().map_err(|source| self.failed(source))
    }

    /// Runs from `start` until the processor halts with interrupts off, and moves it to one of `engines` whenever `random` has
    /// it stopped at [`STOP`](super::STOP): there, or a few instructions later. Returns how often it moved, too.
    pub fn run_on(
        &mut self,
        start: &VcpuState,
        engines: &[MakeEngine],
        random: &mut Random,
    ) -> Result<(VcpuState, u32), RigError> {
        const STEPS: u64 = 20;
        self.vcpu.load(start).map_err(|source| self.failed(source))?;
        let mut moves = 0;
        loop {
            self.ports.light_fuse(1 + random.below(8) as u32);
            let mut reason = self.vcpu.run(self.ports.stop()).map_err(|source| self.failed(source))?;
            self.ports.light_fuse(0);
            let mut steps = if random.one_in(2) { 0 } else { random.below(STEPS) };
            while steps > 0 && matches!(reason, ExitReason::Stopped | ExitReason::StepDone) {
                reason = self.vcpu.step().map_err(|source| self.failed(source))?;
                steps -= 1;
            }
            let state = self.vcpu.save().map_err(|source| self.failed(source))?;
            if reason == ExitReason::HaltedForever {
                return Ok((state, moves));
            }
            let engine = random.pick(engines)();
            self.engine = engine.name();
            let made = engine.create_vcpu(VcpuId(0), self.context.clone());
            self.vcpu = made.map_err(|source| self.failed(source))?.0;
            self.memory.ram().tracker().clear_all_code();
            self.vcpu.load(&state).map_err(|source| self.failed(source))?;
            moves += 1;
        }
    }

    /// Runs a case of user code, as the host's processor would. The memory that [`Rig::prepare`] mapped must be the case's.
    pub fn run_case(&mut self, case: &Case) -> Result<Outcome, RigError> {
        let repeated = shape(case.mode, case.code());
        let mut start = match &self.template {
            Some((mode, state)) if *mode == case.mode => state.clone(),
            _ => {
                let state = self.start(case.mode, 3);
                self.template = Some((case.mode, state.clone()));
                state
            }
        };
        template::load(&mut start, case.mode, &case.registers);
        for window in case.windows() {
            self.memory.write(window.at, Case::bytes_of(window, &case.memory));
        }
        self.place_code(case);
        let finish = self.run_shape(case.mode, &start, &repeated)?;
        let mut outcome = Outcome { end: finish.end, registers: template::read(&finish.state), memory: case.memory };
        outcome.registers.rflags &= !RFlags::VM.bits();
        for window in case.windows() {
            let range = window.from as usize..(window.from + window.length) as usize;
            self.memory.read(window.at, &mut outcome.memory[range]);
            self.memory.clear(window.at, window.length as usize);
        }
        Ok(outcome)
    }

    /// Writes the code where it is not there yet, so that what was decoded from it stays decoded.
    fn place_code(&self, case: &Case) {
        let mut now = [0; crate::case::CODE_ROOM];
        // What follows the code in its page is HLT.
        let room = (layout::PAGE - case.code_at % layout::PAGE) as usize;
        let length = now.len().min(room.max(case.code_length as usize));
        self.memory.read(case.code_at, &mut now[..length]);
        if now[..length] != case.code[..length] {
            self.memory.write(case.code_at, &case.code[..length]);
        }
    }
}

impl Stand for Rig {
    fn prepare(&mut self, mode: Mode, map: &PageMap) {
        Rig::prepare(self, mode, map);
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
        Rig::run(self, mode, start, code)
    }
}

/// For each instruction in `code`: whether it is a repeated string instruction.
fn shape(mode: Mode, code: &[u8]) -> Vec<bool> {
    let is_repeated = |insn: &Instruction| insn.is_string_instruction() && (insn.has_rep_prefix() || insn.has_repne_prefix());
    mode.instructions(code).iter().map(is_repeated).collect()
}
