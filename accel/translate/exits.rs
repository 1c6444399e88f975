//! How often translated code was left, and why.

use dragoman_jit::rewrite::SiteKind;

/// Exits by cause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exits {
    interpreted: u64,
    repeated: u64,
    unlinked: u64,
    jumps: u64,
    attention: u64,
    x87: u64,
    refused: u64,
    handled: u64,
}

impl Exits {
    /// Counts one at a site of `kind`.
    pub fn count(&mut self, kind: SiteKind) {
        *match kind {
            SiteKind::Interpret => &mut self.interpreted,
            SiteKind::Repeat => &mut self.repeated,
            SiteKind::Link { .. } | SiteKind::Return { .. } | SiteKind::Far { .. } => &mut self.unlinked,
            SiteKind::Jump { .. } | SiteKind::RunOn => &mut self.jumps,
            SiteKind::Attend { .. } => &mut self.attention,
            SiteKind::Tail { .. } => &mut self.interpreted,
            SiteKind::LoadX87 => &mut self.x87,
        } += 1;
    }

    /// Counts one because the host refused an instruction.
    pub fn count_refused(&mut self) {
        self.refused += 1;
    }

    /// Counts an instruction that its handler executed without the code being left.
    pub fn count_handled(&mut self) {
        self.handled += 1;
    }

    /// The counts, with the names that reports give them.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("interpreted", self.interpreted),
            ("repeated", self.repeated),
            ("unlinked", self.unlinked),
            ("jumps", self.jumps),
            ("attention", self.attention),
            ("x87", self.x87),
            ("refused", self.refused),
            ("handled", self.handled),
        ]
    }
}
