//! Where instructions and the decoder's tables differ, and nobody is to mend it, each with the reason.

use crate::known::{Known, Who, codes, names};

/// The list.
pub const KNOWN: &[Known] = &[
    // Names that the tables do not have.
    Known { who: names!(Call Jmp), what: &["changes cs"], reason: "far ones; the tables name no CS" },
    Known {
        who: codes!(Call_m1616 Call_m1632 Call_m1664),
        what: &["depends on ss", "depends on segment"],
        reason: "32-bit code that is called uses the stack as SS says; the tables have 64-bit mode alone",
    },
    Known { who: names!(Retf Iret Iretd), what: &["changes cs"], reason: "the tables name no CS" },
    Known { who: names!(Syscall Sysenter), what: &["changes cs", "changes ss"], reason: "the tables name no segment registers" },
    Known {
        who: names!(Int Int1 Int3 Into),
        what: &["changes *", "depends on *", "writes *"],
        reason: "the tables have nothing of what an interrupt does",
    },
    Known {
        who: names!(Popf Popfd Popfq Sysret Sysretq Syscall),
        what: &["writes other flags"],
        reason: "IOPL, NT, RF and VM have no names in the tables",
    },
    Known { who: names!(Mov Pop), what: &["writes interrupt shadow"], reason: "SS; the tables have no name for it" },
    Known { who: names!(Sti), what: &["depends on if"], reason: "the shadow is only there where the flag was clear" },
    Known { who: names!(Hlt), what: &["writes activity"], reason: "the tables have no name for it" },
    Known { who: names!(Lgdt), what: &["writes gdtr"], reason: "the tables have no name for it" },
    Known { who: names!(Lidt), what: &["writes idtr"], reason: "the tables have no name for it" },
    Known { who: names!(Lldt), what: &["writes ldtr"], reason: "the tables have no name for it" },
    Known { who: names!(Wrmsr), what: &["writes model-specific registers"], reason: "the tables have no name for them" },
    Known { who: names!(Wrpkru), what: &["writes pkru"], reason: "the tables have no name for it" },
    Known { who: names!(Rdfsbase), what: &["depends on fs"], reason: "the tables do not take the base for the register" },
    Known { who: names!(Rdgsbase Swapgs), what: &["depends on gs"], reason: "the tables do not take the base for the register" },
    Known { who: names!(Wrfsbase), what: &["changes fs"], reason: "the tables do not take the base for the register" },
    Known { who: names!(Wrgsbase), what: &["changes gs"], reason: "the tables do not take the base for the register" },
    Known { who: names!(Mov), what: &["changes dr*"], reason: "DR4 and DR5 are other names for DR6 and DR7" },
    // The x87 unit.
    Known {
        who: names!(Fld Fild Fbld Fld1 Fldl2e Fldl2t Fldlg2 Fldln2 Fldpi Fldz Fptan Fsincos Fxtract),
        what: &["changes *"],
        reason: "what is pushed comes into the register that was ST(7); the tables leave the new ST(0) out",
    },
    Known { who: names!(Fnstenv), what: &["depends on st*"], reason: "the tag word tells numbers from zeros and others" },
    Known {
        who: names!(Fxrstor Fxrstor64),
        what: &["changes st*", "changes vector*", "moves top by *", "writes c*", "does not read all of memory"],
        reason: "the tables do not say what is in the image, of which a part is reserved",
    },
    Known {
        who: names!(Fxsave Fxsave64),
        what: &["depends on st*", "depends on vector*", "depends on c*", "does not write all of memory"],
        reason: "the tables do not say what is in the image, of which a part is reserved",
    },
    Known {
        who: names!(Xrstor Xrstor64 Xrstors Xrstors64),
        what: &["changes *", "writes *", "reads memory beside", "depends on *"],
        reason: "the tables do not say what is in the image, nor which of it is asked for",
    },
    Known {
        who: names!(Xsave Xsave64 Xsaveopt Xsaveopt64 Xsavec Xsavec64 Xsaves Xsaves64),
        what: &["depends on *", "does not *", "reads memory beside", "writes memory beside"],
        reason: "the tables do not say what is in the image, nor which of it is asked for",
    },
    Known {
        who: names!(Fcomi Fcomip Fucomi Fucomip),
        what: &["does not clear c1"],
        reason: "by the manual it is cleared; processors leave it where nothing is empty",
    },
    Known {
        who: names!(Fcmovb Fcmovbe Fcmove Fcmovnb Fcmovnbe Fcmovne Fcmovnu Fcmovu),
        what: &["does not clear c1"],
        reason: "by the manual it is cleared where a register is empty",
    },
    Known { who: names!(Fstpnce), what: &["depends on op0"], reason: "where ST(0) is empty, nothing is stored" },
    // Memory.
    Known {
        who: codes!(Bt_rm16_r16 Bt_rm32_r32 Bt_rm64_r64),
        what: &["reads memory beside", "does not read all of memory", "depends on memory beside"],
        reason: "the bit may be far from the operand's address",
    },
    Known {
        who: codes!(
            Bts_rm16_r16 Bts_rm32_r32 Bts_rm64_r64 Btr_rm16_r16 Btr_rm32_r32 Btr_rm64_r64 Btc_rm16_r16 Btc_rm32_r32 Btc_rm64_r64
        ),
        what: &[
            "reads memory beside",
            "does not read all of memory",
            "depends on memory beside",
            "writes memory beside",
            "does not write all of memory",
        ],
        reason: "the bit may be far from the operand's address",
    },
    Known { who: names!(Enter), what: &["reads memory beside"], reason: "the new top of the stack must be writable" },
    Known {
        who: names!(Popa Popad),
        what: &["reads memory beside"],
        reason: "the stack pointer's slot is read too: what faults there is seen on processors",
    },
    Known {
        who: codes!(Pushd_CS Pushd_DS Pushd_ES Pushd_FS Pushd_GS Pushd_SS),
        what: &["does not write all of memory"],
        reason: "only the selector is written into its slot, as on all recent processors",
    },
    Known {
        who: names!(Maskmovq Maskmovdqu Vmaskmovdqu Vmaskmovps Vmaskmovpd Vpmaskmovd Vpmaskmovq),
        what: &["does not write all of memory"],
        reason: "only the elements that the mask selects are",
    },
    Known {
        who: names!(Vmaskmovps Vmaskmovpd Vpmaskmovd Vpmaskmovq),
        what: &["does not read all of memory"],
        reason: "only the elements that the mask selects are",
    },
    Known {
        who: names!(Vgatherdps Vgatherdpd Vgatherqps Vgatherqpd Vpgatherdd Vpgatherdq Vpgatherqd Vpgatherqq),
        what: &["reads memory beside", "depends on memory beside", "does not read all of memory"],
        reason: "the tables name one address for all elements, and every index leads to another",
    },
    Known {
        who: names!(Clflush Clflushopt Clwb),
        what: &["does not depend on memory"],
        reason: "it is read only to see whether it may be",
    },
    Known {
        who: names!(Prefetchnta Prefetcht0 Prefetcht1 Prefetcht2 Prefetch Prefetchw),
        what: &["does not ask for *", "does not depend on *"],
        reason: "a hint, which is not taken",
    },
    Known {
        who: names!(Monitor),
        what: &["reads memory beside", "depends on rcx", "does not depend on rdx"],
        reason: "the byte at its address is read, extensions that do not exist are refused, and hints are not taken",
    },
    Known {
        who: names!(Mwait),
        what: &["depends on rcx", "does not depend on rax"],
        reason: "extensions that do not exist are refused, and hints are not taken",
    },
    // Registers that the tables take for written alone.
    Known {
        who: codes!(Insertq_xmm_xmm_imm8_imm8),
        what: &["asks for op0", "depends on op0"],
        reason: "the bits beside the field stay, as in the form without immediates",
    },
    // Registers that are asked for without need, or with more of them than is needed.
    Known {
        who: &[Who::Any],
        what: &["asks for op0/op1", "asks for op1/op2", "asks for op0/op1/op2"],
        reason: "a register less itself is zero, whatever it holds",
    },
    Known {
        who: names!(Cvtpi2pd),
        what: &["asks for op0"],
        reason: "the family's function hands every operation both operands, and this one does not look at the first",
    },
    Known {
        who: codes!(Crc32_r64_rm8 Crc32_r64_rm64),
        what: &["does not ask for op0*"],
        reason: "the sum has 32 bits, whatever holds it",
    },
    Known {
        who: names!(Vinsertf128 Vinserti128 Vextractf128 Vextracti128),
        what: &["does not ask for op1*", "does not ask for op0/op1"],
        reason: "only the half that stays, or that is wanted, is asked for",
    },
    Known {
        who: names!(Pop),
        what: &["asks for *"],
        reason: "all of the stack pointer is kept, to be put back where the write faults",
    },
    Known { who: names!(Lea), what: &["asks for *"], reason: "the tables leave out what is above the result" },
    Known { who: names!(Cbw), what: &["sets rax"], reason: "all of AX is written, AL with its own value" },
    Known {
        who: names!(Bswap),
        what: &["does not ask for op0", "does not depend on op0"],
        reason: "of 16 bits: undefined, and zero on processors",
    },
    Known {
        who: codes!(Enterw_imm16_imm8),
        what: &["asks for rbp", "does not set rbp"],
        reason: "the tables have the frame pointer as wide as the stack or as the operand, by level",
    },
    Known { who: codes!(Enterd_imm16_imm8), what: &["does not set rsp"], reason: "on a 16-bit stack only SP changes" },
];

/// Encodings that never come to an end without an exception, or of which no case can be made.
pub const IDLE: &[(&[Who], &str)] = &[
    (
        codes!(
            Fstenv_m14byte Fstenv_m28byte Fstcw_m2byte Feni Fdisi Fclex Finit Fsetpm Fsave_m94byte Fsave_m108byte Fstsw_m2byte
            Fstsw_AX
        ),
        "the decoder's names for WAIT with the instruction after it",
    ),
    (
        codes!(Loopne_rel8_16_RCX Loope_rel8_16_RCX Loop_rel8_16_RCX Jrcxz_rel8_16),
        "only AMD's processors have 16-bit branches in 64-bit mode",
    ),
    (names!(Ud0 Ud1 Ud2 Rsm), "always #UD here"),
    (names!(Rdpmc), "there are no counters"),
    (names!(Rdudbg Wrudbg), "only decoded where a processor is named that has it"),
];
