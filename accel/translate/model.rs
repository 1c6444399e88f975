//! Every interleaving of one processor that translates code, one that overwrites it, and one that executes it once it was told
//! that it is new: the last must never execute what was translated from the old bytes.
//!
//! The steps are those of `Run::translate`, of a store to a page that is watched, and of `Run::follow`. Stores wait in the
//! writer's buffer for as long as they like, as on x86.
//!
//! And every interleaving of one that overwrites code with one that has found its block, and remembers it as the target of a jump.

use std::collections::HashSet;

/// What can be left out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The fence between the store and the look at the marks.
    Fence,
    /// The second look at the bytes, once they are marked.
    Comparison,
    /// The question whether code was forgotten since it was read.
    Overwrites,
    /// Forgetting the block before the next instruction.
    Haste,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    First,
    Second,
    Third,
    Fourth,
    Fifth,
    Done,
}

/// A store in the writer's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Store {
    Code,
    Flag,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct State {
    // Memory. Code is new or old.
    is_code_new: bool,
    flag: bool,
    buffer: Vec<Store>,
    // What the engine shares.
    is_marked: bool,
    overwrites: u8,
    /// The block that is found: whether it is of the new code.
    block: Option<bool>,
    // The processor that translates.
    translator: Stage,
    saw_overwrites: u8,
    saw_new: bool,
    // The one that writes.
    writer: Stage,
    saw_mark: bool,
    // The one that executes.
    executes: Stage,
    executed_new: bool,
}

use Stage::{Done, Fifth, First, Fourth, Second, Third};

impl State {
    fn translate(&mut self, without: Without) {
        self.translator = match self.translator {
            First => {
                self.saw_overwrites = self.overwrites;
                Second
            }
            Second => {
                self.saw_new = self.is_code_new;
                Third
            }
            Third => {
                self.is_marked = true;
                Fourth
            }
            Fourth if self.saw_new == self.is_code_new || without == Without::Comparison => Fifth,
            Fifth => {
                if self.saw_overwrites == self.overwrites || without == Without::Overwrites {
                    self.block = Some(self.saw_new);
                }
                Done
            }
            Fourth | Done => Done,
        };
    }

    /// Whether the writer can go on.
    fn write(&mut self, without: Without) -> bool {
        self.writer = match self.writer {
            First => {
                self.buffer.push(Store::Code);
                Second
            }
            Second if !self.buffer.is_empty() && without != Without::Fence => return false,
            Second => {
                self.saw_mark = self.is_marked;
                if without == Without::Haste { Fourth } else { Third }
            }
            Third => {
                self.forget();
                Fourth
            }
            Fourth => {
                self.buffer.push(Store::Flag);
                Fifth
            }
            Fifth => {
                if without == Without::Haste {
                    self.forget();
                }
                Done
            }
            Done => return false,
        };
        true
    }

    fn forget(&mut self) {
        if self.saw_mark {
            self.overwrites += 1;
            self.block = None;
        }
    }

    /// The oldest store in the buffer becomes visible.
    fn drain(&mut self) {
        match self.buffer.remove(0) {
            Store::Code => self.is_code_new = true,
            Store::Flag => self.flag = true,
        }
    }

    fn execute(&mut self) {
        self.executes = match self.executes {
            First if !self.flag => First,
            First => Second,
            _ => {
                self.executed_new = self.block.unwrap_or(self.is_code_new);
                Done
            }
        };
    }

    fn successors(&self, without: Without) -> Vec<Self> {
        let mut all = Vec::new();
        let mut step = |take: &dyn Fn(&mut Self) -> bool| {
            let mut next = self.clone();
            if take(&mut next) && next != *self {
                all.push(next);
            }
        };
        step(&|next| {
            next.translate(without);
            true
        });
        step(&|next| next.write(without));
        if !self.buffer.is_empty() {
            step(&|next| {
                next.drain();
                true
            });
        }
        if self.executes != Done {
            step(&|next| {
                next.execute();
                true
            });
        }
        all
    }
}

/// How many states there are, and whether old code can be executed in one.
fn explore(without: Without) -> (usize, bool) {
    let (mut seen, mut left, mut is_wrong) = (HashSet::new(), vec![State::default()], false);
    while let Some(state) = left.pop() {
        is_wrong |= state.executes == Done && !state.executed_new;
        left.extend(state.successors(without).into_iter().filter(|next| !seen.contains(next)));
        seen.insert(state);
    }
    (seen.len(), is_wrong)
}

#[test]
fn nobody_executes_old_code_once_told_that_it_is_new_and_nothing_of_that_is_needless() {
    let (states, is_wrong) = explore(Without::Nothing);
    assert!(states > 100 && !is_wrong, "{states}");
    for without in [Without::Fence, Without::Comparison, Without::Overwrites, Without::Haste] {
        assert!(explore(without).1, "{without:?} makes no difference");
    }
}

/// What can be left out of how processors forget where jumps went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgets {
    /// All that is gone since it looked last.
    Gone,
    /// Only what is gone by its own doing.
    ItsOwn,
    /// Only what was noted as the target of a jump when it went.
    WhatWasNoted,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Jumps {
    /// The block of the old code is found.
    is_known: bool,
    /// It was noted to be the target of a jump.
    is_noted: bool,
    /// What is gone: whether it was noted then.
    gone: Vec<bool>,
    // The one that writes.
    writer: Stage,
    /// The other is to be told of the write.
    is_signalled: bool,
    flag: bool,
    // The one that jumps.
    jumper: Stage,
    holds: bool,
    remembers: bool,
    heard: usize,
    saw_flag: bool,
    jumped_to_old: bool,
}

impl Jumps {
    /// Forgets the block, as whoever is first to does.
    fn forget(&mut self) {
        if std::mem::take(&mut self.is_known) {
            self.gone.push(self.is_noted);
        }
    }

    fn write(&mut self) {
        self.writer = match self.writer {
            // The store tells everybody before it does anything else.
            First => {
                self.is_signalled = true;
                Second
            }
            Second => {
                self.forget();
                Third
            }
            _ => {
                self.flag = true;
                Done
            }
        };
    }

    /// Finds the block and, in two further steps, remembers and notes it; then looks at the flag, hears what there is to be heard,
    /// and jumps.
    fn jump(&mut self, forgets: Forgets) {
        self.jumper = match self.jumper {
            First => {
                self.holds = self.is_known;
                Second
            }
            Second => {
                self.remembers = self.holds;
                Third
            }
            Third => {
                self.is_noted |= self.holds;
                Fourth
            }
            Fourth => {
                self.saw_flag = self.flag;
                Fifth
            }
            _ => {
                self.hear(forgets);
                self.jumped_to_old = self.remembers;
                Done
            }
        };
    }

    fn hear(&mut self, forgets: Forgets) {
        if !std::mem::take(&mut self.is_signalled) {
            return;
        }
        let before = self.gone.len();
        self.forget();
        let from = if forgets == Forgets::ItsOwn { before } else { self.heard };
        self.remembers &= !self.gone[from..].iter().any(|was_noted| forgets != Forgets::WhatWasNoted || *was_noted);
        self.heard = self.gone.len();
    }

    fn successors(&self, forgets: Forgets) -> Vec<Self> {
        let mut all = Vec::new();
        let mut step = |take: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            take(&mut next);
            all.push(next);
        };
        if self.writer != Done {
            step(&Self::write);
        }
        if self.jumper != Done {
            step(&|next| next.jump(forgets));
        }
        // Whatever it does, it may look whether there is something to be heard in between: not between finding a block and
        // having noted it.
        if matches!(self.jumper, First | Fourth | Fifth) {
            step(&|next| next.hear(forgets));
        }
        all
    }
}

/// How many states there are, and whether one that saw the flag can jump to the old code.
fn explore_jumps(forgets: Forgets) -> (usize, bool) {
    let start = Jumps { is_known: true, ..Jumps::default() };
    let (mut seen, mut left, mut is_wrong) = (HashSet::new(), vec![start], false);
    while let Some(state) = left.pop() {
        is_wrong |= state.saw_flag && state.jumped_to_old;
        left.extend(state.successors(forgets).into_iter().filter(|next| !seen.contains(next)));
        seen.insert(state);
    }
    (seen.len(), is_wrong)
}

#[test]
fn nobody_jumps_to_a_block_that_is_gone_once_told_and_it_takes_all_that_are_gone() {
    let (states, is_wrong) = explore_jumps(Forgets::Gone);
    assert!(states > 50 && !is_wrong, "{states}");
    for forgets in [Forgets::ItsOwn, Forgets::WhatWasNoted] {
        assert!(explore_jumps(forgets).1, "{forgets:?} is enough");
    }
}
