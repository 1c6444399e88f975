//! What must not stand in any file: the host names of package registries and paths of somebody's home.
//!
//! Rule: a clone works on every machine and with every mirror, because the project names none. This file composes the
//! names it looks for, so that they do not stand here either.

use super::Finding;
use crate::tree::File;

/// Words by which a registry's address is known.
const REGISTRIES: [&str; 6] = ["debian", "crates", "pypi", "pythonhosted", "npmjs", "rustup"];

/// The folders that hold people's homes, in halves.
const HOMES: [(&str, &str); 3] = [("/ho", "me/"), ("/ro", "ot/"), ("/Us", "ers/")];

pub fn findings(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    // Cargo itself writes where it found packages into its lock file.
    for file in files.iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        let Some(text) = file.text() else { continue };
        for (index, line) in text.lines().enumerate() {
            if has_registry(line) {
                found.push(Finding::new(file, index + 1, "the host name of a package registry"));
            }
            if has_home(line) {
                found.push(Finding::new(file, index + 1, "a path in somebody's home"));
            }
        }
    }
    found
}

fn has_registry(line: &str) -> bool {
    let in_address = line.split("://").skip(1).any(|rest| {
        let host = rest.split(|end: char| end == '/' || end.is_whitespace()).next().unwrap_or_default();
        REGISTRIES.iter().any(|registry| host.contains(registry))
    });
    let bare = [["crates", "io"], ["pypi", "org"], ["npmjs", "org"], ["npmjs", "com"], ["debian", "org"], ["debian", "net"]];
    in_address || bare.iter().any(|halves| line.contains(&halves.join(".")))
}

fn has_home(line: &str) -> bool {
    HOMES.iter().any(|(one, two)| {
        let folder = format!("{one}{two}");
        line.match_indices(&folder).any(|(at, _)| {
            // A folder of that name further down a path is nobody's home.
            let starts = !line[..at].ends_with(|before: char| before.is_alphanumeric() || ".}_-$".contains(before));
            starts && line[at + folder.len()..].starts_with(|next: char| next.is_ascii_alphanumeric())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    fn in_halves(one: &str, two: &str) -> File {
        file("README.md", &format!("see {one}{two}\n"))
    }

    #[test]
    fn an_address_of_a_registry_is_found() {
        assert_eq!(findings(&[in_halves("http://deb.deb", "ian.org/pool")]).len(), 1);
        assert_eq!(findings(&[in_halves("crat", "es.io")]).len(), 1);
        assert_eq!(findings(&[in_halves("https://www.kernel", ".org/doc")]), []);
        assert_eq!(findings(&[in_halves("http://mirror.example", "/debian")]), []);
    }

    #[test]
    fn a_path_in_a_home_is_found() {
        assert_eq!(findings(&[in_halves("/ho", "me/ann/vmlinuz")])[0].text, "a path in somebody's home");
        assert_eq!(findings(&[in_halves("/ro", "ot/.cargo")]), []);
        assert_eq!(findings(&[in_halves("/ro", "ot/work")]).len(), 1);
        assert_eq!(findings(&[in_halves("guest/ho", "me/x")]), []);
    }
}
