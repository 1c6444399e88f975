//! What an engine remembers of the way a processor came.

use dragoman_state::GuestVirt;

use crate::semantics::system::Link;

/// How many branches are remembered.
const REMEMBERED: usize = 16;

/// A branch that was taken, or an interrupt or exception that was delivered, by linear addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// Where the branch is.
    pub from: GuestVirt,
    /// Where it went.
    pub to: GuestVirt,
}

/// The last branches of a running processor.
#[derive(Clone, Debug, Default)]
pub struct BranchLog {
    ring: [Branch; REMEMBERED],
    count: usize,
    /// The count when branches before were forgotten.
    forgotten: usize,
}

impl BranchLog {
    /// Notes a branch.
    #[inline(always)]
    pub fn push(&mut self, from: u64, to: u64) {
        self.ring[self.count % REMEMBERED] = Branch { from: GuestVirt(from), to: GuestVirt(to) };
        self.count = self.count.wrapping_add(1);
    }

    /// How many branches were noted so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Forgets those that were noted: branches that nobody notes come behind them.
    #[inline(always)]
    pub fn forget(&mut self) {
        self.forgotten = self.count;
    }

    /// The branches that are remembered, oldest first.
    pub fn recent(&self) -> Vec<Branch> {
        let known = self.count.wrapping_sub(self.forgotten).min(REMEMBERED);
        (self.count - known..self.count).map(|n| self.ring[n % REMEMBERED]).collect()
    }
}

/// An exception that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The exception, and why it was raised.
    pub link: Link,
    /// The code segment's selector when it was.
    pub selector: u16,
    /// RIP when it was.
    pub rip: u64,
}

/// The way a processor came.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The last branches, oldest first.
    pub branches: Vec<Branch>,
    /// The last exception that was delivered.
    pub exception: Option<Raised>,
    /// Every exception was noted: where there is none here, there was none.
    pub notes_exceptions: bool,
    /// How many instructions were executed, where they were counted.
    pub instructions: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sixteen_branches_are_remembered_oldest_first() {
        let mut log = BranchLog::default();
        assert!(log.recent().is_empty());
        for n in 0..20 {
            log.push(n, n + 100);
        }
        let recent = log.recent();
        assert_eq!((recent.len(), log.count()), (16, 20));
        assert_eq!((recent[0].from, recent[15].to), (GuestVirt(4), GuestVirt(119)));
        log.forget();
        assert!(log.recent().is_empty());
        log.push(7, 8);
        assert_eq!(log.recent(), [Branch { from: GuestVirt(7), to: GuestVirt(8) }]);
    }
}
