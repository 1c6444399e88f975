//! Making the guests that tests, the demonstration and the benchmarks run.
//!
//! Rule: what is made depends on the recipes in guest-images/ and on the packages' content only: the same bytes from the
//! same packages, on every machine. A second run needs no network.

pub mod compiled;
mod debian;
mod initramfs;
pub mod manifest;
mod own;
mod unpacked;

pub use own::can_assemble;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{cache, paths::Places};
use manifest::{Guest, Manifest};

#[derive(Args)]
pub struct Options {
    /// Which guests to make; without any, those that the quick tests use
    names: Vec<String>,
    /// Make every guest in the manifest
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Ask the archive for newer packages
    #[arg(long)]
    refresh: bool,
    /// List the guests
    #[arg(long)]
    list: bool,
}

/// The parts of a finished Linux guest.
#[derive(Clone, Debug)]
pub struct Linux {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub append: String,
    /// What packages and programs of ours brought to the root file system, as the host can read it.
    pub tree: Option<PathBuf>,
}

/// `cargo xtask guest`.
pub fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let manifest = Manifest::read(places)?;
    if options.list {
        for guest in &manifest.guests {
            let when = if guest.quick { "quick" } else { "on request" };
            println!("{:22} {:11} {}", guest.name, when, guest.why);
        }
        for own in &manifest.own {
            println!("{:22} {:11} {}", own.name(), "quick", own.why);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in &options.names {
        manifest.guest(name)?;
    }
    let wanted = |guest: &&Guest| match options.names.is_empty() {
        true => options.all || guest.quick,
        false => options.names.contains(&guest.name),
    };
    for guest in manifest.guests.iter().filter(wanted) {
        make(places, guest, options.refresh)?;
    }
    if options.names.is_empty() {
        make_own(places, &manifest)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the guests that the quick tests use.
pub fn make_quick(places: &Places) -> Result<String> {
    let manifest = Manifest::read(places)?;
    let mut count = 0;
    for guest in manifest.guests.iter().filter(|guest| guest.quick) {
        make(places, guest, false)?;
        count += 1;
    }
    let own = make_own(places, &manifest)?;
    Ok(format!("{count} from packages, {own} of our own"))
}

/// Makes one Linux guest and says where it lies.
pub fn make(places: &Places, guest: &Guest, refresh: bool) -> Result<Linux> {
    let made = make_into(places, guest, refresh, &places.guests())?;
    eprintln!("{}: {} and {}", guest.name, places.short(&made.kernel), places.short(&made.initrd));
    Ok(made)
}

fn make_into(places: &Places, guest: &Guest, refresh: bool, guests: &Path) -> Result<Linux> {
    let lock = cache::lock(&places.cache)?;
    let parts = debian::parts(places, guest, refresh)?;
    drop(lock);
    let folder = guests.join(&guest.name);
    let init = read(&places.root.join("guest-images").join(&guest.init))?;
    let tree = unpacked::make(places, guest, &parts.packages, &folder)?;
    let image = initramfs::build(&read(&parts.busybox)?, &init, tree.as_deref())
        .with_context(|| format!("no root file system can be made for {}", guest.name))?;

    let (kernel, initrd) = (folder.join("vmlinuz"), folder.join("initrd.cpio"));
    let made = Linux { kernel, initrd, append: guest.append.clone(), tree };
    let mut origin = parts.origin;
    if let Some(sources) = &guest.compiled {
        origin.push_str(&format!("{sources}: compiled by {}\n", compiled::compiler()?));
    }
    cache::write(&made.kernel, &read(&parts.kernel)?)?;
    cache::write(&made.initrd, &image)?;
    cache::write(&folder.join("append"), format!("{}\n", guest.append).as_bytes())?;
    cache::write(&folder.join("origin"), origin.as_bytes())?;
    Ok(made)
}

fn make_own(places: &Places, manifest: &Manifest) -> Result<usize> {
    if !own::can_assemble() {
        bail!("{}", own::MISSING);
    }
    let folder = places.guests().join("own");
    for own in &manifest.own {
        own::make(places, own, &folder)?;
    }
    eprintln!("guests of our own: {} in {}", manifest.own.len(), places.short(&folder));
    Ok(manifest.own.len())
}

/// Makes the quick guests a second time, elsewhere, and names the files that came out different.
pub fn compare_with_fresh(places: &Places) -> Result<Vec<String>> {
    let manifest = Manifest::read(places)?;
    let again = places.root.join("target").join("guests-again");
    cache::remove(&again)?;
    let mut pairs = Vec::new();
    for guest in manifest.guests.iter().filter(|guest| guest.quick) {
        let made = make_into(places, guest, false, &again)?;
        let first = places.guests().join(&guest.name);
        pairs.extend([(first.join("vmlinuz"), made.kernel), (first.join("initrd.cpio"), made.initrd)]);
    }
    for own in &manifest.own {
        let made = own::make(places, own, &again.join("own"))?;
        let name = made.file_name().unwrap_or_default();
        pairs.push((places.guests().join("own").join(name), made.clone()));
    }
    let mut differing = Vec::new();
    for (first, second) in pairs {
        if cache::hash_file(&first)? != cache::hash_file(&second)? {
            differing.push(places.short(&first).to_string());
        }
    }
    cache::remove(&again)?;
    Ok(differing)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}
