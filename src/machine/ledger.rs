//! What each engine has done for the guest.

use dragoman_accel::Vcpu;
use dragoman_state::VmDuration;

/// What one engine did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub engine: &'static str,
    /// How much guest time passed while it had the processor.
    pub ran: VmDuration,
    /// Instructions that it executed, where it counted them all.
    pub instructions: Option<u64>,
    /// What else it counted, by name.
    pub counters: Vec<(&'static str, u64)>,
}

/// What all of them did, in the order in which they first came.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: Vec<Account>,
}

impl Ledger {
    /// `vcpu`, of the engine called `engine`, had the processor while so much guest time passed: all that it counted.
    pub fn add(&mut self, engine: &'static str, ran: VmDuration, vcpu: &dyn Vcpu) {
        self.enter(Account { engine, ran, instructions: vcpu.trace().instructions, counters: vcpu.counters() });
    }

    fn enter(&mut self, new: Account) {
        let Some(account) = self.accounts.iter_mut().find(|account| account.engine == new.engine) else {
            return self.accounts.push(new);
        };
        account.ran.0 += new.ran.0;
        account.instructions = account.instructions.zip(new.instructions).map(|(a, b)| a.wrapping_add(b));
        add_counters(&mut account.counters, &new.counters);
    }

    /// What each engine did.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The instructions that all executed, where all counted them.
    pub fn instructions(&self) -> Option<u64> {
        self.accounts.iter().try_fold(0u64, |sum, account| Some(sum.wrapping_add(account.instructions?)))
    }

    /// What all counted, by name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = Vec::new();
        self.accounts.iter().for_each(|account| add_counters(&mut all, &account.counters));
        all
    }
}

fn add_counters(to: &mut Vec<(&'static str, u64)>, new: &[(&'static str, u64)]) {
    for (name, count) in new {
        match to.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum = sum.wrapping_add(*count),
            None => to.push((name, *count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_comes_twice_has_one_account() {
        let account = |engine, ran, instructions, blocks| Account {
            engine,
            ran: VmDuration(ran),
            instructions,
            counters: vec![("blocks", blocks), (engine, 1)],
        };
        let mut ledger = Ledger::default();
        ledger.enter(account("jit", 10, Some(100), 5));
        ledger.enter(account("interp", 1, Some(7), 0));
        ledger.enter(account("jit", 20, Some(50), 6));
        assert_eq!(ledger.accounts().len(), 2);
        assert_eq!((ledger.accounts()[0].ran, ledger.accounts()[0].instructions), (VmDuration(30), Some(150)));
        assert_eq!(ledger.instructions(), Some(157));
        assert_eq!(ledger.counters(), [("blocks", 11), ("jit", 2), ("interp", 1)]);
        ledger.enter(account("interp", 1, None, 0));
        assert_eq!(ledger.instructions(), None, "one did not count");
    }
}
