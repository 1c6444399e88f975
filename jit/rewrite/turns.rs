//! Loops at the end of a block: several turns of them in a row, where that saves probes.
//!
//! Rule of this file: a turn is the loop's instructions once more, so what is known of an instruction in any turn is what the
//! block says of it in the first. Between turns the branch back is turned round: it leaves the loop, and what goes on is the
//! next turn. Only the last one goes back.

use iced_x86::Instruction;

use super::{
    Source,
    groups::Groups,
    plan::{Plan, Step},
};

/// How many turns there are at most.
const MOST: usize = 4;
/// How many instructions the block has at most with all its turns, and how many of them that code can be left at.
const LONGEST: usize = 128;
const MOST_LEFT_AT: usize = 64;

/// The turns of a block's loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    /// The number of the loop's first instruction.
    start: usize,
    /// How many instructions a turn has.
    length: usize,
    /// How many turns there are: one where the block is no loop, or more would save nothing.
    count: usize,
}

impl Turns {
    /// Those of a block.
    pub fn of(steps: &[Step], source: &Source) -> Self {
        let none = Self { start: 0, length: steps.len(), count: 1 };
        let (Some(step), Some(last)) = (steps.last(), source.originals.last()) else { return none };
        if !source.is_grouped || source.tail.is_some() || !matches!(step.plan, Plan::Branch | Plan::Jump) {
            return none;
        }
        let is_start = |insn: &Instruction| insn.ip() == last.near_branch_target();
        let Some(start) = source.originals.iter().position(is_start) else { return none };
        let length = steps.len() - start;
        let left_at = |steps: &[Step]| steps.iter().filter(|step| step.may_be_left_at()).count();
        let (before, in_turn) = steps.split_at(start);
        let fit =
            (LONGEST.saturating_sub(start) / length).min(MOST_LEFT_AT.saturating_sub(left_at(before)) / left_at(in_turn).max(1));
        let turns = Self { start, length, count: MOST.min(fit) };
        let saved = |steps: &[Step], originals: &[Instruction]| {
            Groups::of(steps, originals, source.mode, source.page_offset).saved_probes()
        };
        let with_another = || {
            let two = Self { count: 2, ..turns };
            saved(&two.unroll(steps), &two.unroll(source.originals))
        };
        let alone = || saved(&steps[start..], &source.originals[start..]);
        let is_worth_it = turns.count > 1 && with_another() > saved(steps, source.originals) + alone();
        if is_worth_it { turns } else { none }
    }

    /// Whether there is more than one.
    pub fn are_several(self) -> bool {
        self.count > 1
    }

    /// What there is for each of the block's instructions, for each one in a row.
    pub fn unroll<T: Clone>(self, block: &[T]) -> Vec<T> {
        let turn = &block[self.start..];
        block.iter().chain(std::iter::repeat_n(turn, self.count - 1).flatten()).cloned().collect()
    }

    /// The number in the block of the `n`th instruction in a row.
    pub fn in_block(self, n: usize) -> usize {
        if n < self.start { n } else { self.start + (n - self.start) % self.length }
    }

    /// Whether the `n`th instruction in a row begins another turn than the first.
    pub fn begin_at(self, n: usize) -> bool {
        n > self.start && self.in_block(n) == self.start && n < self.start + self.count * self.length
    }
}
