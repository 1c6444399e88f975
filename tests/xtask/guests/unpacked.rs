//! What packages and programs of ours bring to a guest's root file system, unpacked beside its image: the host can run the
//! same programs.
//!
//! Rule: packages are unpacked and nothing of them is run; what the manifest leaves out is in neither place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{compiled, manifest::Guest};
use crate::{apt, cache, paths::Places};

/// Unpacks `packages` and the guest's own programs below `folder`, and says where; nothing where the guest has none.
pub fn make(places: &Places, guest: &Guest, packages: &[PathBuf], folder: &Path) -> Result<Option<PathBuf>> {
    if packages.is_empty() && guest.programs.is_none() && guest.compiled.is_none() {
        return Ok(None);
    }
    let tree = folder.join("root");
    cache::remove(&tree)?;
    cache::folder(&tree, |tree| {
        for package in packages {
            apt::root::unpack(package, tree)?;
        }
        for path in &guest.leave_out {
            let path = tree.join(path);
            if fs::symlink_metadata(&path).is_err() {
                bail!("{} is to be left out, and no package has it", path.display());
            }
            cache::remove(&path)?;
        }
        if let Some(programs) = &guest.programs {
            copy(&places.root.join("guest-images").join(programs), &tree.join(programs))?;
        }
        match &guest.compiled {
            Some(sources) => compiled::make(places, sources, &guest.architecture, &tree.join(sources)),
            None => Ok(()),
        }
    })
    .map(Some)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))
            .with_context(|| format!("{} cannot be copied", entry.path().display()))?;
    }
    Ok(())
}
