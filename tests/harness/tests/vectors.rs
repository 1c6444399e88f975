//! The captured tests of tests/vectors on every engine.

use std::{collections::BTreeMap, path::Path};

use harness::{
    engine::engines,
    vectors::{Bench, Test, folder, list, read, reason},
};

/// How many of the tests that differ are shown of each form.
const SHOWN: usize = 5;

/// The name of a form, which is its file's.
fn form(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().replace(".MOO.gz", ""))
}

/// Every form with its tests; on an emulated host, every sixteenth of them.
fn forms() -> Vec<(String, Vec<Test>)> {
    let share = if std::env::var_os("DRAGOMAN_EMULATED_HOST").is_some() { 16 } else { 1 };
    let paths = list(&folder()).expect("tests/vectors is there");
    assert!(!paths.is_empty(), "there are no vectors");
    let tests = |path: &Path| read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    paths.iter().map(|path| (form(path), tests(path).into_iter().step_by(share).collect())).collect()
}

#[test]
fn every_engine_does_what_the_captured_processor_did() {
    let forms = forms();
    let mut wrong = Vec::new();
    for engine in engines() {
        let mut bench = Bench::new(&*engine).expect("the engine works");
        let (mut run, mut agreed) = (0, 0);
        let mut incomparable: BTreeMap<_, usize> = BTreeMap::new();
        for (form, tests) in &forms {
            let mut shown = 0;
            for test in tests {
                if let Some(reason) = reason(test) {
                    *incomparable.entry(reason).or_default() += 1;
                    continue;
                }
                run += 1;
                let found = bench.run(test).expect("the engine works");
                if found.is_empty() {
                    agreed += 1;
                    continue;
                }
                shown += 1;
                if shown <= SHOWN {
                    let found: Vec<_> = found.iter().map(|one| format!("    {one}")).collect();
                    wrong.push(format!("{form}: {}: {test}\n{}", engine.name(), found.join("\n")));
                }
            }
            if let Some(at) = bench.find_stray().expect("the engine works") {
                wrong.push(format!("{form}: {}: memory at {at:#x} was written, and no test names it", engine.name()));
            }
        }
        let left: usize = incomparable.values().sum();
        println!("{}: {run} tests run, {agreed} agree, {} differ, {left} incomparable", engine.name(), run - agreed);
        for (reason, count) in incomparable {
            println!("    {count}: {reason}");
        }
    }
    assert!(wrong.is_empty(), "tests differ:\n{}", wrong.join("\n"));
}

/// The list of differences hides nothing that could be compared.
#[test]
fn what_is_called_incomparable_differs() {
    let forms = forms();
    let mut wrong = Vec::new();
    for engine in engines() {
        let mut bench = Bench::new(&*engine).expect("the engine works");
        for (form, tests) in &forms {
            for test in tests {
                let Some(reason) = reason(test) else { continue };
                if bench.run(test).expect("the engine works").is_empty() {
                    wrong.push(format!("{form}: {}: {test}: {reason}", engine.name()));
                }
                // What is not a test's own can be written by all that runs after the difference.
                bench.find_stray().expect("the engine works");
            }
        }
    }
    assert!(wrong.is_empty(), "{} tests agree though they are called incomparable:\n{}", wrong.len(), wrong.join("\n"));
}
