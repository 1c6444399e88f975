//! Captured tests: what a real processor of an earlier generation did, one instruction at a time, in real mode. The files
//! are in `tests/vectors`.

mod incomparable;
mod moo;
mod run;

pub use incomparable::reason;
pub use moo::{MooError, Test, list, read};
pub use run::Bench;

/// The folder that holds the files.
pub fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/80286-real")
}
