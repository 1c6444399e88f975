//! What the engines that use KVM get wrong where that is no hardware. What KVM gives up is interpreted, and so is every mode but the
//! 64-bit one; so this is what a KVM of software does wrong in 64-bit mode without saying so. On hardware, none of it is
//! expected. Hybrid has ring 3 alone run there, and gets none of it wrong.

use iced_x86::{
    Instruction,
    Mnemonic::{self, *},
};

use super::Wrong;
use crate::{Mode::Long64, judge::Difference, row::Row};

#[rustfmt::skip] // a table
/// The list of the engine `kvm`.
pub const ENGINE_KNOWN: &[Wrong] = &[
    Wrong { names: &[Lar, Lsl, Verr, Verw, Sldt, Str], modes: &[Long64], what: &["rax: ", "zf: ", "memory at 0x20002"],
            reason: "of user code, they see the host's tables" },
    Wrong { names: &[Mov, Push, Pop], modes: &[Long64],
            what: &["expected 0x2b, got 0", "got 0x2afa81a111b00000", "expected 2b, got 00", "expected 00, got 2b",
                    "expected 0x33, got 0x2b", "ds: expected 0, got 0x2b"],
            reason: "of user code, they see the host's data segments" },
    Wrong { names: &[Aesdec, Pclmulqdq, Sha1msg1, Movsldup, Haddpd, Movntdqa, Pshufb, Fiadd, Fld, INVALID], modes: &[Long64],
            what: &["expected #GP(0), got #UD", "expected #SS(0), got #UD"],
            reason: "what the host's processor refuses of user code is left to an emulator that does not know it" },
    Wrong { names: &[Lfence, Mfence, Sfence, Nop, Reservednop, Endbr32, Endbr64, Serialize, Rdrand, Rdseed, Fxsave, Fxsave64, Fxrstor, Fxrstor64],
            modes: &[Long64], what: &["LOCK: fault: expected #UD, got none"],
            reason: "what the host's processor refuses of user code is left to an emulator that does not look at LOCK" },
    Wrong { names: &[Monitor, Mwait], modes: &[Long64], what: &["expected #UD, got #GP(0)"],
            reason: "what the host's processor refuses of user code is left to an emulator that takes it for privileged" },
    Wrong { names: &[Movaps, Cmpxchg16b, Pushfq], modes: &[Long64], what: &["expected #GP(0), got #SS(0)", "expected #SS(0), got #PF(6)"],
            reason: "canonical addresses are checked by their first byte, and which exception that is by the base" },
    Wrong { names: &[Mov], modes: &[Long64], what: &["expected #GP(0), got none"],
            reason: "reserved bits of control registers are not looked at" },
    Wrong { names: &[Int, Call, Jmp], modes: &[Long64], what: &["got #UD"],
            reason: "interrupts by an instruction are not known in ring 3, nor far transfers with 64-bit operands, nor call gates" },
    Wrong { names: &[Ud2], modes: &[Long64], what: &["got #DF(0)"],
            reason: "what fails in the delivery of an exception is not told apart" },
    Wrong { names: &[Lss], modes: &[Long64], what: &["ss.limit: "],
            reason: "a null selector leaves the hidden part as it was" },
    Wrong { names: &[Cli, Sti, Pushfq, Popfq, In, Out], modes: &[Long64], what: &["iopl: ", "got #GP(0)"],
            reason: "user code runs with the host's privilege level for ports and flags" },
    Wrong { names: &[Rdtsc, Rdtscp, Rdpid, Rdrand, Rdseed], modes: &[Long64],
            what: &["expected #GP(0), got none", "expected #UD, got none"],
            reason: "user code runs with the host's CR4, on the host's processor whatever the model lacks" },
    Wrong { names: &[Iretq], modes: &[Long64],
            what: &["iopl: ", "es: ", "rsp: ", "expected #GP(", "expected #SS(0), got #PF(4)", "got #GP(0)"],
            reason: "returns check nothing, and leave data segments and privileged flags" },
    Wrong { names: &[Wrmsr, Rdmsr], modes: &[Long64], what: &["expected #GP(0), got none", "got #GP(0)", "debugctl: "],
            reason: "registers that the host keeps for itself, or whose values are not looked at" },
    Wrong { names: &[Swapgs, Rdfsbase, Rdgsbase, Wrfsbase, Wrgsbase], modes: &[Long64], what: &["expected #UD, got none"],
            reason: "CR4.FSGSBASE is the host's own, and SWAPGS takes LOCK" },
    Wrong { names: &[Syscall, Sysret, Sysretq, Sysenter, Sysexit, Sysexitq], modes: &[Long64], what: &[""],
            reason: "system calls leave CS and the privilege level as they were, and what they check is not looked at" },
    Wrong { names: &[Lgdt, Lidt, Lldt, Ltr], modes: &[Long64], what: &["expected #GP("],
            reason: "neither canonical addresses nor the upper half of descriptors are looked at" },
    Wrong { names: &[Fnop, Wait, Emms, Movaps, Fxsave, Fxsave64, Fxrstor, Fxrstor64, Ldmxcsr, Stmxcsr, Xgetbv, Xsetbv, Xsave, Xsave64,
                     Xsaveopt, Xsaveopt64, Xsavec, Xsavec64, Xrstor, Xrstor64],
            modes: &[Long64], what: &["expected #NM, got", "expected #UD, got", "rax: ", "expected #GP(0), got none", "got #GP(0)"],
            reason: "user code runs with the host's CR0, CR4 and XCR0" },
];

/// The row of [`ENGINE_KNOWN`] that speaks of what was found of `row` on `engine`.
pub fn known_of_engine(engine: &str, row: &Row, found: &[Difference]) -> Option<&'static Wrong> {
    if engine != "kvm" {
        return None;
    }
    let names: Vec<Mnemonic> = row.mode.instructions(&row.bytes()).iter().map(Instruction::mnemonic).collect();
    ENGINE_KNOWN.iter().find(|wrong| wrong.covers(row.mode, &names, found))
}
