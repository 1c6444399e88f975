//! A guest register that is in memory, kept in R14 over a stretch of a block where nothing else needs that.
//!
//! Rule of this file: memory is always right, too, so code can be left anywhere. What comes back finds R14 loaded again.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Instruction, OpKind, Register};

use super::{
    Work,
    groups::Groups,
    plan::{Plan, Step},
    registers::{Home, R10, R14, home, number},
};

/// Which register is kept where.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// For each instruction: the register that R14 is for.
    chosen: Vec<Option<u8>>,
    /// The register whose value it holds now.
    pub now: Option<u8>,
}

impl Kept {
    /// Chooses, for each stretch of a block in which R14 is free, the register that is named most often.
    pub fn choose(steps: &[Step], originals: &[Instruction], groups: &Groups) -> Self {
        let mut chosen = vec![None; steps.len()];
        let is_free = |n: usize| leaves_free(&steps[n], &originals[n]) && !groups.has_register_at(n);
        let mut start = 0;
        while start < steps.len() {
            let length = (start..steps.len()).take_while(|n| is_free(*n)).count();
            if let Some(best) = most_named(&originals[start..start + length]) {
                chosen[start..start + length].fill(Some(best));
            }
            start += length.max(1);
        }
        Self { chosen, now: None }
    }

    /// What R14 is for at instruction `n`.
    pub fn at(&self, n: usize) -> Option<u8> {
        self.chosen.get(n).copied().flatten()
    }
}

/// Whether the code for an instruction needs R14 for nothing else, and no more than one register in memory besides.
fn leaves_free(step: &Step, insn: &Instruction) -> bool {
    use Plan::*;
    match step.plan {
        Nothing | Address | Branch | Pop => true,
        Native => step.borrowed < if step.memory.is_some() { 2 } else { 3 },
        Push => insn.op0_kind() != OpKind::Memory,
        _ => false,
    }
}

/// The register in memory that is named most often, if more than once.
fn most_named(insns: &[Instruction]) -> Option<u8> {
    let mut counts = [0; 16];
    for insn in insns {
        let operands = (0..insn.op_count()).filter(|n| insn.op_kind(*n) == OpKind::Register).map(|n| insn.op_register(n));
        let has_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
        let address = [insn.memory_base(), insn.memory_index()].into_iter().filter(|_| has_memory);
        for n in operands.chain(address).filter(|register| *register != Register::RIP).filter_map(number) {
            counts[usize::from(n)] += 1;
        }
    }
    (0..16u8).filter(|n| home(*n) == Home::Memory && counts[usize::from(*n)] > 1).max_by_key(|n| counts[usize::from(*n)])
}

impl Work<'_> {
    /// Whether R14 is for guest register `n` at the instruction under way.
    pub(super) fn is_kept(&self, n: u8) -> bool {
        self.kept.at(self.number) == Some(n)
    }

    /// Whether R14 holds something that is needed at the instruction under way or after it.
    pub(super) fn needs_r14(&self) -> bool {
        self.groups.has_register_at(self.number) || self.kept.at(self.number).is_some()
    }

    /// At the start of an instruction: where R14 is for something else from now on, it no longer holds a register.
    pub(super) fn begin_kept(&mut self) {
        if self.kept.now != self.kept.at(self.number) {
            self.kept.now = None;
        }
    }

    /// Guest register `n`, which is in memory, into a host register: R14 where that is for it, `spare` otherwise.
    pub(super) fn borrow_register(&mut self, n: u8, spare: u8) -> u8 {
        let at = self.layout.gpr(n);
        if !self.is_kept(n) {
            dynasm!(self.code ; .arch x64 ; gs mov Rq(spare), [at]);
            return spare;
        }
        if self.kept.now != Some(n) {
            dynasm!(self.code ; .arch x64 ; gs mov Rq(R14), [at]);
            self.kept.now = Some(n);
        }
        R14
    }

    /// Guest register `n`, which is in memory, becomes what is in `host`, all of it.
    pub(super) fn return_register(&mut self, n: u8, host: u8) {
        let at = self.layout.gpr(n);
        dynasm!(self.code ; .arch x64 ; gs mov [at], Rq(host));
        if self.is_kept(n) {
            if host != R14 {
                dynasm!(self.code ; .arch x64 ; mov Rq(R14), Rq(host));
            }
            self.kept.now = Some(n);
        }
    }

    /// The guest's `register`, of 16 bits or more, becomes R10, of which only the lower half counts where it has 32 bits.
    pub(super) fn write_guest(&mut self, register: Register) {
        let Some(n) = number(register) else { return };
        match (home(n), register.size()) {
            (Home::Host(held), 2) => dynasm!(self.code ; .arch x64 ; mov Rw(held), r10w),
            (Home::Host(held), 4) => dynasm!(self.code ; .arch x64 ; mov Rd(held), r10d),
            (Home::Host(held), _) => dynasm!(self.code ; .arch x64 ; mov Rq(held), r10),
            (Home::Memory, 2) => {
                let at = self.layout.gpr(n);
                dynasm!(self.code ; .arch x64 ; gs mov [at], r10w);
                self.kept.now = self.kept.now.filter(|kept| *kept != n);
            }
            (Home::Memory, width) => {
                if width == 4 {
                    dynasm!(self.code ; .arch x64 ; mov r10d, r10d);
                }
                self.return_register(n, R10);
            }
        }
    }
}
