//! The floating-point arithmetic of x86: what the SSE, AVX, FMA, F16C and x87 instructions compute, bit by bit and flag
//! by flag, on any host.
//!
//! Rule of this crate: pure functions from encodings and an [`Environment`] to an encoding. Nothing allocates or panics, and
//! nothing depends on the host but the shortcuts in `host`, which are exact or not taken. Where the manuals leave a choice to
//! the processor, Intel's is followed, as observed on Sapphire Rapids.
//!
//! ```
//! use dragoman_float::{Environment, Exceptions, F64, div};
//! use dragoman_state::Mxcsr;
//!
//! let mut mxcsr = Mxcsr::RESET;
//! let mut env = Environment::from_mxcsr(mxcsr);
//! let third: F64 = div(F64(0x3ff0_0000_0000_0000), F64(0x4008_0000_0000_0000), &mut env);
//! assert_eq!(third, F64(0x3fd5_5555_5555_5555));
//! assert!(env.retire_mxcsr(&mut mxcsr).is_empty());
//! assert_eq!(mxcsr, Mxcsr::RESET | Mxcsr::PE);
//! ```
//!
//! SDM: vol. 1 ch. 4 (numbers and exceptions), ch. 8 (x87), ch. 10 and 11 (SSE), ch. 14 (FMA, F16C).

mod arithmetic;
mod compare;
mod convert;
mod environment;
mod format;
mod fused;
mod host;
mod integer;
mod nan;
mod round;
pub mod x87;

pub use arithmetic::{add, div, mul, sqrt, sub};
pub use compare::{Predicate, Relation, compare, compare_quiet, max, min};
pub use convert::{Inexact, convert, half_to_single, round_to_integral};
pub use dragoman_state::F80;
pub use environment::{Environment, Exceptions, Precision, Rounding};
pub use format::{F16, F32, F64, Format, Interchange};
pub use fused::{Fused, fused};
pub use integer::{Integer, from_integer, to_integer};
pub use nan::indefinite;
