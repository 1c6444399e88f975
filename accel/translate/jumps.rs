//! The caches of indirect jumps.
//!
//! Rule of this file: those in use are for one mode, but for the ring, because translated code goes from one ring to the other
//! without looking. Those of the mode before are kept: a 64-bit kernel and its 32-bit programs take turns.

use dragoman_frontend::decode::Mode;
use dragoman_jit::{Frame, JumpCache};
use dragoman_state::GuestPhys;

/// The caches of one mode: one for each view.
struct Set {
    caches: [Box<JumpCache>; 3],
    mode: Mode,
}

impl Set {
    fn new(end: GuestPhys) -> Self {
        Self { caches: std::array::from_fn(|_| JumpCache::new(end)), mode: Mode::default() }
    }
}

/// The caches of a processor.
pub(super) struct Jumps {
    now: Set,
    before: Set,
}

impl Jumps {
    /// Caches that know nothing, of which `frame` is told, for a machine whose memory ends at the physical address `end`.
    pub fn new(frame: &mut Frame, end: GuestPhys) -> Self {
        let mut jumps = Self { now: Set::new(end), before: Set::new(end) };
        jumps.tell(frame);
        jumps
    }

    /// Sees to it that those in use are for `mode`, which is one but for the ring.
    pub fn select(&mut self, mode: Mode, frame: &mut Frame) {
        if self.now.mode == mode {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        if self.now.mode != mode {
            self.now.mode = mode;
            self.now.caches.iter_mut().for_each(|cache| cache.clear());
        }
        self.tell(frame);
    }

    fn tell(&mut self, frame: &mut Frame) {
        frame.all_jumps = self.now.caches.each_mut().map(|cache| cache.address());
    }

    /// The cache of `view` that is in use.
    pub fn of(&mut self, view: usize) -> &mut JumpCache {
        &mut self.now.caches[view]
    }

    /// All caches: what is forgotten is forgotten everywhere.
    pub fn all(&mut self) -> impl Iterator<Item = &mut JumpCache> {
        self.now.caches.iter_mut().chain(&mut self.before.caches).map(|cache| &mut **cache)
    }
}

#[cfg(test)]
mod tests {
    use dragoman_state::{Efer, SegmentIndex, VcpuId, VcpuState};

    use super::*;

    #[test]
    fn two_modes_take_turns_and_a_third_takes_the_place_of_the_older() {
        let mut state = VcpuState::power_on(VcpuId(0), 0);
        let real = Mode::of(&state);
        state.segment_mut(SegmentIndex::Cs).attributes = dragoman_state::Attributes(0xa09b);
        state.efer |= Efer::LMA;
        let long = Mode::of(&state);
        state.segment_mut(SegmentIndex::Cs).attributes = dragoman_state::Attributes(0xc09b);
        let narrow = Mode::of(&state);
        let mut frame = Frame::default();
        let mut jumps = Jumps::new(&mut frame, GuestPhys(0x10_0000));
        let learn = |jumps: &mut Jumps, frame: &mut Frame, mode, code| {
            jumps.select(mode, frame);
            jumps.of(1).learn(0x1000, code, GuestPhys(0x5000), false);
            assert_eq!(frame.all_jumps[1], jumps.of(1).address());
        };
        learn(&mut jumps, &mut frame, long, 1);
        learn(&mut jumps, &mut frame, narrow, 2);
        for (mode, code) in [(long, 1), (narrow, 2), (long, 1)] {
            jumps.select(mode, &mut frame);
            assert_eq!(jumps.of(1).find(0x1000), Some(code));
            assert_eq!(frame.all_jumps[1], jumps.of(1).address());
        }
        learn(&mut jumps, &mut frame, real, 3);
        jumps.select(narrow, &mut frame);
        assert_eq!(jumps.of(1).find(0x1000), None);
        jumps.all().for_each(|cache| cache.clear());
        jumps.select(real, &mut frame);
        assert_eq!(jumps.of(1).find(0x1000), None);
    }
}
