//! `cargo xtask`: the project's one entry point for checks, tests, guests, the demonstration and the benchmarks.
//!
//! Rule of this crate: it knows the project from the outside only. It starts programs and reads files; no crate of the
//! emulator is among its dependencies, so that it builds quickly and works while they do not.

mod apt;
mod bench;
mod cache;
mod conform_report;
mod cpio;
mod cross;
mod demo;
mod fuzz;
mod guests;
mod lint;
mod paths;
mod process;
mod progress;
mod record;
mod steps;
mod testfloat;
mod toolchain;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::paths::Places;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Dragoman's one entry point", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the release program, make a Linux guest and run it in this terminal
    Demo(demo::Options),
    /// Run the tests, step by step, setting up what they need
    Test(steps::Options),
    /// Formatting, clippy, the project's own lints, documentation
    Check,
    /// The project's own lints alone
    Lint,
    /// Make the guests: real ones from Debian's packages, our own from guest-images/src
    Guest(guests::Options),
    /// Compare this emulator with others
    Bench(bench::Options),
    /// Make up inputs for a program of tests/fuzz, until one breaks it
    Fuzz(fuzz::Options),
    /// Fill the instruction rows of tests/insn from this host's processor, or check them
    Record(record::Options),
    /// Judge all instructions and write the page that is kept in the repository
    ConformReport(conform_report::Options),
}

fn main() -> ExitCode {
    let outcome = Places::find().and_then(|places| match Arguments::parse().command {
        Command::Demo(options) => demo::run(&places, &options),
        Command::Test(options) => steps::test(&places, &options),
        Command::Check => steps::check(&places),
        Command::Lint => lint::run(&places),
        Command::Guest(options) => guests::run(&places, &options),
        Command::Bench(options) => bench::run(&places, &options),
        Command::Fuzz(options) => fuzz::run(&places, &options),
        Command::Record(options) => record::run(&places, &options),
        Command::ConformReport(options) => conform_report::run(&places, &options),
    });
    match outcome {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
