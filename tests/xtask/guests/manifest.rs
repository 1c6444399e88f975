//! guest-images/manifest.toml: one entry for each guest, which is both its recipe and the record of its licence.
//!
//! Rule: a guest that is not in the manifest does not exist.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::paths::Places;

/// The whole manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Guests made from Debian's packages.
    #[serde(rename = "guest", default)]
    pub guests: Vec<Guest>,
    /// Guests of our own.
    #[serde(default)]
    pub own: Vec<Own>,
}

/// A kernel with a user space in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    pub name: String,
    pub why: String,
    /// Required, and read by people only.
    #[expect(dead_code, reason = "being required is its use")]
    pub licence: String,
    /// Whether the quick tests use it.
    #[serde(default)]
    pub quick: bool,
    /// Whether it boots to its prompt on this program; the full tests then see that it does.
    #[serde(default)]
    pub boots: bool,
    /// Debian's name of the guest's architecture.
    pub architecture: String,
    pub suite: String,
    /// The kernel's package; a meta package is followed to the real one.
    pub kernel: String,
    /// The package of the static busybox.
    pub busybox: String,
    /// The first program, below guest-images/.
    pub init: String,
    /// Packages that are unpacked into the root file system.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What of them stays outside: paths of files and folders.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// A folder below guest-images/ that the root file system holds under the same name.
    pub programs: Option<String>,
    /// A folder below guest-images/ with a `programs.toml`: the root file system holds those programs, compiled, under its name.
    pub compiled: Option<String>,
    /// The kernel's command line.
    pub append: String,
}

/// A guest that is assembled from a source of ours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Below guest-images/.
    pub source: String,
    pub why: String,
    #[expect(dead_code, reason = "being required is its use")]
    pub licence: String,
}

impl Own {
    /// What the guest is called: its source's name up to the first point.
    pub fn name(&self) -> &str {
        let file = self.source.rsplit('/').next().unwrap_or(&self.source);
        file.split('.').next().unwrap_or(file)
    }
}

impl Manifest {
    pub fn read(places: &Places) -> Result<Self> {
        let path = places.root.join("guest-images/manifest.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", places.short(&path)))?;
        Self::parse(&text).with_context(|| format!("{} is wrong", places.short(&path)))
    }

    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    pub fn guest(&self, name: &str) -> Result<&Guest> {
        let Some(guest) = self.guests.iter().find(|guest| guest.name == name) else {
            let names: Vec<&str> = self.guests.iter().map(|guest| guest.name.as_str()).collect();
            bail!("there is no guest {name}; there are: {}", names.join(", "));
        };
        Ok(guest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_of_this_clone_is_right_and_lists_every_source() {
        let places = Places::find().expect("tests run in a clone");
        let manifest = Manifest::read(&places).expect("it is right");
        assert!(manifest.guests.iter().any(|guest| guest.quick));
        for entry in fs::read_dir(places.root.join("guest-images/src")).expect("it is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".S") {
                assert!(manifest.own.iter().any(|own| own.source == format!("src/{name}")), "{name} is not in manifest.toml");
            }
        }
    }

    #[test]
    fn an_entry_without_a_licence_is_refused() {
        let error = Manifest::parse("[[own]]\nsource = 'src/hello.S'\nwhy = 'first light'\n").expect_err("no licence");
        assert!(error.to_string().contains("licence"), "{error}");
    }

    #[test]
    fn an_unknown_guest_is_answered_with_the_known_ones() {
        let manifest = Manifest::parse("").expect("empty is right");
        assert!(manifest.guest("windows").expect_err("there is none").to_string().contains("there is no guest windows"));
    }
}
