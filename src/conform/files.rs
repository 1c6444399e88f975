//! The rows of this build, rows of the user's own, and files of vectors.
//!
//! Rule of this file: every file that cannot be used is a failure that names it, and the line where there is one.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use harness::{
    row::{RowError, RowFile},
    vectors,
};

use crate::failure::Failure;

/// The files of `tests/insn` when this program was built: their names and lengths, and their texts, one after another.
const BUILT_IN: &[(&str, usize)] = include!(concat!(env!("OUT_DIR"), "/rows.rs"));
const TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rows.gz"));
/// Where vectors are found without being named: in a clone of the project.
const FOUND: &str = "tests/vectors";

/// The rows of this build.
pub fn built_in_rows() -> Result<Vec<RowFile>, Failure> {
    let damaged = || Failure::internal("the rows that are built in are damaged");
    let mut texts = String::new();
    GzDecoder::new(TEXTS).read_to_string(&mut texts).map_err(|_| damaged())?;
    let (mut rest, mut files) = (texts.as_str(), Vec::new());
    for (name, length) in BUILT_IN {
        let (text, after) = rest.split_at_checked(*length).ok_or_else(damaged)?;
        files.push(RowFile::parse(Path::new(name), text).map_err(|errors| Failure::internal(told(&errors)))?);
        rest = after;
    }
    Ok(files)
}

/// The rows at `paths`: files, or folders of files that end in `.rows`.
pub fn own_rows(paths: &[PathBuf]) -> Result<Vec<RowFile>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |error| Failure::resource(format!("the rows {} cannot be read: {error}", path.display()));
        let list = if path.is_dir() { RowFile::list(path).map_err(unreadable)? } else { vec![path.clone()] };
        if list.is_empty() {
            return Err(Failure::resource(format!("the folder {} holds no file that ends in .rows", path.display())));
        }
        for path in list {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| Failure::resource(format!("the rows {} cannot be read: {error}", path.display())))?;
            let file = RowFile::parse(&path, &text).map_err(|mut errors| {
                errors.iter_mut().for_each(|error| error.file = path.display().to_string());
                Failure::resource(told(&errors))
            })?;
            if file.rows().next().is_none() {
                return Err(Failure::resource(format!("{} holds no row", path.display())));
            }
            files.push(RowFile { name: path.display().to_string(), ..file });
        }
    }
    Ok(files)
}

/// The first error, and how many more there are.
fn told(errors: &[RowError]) -> String {
    let first = errors.first().map_or_else(String::new, ToString::to_string);
    match errors.len().saturating_sub(1) {
        0 => first,
        more => format!("{first} (and {more} more {} wrong)", if more == 1 { "line is" } else { "lines are" }),
    }
}

/// The files of vectors at `path`, or in the folders below it; those of a clone where no path is given.
pub fn vectors(path: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    let Some(path) = path else { return Ok(below(Path::new(FOUND)).unwrap_or_default()) };
    let files =
        below(path).map_err(|error| Failure::resource(format!("the vectors {} cannot be read: {error}", path.display())))?;
    if files.is_empty() {
        return Err(Failure::resource(format!("{} holds no vectors: files that end in .MOO.gz", path.display())));
    }
    Ok(files)
}

fn below(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        std::fs::metadata(path)?;
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = vectors::list(path)?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path)? {
        folders.extend(Some(entry?.path()).filter(|path| path.is_dir()));
    }
    folders.sort();
    for folder in folders {
        files.extend(vectors::list(&folder)?);
    }
    Ok(files)
}
