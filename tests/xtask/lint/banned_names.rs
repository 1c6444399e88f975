//! Names that say nothing are not used for files and folders.
//!
//! Rule: a name is a noun of the domain. `core.rs` is the pure state machine of a chip, and nothing else is called core.

use super::Finding;
use crate::tree::File;

const BANNED: [&str; 11] =
    ["util", "utils", "utilities", "common", "base", "core", "helper", "helpers", "misc", "manager", "impl2"];

pub fn findings(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files {
        let parts: Vec<&str> = file.path.split('/').collect();
        for (depth, part) in parts.iter().enumerate() {
            let stem = part.split('.').next().unwrap_or(part);
            let is_banned = BANNED.contains(&stem) || stem.starts_with("new_");
            if is_banned && !is_excepted(&parts, depth) {
                found.push(Finding::new(file, 0, format!("the name `{stem}` says nothing; name what it holds")));
            }
        }
    }
    found
}

fn is_excepted(parts: &[&str], depth: usize) -> bool {
    match parts {
        // The helper calls of the intermediate language.
        ["frontend", "helpers" | "helpers.rs", ..] => depth == 1,
        ["devices", _, "core.rs"] | ["devices", _, "core", ..] => depth == 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn a_name_that_says_nothing_is_found() {
        for path in
            ["accel/util.rs", "src/common/mod.rs", "accel/core.rs", "devices/core.rs", "jit/new_cache.rs", "tests/helpers.py"]
        {
            assert_eq!(findings(&[file(path, "")]).len(), 1, "{path}");
        }
    }

    #[test]
    fn chips_have_cores_and_longer_names_are_free() {
        for path in ["devices/pit/core.rs", "frontend/helpers/mod.rs", "src/basement.rs", "renew_lease.rs"] {
            assert_eq!(findings(&[file(path, "")]), [], "{path}");
        }
    }
}
