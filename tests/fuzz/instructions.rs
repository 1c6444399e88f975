//! Fuzz target: a guest whose code is the fuzzer's bytes, behind twelve that choose how it starts.
//!
//! Built by `cargo fuzz` it is libFuzzer's program. Built by Cargo alone it runs files that libFuzzer kept, and prints every
//! step: `cargo run -p fuzz --bin instructions -- FILE...`.
#![cfg_attr(fuzzing, no_main)]

use harness::chaos::{Census, Recipe, run};

/// What every input is put through. A panic is a find.
fn check(bytes: &[u8], is_traced: bool) {
    run(&Recipe::from_bytes(bytes), &mut Census::default(), is_traced);
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes, false));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        let bytes = std::fs::read(&path)?;
        println!("{}", Recipe::from_bytes(&bytes));
        check(&bytes, true);
    }
    Ok(())
}
