//! Programs of ours in C that a guest's root file system holds, compiled without a C library: the machine's gcc is enough.
//!
//! Rule: what is compiled, and how, stands in the folder's `programs.toml`; no path of this machine gets into a program.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::own;
use crate::{paths::Places, process};

const LIMIT: Duration = Duration::from_secs(60);

/// For every program. A compiler that made packed instructions of plain loops, or calls of copying ones, would decide by its
/// version what is measured.
#[rustfmt::skip] // one matter a line
const FLAGS: [&str; 17] = [
    "-O2", "-std=gnu11",
    "-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie",
    "-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables",
    "-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-fno-tree-loop-distribute-patterns", "-ffp-contract=off",
    "-s", "-Wl,--build-id=none", "-Wl,-z,noexecstack",
];

/// For Debian's name of an architecture: what makes the compiler make code for it.
fn target(architecture: &str) -> Result<&'static [&'static str]> {
    match architecture {
        "amd64" => Ok(&["-m64"]),
        "i386" => Ok(&["-m32", "-msse2", "-mfpmath=sse"]),
        _ => bail!("no programs are compiled for {architecture}"),
    }
}

/// What the list in `programs.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programs {
    /// The program that starts the others.
    pub driver: String,
    #[serde(rename = "program")]
    pub programs: Vec<Program>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub name: String,
    /// What it is counted with.
    pub group: String,
    /// What it is called with at scale 1.
    pub count: u64,
    /// For the compiler, besides those that all have.
    #[serde(default)]
    pub flags: Vec<String>,
    /// What the processor must have, as /proc/cpuinfo calls it.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The only architecture that its code is for, where it is not for all.
    pub only: Option<String>,
}

impl Programs {
    /// Those of a folder below guest-images/ for guests of `architecture`.
    pub fn read_for(architecture: &str, places: &Places, folder: &str) -> Result<Self> {
        let mut all = Self::read(places, folder)?;
        all.programs.retain(|program| program.only.as_ref().is_none_or(|only| only == architecture));
        Ok(all)
    }

    /// Those of a folder below guest-images/.
    fn read(places: &Places, folder: &str) -> Result<Self> {
        let path = places.root.join("guest-images").join(folder).join("programs.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", places.short(&path)))?;
        toml::from_str(&text).with_context(|| format!("{} is wrong", places.short(&path)))
    }
}

/// Compiles the programs of a folder below guest-images/ for guests of `architecture` into `to`.
pub fn make(places: &Places, folder: &str, architecture: &str, to: &Path) -> Result<()> {
    let programs = Programs::read_for(architecture, places, folder)?;
    let target = target(architecture)?;
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    let driver = (&programs.driver, [].as_slice());
    for (name, flags) in programs.programs.iter().map(|program| (&program.name, program.flags.as_slice())).chain([driver]) {
        let mut compile = Command::new(own::tool("gcc"));
        // In the folder of the sources, so that their path does not matter.
        compile.current_dir(places.root.join("guest-images").join(folder)).args(target).args(FLAGS).args(flags);
        compile.arg("-o").arg(to.join(name)).arg(format!("{name}.c"));
        process::capture(&mut compile, LIMIT).with_context(|| format!("guest-images/{folder}/{name}.c cannot be compiled"))?;
    }
    Ok(())
}

/// Which compiler that is.
pub fn compiler() -> Result<String> {
    let text = process::capture(Command::new(own::tool("gcc")).arg("--version"), LIMIT).context(own::MISSING)?;
    Ok(text.lines().next().unwrap_or_default().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_of_the_benchmarks_is_on_the_list_and_the_other_way_round() {
        let places = Places::find().expect("tests run in a clone");
        let programs = Programs::read(&places, "bench").expect("it is right");
        let mut listed: Vec<&String> = programs.programs.iter().map(|program| &program.name).chain([&programs.driver]).collect();
        let mut sources = Vec::new();
        for entry in fs::read_dir(places.root.join("guest-images/bench")).expect("it is there").flatten() {
            sources.extend(entry.file_name().to_string_lossy().strip_suffix(".c").map(str::to_string));
        }
        sources.sort();
        listed.sort();
        assert_eq!(sources.iter().collect::<Vec<_>>(), listed);
    }

    /// Several of them compare what they computed with a standard's example, and then end with a status.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn every_program_of_the_benchmarks_runs_here_and_prints_its_name_and_a_checksum() {
        let places = Places::find().expect("tests run in a clone");
        let folder = std::env::temp_dir().join(format!("dragoman-xtask-compiled-{}", std::process::id()));
        make(&places, "bench", "amd64", &folder).expect("this machine has gcc");
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").expect("it is there");
        let has = |need: &String| cpuinfo.split_whitespace().any(|word| word == need);
        for program in Programs::read_for("amd64", &places, "bench").expect("it is right").programs {
            if program.needs.iter().all(has) {
                let run = || process::capture(Command::new(folder.join(&program.name)).arg("2"), LIMIT).expect("it ends well");
                let text = run();
                let checksum = text.strip_prefix(&format!("{} ", program.name)).map(str::trim_end);
                assert!(checksum.is_some_and(|sum| u64::from_str_radix(sum, 16).is_ok()), "{text}");
                assert_eq!(text, run());
            }
        }
        fs::remove_dir_all(&folder).expect("it was made");
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn the_witness_finds_nothing_wrong_with_this_machine_and_says_so_twice() {
        let places = Places::find().expect("tests run in a clone");
        let folder = std::env::temp_dir().join(format!("dragoman-xtask-witness-{}", std::process::id()));
        make(&places, "witness", "amd64", &folder).expect("this machine has gcc");
        let run = || {
            let mut witness = Command::new(folder.join("witness"));
            process::capture(witness.arg("3").current_dir(&folder), LIMIT).expect("it ends well")
        };
        let text = run();
        assert!(text.starts_with("witness: end 3 0 "), "{text}");
        assert_eq!(text, run());
        fs::remove_dir_all(&folder).expect("it was made");
    }
}
