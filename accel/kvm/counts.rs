//! What a processor in KVM counts: why it left the guest, and what was done for it elsewhere.

/// The counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub entries: u64,
    pub ports: u64,
    pub memory: u64,
    pub registers: u64,
    pub halts: u64,
    pub shutdowns: u64,
    pub interrupts: u64,
    /// State into KVM.
    pub moves: u64,
    pub not_emulated: u64,
    pub internal_errors: u64,
    pub no_entries: u64,
    pub other_exits: u64,
    pub refused_states: u64,
    pub given_up: u64,
    /// What of the guest came out because ring 3 is not KVM's: events that its kernel met, ways to ring 3, and ring 3 itself.
    pub events: u64,
    pub returns: u64,
    pub user_unseen: u64,
}

impl Counts {
    /// By name, with how many instructions were interpreted.
    pub fn named(&self, interpreted: u64) -> Vec<(&'static str, u64)> {
        vec![
            ("entries", self.entries),
            ("ports", self.ports),
            ("mmio", self.memory),
            ("msrs", self.registers),
            ("halts", self.halts),
            ("shutdowns", self.shutdowns),
            ("interrupts", self.interrupts),
            ("moves", self.moves),
            ("not emulated", self.not_emulated),
            ("internal errors", self.internal_errors),
            ("no entry", self.no_entries),
            ("other exits", self.other_exits),
            ("refused states", self.refused_states),
            ("interpreted", interpreted),
            ("given up", self.given_up),
            ("events", self.events),
            ("returns to user mode", self.returns),
            ("user mode unseen", self.user_unseen),
        ]
    }
}
