//! Where the guest's arithmetic flags are, and how they get from the host's to memory and back.
//!
//! Rule of this file: the flags are exact at every place where code can be left. A probe overwrites the host's, so before
//! the first one they are saved; an instruction that reads flags, or writes some of them and keeps others, has them back
//! first.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Code, Instruction, InstructionInfo, Mnemonic, OpKind, RflagsBits};

use super::{
    Work,
    plan::{Plan, Step},
};

/// Where the guest's flags are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlagHome {
    /// In the host's flags.
    #[default]
    Host,
    /// In [`Frame::flags`](crate::Frame::flags).
    Memory,
    /// In both places.
    Both,
}

/// What an instruction does to the arithmetic flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// It reads some, and writes none.
    Reads,
    /// It writes all, whatever they were.
    Replaces,
    /// It reads and then writes all.
    Combines,
    /// It writes all but CF.
    KeepsCarry,
    /// It writes some and keeps others, or may keep all.
    Changes,
}

impl Effect {
    /// What `insn` does when a host executes it.
    pub fn of(insn: &Instruction, info: &InstructionInfo) -> Self {
        const ALL: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::PF | RflagsBits::CF;
        let _ = info;
        let reads = insn.rflags_read() & ALL != 0;
        let writes = insn.rflags_modified() & ALL;
        match (reads, writes) {
            (false, 0) => Self::None,
            (true, 0) => Self::Reads,
            _ if matches!(insn.mnemonic(), Mnemonic::Inc | Mnemonic::Dec) => Self::KeepsCarry,
            (false, ALL) if !may_keep(insn) => Self::Replaces,
            (true, ALL) if !may_keep(insn) => Self::Combines,
            _ => Self::Changes,
        }
    }
}

/// Whether a host may leave flags as they were though the manual calls them changed or undefined.
fn may_keep(insn: &Instruction) -> bool {
    match insn.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Shld | Mnemonic::Shrd => {
            let last = insn.op_count() - 1;
            insn.op_kind(last) != OpKind::Immediate8 && !is_by_one(insn) || is_by_one_maybe_zero(insn, last)
        }
        Mnemonic::Bsf | Mnemonic::Bsr | Mnemonic::Div | Mnemonic::Idiv => true,
        _ => false,
    }
}

fn is_by_one(insn: &Instruction) -> bool {
    use Code::*;
    matches!(
        insn.code(),
        Shl_rm8_1
            | Shl_rm16_1
            | Shl_rm32_1
            | Shl_rm64_1
            | Sal_rm8_1
            | Sal_rm16_1
            | Sal_rm32_1
            | Sal_rm64_1
            | Shr_rm8_1
            | Shr_rm16_1
            | Shr_rm32_1
            | Shr_rm64_1
            | Sar_rm8_1
            | Sar_rm16_1
            | Sar_rm32_1
            | Sar_rm64_1
    )
}

/// A count of zero, once masked, changes nothing.
fn is_by_one_maybe_zero(insn: &Instruction, last: u32) -> bool {
    insn.op_kind(last) == OpKind::Immediate8 && insn.immediate8() & 0x1f == 0
}

/// Where a block of `steps` wants the flags at its start: where the first instruction that cares needs them.
pub(super) fn at_start(steps: &[Step]) -> FlagHome {
    for step in steps {
        match (step.plan, step.effect) {
            (Plan::Branch, _) => return FlagHome::Host,
            (Plan::Native, effect) => {
                if step.memory.is_some() || step.touches_x87 {
                    return FlagHome::Memory;
                }
                match effect {
                    Effect::Reads | Effect::Combines | Effect::KeepsCarry | Effect::Changes => return FlagHome::Host,
                    _ if step.may_fault => return FlagHome::Memory,
                    Effect::Replaces => return FlagHome::Host,
                    Effect::None => {}
                }
            }
            (Plan::Nothing | Plan::Address, _) => {}
            _ => return FlagHome::Memory,
        }
    }
    FlagHome::Memory
}

impl Work<'_> {
    /// Sees to it that the flags are in memory too. R11 is lost, and no flag.
    pub(super) fn save_flags(&mut self) {
        if self.flags == FlagHome::Host {
            let flags = self.layout.flags();
            dynasm!(self.code ; .arch x64 ; mov r11, rax ; lahf ; seto al ; gs mov [flags], ax ; mov rax, r11);
            self.flags = FlagHome::Both;
        }
    }

    /// What follows overwrites the host's flags. R11 is lost.
    pub(super) fn give_up_host_flags(&mut self) {
        self.save_flags();
        self.flags = FlagHome::Memory;
    }

    /// Sees to it that the flags are in the host's too. R14 is lost.
    pub(super) fn want_host_flags(&mut self) {
        if self.flags == FlagHome::Memory {
            let flags = self.layout.flags();
            dynasm!(self.code ; .arch x64 ; mov r14, rax ; gs mov rax, [flags] ; add al, 0x7f ; sahf ; mov rax, r14);
            self.flags = FlagHome::Both;
        }
    }

    /// Prepares the host's flags for an instruction with `effect`, which follows at once. R14 is lost.
    pub(super) fn before(&mut self, effect: Effect) {
        match effect {
            Effect::None | Effect::Replaces => {}
            Effect::KeepsCarry if self.flags == FlagHome::Memory => {
                // CF is bit 0 of AH.
                let flags = self.layout.flags();
                dynasm!(self.code ; .arch x64 ; gs bt WORD [flags], 8);
            }
            Effect::KeepsCarry | Effect::Reads | Effect::Combines | Effect::Changes => self.want_host_flags(),
        }
    }

    /// Where the flags are after it.
    pub(super) fn after(&mut self, effect: Effect) {
        match effect {
            Effect::None | Effect::Reads => {}
            Effect::Replaces | Effect::Combines | Effect::KeepsCarry | Effect::Changes => self.flags = FlagHome::Host,
        }
    }
}
