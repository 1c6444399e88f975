//! Random code: guests made from a number, or from a fuzzer's bytes, that run whatever they were given in every mode.
//!
//! Nothing here knows what an instruction does. What is asked is what must hold for every guest: no panic, no hang, nothing
//! outside guest memory is touched but through the bus, and after each step a state that the manual allows. A guest is also
//! run twice, in steps and in blocks, or on one engine and moving between several, which must come to the same.
//!
//! Rule of this folder: what happens follows from the [`Recipe`] alone, on every host, so that a case can be run again.

mod blocks;
mod bus;
mod census;
mod code;
mod descriptors;
mod encodings;
mod events;
mod handlers;
mod invariants;
mod machine;
mod moves;
mod page_tables;
mod pointers;
mod privileged;
mod recipe;
mod registers;
mod scene;
mod situation;
mod steps;
mod walker;
mod watchdog;

pub use census::Census;
pub use recipe::{Manner, PageScheme, Recipe};
pub use watchdog::Watchdog;

/// Runs the case of `recipe` on the interpreter, and where it says so on other engines, and counts what it did. Panics where something is not as it must be; what
/// the guest was doing is then on standard error. `is_traced` prints every step.
pub fn run(recipe: &Recipe, census: &mut Census, is_traced: bool) {
    match recipe.manner {
        Manner::Steps => steps::run(recipe, census, is_traced),
        Manner::Blocks => blocks::run(recipe, census, is_traced),
        Manner::Moves => moves::run(recipe, census, is_traced),
    }
}
