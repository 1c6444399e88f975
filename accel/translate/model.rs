//! Every interleaving of one processor that translates code, one that overwrites it, and one that executes it once it was told
//! that it is new: the last must never execute what was translated from the old bytes.
//!
//! The steps are those of `Run::translate`, of a store to a page that is watched, and of `Run::follow`. Stores wait in the
//! writer's buffer for as long as they like, as on x86.

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
