//! The rows of tests/insn on every engine.

use std::collections::{BTreeMap, BTreeSet};

use dragoman_frontend::model::CpuModel;
use harness::{
    Mode,
    engine::{ENGINES, engines},
    generate::{Form, codes},
    judge::{Judge, RunningJudge, Verdict},
    row::RowFile,
};
use iced_x86::{Code, Decoder, DecoderOptions};

fn files() -> Vec<RowFile> {
    let paths = RowFile::list(&RowFile::folder()).expect("tests/insn is there");
    let mut files = Vec::new();
    let mut wrong = Vec::new();
    for path in paths {
        match RowFile::read(&path) {
            Ok(file) => files.push(file),
            Err(errors) => wrong.extend(errors.iter().map(ToString::to_string)),
        }
    }
    assert!(wrong.is_empty(), "{} lines are no rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(files.iter().any(|file| file.rows().next().is_some()), "there are no rows");
    files
}

#[test]
fn every_engine_does_what_the_rows_say() {
    let files = files();
    let mut wrong = Vec::new();
    for engine in engines() {
        let mut judge = Judge::new(&*engine);
        let (mut agreed, mut skipped) = (0, 0);
        for file in &files {
            for (line, row) in file.rows() {
                match judge.judge(row).expect("the engine works") {
                    Verdict::Agrees => agreed += 1,
                    Verdict::Skipped(reason) => {
                        skipped += 1;
                        println!("{}:{line}: skipped: {reason}", file.name);
                    }
                    Verdict::Differs(found) => {
                        let found: Vec<_> = found.iter().map(|one| format!("    {one}")).collect();
                        wrong.push(format!("{}:{line}: {}: {row}\n{}", file.name, engine.name(), found.join("\n")));
                    }
                }
            }
        }
        println!("{}: {agreed} rows agree, {skipped} skipped, {} differ", engine.name(), wrong.len());
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Of so many rows one is judged on the engines that use KVM, which take a thousand times as long for each; `DRAGOMAN_KVM_ROWS` says
/// otherwise.
const STRIDE: usize = 6;

/// Judges the rows on the engine `name`, which uses KVM.
fn judge_running(name: &str) {
    let entry = ENGINES.iter().find(|entry| entry.name == name).expect("it is on the list");
    let engine = match (entry.make)() {
        Ok(engine) => engine,
        Err(reason) => return println!("SKIPPED: {name}: {reason}"),
    };
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (stride, filter) = (number("DRAGOMAN_KVM_ROWS").unwrap_or(STRIDE).max(1), std::env::var("DRAGOMAN_KVM_FILTER"));
    let filter = filter.unwrap_or_default();
    let mut judge = RunningJudge::new(&*engine).expect("there is a KVM");
    let (mut agreed, mut skipped, mut wrong) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    let files = files();
    let rows = files.iter().flat_map(|file| file.rows().map(move |(line, row)| (file, line, row)));
    for (file, line, row) in rows.step_by(stride) {
        let name = format!("{}:{line}: {row}", file.name);
        if !name.contains(&filter) {
            continue;
        }
        let found = match judge.judge(row) {
            Ok(Verdict::Agrees) => {
                agreed += 1;
                continue;
            }
            Ok(Verdict::Skipped(why)) => {
                *skipped.entry(why).or_default() += 1;
                continue;
            }
            Ok(Verdict::Differs(found)) => found.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        println!("{name}\n    {}", found.join("\n    "));
        wrong.push(name);
    }
    for (why, count) in &skipped {
        println!("{name}: left out: {count} rows: {why}");
    }
    println!("{name}: {agreed} rows agree, {} differ", wrong.len());
    assert!(agreed > 0 || !filter.is_empty(), "no row agrees");
    assert!(wrong.is_empty(), "{} rows differ on {name}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_engine_kvm_does_what_the_rows_say() {
    judge_running("kvm");
}

#[test]
fn the_engine_hybrid_does_what_the_rows_say() {
    judge_running("hybrid");
}

/// Encodings that no row can show, each with the reason.
fn unshowable(code: Code) -> Option<&'static str> {
    let name = format!("{code:?}");
    // The decoder's names for WAIT with the instruction after it.
    let with_wait = ["Fstenv_", "Fstcw_", "Feni", "Fdisi", "Fclex", "Finit", "Fsetpm", "Fsave_", "Fstsw_"];
    if with_wait.iter().any(|prefix| name.starts_with(prefix)) {
        return Some("two instructions");
    }
    match code {
        Code::Loop_rel8_16_RCX | Code::Loope_rel8_16_RCX | Code::Loopne_rel8_16_RCX | Code::Jrcxz_rel8_16 => {
            Some("only AMD's processors have 16-bit branches in 64-bit mode")
        }
        Code::Rdudbg | Code::Wrudbg | Code::Ud0 => Some("only decoded where a processor is named that has it"),
        _ => None,
    }
}

#[test]
fn every_encoding_that_is_implemented_has_a_row() {
    let shown: BTreeSet<Code> = files()
        .iter()
        .flat_map(|file| file.rows().map(|(_, row)| (row.mode, row.bytes())).collect::<Vec<_>>())
        .flat_map(|(mode, bytes)| {
            let mut decoder = Decoder::new(mode.bitness(), &bytes, DecoderOptions::NONE);
            let mut codes = Vec::new();
            while decoder.can_decode() {
                codes.push(decoder.decode().code());
            }
            codes
        })
        .collect();
    let model = CpuModel::most();
    let missing: Vec<_> = codes(&model)
        .into_iter()
        .filter(|code| unshowable(*code).is_none() && Mode::ALL.into_iter().any(|mode| Form::of(*code).exists_in(mode)))
        .filter(|code| !shown.contains(code))
        .map(|code| format!("{:?} ({code:?})", code.mnemonic()).to_ascii_lowercase())
        .collect();
    assert!(missing.is_empty(), "{} encodings have no row: {}", missing.len(), missing.join(", "));
}
