//! Lists of differences that nobody is to mend, each with its reason.
//!
//! Rule: a row that no longer differs fails a test as a difference does that has no row.

use std::fmt;

use iced_x86::{Code, Mnemonic};

/// Which encodings a row speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whatever differs so.
    Any,
    /// Those of a mnemonic.
    Name(Mnemonic),
    /// One.
    Code(Code),
}

/// One way in which an encoding differs from what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The encoding.
    pub code: Code,
    /// What it does, or does not do.
    pub what: String,
}

/// Differences with one reason.
#[derive(Debug)]
pub struct Known {
    /// Whose.
    pub who: &'static [Who],
    /// Which; an asterisk at the end stands for anything.
    pub what: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.code, self.what)
    }
}

impl Who {
    /// Whether `code` is meant.
    pub fn is(self, code: Code) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => code.mnemonic() == name,
            Self::Code(one) => code == one,
        }
    }
}

impl Known {
    /// Whether this row speaks of `difference`.
    pub fn covers(&self, difference: &Difference) -> bool {
        self.who.iter().any(|who| who.is(difference.code)) && self.what.iter().any(|what| matches(what, &difference.what))
    }

    /// The parts of this row that speak of none of `differences`.
    fn unused(&self, differences: &[&Difference]) -> Vec<String> {
        let covered: Vec<_> = differences.iter().filter(|difference| self.covers(difference)).collect();
        let is_idle = |who: &&Who| !covered.iter().any(|one| who.is(one.code));
        let is_unsaid = |what: &&&str| !covered.iter().any(|one| matches(what, &one.what));
        let who = self.who.iter().filter(is_idle).map(|who| format!("{who:?}"));
        who.chain(self.what.iter().filter(is_unsaid).map(ToString::to_string)).collect()
    }
}

/// The rows of `list` that are of no use where `differences` are all that there are.
pub fn idle_rows(list: &[Known], differences: &[&Difference]) -> Vec<String> {
    list.iter()
        .filter_map(|known| {
            let parts = known.unused(differences);
            (!parts.is_empty()).then(|| format!("nothing differs as this row says, {}: {}", parts.join(", "), known.reason))
        })
        .collect()
}

pub(crate) fn matches(pattern: &str, what: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => what.starts_with(start),
        None => pattern == what,
    }
}

/// The names in `list`, for people.
pub fn listed(list: &[Who]) -> String {
    let names: Vec<_> = list
        .iter()
        .map(|who| match who {
            Who::Any => "any".to_owned(),
            Who::Name(name) => format!("{name:?}").to_ascii_lowercase(),
            Who::Code(code) => format!("{code:?}"),
        })
        .collect();
    names.join(" ")
}

/// Encodings by their mnemonics.
macro_rules! names {
    ($($name:ident)*) => { &[$($crate::known::Who::Name(iced_x86::Mnemonic::$name)),*] };
}

/// Encodings one by one.
macro_rules! codes {
    ($($code:ident)*) => { &[$($crate::known::Who::Code(iced_x86::Code::$code)),*] };
}

pub(crate) use {codes, names};

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[Known] = &[Known { who: names!(Add Sub), what: &["changes *", "keeps cf"], reason: "a test" }];

    #[test]
    fn a_row_is_of_use_where_each_of_its_parts_is() {
        let difference = |code, what: &str| Difference { code, what: what.into() };
        let (one, other) = (difference(Code::Add_AL_imm8, "changes rax"), difference(Code::Sub_AL_imm8, "keeps cf"));
        assert!(LIST[0].covers(&one) && !LIST[0].covers(&difference(Code::Adc_AL_imm8, "keeps cf")));
        assert!(idle_rows(LIST, &[&one, &other]).is_empty());
        assert_eq!(idle_rows(LIST, &[&one]), ["nothing differs as this row says, Name(Sub), keeps cf: a test"]);
    }
}
