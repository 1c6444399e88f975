//! `cargo xtask record [FILTER] [--check]`: fills rows from the processor of this host.

use std::process::ExitCode;

use harness::{native::Oracle, record, row::RowFile};

const USAGE: &str = "usage: cargo xtask record [FILTER] [--check]

Writes the recorded rows of the files in tests/insn whose name, or one of whose mnemonics, is FILTER; of all without it.
Expectations come from this host's processor. With --check, nothing is written: rows that were recorded on the same kind of
processor are run again, and what differs is printed.";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let (mut filter, mut is_check) = (None, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--check" => is_check = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(true);
            }
            word if word.starts_with('-') || filter.is_some() => {
                return Err(format!("`{word}` is not understood\n{USAGE}").into());
            }
            word => filter = Some(word.to_ascii_lowercase()),
        }
    }
    let mut oracle = Oracle::new()?;
    let (mut files, mut differing) = (0, 0);
    for path in RowFile::list(&RowFile::folder())? {
        let mut file =
            RowFile::read(&path).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let is_wanted = |filter: &String| {
            path.file_stem().is_some_and(|stem| stem.to_string_lossy() == **filter) || file.mnemonics().contains(filter)
        };
        if !filter.as_ref().is_none_or(is_wanted) {
            continue;
        }
        files += 1;
        if is_check {
            for (line, now) in record::check(&file, &mut oracle)? {
                differing += 1;
                println!("{}:{line}: now {now}", file.name);
            }
            continue;
        }
        record::record(&mut file, &mut oracle)?;
        std::fs::write(&path, file.text())?;
        println!("{}: {} rows", file.name, file.rows().count());
    }
    if files == 0 {
        return Err("no file of rows is called so, or is about such a mnemonic".into());
    }
    if is_check {
        println!("{files} files, {differing} rows differ from what {} does", oracle.host().name);
    }
    Ok(differing == 0)
}
