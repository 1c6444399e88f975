//! Follows a guest step by step, and asks after each what must hold for every guest.

use dragoman_accel::ExitReason;
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Activity, Cr0, RFlags, SegmentIndex, VcpuState};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

use super::{
    census::Census,
    invariants::Rules,
    machine::Machine,
    recipe::Recipe,
    scene::Scene,
    situation::{bitness, code_at, describe, handler, is_beyond, mode_of},
};

/// One of so many steps is looked at closely.
const CLOSE_LOOK: usize = 4;

/// Follows one guest. What it was doing is told where something panics.
pub struct Walker<'a> {
    /// What its case is made from.
    pub recipe: &'a Recipe,
    /// The state before the next step.
    pub state: VcpuState,
    /// How often in a row the guest was seen in memory that holds nothing.
    pub empty_looks: usize,
    model: &'a CpuModel,
    rules: Rules,
    scene: usize,
    step: usize,
    is_traced: bool,
}

impl<'a> Walker<'a> {
    /// Follows the guest that begins with `scene`, the `n`th of its case.
    pub fn new(recipe: &'a Recipe, n: usize, scene: &Scene, model: &'a CpuModel, is_traced: bool) -> Self {
        let rules = Rules::new(model, &scene.state);
        let mut walker = Self { recipe, state: scene.state.clone(), empty_looks: 0, model, rules, scene: n, step: 0, is_traced };
        walker.check();
        walker
    }

    /// Whether a step would wait for what nobody here sends.
    pub fn is_asleep(&self) -> bool {
        self.state.rflags.contains(RFlags::IF)
    }

    /// One step; everything that can be said of it is asked.
    pub fn step(&mut self, machine: &mut Machine, census: &mut Census) -> ExitReason {
        let is_close = self.step % CLOSE_LOOK == 0;
        let code = if is_close || self.is_traced { code_at(machine, self.model, &self.state) } else { Vec::new() };
        if is_close {
            let is_empty = code.iter().take(8).all(|byte| *byte == 0) && !code.is_empty();
            self.empty_looks = if is_empty { self.empty_looks + 1 } else { 0 };
        }
        if self.is_traced {
            eprintln!("{:4} {}", self.step, describe(&self.state, &code));
        }
        let before = machine.instructions();
        machine.bus().set_end(self.rules.physical_end(&self.state));
        let reason = machine.step();
        let state = machine.save();
        let executed = machine.instructions() - before;
        assert!(executed <= 1, "a step is one instruction, and this one was {executed}");
        if executed == 1 && state.segment(SegmentIndex::Cs) == self.state.segment(SegmentIndex::Cs) {
            self.check_flow(&state, &code);
        }
        self.count(&state, executed, &code, &reason, census);
        self.state = state;
        self.step += 1;
        if !matches!(reason, ExitReason::TripleFault(_)) {
            self.check();
        }
        reason
    }

    /// Panics where one instruction, which `code` begins with where it was looked at, did not lead to `after`.
    fn check_flow(&self, after: &VcpuState, code: &[u8]) {
        let goes_on = after.rip > self.state.rip && after.rip - self.state.rip <= 15;
        assert!(!(is_beyond(&self.state) && goes_on), "code beyond the limit of its segment was executed");
        // Under paging a translation may be older than the tables, and rightly so.
        if code.is_empty() || self.state.cr0.contains(Cr0::PG) {
            return;
        }
        let insn = self.decode(code);
        let is_plain = insn.flow_control() == FlowControl::Next;
        let stays = insn.is_string_instruction() && after.rip == self.state.rip;
        let next = self.state.rip.wrapping_add(insn.len() as u64) & if self.state.is_64bit() { u64::MAX } else { 0xffff_ffff };
        assert!(!insn.is_invalid(), "what is no instruction was executed: {code:02x?}");
        assert!(!is_plain || stays || after.rip == next, "{insn} leads to {:#x}, and not to {next:#x}", after.rip);
    }

    fn decode(&self, code: &[u8]) -> Instruction {
        Decoder::new(bitness(&self.state), code, DecoderOptions::NONE).decode()
    }

    fn check(&mut self) {
        if let Err(rule) = self.rules.check(&self.state) {
            panic!("this state cannot be: {rule}\n{:x?}", self.state);
        }
    }

    fn count(&self, after: &VcpuState, executed: u64, code: &[u8], reason: &ExitReason, census: &mut Census) {
        let mode = mode_of(&self.state);
        census.stepped[mode as usize][usize::from(self.state.cpl() == 3)] += executed;
        census.mode_changes += u64::from(mode_of(after) != mode);
        if let Some(vector) = handler(after).filter(|_| handler(&self.state).is_none()) {
            census.entered[vector] += 1;
        }
        if let ExitReason::TripleFault(end) = reason {
            census.triple_faults += 1;
            end.0.iter().for_each(|link| census.entered[usize::from(link.event.vector)] += 1);
        }
        let has_halted = after.events.activity == Activity::Halted && self.state.events.activity != Activity::Halted;
        census.halts += u64::from(has_halted);
        if executed == 1 && !code.is_empty() {
            census.mnemonics.insert(self.decode(code).mnemonic());
        }
    }
}

impl Drop for Walker<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\nguest {}, step {}: {}", self.recipe, self.scene, self.step, describe(&self.state, &[]));
            eprintln!("before the step: {:x?}", self.state);
        }
    }
}
