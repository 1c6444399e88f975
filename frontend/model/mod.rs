//! What a processor is: named models, and what CPUID promises of them.
//!
//! Rule of this folder: no bit is promised without an implementation. A model lists what the real processor of its name
//! has; what Dragoman implements is [`Features::IMPLEMENTED`], and CPUID reports what is in both.

mod amd;
mod catalogue;
mod codes;
mod cpuid;
mod extended_state;
mod features;
mod models;

pub use cpuid::Vendor;
pub use extended_state::{LEGACY_SIZE, StateComponent};
pub use features::{Feature, Features};
pub use models::{CpuModel, ModelError};
