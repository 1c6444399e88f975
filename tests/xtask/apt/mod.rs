//! Debian's packages: from which archive, downloaded into a root of our own, or installed where there is no other way.
//!
//! Rule: archives and keys are those the machine's own apt trusts; no host name is written anywhere in this project.

pub mod control;
pub mod install;
pub mod root;
pub mod sources;

pub use root::{AptRoot, Repository};
