//! Loops of which several turns are translated in a row.

use dragoman_state::{Gpr, PAGE_SIZE, RFlags, VcpuState};

use super::{APART, Interpreter, Scene, Translator, long, translation};
use crate::{Accelerator, ExitReason, translate::Settings};

/// Reads, writes and moves on, until RCX is zero or a sum is too large.
const LOOP: &[u8] = &[
    0xfc, // CLD
    0x48, 0x8b, 0x06, // MOV RAX, [RSI]
    0x48, 0x01, 0x46, 0x08, // ADD [RSI + 8], RAX
    0x4c, 0x39, 0xc0, // CMP RAX, R8
    0x74, 0x09, // JE behind the loop
    0x48, 0x83, 0xc6, 0x08, // ADD RSI, 8
    0x48, 0xff, 0xc9, // DEC RCX
    0x75, 0xeb, // JNZ to the MOV
    0xf5, // CMC
    0xf4, // HLT
];

/// How it ends, and how many instructions it was.
fn run(engine: &dyn Accelerator, change: impl Fn(&mut VcpuState)) -> (ExitReason, VcpuState, u64) {
    let mut scene = Scene::on(engine, LOOP);
    let mut state = long(&mut scene);
    change(&mut state);
    scene.vcpu.load(&state).expect("a valid state");
    let reason = scene.run();
    (reason, scene.state(), scene.vcpu.instructions())
}

fn agree(name: &str, change: impl Fn(&mut VcpuState)) {
    let (reason, expected, count) = run(&Interpreter, &change);
    let counting = Translator::new(Settings { counts: true, ..Settings::default() });
    for (engine, counts) in [(&Translator::default(), false), (&counting, true)] {
        let (ended, state, counted) = run(engine, &change);
        assert_eq!(ended, reason, "{name}");
        assert!((0..16).map(Gpr).all(|n| state.gpr[n] == expected.gpr[n]), "{name}: {:x?}, not {:x?}", state.gpr, expected.gpr);
        assert_eq!((state.rip, state.cr2), (expected.rip, expected.cr2), "{name}");
        assert_eq!(state.rflags & RFlags::ARITHMETIC, expected.rflags & RFlags::ARITHMETIC, "{name}");
        assert!(!counts || counted == count, "{name}: {counted} instructions, not {count}");
    }
}

#[test]
fn four_turns_of_a_loop_are_in_a_row_and_their_instructions_are_the_blocks() {
    let translation = translation(&LOOP[1..], usize::MAX);
    let numbers: Vec<u8> = translation.rows.iter().map(|row| row.insn).collect();
    assert_eq!(numbers, [0, 1, 2, 4, 5].repeat(4));
}

#[test]
fn a_loop_ends_in_whichever_turn_it_is_to() {
    for turns in 180..200 {
        agree(&format!("{turns} turns"), |state| state.gpr[Gpr::RCX] = turns);
    }
}

#[test]
fn a_fault_is_of_the_turn_that_it_happens_in() {
    for turns in 180..200 {
        agree(&format!("{turns} turns to the end of the page"), |state| {
            state.gpr[Gpr::RCX] = 1000;
            state.gpr[Gpr::RSI] = APART + PAGE_SIZE - 8 * turns;
        });
        agree(&format!("{turns} turns, and an access that ends in the page behind"), |state| {
            state.gpr[Gpr::RCX] = 1000;
            state.gpr[Gpr::RSI] = APART + PAGE_SIZE - 8 * turns - 3;
        });
    }
}
