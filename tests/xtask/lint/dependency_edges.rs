//! Dependencies between our crates run one way: devices and frontend below jit, jit below accel, accel below the program.
//!
//! Rule: an edge that the table does not allow is a breach, also for tests inside a crate; crates below tests/ may depend on
//! any crate, and none but each other on them.

use super::Finding;
use crate::tree::File;

#[rustfmt::skip] // a table: a crate's folder, and the folders of the crates it may depend on
const ALLOWED: &[(&str, &[&str])] = &[
    ("frontend", &[]),
    ("devices",  &["frontend/state"]),
    ("jit",      &["frontend"]),
    ("accel",    &["frontend", "jit", "devices"]),
    ("",         &["frontend", "jit", "devices", "accel", "tests/harness"]),
];

pub fn findings(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    let crates: Vec<Crate> = files.iter().filter_map(Crate::read).collect();
    for one in &crates {
        for name in &one.dependencies {
            let Some(other) = crates.iter().find(|other| other.name == *name) else { continue };
            if !may_depend(&one.folder, &other.folder) {
                let text = format!("{} must not depend on {}", one.name, other.name);
                found.push(Finding { path: one.path.clone(), line: 0, text });
            }
        }
    }
    found
}

fn may_depend(from: &str, to: &str) -> bool {
    if is_in(from, "tests/xtask") {
        return false;
    }
    if is_in(from, "tests") {
        return !is_in(to, "tests/xtask");
    }
    // A crate within a room may use the others of that room; the compiler rules out circles.
    let row = ALLOWED.iter().find(|(room, _)| is_in(from, room));
    row.is_some_and(|(room, allowed)| (!room.is_empty() && is_in(to, room)) || allowed.iter().any(|folder| is_in(to, folder)))
}

fn is_in(folder: &str, room: &str) -> bool {
    room.is_empty() && folder.is_empty()
        || !room.is_empty() && folder.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

struct Crate {
    path: String,
    name: String,
    folder: String,
    dependencies: Vec<String>,
}

impl Crate {
    fn read(file: &File) -> Option<Self> {
        let folder = file.path.strip_suffix("Cargo.toml")?.trim_end_matches('/').to_string();
        let table: toml::Table = file.text()?.parse().ok()?;
        let name = table.get("package")?.get("name")?.as_str()?.to_string();
        let mut dependencies = Vec::new();
        collect(&toml::Value::Table(table), &mut dependencies);
        Some(Self { path: file.path.clone(), name, folder, dependencies })
    }
}

/// Every kind of dependency, those for one target only included.
fn collect(value: &toml::Value, names: &mut Vec<String>) {
    let Some(table) = value.as_table() else { return };
    for (key, inside) in table {
        if key.ends_with("dependencies") && key != "workspace" {
            for (name, how) in inside.as_table().into_iter().flatten() {
                let renamed = how.get("package").and_then(toml::Value::as_str);
                names.push(renamed.unwrap_or(name).to_string());
            }
        } else if key != "workspace" && key != "package" {
            collect(inside, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    fn member(folder: &str, name: &str, dependencies: &str) -> File {
        file(&format!("{folder}/Cargo.toml"), &format!("[package]\nname = '{name}'\n{dependencies}"))
    }

    #[test]
    fn an_edge_against_the_order_is_found() {
        let files = [
            member("devices", "dragoman-devices", "[dev-dependencies]\ndragoman-accel.workspace = true\n"),
            member("accel", "dragoman-accel", "[dependencies]\ndragoman-devices.workspace = true\nlog = '0.4'\n"),
        ];
        let found = findings(&files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, "dragoman-devices must not depend on dragoman-accel");
    }

    #[test]
    fn an_edge_for_one_target_and_under_another_name_is_found() {
        let files = [
            member(
                "jit",
                "dragoman-jit",
                "[target.'cfg(unix)'.dependencies]\nboard = { package = 'dragoman-devices', path = '../devices' }\n",
            ),
            member("devices", "dragoman-devices", ""),
        ];
        assert_eq!(findings(&files).len(), 1);
    }

    #[test]
    fn devices_may_use_the_state_but_not_the_front_end() {
        assert!(may_depend("devices", "frontend/state"));
        assert!(!may_depend("devices", "frontend"));
        assert!(may_depend("", "accel"));
        assert!(!may_depend("accel", ""));
        assert!(!may_depend("accel", "tests/harness"));
        assert!(may_depend("tests/insn", "tests/harness"));
    }
}
