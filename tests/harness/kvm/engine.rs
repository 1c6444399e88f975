//! What the engines that use KVM get wrong where that is no hardware. What KVM gives up is interpreted, and so is every mode but the
//! 64-bit one; so this is what a KVM of software does wrong in 64-bit mode without saying so. On hardware, none of it is
//! expected. Ring 3 runs in a machine of its own, as under hybrid, and has nothing to be listed.

use iced_x86::{
    Instruction,
    Mnemonic::{self, *},
};

use super::Wrong;
use crate::{Mode::Long64, judge::Difference, row::Row};

#[rustfmt::skip] // a table
/// The list of the engine `kvm`.
pub const ENGINE_KNOWN: &[Wrong] = &[
    Wrong { names: &[Mov], modes: &[Long64], what: &["expected #GP(0), got none"],
            reason: "reserved bits of control registers are not looked at" },
    Wrong { names: &[Lss], modes: &[Long64], what: &["ss.limit: "],
            reason: "a null selector leaves the hidden part as it was" },
    Wrong { names: &[Wrmsr, Rdmsr], modes: &[Long64], what: &["expected #GP(0), got none", "got #GP(0)", "debugctl: "],
            reason: "registers that the host keeps for itself, or whose values are not looked at" },
    Wrong { names: &[Swapgs, Rdfsbase, Rdgsbase, Wrfsbase, Wrgsbase], modes: &[Long64], what: &["expected #UD, got none"],
            reason: "CR4.FSGSBASE is the host's own, and SWAPGS takes LOCK" },
    Wrong { names: &[Syscall, Sysret, Sysretq, Sysenter, Sysexit, Sysexitq], modes: &[Long64], what: &[""],
            reason: "system calls leave CS and the privilege level as they were, and what they check is not looked at" },
    Wrong { names: &[Lgdt, Lidt, Lldt, Ltr], modes: &[Long64], what: &["expected #GP("],
            reason: "neither canonical addresses nor the upper half of descriptors are looked at" },
    Wrong { names: &[Sgdt, Sidt], modes: &[Long64], what: &["memory at "],
            reason: "the tables are shown without length there, so that no event leads to ring 3 in KVM" },
];

/// The row of [`ENGINE_KNOWN`] that speaks of what was found of `row` on `engine`.
pub fn known_of_engine(engine: &str, row: &Row, found: &[Difference]) -> Option<&'static Wrong> {
    if engine != "kvm" {
        return None;
    }
    let names: Vec<Mnemonic> = row.mode.instructions(&row.bytes()).iter().map(Instruction::mnemonic).collect();
    ENGINE_KNOWN.iter().find(|wrong| wrong.covers(row.mode, &names, found))
}
