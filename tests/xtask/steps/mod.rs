//! `cargo xtask test` and `cargo xtask check`: pieces of work in order, each with its name, its time and its outcome.
//!
//! Rule: what a command does is its rows in the table below; a step that fails does not keep later ones from running, unless
//! they need what it makes.

mod record;
mod run;
mod work;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::paths::Places;
use run::Work;

#[derive(Args)]
pub struct Options {
    /// Everything, resumable: a later run goes on where this one stopped, as long as no file has changed
    #[arg(long)]
    full: bool,
    /// With --full, begin anew
    #[arg(long, requires = "full")]
    restart: bool,
    /// Run this step only; may be given several times
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,
    /// Leave this step out; may be given several times
    #[arg(long = "skip", value_name = "NAME", conflicts_with = "steps")]
    skipped: Vec<String>,
    /// List the steps
    #[arg(long)]
    list: bool,
}

/// When a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    /// In every run of the tests.
    Quick,
    /// With `--full` only.
    Full,
}

/// How a step ended that did not fail.
enum Outcome {
    /// With a remark for the summary.
    Done(String),
    /// For this reason.
    Skipped(String),
}

/// One row of the table.
struct Step {
    name: &'static str,
    tier: Tier,
    /// Steps whose success this one needs.
    needs: &'static [&'static str],
    /// It prepares the others: it prints by itself, may ask for a password, and runs again even when a full run goes on.
    prepares: bool,
    about: &'static str,
    work: fn(&mut Work) -> Result<Outcome>,
}

#[rustfmt::skip] // a table
const STEPS: &[Step] = &[
    Step { name: "toolchain",     tier: Tier::Quick, needs: &[],         prepares: false, work: work::toolchain,     about: "Rust and what it links with" },
    Step { name: "setup",         tier: Tier::Quick, needs: &[],         prepares: true,  work: work::setup,         about: "says and fetches what the other steps need" },
    Step { name: "guests",        tier: Tier::Quick, needs: &[],         prepares: true,  work: work::guests,        about: "guest images, from packages and from guest-images/src" },
    Step { name: "format",        tier: Tier::Quick, needs: &[],         prepares: false, work: work::format,        about: "cargo fmt --check" },
    Step { name: "clippy",        tier: Tier::Quick, needs: &[],         prepares: false, work: work::clippy,        about: "clippy without warnings, tests included" },
    Step { name: "lint",          tier: Tier::Quick, needs: &[],         prepares: false, work: work::lint,          about: "the project's own lints" },
    Step { name: "documentation", tier: Tier::Quick, needs: &[],         prepares: false, work: work::documentation, about: "rustdoc without warnings" },
    Step { name: "units",         tier: Tier::Quick, needs: &[],         prepares: false, work: work::units,         about: "the tests of every crate but the program" },
    Step { name: "testfloat",     tier: Tier::Quick, needs: &[],         prepares: false, work: work::testfloat,     about: "arithmetic and instructions beside Berkeley TestFloat, level 1" },
    Step { name: "program",       tier: Tier::Quick, needs: &["guests"], prepares: false, work: work::program,       about: "the program's tests: command line, guests, scripts" },
    Step { name: "cross-aarch64", tier: Tier::Quick, needs: &[],         prepares: false, work: work::cross_aarch64, about: "build for aarch64, test under qemu-user" },
    Step { name: "cross-s390x",   tier: Tier::Quick, needs: &[],         prepares: false, work: work::cross_s390x,   about: "build for s390x (big-endian), test under qemu-user" },
    Step { name: "release",       tier: Tier::Full,  needs: &["guests"], prepares: false, work: work::release,       about: "all tests, compiled as released" },
    Step { name: "native",        tier: Tier::Full,  needs: &[],         prepares: false, work: work::native,        about: "10,000 generated cases of each encoding beside the host's processor" },
    Step { name: "random-bytes",  tier: Tier::Full,  needs: &[],         prepares: false, work: work::random_bytes,  about: "ten minutes of random bytes beside the host's processor" },
    Step { name: "kvm-rows",      tier: Tier::Full,  needs: &[],         prepares: false, work: work::kvm_rows,      about: "every row on the engines that use KVM, of which the quick tests take one in six" },
    Step { name: "testfloat-2",   tier: Tier::Full,  needs: &[],         prepares: false, work: work::testfloat_2,   about: "the same at level 2" },
    Step { name: "same-bytes",    tier: Tier::Full,  needs: &["guests"], prepares: false, work: work::same_bytes,    about: "guests made again are the same bytes" },
    Step { name: "every-guest",   tier: Tier::Full,  needs: &[],         prepares: false, work: work::every_guest,   about: "every Linux guest in the manifest boots to its prompt, and the scripts" },
];

const CHECK: [&str; 4] = ["format", "clippy", "lint", "documentation"];

/// `cargo xtask test`.
pub fn test(places: &Places, options: &Options) -> Result<ExitCode> {
    if options.list {
        for step in STEPS {
            let tier = if step.tier == Tier::Quick { "quick" } else { "full" };
            println!("{:14} {tier:6} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in options.steps.iter().chain(&options.skipped) {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("there is no step {name}; `cargo xtask test --list` lists them");
        }
    }
    let is_wanted = |step: &&Step| match options.steps.is_empty() {
        true => (options.full || step.tier == Tier::Quick) && !options.skipped.iter().any(|name| name == step.name),
        false => options.steps.iter().any(|name| name == step.name),
    };
    let steps: Vec<&Step> = STEPS.iter().filter(is_wanted).collect();
    let mut record = options.full.then(|| record::Record::open(places, options.restart)).transpose()?;
    run::run(places, &steps, record.as_mut())
}

/// `cargo xtask check`.
pub fn check(places: &Places) -> Result<ExitCode> {
    let steps: Vec<&Step> = STEPS.iter().filter(|step| CHECK.contains(&step.name)).collect();
    run::run(places, &steps, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_need_only_steps_that_come_before_them() {
        for (index, step) in STEPS.iter().enumerate() {
            for needed in step.needs {
                assert!(STEPS[..index].iter().any(|earlier| earlier.name == *needed), "{} needs {needed}", step.name);
            }
        }
        assert!(CHECK.iter().all(|name| STEPS.iter().any(|step| step.name == *name)));
    }
}
