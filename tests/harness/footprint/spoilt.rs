//! What other runs show, from starts in which something has another value.

use dragoman_state::VcpuState;

use super::{
    bench::Run,
    expected::{FLAGS, flag_word, flip_flags},
    judge::Judge,
    memory::Span,
    place::{Place, Spoil},
    trial::Trial,
};

impl Judge {
    /// Each flag is turned over alone: it is kept, or becomes the same from either value.
    pub(super) fn flags(&mut self, trial: &Trial) {
        for (name, bit, at) in FLAGS {
            if at >= 32 && !trial.class.is_x87 {
                continue;
            }
            let expected = trial.expected;
            let mut start = trial.start.clone();
            flip_flags(&mut start.state, 1 << at);
            let run = self.run(trial.decoded, &start);
            let is_read = expected.flags_read & bit != 0;
            let matters = trial.unexplained(&start, &run, Some(1 << at));
            if is_read {
                self.wanted(trial, format!("does not depend on {name}"), matters || is_opposite(trial, &run, at));
            } else if matters {
                self.found(trial, format!("depends on {name}"));
            }
            if run.fault.is_some() || expected.flags_undefined & bit != 0 {
                continue;
            }
            let value = |state: &VcpuState| flag_word(state) >> at & 1 != 0;
            let (was, one, other) = (value(&trial.start.state), value(&trial.base.state), value(&run.state));
            let is_kept = one == was && other != was;
            if expected.flags_cleared & bit != 0 {
                if one || other {
                    self.found(trial, format!("does not clear {name}"));
                }
            } else if expected.flags_set & bit != 0 {
                if !one || !other {
                    self.found(trial, format!("does not set {name}"));
                }
            } else if expected.flags_written & bit != 0 {
                self.wanted(trial, format!("never writes {name}"), !is_kept);
            } else if !is_kept {
                self.found(trial, format!("writes {name}"));
            }
        }
    }

    /// All that is not listed as read is given other values.
    pub(super) fn spoil_unread(&mut self, trial: &Trial) {
        let kept: Vec<Span> = trial.expected.operands.iter().filter(|one| one.may_be_read).map(|one| one.span).collect();
        let mut start = trial.start.clone();
        start.contents = start.contents.spoilt_but(kept.clone());
        let mut spoilt = Vec::new();
        for place in Place::all(trial.mode.register_count()).filter(|place| place.is_free()) {
            let bytes = trial.whole(place) & !trial.expected.use_of(place).may_read;
            if bytes != 0 {
                place.spoil(&mut start.state, bytes, Spoil::Inverted);
                spoilt.push((place, bytes));
            }
        }
        trial.spoil_units(&mut start.state);
        let run = self.run(trial.decoded, &start);
        for (place, used) in trial.expected.places.iter().filter(|(_, used)| used.writes != 0) {
            let spoilt = place.differing(&trial.start.state, &start.state);
            let is_changed = place.differing(&trial.start.state, &trial.base.state) & used.writes != 0;
            let is_same = used.writes & spoilt != 0 && place.differing(&trial.base.state, &run.state) & used.writes & spoilt == 0;
            self.wanted(trial, format!("never writes {}", trial.role(*place)), is_changed || is_same);
        }
        if !trial.unexplained(&start, &run, None) {
            return;
        }
        // One by one, to name it.
        let mut is_named = false;
        for (place, bytes) in spoilt {
            let mut start = trial.start.clone();
            place.spoil(&mut start.state, bytes, Spoil::Inverted);
            let run = self.run(trial.decoded, &start);
            if trial.unexplained(&start, &run, None) {
                self.found(trial, format!("depends on {}", trial.role(place)));
                is_named = true;
            }
        }
        let mut start = trial.start.clone();
        start.contents = start.contents.spoilt_but(kept);
        let run = self.run(trial.decoded, &start);
        if trial.unexplained(&start, &run, None) {
            self.found(trial, "depends on memory beside");
            is_named = true;
        }
        if !is_named {
            self.found(trial, "depends on something else");
        }
    }

    /// Each thing that is listed as read is given another value.
    pub(super) fn spoil_read(&mut self, trial: &Trial) {
        for (place, used) in &trial.expected.places {
            if used.reads == 0 {
                continue;
            }
            let what = format!("does not depend on {}", trial.role(*place));
            for how in [Spoil::Inverted, Spoil::Small] {
                if self.has_seen(trial, &what) {
                    break;
                }
                let mut start = trial.start.clone();
                place.spoil(&mut start.state, used.reads, how);
                let run = self.run(trial.decoded, &start);
                self.wanted(trial, what.clone(), trial.unexplained(&start, &run, None));
            }
        }
        for operand in trial.expected.operands.iter().filter(|operand| operand.is_read) {
            let mut start = trial.start.clone();
            start.contents = start.contents.spoilt_in(operand.span);
            let run = self.run(trial.decoded, &start);
            self.wanted(trial, "does not depend on memory".into(), trial.unexplained(&start, &run, None));
        }
    }
}

/// Whether the flag at bit `at` becomes its own opposite.
fn is_opposite(trial: &Trial, run: &Run, at: u32) -> bool {
    let value = |state: &VcpuState| flag_word(state) >> at & 1;
    value(&run.state) == value(&trial.start.state) && value(&trial.base.state) != value(&trial.start.state)
}
