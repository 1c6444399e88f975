//! The crate against oracles that share no code with it: the host processor, LLVM's soft floating point, and
//! arbitrary-precision arithmetic.
//!
//! Every random case follows from a fixed seed; `DRAGOMAN_FLOAT_CASES=n` multiplies their number by n.

mod bignum;
mod cases;
mod llvm;
#[cfg(target_arch = "x86_64")]
mod processor;
mod recorded;
#[cfg(target_arch = "x86_64")]
mod sse;
#[cfg(target_arch = "x86_64")]
mod transcendental;
#[cfg(target_arch = "x86_64")]
mod x87;
