//! Building and testing for hosts that are not x86-64, on one that is.
//!
//! Rule: everything lies in the cache; nothing is installed, and the Rust that the user has is not touched. A second run
//! needs no network.

mod rust;
mod tools;

use std::{process::Command, sync::OnceLock};

use anyhow::Result;

use crate::{apt::root, cache, paths::Places, toolchain};

/// A kind of host to build for.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// What Rust calls it.
    pub triple: &'static str,
    /// What gcc and the C library call it.
    pub gnu: &'static str,
    /// What Debian calls it.
    pub debian: &'static str,
    /// The emulator of its user mode.
    pub emulator: &'static str,
}

#[rustfmt::skip] // a table
pub const TARGETS: [Target; 2] = [
    Target { name: "aarch64", triple: "aarch64-unknown-linux-gnu", gnu: "aarch64-linux-gnu", debian: "arm64", emulator: "qemu-aarch64" },
    Target { name: "s390x",   triple: "s390x-unknown-linux-gnu",   gnu: "s390x-linux-gnu",   debian: "s390x", emulator: "qemu-s390x" },
];

/// All that is needed to build for and run as the targets.
#[derive(Clone)]
pub struct Kit {
    tools: tools::Tools,
    /// Nothing where the user's own Rust can build for the targets.
    rust: Option<rust::Rust>,
}

/// What can be had here.
#[derive(Clone)]
pub enum Availability {
    Ready(Kit),
    /// The reason.
    Not(String),
}

/// Finds or makes the kit; in one run of xtask, tries it once.
pub fn prepare(places: &Places) -> Result<Availability> {
    static KNOWN: OnceLock<Availability> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let found = find(places)?;
    Ok(KNOWN.get_or_init(|| found).clone())
}

fn find(places: &Places) -> Result<Availability> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Availability::Not("cross building is set up for x86-64 Linux hosts only".into()));
    }
    let _lock = cache::lock(&places.cache)?;
    let release = root::machine_release().unwrap_or_default();
    let packages = Packages::of(&release);
    let made = make(places, packages);
    Ok(match made {
        Ok(kit) => Availability::Ready(kit),
        Err(error) => Availability::Not(format!("the cross toolchain cannot be had here: {error:#}")),
    })
}

fn make(places: &Places, packages: &Packages) -> Result<Kit> {
    let mut root = LazyRoot { places, packages, opened: None };
    let tools = tools::Tools::get(places, packages, &mut root)?;
    let rust = if rust::is_native() { None } else { Some(rust::Rust::get(places, packages, &mut root)?) };
    Ok(Kit { tools, rust })
}

impl Kit {
    /// `cargo SUBCOMMAND` for `target`.
    pub fn cargo(&self, places: &Places, target: &Target, subcommand: &str) -> Command {
        let mut command = toolchain::cargo(places);
        command.arg(subcommand).args(["--target", target.triple, "--target-dir"]).arg(places.root.join("target/cross"));
        let linker = self.tools.wrapper(target, "gcc");
        let mut runner = [self.tools.emulator(target), "-L".into(), self.tools.sysroot(target)];
        // For programs that tests start.
        command.env("DRAGOMAN_RUNNER", runner.join("\n"));
        runner.iter_mut().for_each(|word| *word = format!("{word:?}"));
        // As configuration and not as variables, because a path in the cache may hold a space.
        command.arg("--config").arg(format!("target.{}.linker = {linker:?}", target.triple));
        command.arg("--config").arg(format!("target.{}.runner = [{}]", target.triple, runner.join(", ")));
        let suffix = target.triple.replace('-', "_");
        command.env(format!("CC_{suffix}"), &linker).env(format!("AR_{suffix}"), self.tools.wrapper(target, "ar"));
        if let Some(rust) = &self.rust {
            command.env("RUSTC", rust.wrapper("rustc")).env("RUSTDOC", rust.wrapper("rustdoc"));
        }
        command
    }

    /// Which Rust builds.
    pub fn describe(&self) -> String {
        match &self.rust {
            Some(rust) => format!("{}, from Debian", rust.version),
            None => "the installed Rust".into(),
        }
    }
}

/// Which packages of which release fit on a machine of one release.
struct Packages {
    release: &'static str,
    /// The C compiler driver's version, which is part of its package's name.
    gcc: &'static str,
    /// Where the standard libraries for the targets come from, and the emulators.
    libraries: &'static str,
}

/// On Debian 12 the compiler comes from the security archive and the libraries from Debian 13, because Debian 12 has none for
/// other machines; `rust` checks that they are the same build.
#[rustfmt::skip] // a table
const PACKAGES: [Packages; 2] = [
    Packages { release: "bookworm", gcc: "12", libraries: "trixie" },
    Packages { release: "trixie",   gcc: "14", libraries: "trixie" },
];

impl Packages {
    /// A release that is not in the table is newer than those, and runs the newest one's programs.
    fn of(release: &str) -> &'static Self {
        let [.., newest] = &PACKAGES;
        PACKAGES.iter().find(|packages| packages.release == release).unwrap_or(newest)
    }
}

/// An apt root that is opened, and so asks the network, only when it is needed.
struct LazyRoot<'a> {
    places: &'a Places,
    packages: &'a Packages,
    opened: Option<crate::apt::AptRoot>,
}

impl LazyRoot<'_> {
    fn get(&mut self) -> Result<&crate::apt::AptRoot> {
        use crate::apt::{AptRoot, Repository, root::Archive};
        if self.opened.is_none() {
            let Packages { release, libraries, .. } = *self.packages;
            let here = vec!["amd64".to_string()];
            let everywhere = here.iter().cloned().chain(TARGETS.iter().map(|target| target.debian.to_string())).collect();
            let repository =
                |archive, suite: &str, architectures| Repository { archive, suites: vec![suite.into()], architectures };
            let mut repositories = vec![repository(Archive::Debian, libraries, everywhere)];
            if release != libraries {
                repositories.insert(0, repository(Archive::Debian, release, here.clone()));
                repositories.insert(1, repository(Archive::Security, &format!("{release}-security"), here));
            }
            let name = format!("cross-{release}");
            self.opened = Some(AptRoot::open(self.places, &name, "amd64", &repositories)?);
        }
        Ok(self.opened.as_ref().expect("opened just now"))
    }
}
