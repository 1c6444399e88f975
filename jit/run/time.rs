//! The host's own time-stamp counter.
//!
//! UNSAFETY: sound because the instruction reads a counter and nothing else.
#![expect(unsafe_code, reason = "an instruction that Rust calls unsafe")]

use std::arch::x86_64::{__cpuid, _rdtsc};

/// Whether the counter runs at one rate, whatever the processor is doing.
pub fn has_steady_ticks() -> bool {
    const POWER: u32 = 0x8000_0007;
    const INVARIANT_TSC: u32 = 1 << 8;
    __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & INVARIANT_TSC != 0
}

/// The counter.
pub fn ticks() -> u64 {
    // SAFETY: the instruction is there on every x86-64 processor.
    unsafe { _rdtsc() }
}
