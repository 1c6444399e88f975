//! The rows of tests/insn on every engine.

use harness::{
    engine::engines,
    judge::{Judge, Verdict},
    row::RowFile,
};

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
