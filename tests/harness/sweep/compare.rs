//! What an engine made of a scene, beside what must come of it.

use std::collections::BTreeMap;

use dragoman_frontend::fault::vector;
use dragoman_state::GuestVirt;

use super::{
    Sweep,
    expected::{Expected, advance, written},
    run::CLEAN,
    scene::Scene,
};
use crate::{case::End, engine::Finish, judge, layout::PAGE};

impl Sweep {
    /// What `finish` has other than what is expected of `scene`.
    pub(super) fn differences_of(&self, scene: &Scene, expected: &Expected, finish: &Finish) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let detail = format!("expected {:x?}, got {:x?}", expected.ends, finish.end);
        if expected.ends.is_empty() {
            // Values may have changed with addresses, and be refused for themselves.
            if let End::Fault { vector: vector::PF | vector::GP | vector::SS, .. } = finish.end {
                found.push(("faults where nothing refuses it", detail));
            }
            return found;
        }
        let End::Fault { vector: got, error: got_error, address } = finish.end else {
            found.push(("does not fault", detail));
            return found;
        };
        let is = |want: fn(&End, u8, u32, u64) -> bool| expected.ends.iter().any(|end| want(end, got, got_error, address));
        if !is(|end, got, _, _| matches!(end, End::Fault { vector, .. } if *vector == got)) {
            found.push(("raises another exception", detail.clone()));
        } else if !is(|end, _, got, _| matches!(end, End::Fault { error, .. } if *error == got)) {
            found.push(("gives another error code", detail.clone()));
        } else if !is(|end, got, got_error, at| *end == End::Fault { vector: got, error: got_error, address: at }) {
            found.push(("gives another address", detail.clone()));
        }
        if !finish.delivered.is_some_and(|delivered| delivered.has_resume_flag) {
            found.push(("does not set the resume flag", detail));
        }
        let mut state = scene.state.clone();
        if got == vector::PF {
            state.cr2 = address;
            state.events.page_fault_address = GuestVirt(address);
        }
        advance(scene, expected.done, &mut state);
        let differing = judge::between(&state, &finish.state);
        if !differing.is_empty() {
            let all: Vec<_> = differing.iter().map(ToString::to_string).collect();
            found.push(("changes registers", all.join("; ")));
        }
        self.find_traces(scene, expected, &mut found);
        found
    }

    /// Memory that is not what it was.
    fn find_traces(&self, scene: &Scene, expected: &Expected, found: &mut Vec<(&'static str, String)>) {
        let memory = self.rig.memory();
        let own = |at: u64| {
            scene.operands.iter().any(|one| {
                let from = one.at(&scene.state);
                one.is_write && at.wrapping_sub(from) < one.size
            })
        };
        let mut set = BTreeMap::new();
        for (from, bytes) in &scene.pokes {
            set.extend((0..).zip(bytes).map(|(n, byte)| (from.wrapping_add(n), *byte)));
        }
        set.extend(written(scene, expected.done));
        for (page, bytes) in memory.data_pages() {
            let mut wanted = CLEAN;
            for (at, byte) in set.range(page..page + PAGE) {
                wanted[(at - page) as usize] = *byte;
            }
            let Some(n) = (bytes != wanted).then(|| (0..bytes.len()).find(|n| bytes[*n] != wanted[*n])).flatten() else {
                continue;
            };
            let at = page + n as u64;
            let what = if own(at) { "writes a part before it faults" } else { "writes elsewhere" };
            found.push((what, format!("memory at {at:#x}: {:02x} instead of {:02x}", bytes[n], wanted[n])));
            return;
        }
    }
}
