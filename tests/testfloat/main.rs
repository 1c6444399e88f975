//! Berkeley TestFloat 3e as a judge: its generator makes up cases, SoftFloat says what they come to, and this program compares
//! that with the arithmetic of `frontend/float` and with the instructions of every engine.
//!
//! Rule of this program: it knows no result of its own, and what it does not ask it does not count. README.md of this folder
//! says where the generator comes from and how much is asked.

mod arithmetic;
mod generator;
mod instructions;
mod numbers;
mod plan;
mod run;
mod verdict;

use std::{path::PathBuf, process::ExitCode};

use run::Amount;

const USAGE: &str = "usage: testfloat GENERATOR [--level 1|2] [--filter TEXT]

Runs the generator (testfloat_gen, built for 8086-SSE) and compares what it prints. --filter: only functions whose name, or the
name of whose instruction, contains TEXT. Status 0: no difference; 1: at least one; 2: it could not be asked.";

fn main() -> ExitCode {
    match arguments().and_then(|(generator, amount)| run::all(&generator, &amount).map_err(|error| error.to_string())) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<(PathBuf, Amount), String> {
    let mut generator = None;
    let mut amount = Amount { level: 1, filter: String::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--level" => {
                let level = words.next().and_then(|level| level.parse().ok()).filter(|level| matches!(level, 1 | 2));
                amount.level = level.ok_or_else(|| format!("--level is 1 or 2\n{USAGE}"))?;
            }
            "--filter" => amount.filter = words.next().ok_or_else(|| format!("--filter needs a text\n{USAGE}"))?,
            _ if generator.is_none() && !word.starts_with('-') => generator = Some(PathBuf::from(word)),
            _ => return Err(format!("`{word}` is not understood\n{USAGE}")),
        }
    }
    Ok((generator.ok_or(USAGE)?, amount))
}
