//! Which code has run often enough to be worth translating.

use dragoman_jit::cache::Key;

const SLOTS: usize = 1 << 14;
/// How often code is interpreted before it is translated.
const ENOUGH: u8 = 3;

/// How often blocks were asked for. Blocks that share a slot warm each other.
pub(super) struct Heat(Box<[u8; SLOTS]>);

impl Heat {
    pub fn new() -> Self {
        Self(Box::new([0; SLOTS]))
    }

    fn slot(key: &Key) -> usize {
        (key.at.0 ^ key.at.0 >> 14) as usize % SLOTS
    }

    /// Notes that the block is wanted; whether it was wanted often enough.
    pub fn is_hot(&mut self, key: &Key) -> bool {
        let heat = &mut self.0[Self::slot(key)];
        *heat = heat.saturating_add(1);
        *heat > ENOUGH
    }

    /// The code was overwritten: whether what is there now will run often is not known.
    pub fn cool(&mut self, key: &Key) {
        self.0[Self::slot(key)] = 0;
    }
}
