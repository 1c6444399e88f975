//! Evidence of what instructions touch, against what the decoder's tables say that they touch.
//!
//! There are three kinds. *What is not listed does not matter*: all that is not listed as read is given other values, and
//! the outcome must be the same. *What is listed matters*: what is listed as read is given another value, and in some case
//! of the encoding the outcome must differ. *The log*: of instructions that are no helpers, the machine says which
//! registers it was asked for, and of all instructions which memory; that must be what is listed.

use std::collections::BTreeMap;

use dragoman_frontend::model::CpuModel;
use dragoman_state::{Cr0, Mxcsr, StatusWord, VcpuState};
use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic};

use super::{
    bench::{Bench, Decoded, Run, Start},
    expected::Expected,
    stage::CaseOnState,
    trial::Trial,
};
use crate::{
    Mode,
    case::Case,
    generate::{Form, Generated, Generator, Random, prepare},
    known::Difference,
};

/// The modes in which encodings differ.
const MODES: [Mode; 3] = [Mode::Long64, Mode::Prot32, Mode::Prot16];
/// How often an instruction is made of each encoding in each mode, and how often more while something that must be seen in
/// some case has not been seen.
const ROUNDS: usize = 8;
const MORE_ROUNDS: usize = 60;
/// How many cases there are of each instruction.
const CASES: usize = 4;

/// Collects evidence.
pub struct Judge {
    bench: Bench,
    factory: InstructionInfoFactory,
    random: Random,
    found: BTreeMap<Difference, String>,
    /// What must happen in some case, and whether it did.
    wanted: BTreeMap<Difference, bool>,
    ran: BTreeMap<Code, usize>,
    runs: u64,
}

impl Judge {
    /// A judge of the instructions of `model`.
    pub fn new(model: &CpuModel) -> Self {
        Self {
            bench: Bench::new(model, &MODES),
            factory: InstructionInfoFactory::new(),
            random: Random::new(1),
            found: BTreeMap::new(),
            wanted: BTreeMap::new(),
            ran: BTreeMap::new(),
            runs: 0,
        }
    }

    /// Whether something that must happen in some case of `code` has not happened yet.
    pub fn is_waiting(&self, code: Code) -> bool {
        let of_code = |what: &str| Difference { code, what: what.to_owned() };
        let all = self.wanted.range(of_code("")..);
        all.take_while(|(difference, _)| difference.code == code).any(|(_, happened)| !happened)
    }

    /// What has been found so far, with a case that shows it.
    pub fn found_so_far(&self) -> &BTreeMap<Difference, String> {
        &self.found
    }

    /// How often an instruction was run.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How often `code` was run from another start without raising anything.
    pub fn times(&self, code: Code) -> usize {
        self.ran.get(&code).copied().unwrap_or(0)
    }

    /// Everything that differs, with a case that shows it.
    pub fn differences(&self) -> BTreeMap<Difference, String> {
        let mut all = self.found.clone();
        let never = self.wanted.iter().filter(|(_, happened)| !**happened);
        all.extend(never.map(|(difference, _)| (difference.clone(), "in no case".to_owned())));
        all
    }

    pub(super) fn run(&mut self, decoded: &Decoded, start: &Start) -> Run {
        self.runs += 1;
        self.bench.run(decoded, start)
    }

    /// Judges cases of `code` in each mode, and calls `after` with each.
    pub fn judge_encoding(&mut self, code: Code, mut after: impl FnMut(&Self, &Generated)) {
        let form = Form::of(code);
        // What is found of one encoding does not depend on which others there are.
        let mut generator = Generator::new(code as u64);
        let mut list = Vec::new();
        for mode in MODES.into_iter().filter(|mode| form.exists_in(*mode)) {
            for round in 0..MORE_ROUNDS {
                if round >= ROUNDS && self.times(code) > 0 && !self.is_waiting(code) {
                    break;
                }
                list.clear();
                generator.make(&form, mode, CASES, &mut list);
                for generated in &list {
                    self.judge(generated);
                    after(self, generated);
                }
            }
        }
    }

    /// Judges one case, in ring 3, or where that refuses it in ring 0.
    pub fn judge(&mut self, generated: &Generated) {
        let insn = &generated.insn;
        let templates = self.bench.templates(generated.case.mode).to_vec();
        for template in &templates {
            let mut case = generated.case;
            prepare(&mut CaseOnState { case: &mut case, state: template }, insn, &mut self.random);
            let mut start = self.bench.start(&case, template);
            quieten(&mut start.state);
            if insn.mnemonic() == Mnemonic::Clts {
                start.state.cr0 |= Cr0::TS;
            }
            let Some(decoded) = self.bench.decode(&start.state, case.code()) else { continue };
            let base = self.run(&decoded, &start);
            if base.fault.is_none() {
                return self.judge_run(&case, insn, &decoded, &start, &base);
            }
        }
    }

    fn judge_run(&mut self, case: &Case, insn: &Instruction, decoded: &Decoded, start: &Start, base: &Run) {
        let expected = Expected::of(&mut self.factory, insn, &start.state);
        *self.ran.entry(insn.code()).or_default() += 1;
        let trial = Trial::new(case.mode, insn, decoded, &expected, start, base);
        self.changes(&trial);
        self.memory(&trial);
        if !base.log.has_helper {
            self.log(&trial);
        }
        self.others(&trial);
        self.flags(&trial);
        self.spoil_unread(&trial);
        self.spoil_read(&trial);
    }

    /// Notes that the encoding does `what`.
    pub(super) fn found(&mut self, trial: &Trial, what: impl Into<String>) {
        let difference = Difference { code: trial.insn.code(), what: what.into() };
        let start = &trial.start.state;
        self.found.entry(difference).or_insert_with(|| {
            let gpr: Vec<_> = (0..16).map(|n| format!("{:x}", start.gpr[dragoman_state::Gpr(n)])).collect();
            format!("{} from {} rflags {:x}", trial.insn, gpr.join(" "), start.rflags.bits())
        });
    }

    /// Whether `what`, which must be seen in some case, has been seen.
    pub(super) fn has_seen(&self, trial: &Trial, what: &str) -> bool {
        self.wanted.get(&Difference { code: trial.insn.code(), what: what.to_owned() }) == Some(&true)
    }

    /// Notes that `what` is to be told of the encoding, unless it happens in some case.
    pub(super) fn wanted(&mut self, trial: &Trial, what: String, happened: bool) {
        // Two operands in one register can cancel each other out.
        if what.contains('/') {
            return;
        }
        let difference = Difference { code: trial.insn.code(), what };
        *self.wanted.entry(difference).or_default() |= happened;
    }
}

/// Exceptions masked, and none pending: they would end the case.
fn quieten(state: &mut VcpuState) {
    state.x87.control |= 0x3f;
    state.x87.status = state.x87.status.difference(StatusWord::ES | StatusWord::B);
    state.vectors.mxcsr |= Mxcsr::MASKS;
}
