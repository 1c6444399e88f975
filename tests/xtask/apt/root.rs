//! An apt root of our own: lists, keys and settings in the cache, nothing of the machine's touched, no root needed.
//!
//! Rule: apt itself verifies what is downloaded, against the keyring that the machine's own configuration names. The
//! machine's settings for reaching the network (proxies, certificates) hold here too; its hooks and pins do not.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    control::{Paragraph, paragraphs},
    sources::{self, Archives, Source},
};
use crate::{
    cache::{self, hash},
    paths::Places,
    process::{self, Line},
    progress::Progress,
};

const QUERY_LIMIT: Duration = Duration::from_secs(60);
const SECOND_TRY: Duration = Duration::from_secs(10);
const NETWORK_LIMIT: Duration = Duration::from_secs(1200);

/// Which of Debian's two archives a repository is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    Debian,
    Security,
}

/// A part of Debian that a root knows.
#[derive(Clone, Debug)]
pub struct Repository {
    pub archive: Archive,
    pub suites: Vec<String>,
    /// Whose packages; source packages where there are none.
    pub architectures: Vec<String>,
}

/// An apt root in the cache.
pub struct AptRoot {
    folder: PathBuf,
    configuration: PathBuf,
}

impl AptRoot {
    /// Makes or finds the root `name` that knows `repositories`, the first of which are preferred: of their release, a
    /// package is taken before newer ones of another. Fetches lists only when it has none yet.
    pub fn open(places: &Places, name: &str, native: &str, repositories: &[Repository]) -> Result<Self> {
        let archives = machine_archives()?;
        let release = repositories.iter().find_map(|repository| repository.suites.first());
        let release = release.context("an apt root needs a suite")?.split('-').next().unwrap_or_default();
        let mut text = String::new();
        let mut architectures = vec![native.to_string()];
        for repository in repositories {
            text.push_str(&source_text(&archives, repository)?);
            architectures.extend(repository.architectures.iter().cloned());
        }
        architectures.sort_by_key(|architecture| (architecture != native, architecture.clone()));
        architectures.dedup();

        let folder = places.cache.join("apt").join(name);
        for below in
            ["etc/sources.list.d", "etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"]
        {
            let path = folder.join(below);
            fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        }
        let configuration = folder.join("apt.conf");
        cache::write(&folder.join("status"), b"")?;
        cache::write(&folder.join("etc/sources.list.d/dragoman.sources"), text.as_bytes())?;
        cache::write(&configuration, settings(&folder, native, &architectures, release).as_bytes())?;
        let root = Self { folder, configuration };

        let stamp = root.folder.join("listed");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&hash(text.as_bytes())) {
            root.update()?;
            cache::write(&stamp, hash(text.as_bytes()).as_bytes())?;
        }
        Ok(root)
    }

    /// Fetches the lists of packages anew.
    pub fn update(&self) -> Result<()> {
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        // An error of one source must not pass as success with an old list.
        let attempt = || {
            let mut command = self.command("apt-get");
            command.args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
            follow(&format!("fetching Debian's package lists ({name})"), &mut command)
        };
        let outcome = attempt().or_else(|_| {
            // A mirror that is being filled gives wrong lists for a moment.
            std::thread::sleep(SECOND_TRY);
            attempt()
        });
        outcome.context(
            "Debian's package lists cannot be fetched; is the network up, and does `apt-get update` work on this machine?",
        )
    }

    /// What apt knows of the version it would take of a package: `name` or `name:architecture`.
    pub fn show(&self, package: &str) -> Result<Paragraph> {
        let found = self.ask(&["show", "-q", "--no-all-versions", package], package)?;
        found.into_iter().next().with_context(|| no_package(package))
    }

    /// The same for all versions there are.
    pub fn versions(&self, package: &str) -> Result<Vec<Paragraph>> {
        self.ask(&["show", "-q", "--all-versions", package], package)
    }

    fn ask(&self, arguments: &[&str], package: &str) -> Result<Vec<Paragraph>> {
        let text =
            process::capture(self.command("apt-cache").args(arguments), QUERY_LIMIT).with_context(|| no_package(package))?;
        Ok(paragraphs(&text))
    }

    /// Downloads packages into `folder`. Those already there are not downloaded again.
    pub fn download(&self, what: &str, packages: &[String], folder: &Path) -> Result<()> {
        self.download_by(&["download", "-q"], what, packages, folder)
    }

    /// Downloads what upstream gave out, of a source package of this name, into `folder`.
    pub fn download_upstream(&self, what: &str, package: &str, folder: &Path) -> Result<()> {
        self.download_by(&["source", "-q", "--download-only", "--tar-only"], what, &[package.to_string()], folder)
    }

    /// Downloads a package and all that it needs, recommendations apart, into `folder`; versions of `suite` come first.
    pub fn download_with_dependencies(&self, what: &str, package: &str, suite: &str, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder.join("partial")).with_context(|| format!("{} cannot be made", folder.display()))?;
        let into = format!("Dir::Cache::archives={}", folder.display());
        let how = ["install", "-q", "-y", "--no-install-recommends", "--download-only", "-t", suite, "-o", &into];
        self.download_by(&how, what, &[package.to_string()], folder)
    }

    fn download_by(&self, how: &[&str], what: &str, packages: &[String], folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let attempt = || {
            let mut command = self.command("apt-get");
            command.current_dir(folder).args(how).args(packages);
            follow(&format!("downloading {what}"), &mut command)
        };
        if attempt().is_ok() {
            return Ok(());
        }
        // The usual cause: the archive has moved on since the lists were fetched.
        self.update()?;
        attempt().with_context(|| format!("{what} cannot be downloaded"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

impl Drop for AptRoot {
    fn drop(&mut self) {
        // Apt's own index of the lists: large, and made again in a second.
        for name in ["pkgcache.bin", "srcpkgcache.bin"] {
            let _ = fs::remove_file(self.folder.join("cache").join(name));
        }
    }
}

fn no_package(package: &str) -> String {
    format!("Debian's archive, as this machine's apt reaches it, has no package {package}")
}

/// Unpacks a package's files below `folder`.
pub fn unpack(package: &Path, folder: &Path) -> Result<()> {
    process::capture(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder), QUERY_LIMIT * 5)
        .with_context(|| format!("{} cannot be unpacked", package.display()))?;
    Ok(())
}

/// The archives this machine's apt uses, or a sentence that says what is missing.
pub fn machine_archives() -> Result<Archives> {
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        if !process::exists(tool) {
            bail!("there is no {tool} on this machine");
        }
    }
    sources::archives(&sources::read(Path::new("/etc/apt"))).context("this machine's apt configuration names no Debian archive")
}

/// The machine's Debian release.
pub fn machine_release() -> Option<String> {
    sources::release(&fs::read_to_string("/etc/os-release").ok()?)
}

fn source_text(archives: &Archives, repository: &Repository) -> Result<String> {
    let source = match repository.archive {
        Archive::Debian => archives.debian.clone(),
        Archive::Security => match &archives.security {
            Some(source) => source.clone(),
            None => beside(&archives.debian)?,
        },
    };
    let kind = if repository.architectures.is_empty() { "deb-src" } else { "deb" };
    let (addresses, suites) = (source.addresses.join(" "), repository.suites.join(" "));
    let mut text = format!("Types: {kind}\nURIs: {addresses}\nSuites: {suites}\nComponents: main\n");
    if !repository.architectures.is_empty() {
        text.push_str(&format!("Architectures: {}\n", repository.architectures.join(" ")));
    }
    if let Some(key) = &source.signed_by {
        text.push_str(&format!("Signed-By: {key}\n"));
    }
    if source.trusted {
        text.push_str("Trusted: yes\n");
    }
    text.push('\n');
    Ok(text)
}

/// Debian's mirrors keep the security archive beside the main one.
fn beside(debian: &Source) -> Result<Source> {
    let mut source = debian.clone();
    for address in &mut source.addresses {
        let stem =
            address.trim_end_matches('/').strip_suffix("/debian").context("this machine's apt knows no security archive")?;
        *address = format!("{stem}/debian-security");
    }
    Ok(source)
}

fn settings(folder: &Path, native: &str, architectures: &[String], release: &str) -> String {
    let mut text = network_settings();
    let list: String = architectures.iter().map(|architecture| format!("\"{architecture}\"; ")).collect();
    text.push_str(&format!(
        r#"Dir "{folder}";
Dir::Etc "etc"; Dir::Etc::Trusted "/etc/apt/trusted.gpg"; Dir::Etc::TrustedParts "/etc/apt/trusted.gpg.d";
Dir::Etc::Netrc "/etc/apt/auth.conf"; Dir::Etc::NetrcParts "/etc/apt/auth.conf.d";
Dir::State "state"; Dir::State::status "{folder}/status"; Dir::Cache "cache"; Dir::Log "log";
APT::Architecture "{native}"; APT::Architectures {{ {list}}};
APT::Default-Release "/^{release}(-security|-updates)?$/"; APT::Sandbox::User "root";
Acquire::Languages "none"; Acquire::GzipIndexes "true"; Acquire::Retries "3";
Acquire::http::Timeout "30"; Acquire::https::Timeout "30";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
"#,
        folder = folder.display()
    ));
    text
}

/// How this machine's apt reaches the network: lines of settings, as apt itself prints them.
fn network_settings() -> String {
    let mut command = Command::new("apt-config");
    command.args(["dump", "--no-empty", "Acquire"]);
    let text = process::capture(&mut command, QUERY_LIMIT).unwrap_or_default();
    let wanted = |line: &&str| !line.starts_with("Acquire::IndexTargets") && !line.starts_with("Acquire::Languages");
    text.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

/// Runs a long apt command with signs of life.
fn follow(what: &str, command: &mut Command) -> Result<()> {
    let mut progress = Progress::start(what);
    let mut complaints = Vec::new();
    let status = process::watch(command, NETWORK_LIMIT, |line| match line {
        // What apt prints holds host names; on a terminal that is the user's own business, a log should not keep it.
        Line::Output(text) => progress.show(&text),
        Line::Error(text) => complaints.push(text),
        Line::Nothing => progress.tick(),
    });
    let took = progress.finish();
    let status = status?;
    if !status.success() {
        bail!("apt: {}", complaints.join("; "));
    }
    eprintln!("{what}: {:.1} s", took.as_secs_f64());
    Ok(())
}

/// Whether this process may install packages by itself.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a variable that continuous integration sets is there.
pub fn is_unattended() -> bool {
    env::var_os("CI").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian() -> Source {
        Source {
            addresses: vec!["file:/mirror/debian/".into()],
            suites: vec!["trixie".into()],
            components: vec!["main".into(), "contrib".into()],
            signed_by: Some("/k/debian-archive.gpg".into()),
            trusted: false,
        }
    }

    #[test]
    fn another_suite_is_taken_from_the_machines_archive_with_its_key() {
        let archives = Archives { debian: debian(), security: None };
        let repository =
            Repository { archive: Archive::Debian, suites: vec!["bookworm".into()], architectures: vec!["i386".into()] };
        assert_eq!(
            source_text(&archives, &repository).expect("it is known"),
            "Types: deb\nURIs: file:/mirror/debian/\nSuites: bookworm\nComponents: main\nArchitectures: i386\n\
             Signed-By: /k/debian-archive.gpg\n\n"
        );
    }

    #[test]
    fn a_repository_without_an_architecture_is_one_of_sources() {
        let archives = Archives { debian: debian(), security: None };
        let repository = Repository { archive: Archive::Debian, suites: vec!["bookworm".into()], architectures: vec![] };
        let text = source_text(&archives, &repository).expect("it is known");
        assert!(text.starts_with("Types: deb-src\nURIs: file:/mirror/debian/\nSuites: bookworm\nComponents: main\nSigned-By:"));
    }

    #[test]
    fn the_security_archive_is_looked_for_beside_the_main_one() {
        let archives = Archives { debian: debian(), security: None };
        let repository =
            Repository { archive: Archive::Security, suites: vec!["bookworm-security".into()], architectures: vec![] };
        assert!(source_text(&archives, &repository).expect("derived").contains("URIs: file:/mirror/debian-security\n"));
    }

    #[test]
    fn the_settings_name_the_native_architecture_and_no_folder_of_the_machines_state() {
        let text = settings(Path::new("/c/apt/one"), "i386", &["i386".into()], "bookworm");
        assert!(text.contains("APT::Architecture \"i386\"; APT::Architectures { \"i386\"; };"));
        assert!(!text.contains("/var/lib"));
    }
}
