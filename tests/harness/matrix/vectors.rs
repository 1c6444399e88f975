//! Captured tests on engines.

use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind};

use super::{
    First, Subject,
    run::{Engine, Run, RunError},
};
use crate::{
    Mode,
    vectors::{Bench, Test, read, reason},
};

pub fn run(run: &mut Run<'_>, engines: &[Engine]) -> Result<(), RunError> {
    let files = &run.options.vectors;
    if files.is_empty() {
        run.lacks("there are no files of vectors; --vectors names some");
        return Ok(());
    }
    let mut benches = Vec::new();
    for engine in engines {
        benches.push((engine.name, Bench::new(&*engine.accelerator)?));
    }
    for (done, path) in files.iter().enumerate() {
        let tests = read(path).map_err(|error| RunError::Vectors { path: path.clone(), reason: error.to_string() })?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        for (engine, bench) in &mut benches {
            let mut last = None;
            for test in &tests {
                let subject = subject(test);
                if !run.options.filter.takes(&subject) {
                    continue;
                }
                if let Some(reason) = reason(test) {
                    run.line(&subject, engine).skip(1, reason);
                    continue;
                }
                let found = bench.run(test)?;
                let tally = run.line(&subject, engine);
                if found.is_empty() {
                    tally.pass += 1;
                } else {
                    let expected: Vec<_> = found.iter().map(|one| format!("{} {}", one.what, one.expected)).collect();
                    let got: Vec<_> = found.iter().map(|one| format!("{} {}", one.what, one.got)).collect();
                    tally.fail(|| first(test, &name, expected.join("; "), got.join("; ")));
                }
                last = Some((subject, test));
            }
            // Memory that a test wrote and does not name is found after all tests of a form.
            if let (Some((subject, test)), Some(at)) = (last, bench.find_stray()?) {
                let got = format!("memory at {at:#x}, which no test names, was written by one of this file");
                run.line(&subject, engine).fail(|| first(test, &name, "nothing else in memory".into(), got));
            }
        }
        run.step(done + 1, files.len())?;
    }
    Ok(())
}

fn subject(test: &Test) -> Subject {
    let code = Decoder::new(16, &test.code, DecoderOptions::NO_INVALID_CHECK).decode().code();
    if code.encoding() == EncodingKind::Legacy {
        return Subject::of(code);
    }
    // What begins with a VEX prefix today was LES or LDS with a register.
    let mnemonic = test.name.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    Subject { mnemonic, ..Subject::of(Code::INVALID) }
}

fn first(test: &Test, file: &str, expected: String, got: String) -> First {
    let registers = test.to_string();
    // The text begins with what the other fields say.
    let start = registers.split_once("] ").map_or(registers.as_str(), |(_, rest)| rest);
    let memory: Vec<_> = test.start.memory.iter().map(|(at, byte)| format!("m8[{at:#x}]={byte:#x}")).collect();
    First {
        mode: Mode::Real16.name().into(),
        bytes: super::first::hex(&test.code),
        text: test.name.clone(),
        start: format!("{start} {}", memory.join(" ")).trim_end().to_owned(),
        expected,
        got,
        source: format!("{file}, test {}", test.index),
    }
}
