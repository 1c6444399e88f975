//! The rows of tests/insn on every engine.

use std::collections::BTreeSet;

use dragoman_frontend::model::CpuModel;
use harness::{
    Mode,
    engine::engines,
    generate::{Form, codes},
    judge::{Judge, Verdict},
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
