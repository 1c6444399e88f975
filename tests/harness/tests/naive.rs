//! Every engine against the bit-serial model of flags and results.

use std::collections::BTreeMap;

use dragoman_frontend::{decode::disassemble, model::CpuModel};
use harness::{
    Mode,
    case::Case,
    engine::{Rig, engines},
    generate::{Form, codes},
    naive::{Cases, Machine, expected, is_modelled},
};

/// The modes in which encodings differ.
const MODES: [Mode; 3] = [Mode::Long64, Mode::Prot32, Mode::Prot16];
/// How many failures are spelled out.
const SHOWN: usize = 40;
/// On an emulated host, one case of so many is run.
const SHARE_WHEN_EMULATED: u64 = 61;

#[test]
fn every_engine_computes_what_the_manual_says() {
    let share = if std::env::var_os("DRAGOMAN_EMULATED_HOST").is_some() { SHARE_WHEN_EMULATED } else { 1 };
    let model = CpuModel::most();
    let codes: Vec<_> = codes(&model).into_iter().filter(|code| is_modelled(*code)).collect();
    let engines = engines();
    let mut rigs: Vec<_> = engines.iter().map(|engine| Rig::new(&**engine, model.clone()).expect("the engine works")).collect();
    let mut cases = Cases::new(1, share);
    let mut failures: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut run = 0_u64;
    let mut unmade = Vec::new();
    for mode in MODES {
        for rig in &mut rigs {
            rig.prepare(mode, cases.map());
        }
        for code in &codes {
            let batches = cases.batches(*code, mode);
            if batches.is_empty() && Form::of(*code).exists_in(mode) {
                unmade.push(format!("{code:?} in {mode}"));
            }
            for batch in &batches {
                cases.fill(batch, |case, insn| {
                    let mut machine = Machine::new(case, insn);
                    expected(&mut machine).unwrap_or_else(|_| panic!("{code:?} is modelled: {insn}"));
                    for (rig, engine) in rigs.iter_mut().zip(&engines) {
                        let outcome = rig.run_case(case).expect("the engine works");
                        run += 1;
                        let found = machine.differences(&outcome);
                        if found.is_empty() {
                            continue;
                        }
                        let entry = failures.entry(format!("{code:?}")).or_default();
                        entry.0 += 1;
                        if entry.0 == 1 {
                            let found: Vec<_> = found.iter().map(|one| format!("    {one}")).collect();
                            entry.1 = format!("{}: {}\n{}", engine.name(), describe(case), found.join("\n"));
                        }
                    }
                });
            }
        }
    }
    println!("{run} cases of {} encodings", codes.len());
    assert!(unmade.is_empty(), "{} encodings could not be made: {}", unmade.len(), unmade.join(", "));
    let total: usize = failures.values().map(|(count, _)| count).sum();
    let shown: Vec<_> =
        failures.iter().take(SHOWN).map(|(code, (count, text))| format!("{code}: {count} cases\n  {text}")).collect();
    assert!(failures.is_empty(), "{total} cases of {} encodings differ:\n{}", failures.len(), shown.join("\n"));
}

fn describe(case: &Case) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let text = disassemble(case.code(), case.mode.code_size(), case.registers.rip);
    let gpr: Vec<_> = case.registers.gpr[..case.mode.register_count()].iter().map(|value| format!("{value:x}")).collect();
    let memory: Vec<_> = case
        .windows()
        .map(|window| format!("\n    start memory {:#x}: {}", window.at, hex(Case::bytes_of(window, &case.memory))))
        .collect();
    format!(
        "{} | {} | {text}\n    start {} rflags {:x}{}",
        case.mode,
        hex(case.code()),
        gpr.join(" "),
        case.registers.rflags,
        memory.concat()
    )
}
