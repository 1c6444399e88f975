//! A Rust source that no crate includes is never compiled, and so never right.
//!
//! Rule: every source is reached from a crate's manifest by `mod` declarations.

use std::collections::BTreeSet;

use super::{Finding, rust, rust_source};
use crate::tree::File;

pub fn findings(files: &[File]) -> Vec<Finding> {
    let known: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut queue: Vec<(String, bool)> =
        files.iter().flat_map(|file| crate_roots(file, &known)).map(|path| (path, true)).collect();
    while let Some((path, is_root)) = queue.pop() {
        if !known.contains(path.as_str()) || !reached.insert(path.clone()) {
            continue;
        }
        let Some(text) = files.iter().find(|file| file.path == path).and_then(File::text) else { continue };
        queue.extend(children(&path, is_root, text).into_iter().map(|child| (child, false)));
    }
    rust(files)
        .filter(|(file, _)| !reached.contains(&file.path))
        .map(|(file, _)| Finding::new(file, 0, "no crate includes this file; declare it with `mod`, or delete it"))
        .collect()
}

/// Where the compiler starts in the crate of this manifest: what the manifest names, and what Cargo finds by itself.
fn crate_roots(manifest: &File, known: &BTreeSet<&str>) -> Vec<String> {
    let Some(folder) = manifest.path.strip_suffix("Cargo.toml") else { return Vec::new() };
    let Some(table) = manifest.text().and_then(|text| text.parse::<toml::Table>().ok()) else { return Vec::new() };
    let mut paths: Vec<String> = ["src/lib.rs", "src/main.rs", "build.rs"].map(|path| format!("{folder}{path}")).into();
    let script = table.get("package").and_then(|package| package.get("build")).and_then(toml::Value::as_str);
    paths.extend(script.map(|path| tidy(&format!("{folder}{path}"))));
    for kind in ["lib", "bin", "test", "bench", "example"] {
        let Some(targets) = table.get(kind) else { continue };
        let one = std::slice::from_ref(targets);
        for target in targets.as_array().map_or(one, Vec::as_slice) {
            let text = |key: &str| target.get(key).and_then(toml::Value::as_str);
            match (text("path"), text("name")) {
                (Some(path), _) => paths.push(tidy(&format!("{folder}{path}"))),
                (None, Some(name)) => {
                    let below = match kind {
                        "bin" => "src/bin",
                        "test" => "tests",
                        "bench" => "benches",
                        _ => "examples",
                    };
                    paths.push(format!("{folder}{below}/{name}.rs"));
                    paths.push(format!("{folder}{below}/{name}/main.rs"));
                }
                (None, None) => {}
            }
        }
    }
    let is_off =
        |key: &str| table.get("package").and_then(|package| package.get(key)).and_then(toml::Value::as_bool) == Some(false);
    for (key, below) in
        [("autotests", "tests/"), ("autobenches", "benches/"), ("autoexamples", "examples/"), ("autobins", "src/bin/")]
    {
        if !is_off(key) {
            let found = known.iter().filter(|path| is_target(path, &format!("{folder}{below}")));
            paths.extend(found.map(|path| path.to_string()));
        }
    }
    paths
}

/// Cargo takes `NAME.rs` and `NAME/main.rs` in such a folder for a program.
fn is_target(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder).and_then(|rest| rest.strip_suffix(".rs"));
    rest.is_some_and(|rest| !rest.contains('/') || rest.strip_suffix("/main").is_some_and(|name| !name.contains('/')))
}

/// Where the modules that `text` declares may lie.
fn children(path: &str, is_root: bool, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').map_or(("", path), |(folder, file)| (folder, file));
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let inside = match file.strip_suffix(".rs") {
        Some(stem) if !is_root && stem != "mod" => format!("{prefix}{stem}/"),
        _ => prefix.clone(),
    };
    let mut found = Vec::new();
    // The modules in braces that are open at this point, each with the depth of its brace.
    let mut around: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut given: Option<String> = None;
    let code = rust_source::parts(text).code;
    for (line, original) in code.lines().zip(text.lines()) {
        if let Some(value) = path_attribute(original) {
            given = Some(value);
        }
        if let Some((name, is_inline)) = module(line) {
            if is_inline {
                around.push((name, depth));
            } else {
                let below: String = around.iter().map(|(name, _)| format!("{name}/")).collect();
                match given.take() {
                    Some(value) => found.push(tidy(&format!("{prefix}{value}"))),
                    None => found.extend([format!("{inside}{below}{name}.rs"), format!("{inside}{below}{name}/mod.rs")]),
                }
            }
        }
        if line.contains("include!") {
            if let Some(value) = original.split('"').nth(1) {
                found.push(tidy(&format!("{prefix}{value}")));
            }
        }
        for byte in line.bytes() {
            match byte {
                b'{' => depth += 1,
                b'}' => {
                    depth = depth.saturating_sub(1);
                    around.retain(|(_, opened)| *opened < depth);
                }
                _ => {}
            }
        }
    }
    found
}

/// The name of the module declared on this line, and whether it opens a brace here.
fn module(line: &str) -> Option<(String, bool)> {
    let mut words = line.split_whitespace();
    // Visibility and attributes may stand before the word.
    words.find(|word| *word == "mod")?;
    let name = words.next()?;
    let bare: String = name.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect();
    let rest = line.split_once(&format!("mod {bare}"))?.1.trim_start();
    match rest.as_bytes().first() {
        Some(b';') => Some((bare, false)),
        Some(b'{') => Some((bare, true)),
        _ => None,
    }
}

fn path_attribute(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("#[path")?.trim_start().strip_prefix('=')?;
    rest.split('"').nth(1).map(str::to_string)
}

/// Resolves `..` and `.` in a path.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    fn paths(files: &[File]) -> Vec<String> {
        findings(files).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_source_that_nothing_declares_is_found() {
        let files = [
            file("accel/Cargo.toml", "[package]\nname = 'a'\n[lib]\npath = 'lib.rs'\n"),
            file("accel/lib.rs", "pub mod engine;\n// mod forgotten;\npub(crate) mod mmu;\n"),
            file("accel/engine.rs", "mod wheel;\n"),
            file("accel/engine/wheel.rs", ""),
            file("accel/mmu/mod.rs", "#[cfg(test)]\nmod tests;\n"),
            file("accel/mmu/tests.rs", ""),
            file("accel/forgotten.rs", ""),
        ];
        assert_eq!(paths(&files), ["accel/forgotten.rs"]);
    }

    #[test]
    fn paths_inline_modules_and_targets_are_followed() {
        let files = [
            file(
                "Cargo.toml",
                "[package]\nname = 'a'\nautotests = false\nbuild = 'src/script.rs'\n[[test]]\nname = 'boot'\npath = 'tests/boot.rs'\n",
            ),
            file("src/script.rs", ""),
            file("src/main.rs", "mod outer {\n    mod inner;\n}\nmod after;\n#[path = \"odd/place.rs\"]\nmod place;\n"),
            file("src/outer/inner.rs", ""),
            file("src/after.rs", ""),
            file("src/odd/place.rs", ""),
            file("tests/boot.rs", ""),
            file("tests/lost.rs", ""),
        ];
        assert_eq!(paths(&files), ["tests/lost.rs"]);
    }

    #[test]
    fn tests_that_cargo_finds_by_itself_are_reached() {
        let files = [
            file("float/Cargo.toml", "[package]\nname = 'float'\n"),
            file("float/tests/one.rs", ""),
            file("float/tests/two/main.rs", "mod part;\n"),
            file("float/tests/two/part.rs", ""),
            file("float/tests/two/lost.rs", ""),
        ];
        assert_eq!(paths(&files), ["float/tests/two/lost.rs"]);
    }
}
