//! The matrix: for each mnemonic, engine and oracle how many cases there were, and what became of them.

use std::collections::BTreeMap;

use iced_x86::{Code, Instruction};

use super::Class;

/// What a case is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The class of the instruction.
    pub class: Class,
    /// Its mnemonic, in lower case.
    pub mnemonic: String,
}

impl Subject {
    /// That of an encoding.
    pub fn of(code: Code) -> Self {
        Self { class: Class::of(code), mnemonic: format!("{:?}", code.mnemonic()).to_ascii_lowercase() }
    }

    /// That of several instructions: the first one's.
    pub fn of_code(instructions: &[Instruction]) -> Self {
        Self::of(instructions.first().map_or(Code::INVALID, Instruction::code))
    }
}

/// One line of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is about.
    pub subject: Subject,
    /// What ran the cases.
    pub engine: &'static str,
    /// What judged them.
    pub oracle: &'static str,
}

/// What became of the cases of one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Nothing differed that is not on a written list.
    pub pass: u64,
    /// Something differed.
    pub fail: u64,
    /// They could not be judged.
    pub skip: u64,
    /// Why they could not be, and how many.
    pub reasons: BTreeMap<String, u64>,
    /// The first that differed.
    pub first: Option<First>,
}

/// A case that differed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct First {
    /// The mode and the privilege level.
    pub mode: String,
    /// The code, in hexadecimal.
    pub bytes: String,
    /// The code as text.
    pub text: String,
    /// What it starts from.
    pub start: String,
    /// What the oracle says, of all that differs.
    pub expected: String,
    /// What the engine made of it.
    pub got: String,
    /// Where the expectation comes from.
    pub source: String,
}

impl Tally {
    /// How many cases there were.
    pub fn cases(&self) -> u64 {
        self.pass + self.fail + self.skip
    }

    /// So many cases were not judged, for this reason.
    pub fn skip(&mut self, count: u64, reason: &str) {
        self.skip += count;
        match self.reasons.get_mut(reason) {
            Some(known) => *known += count,
            None => {
                self.reasons.insert(reason.to_owned(), count);
            }
        }
    }

    /// A case differed; `first` describes it, if it is the first.
    pub fn fail(&mut self, first: impl FnOnce() -> First) {
        self.fail += 1;
        if self.first.is_none() {
            self.first = Some(first());
        }
    }

    /// Adds another line.
    pub fn add(&mut self, other: &Self) {
        self.pass += other.pass;
        self.fail += other.fail;
        self.skip += other.skip;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        if self.first.is_none() {
            self.first.clone_from(&other.first);
        }
    }

    /// Why cases were skipped, in one line; nothing where none were.
    pub fn reason(&self) -> Option<String> {
        let mut list: Vec<_> = self.reasons.iter().collect();
        list.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let texts: Vec<_> = list.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        match list[..] {
            [] => None,
            [(reason, _)] => Some(reason.clone()),
            _ => Some(texts.join("; ")),
        }
    }
}

/// An engine that is not there, an oracle that the host lacks, or a part of its work that cannot be done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The engine; nothing where it is the oracle's affair.
    pub engine: Option<&'static str>,
    /// The oracle; nothing where it is the engine's affair.
    pub oracle: Option<&'static str>,
    /// Why.
    pub reason: String,
}

/// All lines, and what there is no line of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// The lines.
    pub lines: BTreeMap<Key, Tally>,
    /// What is not there.
    pub absent: Vec<Absence>,
}

impl Matrix {
    /// The line of a key.
    pub fn line(&mut self, subject: &Subject, engine: &'static str, oracle: &'static str) -> &mut Tally {
        self.lines.entry(Key { subject: subject.clone(), engine, oracle }).or_default()
    }

    /// The lines of each class, engine and oracle added up.
    pub fn by_class(&self) -> BTreeMap<(Class, &'static str, &'static str), Tally> {
        let mut sums: BTreeMap<_, Tally> = BTreeMap::new();
        for (key, tally) in &self.lines {
            sums.entry((key.subject.class, key.oracle, key.engine)).or_default().add(tally);
        }
        sums
    }

    /// All lines added up.
    pub fn total(&self) -> Tally {
        let mut sum = Tally::default();
        self.lines.values().for_each(|tally| sum.add(tally));
        sum
    }
}
