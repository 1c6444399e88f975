//! Cases beside the host's processor, counted.

use std::collections::BTreeMap;

use dragoman_accel::Accelerator;
use dragoman_frontend::model::CpuModel;
use iced_x86::Code;

use super::{Generated, Generator, differences};
use crate::{
    Mode,
    case::Case,
    engine::{Rig, engines},
    native::{Host, Oracle},
};

/// How many failures are spelled out.
const SHOWN: usize = 40;

/// Every engine on a test stand of its own, and the host's processor.
pub struct Contest {
    oracle: Oracle,
    engines: Vec<Box<dyn Accelerator>>,
    rigs: Vec<Rig>,
}

/// What came of many cases.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Cases that were run.
    pub cases: u64,
    /// Of these, such as two processors need not agree on.
    pub uncompared: u64,
    /// Of each encoding, cases that were compared.
    pub compared: BTreeMap<Code, u64>,
    /// Of each encoding that differs, how many cases do, and the first of them.
    pub failures: BTreeMap<String, (usize, String)>,
}

impl Contest {
    /// Between `oracle` and every engine as a `model`.
    pub fn new(oracle: Oracle, model: &CpuModel) -> Self {
        let engines = engines();
        let rigs = engines.iter().map(|engine| Rig::new(&**engine, model.clone()).expect("the engine works")).collect();
        Self { oracle, engines, rigs }
    }

    /// The host's processor.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// Runs `list`, which `generator` made, and counts what comes of it in `tally`.
    pub fn run(&mut self, generator: &Generator, mut list: Vec<Generated>, tally: &mut Tally) {
        list.sort_by_key(|generated| generated.case.map);
        let plain: Vec<Case> = list.iter().map(|generated| generated.case).collect();
        let outcomes = self.oracle.run(generator.maps(), &plain).expect("the host runs it");
        for (rig, engine) in self.rigs.iter_mut().zip(&self.engines) {
            for (generated, native) in list.iter().zip(&outcomes) {
                rig.prepare(generated.case.mode, &generator.maps()[generated.case.map as usize]);
                let got = rig.run_case(&generated.case).expect("the engine works");
                tally.cases += 1;
                let compared = tally.compared.entry(generated.code).or_default();
                let Ok(found) = differences(generated, native, &got, self.oracle.host()) else {
                    tally.uncompared += 1;
                    continue;
                };
                *compared += 1;
                if found.is_empty() {
                    continue;
                }
                let entry = tally.failures.entry(name(generated)).or_default();
                entry.0 += 1;
                if entry.0 == 1 {
                    let found: Vec<_> = found.iter().map(|one| format!("    {one}")).collect();
                    entry.1 = format!("{}: {}\n{}", engine.name(), generated.describe(), found.join("\n"));
                }
            }
        }
    }
}

/// What a failure is counted under.
fn name(generated: &Generated) -> String {
    const PREFIXES: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    match (generated.code, generated.insn.is_invalid()) {
        (Code::INVALID, _) => {
            let is_prefix = |byte: &&u8| PREFIXES.contains(byte) || generated.case.mode == Mode::Long64 && **byte & 0xf0 == 0x40;
            let opcode: Vec<_> =
                generated.case.code().iter().skip_while(is_prefix).take(3).map(|byte| format!("{byte:02x}")).collect();
            format!("no instruction, {}", opcode.join(" "))
        }
        (code, true) => format!("{code:?}, made invalid"),
        (code, false) => format!("{code:?}"),
    }
}

impl Tally {
    /// Adds what another has counted.
    pub fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.uncompared += other.uncompared;
        for (code, count) in other.compared {
            *self.compared.entry(code).or_default() += count;
        }
        for (code, (count, text)) in other.failures {
            let entry = self.failures.entry(code).or_insert((0, text));
            entry.0 += count;
        }
    }

    /// Fails with what differs. The engines are of the vendor of the default model: what another vendor's processor does
    /// otherwise is told, and is no mistake as long as it is no more than `allowed` encodings.
    pub fn assert_equal(&self, host: &Host, allowed: usize) {
        const VENDOR: &str = "GenuineIntel";
        let is_kin = host.is_kin();
        assert!(self.failures.len() <= if is_kin { 0 } else { allowed }, "{}", self.verdict());
        if !self.failures.is_empty() {
            println!("the host is not {VENDOR}'s; {}", self.verdict());
        }
    }

    /// What differs, spelled out.
    pub fn verdict(&self) -> String {
        let total: usize = self.failures.values().map(|(count, _)| count).sum();
        let shown = self.failures.iter().take(SHOWN).map(|(code, (count, text))| format!("{code}: {count} cases\n  {text}"));
        let shown: Vec<_> = shown.collect();
        format!("{total} cases of {} encodings differ:\n{}", self.failures.len(), shown.join("\n"))
    }
}
