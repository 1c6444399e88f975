//! Which archive this machine's apt takes Debian from, read from its own configuration in both of apt's formats.
//!
//! Rule: what is found is passed on as it stands (address, keyring, trust), never guessed and never written into the project.
//! Reference: sources.list(5).

use std::{fs, path::Path};

use super::control::paragraphs;

/// One configured source of binary packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Addresses that serve the same archive.
    pub addresses: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// A keyring's path, a fingerprint, or a whole key over several lines.
    pub signed_by: Option<String>,
    /// The machine's owner said that signatures do not matter here.
    pub trusted: bool,
}

/// The suites Debian itself has or had lately, by name and by role.
const SUITES: [&str; 10] =
    ["bullseye", "bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable"];

/// Debian's archive and its security archive, as one machine reaches them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archives {
    pub debian: Source,
    /// Nothing where the machine does not use it.
    pub security: Option<Source>,
}

/// Reads the configuration below `etc` (which is /etc/apt).
pub fn read(etc: &Path) -> Vec<Source> {
    let mut files = vec![etc.join("sources.list")];
    files.extend(fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten().map(|entry| entry.path()));
    files.sort();
    let mut sources = Vec::new();
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line(&text)),
            Some("sources") => sources.extend(deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// Picks Debian's own archives out of all that is configured.
pub fn archives(sources: &[Source]) -> Option<Archives> {
    // Other people's archives also have a suite called after Debian's and a component called main; they come last.
    let best = |suffix: &str, folder: &str| {
        let offers = |source: &&Source| {
            source.components.iter().any(|component| component == "main")
                && source.suites.iter().any(|suite| suite.strip_suffix(suffix).is_some_and(|name| SUITES.contains(&name)))
        };
        let looks_official = |source: &Source| {
            let address = source.addresses.first().map(|address| address.trim_end_matches('/')).unwrap_or_default();
            let by_address = address.ends_with(folder) || address.ends_with(&format!("{folder}.list"));
            let by_key = source.signed_by.as_ref().is_some_and(|key| key.contains("debian-archive"));
            u32::from(by_address) * 2 + u32::from(by_key)
        };
        sources
            .iter()
            .filter(offers)
            .filter(|source| looks_official(source) > 0)
            .rev()
            .max_by_key(|source| looks_official(source))
    };
    Some(Archives { debian: best("", "/debian")?.clone(), security: best("-security", "/debian-security").cloned() })
}

/// The name of the machine's Debian release, such as `bookworm`.
pub fn release(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_string())
}

fn deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for paragraph in paragraphs(text) {
        let enabled = !paragraph.get("Enabled").is_some_and(is_no);
        if enabled && paragraph.words("Types").iter().any(|kind| kind == "deb") {
            sources.push(Source {
                addresses: paragraph.words("URIs"),
                suites: paragraph.words("Suites"),
                components: paragraph.words("Components"),
                signed_by: paragraph.get("Signed-By").map(str::to_string),
                trusted: paragraph.get("Trusted").is_some_and(|value| !is_no(value)),
            });
        }
    }
    sources
}

fn one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line_source).collect()
}

fn one_line_source(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", rest),
    };
    let option = |name: &str| options.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let mut words = rest.split_whitespace().map(str::to_string);
    Some(Source {
        addresses: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: option("signed-by").map(|value| value.replace(',', " ")),
        trusted: option("trusted").is_some_and(|value| !is_no(value)),
    })
}

fn is_no(value: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deb822_form_is_read_with_its_keyring() {
        let text = "Types: deb deb-src\nURIs: file:/mirror/debian\nSuites: trixie trixie-updates\nComponents: main\n\
                    Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
                    Types: deb\nURIs: file:/mirror/debian-security\nSuites: trixie-security\nComponents: main\n";
        let found = archives(&deb822(text)).expect("both archives are there");
        assert_eq!(found.debian.addresses, ["file:/mirror/debian"]);
        assert_eq!(found.debian.signed_by.as_deref(), Some("/usr/share/keyrings/debian-archive-keyring.gpg"));
        assert_eq!(found.security.expect("it is there").suites, ["trixie-security"]);
    }

    #[test]
    fn the_one_line_form_is_read_with_its_options() {
        let text = "# deb file:/old/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k/debian-archive.gpg] file:/mirror/debian/ bookworm main contrib # ours\n\
                    deb-src file:/mirror/debian bookworm main\n";
        let found = archives(&one_line(text)).expect("it is there");
        assert_eq!(found.debian.addresses, ["file:/mirror/debian/"]);
        assert_eq!(found.debian.components, ["main", "contrib"]);
        assert_eq!(found.debian.signed_by.as_deref(), Some("/k/debian-archive.gpg"));
        assert_eq!(found.security, None);
    }

    #[test]
    fn a_mirror_list_as_in_cloud_images_counts_as_the_archive() {
        let text = "Types: deb\nURIs: mirror+file:/etc/apt/mirrors/debian.list\nSuites: bookworm\nComponents: main\n";
        assert!(archives(&deb822(text)).is_some());
    }

    #[test]
    fn the_archives_of_others_are_passed_over() {
        let text = "deb file:/packages bookworm main\ndeb file:/other/linux/debian bookworm stable\n\
                    deb file:/mirror/debian bookworm main\ndeb file:/sdk/apt cloud-sdk-bookworm main\n";
        assert_eq!(archives(&one_line(text)).expect("it is there").debian.addresses, ["file:/mirror/debian"]);
        assert_eq!(archives(&one_line("deb file:/packages bookworm main\n")), None);
    }

    #[test]
    fn a_source_that_is_switched_off_is_not_there() {
        let text = "Enabled: no\nTypes: deb\nURIs: file:/mirror/debian\nSuites: bookworm\nComponents: main\n";
        assert_eq!(archives(&deb822(text)), None);
    }

    #[test]
    fn the_release_is_found_with_and_without_quotes() {
        assert_eq!(release("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm"));
        assert_eq!(release("VERSION_CODENAME=\"trixie\"\n").as_deref(), Some("trixie"));
        assert_eq!(release("ID=arch\n"), None);
    }
}
