//! What one run shows by itself: registers that changed, memory that was touched, what the machine was asked for.

use dragoman_state::{StatusWord, X87State};

use super::{
    judge::Judge,
    memory::Span,
    place::Place,
    trial::{Trial, system_fields},
};

impl Judge {
    /// Registers that changed must be listed as written.
    pub(super) fn changes(&mut self, trial: &Trial) {
        for place in Place::all(16) {
            let changed = place.differing(&trial.start.state, &trial.base.state);
            let used = trial.expected.use_of(place);
            if changed & !trial.widened(place, used.may_write) != 0 {
                let name = if matches!(place, Place::Segment(_)) { place.to_string() } else { trial.role(place) };
                self.found(trial, format!("changes {name}"));
            }
        }
    }

    /// The bytes of memory that were touched must be the ones that are listed.
    pub(super) fn memory(&mut self, trial: &Trial) {
        let accesses = &trial.base.log.accesses;
        let operands = &trial.expected.operands;
        let covers = |spans: &[Span], at: u64| spans.iter().any(|(from, to)| at.wrapping_sub(*from) < to.wrapping_sub(*from));
        for is_write in [false, true] {
            let may: Vec<Span> = operands
                .iter()
                .filter(|one| if is_write { one.may_be_written } else { one.may_be_read })
                .map(|one| one.span)
                .collect();
            let done: Vec<Span> = accesses
                .iter()
                .filter(|access| access.is_write == is_write)
                .map(|access| (access.at, access.at.wrapping_add(access.size)))
                .collect();
            let bytes = |span: &Span| {
                let from = span.0;
                (0..span.1.wrapping_sub(from)).map(move |n| from.wrapping_add(n))
            };
            let verb = if is_write { "write" } else { "read" };
            if done.iter().flat_map(bytes).any(|at| !covers(&may, at)) {
                self.found(trial, format!("{verb}s memory beside"));
            }
            let must = operands.iter().filter(|one| if is_write { one.is_written } else { one.is_read });
            if must.clone().flat_map(|one| bytes(&one.span)).any(|at| !covers(&done, at)) {
                self.found(trial, format!("does not {verb} all of memory"));
            }
        }
    }

    /// The machine's log against the list.
    pub(super) fn log(&mut self, trial: &Trial) {
        let log = &trial.base.log;
        for place in Place::all(16) {
            let used = trial.expected.use_of(place);
            let seen = trial.seen(place);
            let read = log.read.get(&place).copied().unwrap_or(0) & seen;
            let written = log.written.get(&place).copied().unwrap_or(0) & seen;
            // What may be left as it is may be read, to be written back.
            let back = used.may_write & !used.writes;
            let found = [
                ("asks for", read & !used.may_read & !back),
                ("does not ask for", used.reads & seen & !read),
                ("sets", written & !trial.widened(place, used.may_write)),
                ("does not set", used.writes & seen & !written),
            ];
            for (what, bytes) in found {
                if bytes != 0 {
                    self.found(trial, format!("{what} {}", trial.role(place)));
                }
            }
        }
    }

    /// What the tables have no name for.
    pub(super) fn others(&mut self, trial: &Trial) {
        let (before, after, class) = (&trial.start.state, &trial.base.state, trial.class);
        for field in system_fields(before, after) {
            self.found(trial, format!("writes {field}"));
        }
        if !class.is_sse && before.vectors.mxcsr != after.vectors.mxcsr {
            self.found(trial, "writes mxcsr");
        }
        let (old, new) = (before.x87, after.x87);
        if class.is_x87 {
            let info = trial.insn.fpu_stack_increment_info();
            let moved = (new.top() + 8 - old.top()) & 7;
            let listed = info.increment() as usize & 7;
            let is_listed = match (info.writes_top(), info.conditional()) {
                (false, _) => moved == 0,
                (true, false) => moved == listed || info.increment() == 0,
                (true, true) => moved == listed || moved == 0,
            };
            if !is_listed {
                self.found(trial, format!("moves top by {moved}"));
            }
            return;
        }
        let becomes_mmx = class.is_mmx && new.top() == 0;
        let is_same_unit = |a: &X87State, b: &X87State| {
            let rest = |x: &X87State| (x.control, x.opcode, x.instruction_pointer, x.data_pointer);
            rest(a) == rest(b) && a.status.difference(StatusWord::TOP) == b.status.difference(StatusWord::TOP)
        };
        if !is_same_unit(&old, &new) {
            self.found(trial, "writes the x87 unit");
        }
        if !becomes_mmx && (old.valid, old.top()) != (new.valid, new.top()) {
            self.found(trial, "writes the x87 tags");
        }
    }
}
