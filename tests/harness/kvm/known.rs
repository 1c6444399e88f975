//! What KVM gets wrong where it is no hardware: where Linux's emulator of instructions runs kernel and real-mode code, and
//! user code runs in the host's own segments. Each with the reason; on hardware, none of it is expected.

use iced_x86::Mnemonic::{self, *};

use crate::{
    Mode::{self, *},
    judge::Difference,
};

/// A way in which KVM differs from what rows say, and the rows are right.
#[derive(Debug)]
pub struct Wrong {
    /// Of these instructions; of all where there are none here.
    pub names: &'static [Mnemonic],
    /// In these modes; in all where there are none here.
    pub modes: &'static [Mode],
    /// What stands in one of the differences, as the judge words them.
    pub what: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
}

/// The list.
#[rustfmt::skip] // a table
pub const KNOWN: &[Wrong] = &[
    Wrong { names: &[], modes: &[Vm86], what: &[""],
            reason: "virtual-8086 mode is taken for real mode" },
    Wrong { names: &[], modes: &[Prot16, Prot32], what: &["#PF", "cr0: ", "expected 0x80050033, got 0x50033", "#DF(0), got none"],
            reason: "there is no paging with two levels, and the row ran without" },
    Wrong { names: &[Mov], modes: &[Prot32], what: &["fault: expected none, got #GP(0)"],
            reason: "there is no paging with two levels, and it cannot be turned on" },
    Wrong { names: &[Call, Jmp], modes: &[Prot16, Prot32, Comp32, Long64], what: &["got #UD"],
            reason: "there are no call gates and no task switches" },
    Wrong { names: &[Jmp], modes: &[Prot32], what: &["got #GP(0)"],
            reason: "user code runs in the host's segments, whatever is in the table" },
    Wrong { names: &[Int, Int1, Int3, Into, Iret, Iretd, Iretq], modes: &[], what: &["got #UD"],
            reason: "interrupts by an instruction, and returns from them, are not known outside real mode" },
    Wrong { names: &[Lar, Lsl, Verr, Verw], modes: &[], what: &["got #UD", "zf: expected 1, got 0"],
            reason: "of user code, they see the host's table" },
    Wrong { names: &[Ud2], modes: &[], what: &["got #DF(0)", "expected #GP(0x19), got #UD"],
            reason: "what fails in the delivery of an exception is not told apart" },
    Wrong { names: &[Mov, Ud2, Jmp, Je], modes: &[Prot32, Comp32], what: &["expected #GP(0), got none", "expected #GP(0), got #UD"],
            reason: "user code runs in the host's segments, without the limit of CS" },
    Wrong { names: &[Mov, Clflush, In, Cli, Sti], modes: &[], what: &["got #GP(0)"],
            reason: "user code runs with the host's privilege level for ports and flags, and the host's segments" },
    Wrong { names: &[Mov, Nop, Je, Jmp, Out], modes: &[], what: &["expected #DB, got none", "got #DB", "rip: expected 0x10013", "dr6: "],
            reason: "breakpoints and branch steps are the host's own" },
    Wrong { names: &[Mov], modes: &[Prot32], what: &["memory at 0x307fe"],
            reason: "the image of the flags that a fault pushes has RF clear" },
    Wrong { names: &[Mov], modes: &[Long64], what: &["expected #GP(0), got none", "triple fault"],
            reason: "reserved bits of control registers are not looked at" },
    Wrong { names: &[Enter], modes: &[Real16], what: &["rsp: "],
            reason: "it pushes a word, whatever the size of its operands" },
    Wrong { names: &[Aad], modes: &[Real16], what: &["sf: "],
            reason: "its flags are those of the byte before" },
    Wrong { names: &[Lss], modes: &[Long64], what: &["ss.attr: "],
            reason: "a null selector leaves the hidden part as it was" },
    Wrong { names: &[Rdtsc, Rdtscp, Rdpid], modes: &[], what: &["expected #GP(0), got none", "rcx: ", "rax: ", "got #UD"],
            reason: "user code asks the host's own clock and number" },
    Wrong { names: &[Int], modes: &[Real16], what: &["expected #GP, got #INT(0x21)"],
            reason: "the limit of the interrupt table is not looked at in real mode" },
    Wrong { names: &[Iretq], modes: &[Long64], what: &["iopl: ", "es: ", "rip: "],
            reason: "returns to user code check nothing, and leave data segments and privileged flags" },
    Wrong { names: &[Wrmsr, Rdmsr], modes: &[], what: &["expected #GP(0), got none", "got #GP(0)", "debugctl: "],
            reason: "registers that the host keeps for itself, or whose values are not looked at" },
    Wrong { names: &[Movbe], modes: &[Real16], what: &["got #UD"],
            reason: "not known without a prefix" },
    Wrong { names: &[In, Insb, Outsb], modes: &[Prot32], what: &["expected #GP(0), got none", "got #SS(0xa5a5a5a5)"],
            reason: "the permission bitmap is not looked at beyond the segment, and an error code is left over" },
    Wrong { names: &[Swapgs, Sysret, Sysretq, INVALID], modes: &[], what: &["expected #UD, got none", "expected #UD, got #GP(0)"],
            reason: "known in all modes, and with LOCK" },
    Wrong { names: &[Rdfsbase, Rdgsbase, Wrfsbase, Wrgsbase], modes: &[Long64], what: &["expected #UD, got none"],
            reason: "CR4.FSGSBASE is the host's own" },
    Wrong { names: &[Syscall, Sysret, Sysretq, Sysenter, Sysexit, Sysexitq], modes: &[], what: &[""],
            reason: "system calls are taken by the host, from and to segments of its own" },
    Wrong { names: &[Wait, Fnop, Emms, Fninit], modes: &[Prot32], what: &["got #UD"],
            reason: "not known by the emulator" },
    Wrong { names: &[Lgdt, Lidt, Lldt, Ltr], modes: &[Long64], what: &["expected #GP("],
            reason: "neither canonical addresses nor the upper half of descriptors are looked at" },
    Wrong { names: &[Fnop, Wait, Emms, Movaps, Fxsave, Fxrstor, Ldmxcsr, Stmxcsr, Monitor, Mwait, Xgetbv, Xsetbv, Xsave, Xsave64,
                     Xsaveopt, Xsaveopt64, Xsavec, Xsavec64, Xrstor, Xrstor64],
            modes: &[Long64, Comp32, Comp16, Prot32],
            what: &["expected #NM, got", "expected #UD, got", "got 0xe7", "got 0x600e7", "got 7"],
            reason: "user code runs with the host's CR0, CR4 and XCR0, and MONITOR is privileged" },
    Wrong { names: &[Xsave, Xsavec, Xsaves, Xrstor, Xrstors], modes: &[Prot32, Long64], what: &["got #UD"],
            reason: "not known by the emulator" },
    Wrong { names: &[Ltr, Lldt], modes: &[Prot32], what: &["got #GP(0)"],
            reason: "without the selector as error code" },
    Wrong { names: &[Cpuid], modes: &[Real16], what: &["rcx: expected 0x6c65746e"],
            reason: "the vendor is the host's own" },
    Wrong { names: &[Xsave, Xrstor], modes: &[Long64], what: &["cr2: "],
            reason: "which byte of an area is found missing first is the processor's own affair" },
];

impl Wrong {
    /// Whether it speaks of a row of instructions called `names` in `mode` that differs in `found`.
    pub fn covers(&self, mode: Mode, names: &[Mnemonic], found: &[Difference]) -> bool {
        let is_found = |what: &&str| found.iter().any(|one| one.to_string().contains(*what));
        (self.modes.is_empty() || self.modes.contains(&mode))
            && (self.names.is_empty() || self.names.iter().any(|name| names.contains(name)))
            && self.what.iter().any(is_found)
    }
}
