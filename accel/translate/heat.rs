//! Which code has run often enough to be worth translating, and which is overwritten too often to be.
//!
//! Rule of this file: code that is overwritten is interpreted for a while before it is translated again, for longer each time
//! that the translation was not worth it; that wears off with every while that passes without a write.

use dragoman_jit::cache::Key;
use dragoman_state::GuestPhys;

const SLOTS: usize = 1 << 14;
const GRANULES: usize = 1 << 12;
/// How often code is interpreted before it is translated.
const ENOUGH: u8 = 3;
/// How often code that was overwritten is interpreted before it counts as any other, at least.
const SHORTEST: u8 = 4;
/// How often that can double.
const LONGEST: u8 = 4;

/// How often blocks were asked for. Blocks, and granules, that share a slot share a fate.
pub(super) struct Heat {
    counts: Box<[u8; SLOTS]>,
    granules: Box<[Granule; GRANULES]>,
}

/// What became of 64 bytes of code.
#[derive(Clone, Copy, Default)]
struct Granule {
    /// How often it is yet to be interpreted.
    wait: u8,
    /// How often the wait was doubled.
    doublings: u8,
}

impl Heat {
    pub fn new() -> Self {
        Self { counts: Box::new([0; SLOTS]), granules: Box::new([Granule::default(); GRANULES]) }
    }

    fn slot(key: &Key) -> usize {
        (key.at.0 ^ key.at.0 >> 14) as usize % SLOTS
    }

    fn granule(&mut self, at: GuestPhys) -> &mut Granule {
        let n = at.0 / 64;
        &mut self.granules[(n ^ n >> 12) as usize % GRANULES]
    }

    /// Notes that the block is wanted; whether it was wanted often enough.
    pub fn is_hot(&mut self, key: &Key) -> bool {
        let granule = self.granule(key.at);
        if granule.wait > 0 {
            granule.wait -= 1;
            if granule.wait == 0 {
                granule.doublings = granule.doublings.saturating_sub(1);
            }
            return false;
        }
        let heat = &mut self.counts[Self::slot(key)];
        *heat = heat.saturating_add(1);
        *heat > ENOUGH
    }

    /// Code of the granule of `at` was overwritten, for which code was translated in vain or not.
    pub fn overwritten(&mut self, at: GuestPhys, was_translated: bool) {
        let granule = self.granule(at);
        if was_translated {
            granule.doublings = (granule.doublings + 1).min(LONGEST);
        }
        if was_translated || granule.wait > 0 {
            granule.wait = SHORTEST << granule.doublings;
        }
    }

    /// The block was translated from what was overwritten: whether what is there now will run often is not known.
    pub fn cool(&mut self, key: &Key) {
        self.counts[Self::slot(key)] = 0;
        self.overwritten(key.at, true);
    }
}

#[cfg(test)]
mod tests {
    use dragoman_frontend::decode::Mode;

    use super::*;

    fn key() -> Key {
        Key { at: GuestPhys(0x1234), mode: Mode::default(), view: 0, is_grouped: true }
    }

    /// Runs a block `times` times, overwriting it every `every` times. How often it was translated, and how often what ran was
    /// the translation.
    fn run(heat: &mut Heat, times: usize, every: usize) -> (usize, usize) {
        let (mut is_translated, mut translations, mut hits) = (false, 0, 0);
        for n in 0..times {
            if n % every == 0 {
                if is_translated {
                    heat.cool(&key())
                } else {
                    heat.overwritten(key().at, false)
                }
                is_translated = false;
            }
            if !is_translated && heat.is_hot(&key()) {
                is_translated = true;
                translations += 1;
            }
            hits += usize::from(is_translated);
        }
        (translations, hits)
    }

    #[test]
    fn code_that_is_overwritten_before_each_run_is_not_translated() {
        assert!(run(&mut Heat::new(), 10_000, 1).0 <= 1);
        assert!(run(&mut Heat::new(), 10_000, 4).0 <= 4);
    }

    #[test]
    fn code_that_runs_a_thousand_times_between_writes_mostly_runs_translated() {
        let (translations, hits) = run(&mut Heat::new(), 100_000, 1000);
        assert!(translations == 100 && hits > 95_000, "{translations} {hits}");
    }

    #[test]
    fn what_was_overwritten_often_is_as_good_as_new_once_it_rests() {
        let mut heat = Heat::new();
        run(&mut heat, 10_000, 7);
        let before = (0..200).take_while(|_| !heat.is_hot(&key())).count();
        assert!(before < 100, "{before}");
    }
}
