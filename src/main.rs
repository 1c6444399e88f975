//! Dragoman runs an unmodified x86 PC guest on any host.
//!
//! Rule of this crate: from the command line to a configuration, from that to a machine, from its end to an exit status.
//! What a machine is made of lives in the other crates.

mod cli;
mod conform;
mod control;
mod doctor;
mod failure;
mod machine;
mod units;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};
use cli::{Cli, Command};
use conform::Verdict;
use failure::{Failure, Status};
use machine::Outcome;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    env_logger::Builder::from_env(env_logger::Env::new().filter("DRAGOMAN_LOG")).target(env_logger::Target::Stderr).init();
    match dispatch(cli.command) {
        Ok(status) => status,
        Err(failure) => {
            eprintln!("dragoman: {failure}");
            failure.status().into()
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(arguments) => match cli::answer_help(&arguments) {
            Some(text) => {
                print!("{text}");
                Ok(ExitCode::SUCCESS)
            }
            None => Ok(finish(machine::run(arguments.into_config()?)?)),
        },
        Command::Conform(arguments) => Ok(match conform::run(&arguments)? {
            Verdict::Signal(signal) => end_by(signal),
            verdict => Status::from(verdict).into(),
        }),
        Command::Ctl(arguments) => control::ask(&arguments.socket, &arguments.command, arguments.json),
        Command::Doctor(arguments) => {
            print!("{}", doctor::examine().to_text(arguments.json));
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "dragoman", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The longest that a signal to oneself may take.
const LATE_SIGNAL: Duration = Duration::from_secs(2);

/// Ends as the machine did: by a status, or by the signal that ended it.
fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::PoweredOff | Outcome::Quit => ExitCode::SUCCESS,
        Outcome::DebugExit(value) => ExitCode::from((value.wrapping_mul(2) | 1) as u8),
        Outcome::TripleFault => Status::TripleFault.into(),
        Outcome::HaltedForever => Status::HaltedForever.into(),
        Outcome::ResetRefused => Status::ResetRefused.into(),
        Outcome::TimedOut => Status::TimedOut.into(),
        Outcome::Signal(signal) => end_by(signal),
    }
}

/// Ends as a program does that does not catch `signal`.
fn end_by(signal: i32) -> ExitCode {
    if signal_hook::low_level::emulate_default_handler(signal).is_ok() {
        // It ends the process, if not at once: a system that is emulated delivers it a little later.
        std::thread::sleep(LATE_SIGNAL);
    }
    Status::Internal.into()
}

/// Help and version go to standard output; what is wrong with a command line, to standard error in one sentence.
fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            Status::Usage.into()
        }
        _ => {
            let text = error.to_string();
            let sentence: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")).collect();
            let sentence = sentence.join(" ").trim_start_matches("error: ").trim().to_owned();
            eprintln!("dragoman: {sentence} (see `dragoman --help`)");
            Status::Usage.into()
        }
    }
}
