//! A Rust compiler with the standard libraries of the targets, unpacked from Debian's packages.
//!
//! Rule: compiler and libraries must be the very same build; the folder is not put in place unless they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{LazyRoot, Packages, TARGETS, tools::write_wrapper};
use crate::{
    apt::{AptRoot, control, root},
    cache,
    paths::Places,
    process,
};

/// The compiler's package, and the libraries', which also exists for the targets.
const COMPILER: &str = "rustc-web";
const LIBRARIES: &str = "libstd-rust-web-dev";

/// What every machine with a C compiler has.
const PRESENT: [&str; 11] =
    ["libc6", "libc-dev", "libgcc-s1", "libstdc++6", "gcc", "binutils", "zlib1g", "libzstd1", "liblzma5", "libtinfo6", "libffi8"];

#[derive(Clone)]
pub struct Rust {
    folder: PathBuf,
    /// What the compiler says of itself.
    pub version: String,
}

/// Whether the user's own Rust builds for all targets.
pub fn is_native() -> bool {
    let mut command = Command::new("rustup");
    let installed =
        process::capture(command.args(["target", "list", "--installed"]), Duration::from_secs(30)).unwrap_or_default();
    TARGETS.iter().all(|target| installed.lines().any(|line| line == target.triple))
}

impl Rust {
    pub(super) fn get(places: &Places, packages: &Packages, root: &mut LazyRoot) -> Result<Self> {
        let choice = places.cache.join("chosen").join(format!("cross-rust-{}", packages.release));
        let kept = fs::read_to_string(&choice).ok().map(|name| places.cache.join("cross").join(name.trim()));
        if let Some(folder) = kept.filter(|folder| folder.is_dir()) {
            return Self::open(folder);
        }
        let root = root.get()?;
        let compiler = root.show(COMPILER)?;
        let version = compiler.get("Version").context("apt's answer has no version")?;
        let name = format!("rust-{}", version.replace(':', "."));
        let folder = places.cache.join("cross").join(&name);
        cache::folder(&folder, |passing| fill(root, version, passing))?;
        cache::write(&choice, format!("{name}\n").as_bytes())?;
        Self::open(folder)
    }

    fn open(folder: PathBuf) -> Result<Self> {
        let version = version(&folder)?;
        Ok(Self { folder, version })
    }

    pub fn wrapper(&self, program: &str) -> PathBuf {
        self.folder.join("bin").join(program)
    }
}

fn fill(root: &AptRoot, version: &str, passing: &Path) -> Result<()> {
    let mut wanted = with_dependencies(root)?;
    for target in &TARGETS {
        let package = format!("{LIBRARIES}:{}", target.debian);
        let fitting = root.versions(&package)?.into_iter().filter_map(|found| found.get("Version").map(str::to_string));
        let fitting = fitting.into_iter().find(|found| upstream(found) == upstream(version));
        let Some(fitting) = fitting else {
            bail!("Debian's archive has no {package} that fits {COMPILER} {version}");
        };
        wanted.push(format!("{package}={fitting}"));
    }
    let archives = passing.join("archives");
    root.download("Debian's Rust with libraries for aarch64 and s390x (170 MB)", &wanted, &archives)?;
    for entry in fs::read_dir(&archives)? {
        root::unpack(&entry?.path(), passing)?;
    }
    cache::remove(&archives)?;
    cache::remove(&passing.join("usr/share"))?;
    for program in ["rustc", "rustdoc"] {
        write_wrapper(&passing.join("bin").join(program), &format!("\"$here/usr/bin/{program}\" --sysroot=\"$here/usr\""))?;
    }
    check_same_build(passing)
}

/// The compiler, and the libraries it needs that a machine may lack.
fn with_dependencies(root: &AptRoot) -> Result<Vec<String>> {
    let mut names = vec![COMPILER.to_string()];
    let mut specified = Vec::new();
    let mut next = 0;
    while next < names.len() {
        let known = root.show(&names[next])?;
        let version = known.get("Version").context("apt's answer has no version")?;
        specified.push(format!("{}:amd64={version}", names[next]));
        for dependency in control::dependencies(known.get("Depends").unwrap_or_default()) {
            if !PRESENT.contains(&dependency.as_str()) && !names.contains(&dependency) {
                names.push(dependency);
            }
        }
        next += 1;
    }
    Ok(specified)
}

/// A package's version without Debian's own part.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

fn version(folder: &Path) -> Result<String> {
    let printed = process::capture(Command::new(folder.join("bin/rustc")).arg("--version"), Duration::from_secs(60))?;
    Ok(printed.trim().to_string())
}

/// Every compiled library carries the version of the compiler that made it.
fn check_same_build(folder: &Path) -> Result<()> {
    let version = version(folder)?;
    for target in &TARGETS {
        let libraries = folder.join("usr/lib/rustlib").join(target.triple).join("lib");
        let is_core = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libcore-"));
        let mut paths = fs::read_dir(&libraries)
            .with_context(|| format!("{} cannot be read", libraries.display()))?
            .flatten()
            .map(|entry| entry.path());
        let path = paths.find(is_core).with_context(|| format!("there is no standard library for {}", target.name))?;
        let bytes = fs::read(&path)?;
        if !bytes.windows(version.len()).any(|window| window == version.as_bytes()) {
            bail!(
                "Debian's Rust compiler ({version}) and its library for {} are out of step; try again in some days",
                target.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_two_releases_fit_by_their_upstream_part() {
        assert_eq!(upstream("1.96.0+dfsg1-1~deb12u2"), upstream("1.96.0+dfsg1-1~deb13u1+b1"));
        assert_ne!(upstream("1.96.0+dfsg1-1"), upstream("1.97.0+dfsg1-1"));
        assert_eq!(upstream("2:1.0"), "1.0");
    }
}
