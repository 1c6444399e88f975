//! The parts of a Linux guest, out of Debian's packages: the kernel, a static busybox, and whole packages.
//!
//! Rule: a part is kept in the cache by package, version and architecture, together with the hashes of the package and of
//! the part, which are checked at every use. The network is asked only for what is not there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::manifest::Guest;
use crate::{
    apt::{self, AptRoot, Repository, control, root::Archive},
    cache,
    paths::Places,
};

/// Where the parts of one guest lie, and a few lines on where they come from.
pub struct Parts {
    pub kernel: PathBuf,
    pub busybox: PathBuf,
    /// Packages as they are in the archive, in the manifest's order.
    pub packages: Vec<PathBuf>,
    pub origin: String,
}

/// What stands beside an unpacked part.
#[derive(Debug, Deserialize)]
struct Record {
    package: String,
    version: String,
    package_sha256: String,
    file_sha256: String,
}

/// One part to look for: a package and the file wanted of it.
struct Wanted<'a> {
    guest: &'a Guest,
    package: &'a str,
    /// The file's name in the cache.
    name: &'static str,
    /// The file in the unpacked package: a folder and how the name starts. Nothing where the package itself is the part.
    inside: Option<(&'static str, &'static str)>,
}

/// What a package that is wanted whole is called in the cache.
const WHOLE: &str = "package.deb";

/// Finds or fetches the parts of `guest`.
pub fn parts(places: &Places, guest: &Guest, refresh: bool) -> Result<Parts> {
    let kernel = Wanted { guest, package: &guest.kernel, name: "vmlinuz", inside: Some(("boot", "vmlinuz-")) };
    let busybox = Wanted { guest, package: &guest.busybox, name: "busybox", inside: Some(("bin", "busybox")) };
    let whole = guest.packages.iter().map(|package| Wanted { guest, package, name: WHOLE, inside: None });
    if let Some(parts) = given_by_hand(places, guest)? {
        return Ok(parts);
    }
    let mut root = None;
    let mut origin = String::new();
    let mut paths = Vec::new();
    for wanted in [kernel, busybox].into_iter().chain(whole) {
        let kept = if refresh { None } else { kept(places, &wanted)? };
        let (path, record) = match kept {
            Some(found) => found,
            None => {
                let root = match &mut root {
                    Some(root) => root,
                    empty => empty.insert(open(places, guest, refresh).with_context(|| by_hand(places, guest))?),
                };
                fetch(places, root, &wanted).with_context(|| by_hand(places, guest))?
            }
        };
        origin.push_str(&format!(
            "{}: Debian {} {} {} ({})\n  package sha256 {}\n  file    sha256 {}\n",
            wanted.inside.map_or(wanted.package, |_| wanted.name),
            guest.suite,
            record.package,
            record.version,
            guest.architecture,
            record.package_sha256,
            record.file_sha256
        ));
        paths.push(path);
    }
    let packages = paths.split_off(2);
    let [kernel, busybox] = <[PathBuf; 2]>::try_from(paths).expect("two parts were looked for, and the packages");
    Ok(Parts { kernel, busybox, packages, origin })
}

fn open(places: &Places, guest: &Guest, refresh: bool) -> Result<AptRoot> {
    // The main archive only: its packages stay the same between point releases, and it keeps every architecture.
    let repository = Repository {
        archive: Archive::Debian,
        suites: vec![guest.suite.clone()],
        architectures: vec![guest.architecture.clone()],
    };
    apt::root::machine_archives()?;
    eprintln!(
        "{}: downloading Debian's kernel and static busybox{} (about 30 to 70 MB, into {}); nothing is installed",
        guest.name,
        if guest.packages.is_empty() { String::new() } else { format!(" and {} packages", guest.packages.len()) },
        places.cache.display()
    );
    eprintln!("  why: {}", guest.why);
    let root = AptRoot::open(places, &format!("{}-{}", guest.suite, guest.architecture), &guest.architecture, &[repository])?;
    if refresh {
        root.update()?;
    }
    Ok(root)
}

/// The folder in which a part's newest known version is named.
fn choice(places: &Places, wanted: &Wanted) -> PathBuf {
    let guest = wanted.guest;
    places.cache.join("chosen").join(format!("{}-{}-{}", guest.suite, guest.architecture, wanted.package))
}

/// The part as an earlier run left it; nothing where it is missing or damaged.
fn kept(places: &Places, wanted: &Wanted) -> Result<Option<(PathBuf, Record)>> {
    let Ok(name) = fs::read_to_string(choice(places, wanted)) else { return Ok(None) };
    let folder = places.cache.join("packages").join(name.trim());
    read_part(&folder, wanted.name)
}

fn read_part(folder: &Path, name: &str) -> Result<Option<(PathBuf, Record)>> {
    let path = folder.join(name);
    let Some(record) = fs::read_to_string(folder.join("record.toml")).ok().and_then(|text| toml::from_str::<Record>(&text).ok())
    else {
        return Ok(None);
    };
    if !path.is_file() || cache::hash_file(&path)? != record.file_sha256 {
        eprintln!("{} is damaged and will be fetched again", path.display());
        cache::remove(folder)?;
        return Ok(None);
    }
    Ok(Some((path, record)))
}

fn fetch(places: &Places, root: &AptRoot, wanted: &Wanted) -> Result<(PathBuf, Record)> {
    let guest = wanted.guest;
    let real = follow_meta(root, wanted.package)?;
    let sha256 = real.get("SHA256").with_context(|| format!("apt knows no hash of {}", wanted.package))?.to_string();
    let (package, version) = (field(&real, "Package")?, field(&real, "Version")?);
    // A colon, which an epoch brings, is awkward in a path.
    let name = format!("{package}_{}_{}-{}", version.replace(':', "."), guest.architecture, &sha256[..sha256.len().min(12)]);
    let finished = places.cache.join("packages").join(&name);
    let found = match read_part(&finished, wanted.name)? {
        Some(found) => found,
        None => {
            cache::folder(&finished, |folder| {
                let unpacked = folder.join("unpacked");
                let what = format!("{package} {version}");
                root.download(&what, &[format!("{package}:{}={version}", guest.architecture)], folder)?;
                let archive = only_file(folder, "", ".deb")?;
                let actual = cache::hash_file(&archive)?;
                if actual != sha256 {
                    bail!("{what} has the hash {actual}, not {sha256}");
                }
                apt::root::unpack(&archive, &unpacked)?;
                let file = match wanted.inside {
                    Some((below, start)) => only_file(&unpacked.join(below), start, "")?,
                    None => archive.clone(),
                };
                let part = folder.join(wanted.name);
                fs::rename(&file, &part).with_context(|| format!("{} cannot be moved", file.display()))?;
                let licence = unpacked.join("usr/share/doc").join(&package).join("copyright");
                if licence.is_file() {
                    fs::rename(&licence, folder.join("copyright"))?;
                }
                let record = format!(
                    "package = '{package}'\nversion = '{version}'\npackage_sha256 = '{sha256}'\nfile_sha256 = '{}'\n",
                    cache::hash_file(&part)?
                );
                fs::write(folder.join("record.toml"), record)?;
                cache::remove(&unpacked)?;
                cache::remove(&archive)
            })?;
            read_part(&finished, wanted.name)?.with_context(|| format!("{} was made, and is not right", finished.display()))?
        }
    };
    cache::write(&choice(places, wanted), format!("{name}\n").as_bytes())?;
    Ok(found)
}

/// A kernel's meta package is empty and depends on the current kernel's package, whose name carries its version.
fn follow_meta(root: &AptRoot, package: &str) -> Result<control::Paragraph> {
    let mut name = package.to_string();
    for _ in 0..4 {
        let known = root.show(&name)?;
        let next = control::dependencies(known.get("Depends").unwrap_or_default())
            .into_iter()
            .find(|dependency| dependency.starts_with("linux-image-") && package.starts_with("linux-image-"));
        match next {
            Some(next) => name = next,
            None => return Ok(known),
        }
    }
    bail!("the meta package {package} leads nowhere")
}

fn field(paragraph: &control::Paragraph, name: &str) -> Result<String> {
    Ok(paragraph.get(name).with_context(|| format!("apt's answer has no {name}"))?.to_string())
}

fn only_file(folder: &Path, start: &str, end: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(start) && name.ends_with(end) && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} holds {} files {start}*{end} where one was expected", folder.display(), found.len()),
    }
}

fn hand_folder(places: &Places, guest: &Guest) -> PathBuf {
    places.cache.join("by-hand").join(&guest.name)
}

fn given_by_hand(places: &Places, guest: &Guest) -> Result<Option<Parts>> {
    let folder = hand_folder(places, guest);
    let (kernel, busybox) = (folder.join("vmlinuz"), folder.join("busybox"));
    if !kernel.is_file() || !busybox.is_file() {
        return Ok(None);
    }
    let mut origin = format!("put by hand into {}\n", folder.display());
    let package = |package: &String| only_file(&folder, &format!("{package}_"), ".deb");
    let packages = guest.packages.iter().map(package).collect::<Result<Vec<_>>>()?;
    for path in [&kernel, &busybox].into_iter().chain(&packages) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        origin.push_str(&format!("{name}:\n  file    sha256 {}\n", cache::hash_file(path)?));
    }
    Ok(Some(Parts { kernel, busybox, packages, origin }))
}

/// What a person can do on a system that has no apt, or no network.
fn by_hand(places: &Places, guest: &Guest) -> String {
    let folder = hand_folder(places, guest);
    let packages = match guest.packages.as_slice() {
        [] => String::new(),
        packages => format!("\n  beside them {}'s packages for {}: {}", guest.suite, guest.architecture, packages.join(", ")),
    };
    format!(
        "the guest {name} cannot be made here. Put these two files in place by hand instead:\n  \
         {vmlinuz}  the kernel (boot/vmlinuz-*) of Debian {suite}'s {kernel} for {architecture}, or another bzImage\n  \
         {busybox}  bin/busybox of its {package}, or another static busybox with an ash shell{packages}\nThe cause",
        name = guest.name,
        vmlinuz = folder.join("vmlinuz").display(),
        busybox = folder.join("busybox").display(),
        suite = guest.suite,
        kernel = guest.kernel,
        package = guest.busybox,
        architecture = guest.architecture,
    )
}
