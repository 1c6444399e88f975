//! The matrix for people.

use std::collections::BTreeMap;

use harness::matrix::{Absence, First, Matrix, Tally};

/// How many characters of a case's start, or of a difference, are shown. JSON has all of them.
const WIDTH: usize = 2000;
/// How many reasons for skipping are shown of each oracle on each engine.
const REASONS: usize = 12;

/// The whole page: the matrix by class, what is not there, why cases were skipped, and the first difference of each mnemonic.
pub fn document(matrix: &Matrix) -> String {
    let mut text =
        format!("{:<12}{:<11}{:<8}{:>10}{:>10}{:>8}{:>8}\n", "class", "oracle", "engine", "cases", "pass", "fail", "skip");
    for ((class, oracle, engine), tally) in matrix.by_class() {
        text += &line(class.name(), oracle, engine, &tally);
    }
    text += &line("all", "", "", &matrix.total());
    for Absence { engine, oracle, reason } in &matrix.absent {
        let what = match (engine, oracle) {
            (Some(engine), Some(oracle)) => format!("{oracle} on {engine}"),
            (Some(one), None) | (None, Some(one)) => (*one).to_string(),
            (None, None) => String::new(),
        };
        text += &format!("skipped: {what}: {reason}\n");
    }
    text += &skipped(matrix);
    for (key, tally) in &matrix.lines {
        if let Some(first) = &tally.first {
            let (class, mnemonic) = (key.subject.class, &key.subject.mnemonic);
            text += &format!("\n{class} {mnemonic}: {} differ: {} on {}\n", tally.fail, key.oracle, key.engine);
            text += &spelled_out(first);
        }
    }
    text
}

fn line(class: &str, oracle: &str, engine: &str, tally: &Tally) -> String {
    let (cases, Tally { pass, fail, skip, .. }) = (tally.cases(), tally);
    format!("{class:<12}{oracle:<11}{engine:<8}{cases:>10}{pass:>10}{fail:>8}{skip:>8}\n")
}

/// Why cases were skipped, with how many, by oracle and engine: the most frequent reasons.
fn skipped(matrix: &Matrix) -> String {
    let mut pairs: BTreeMap<(&str, &str), BTreeMap<&str, u64>> = BTreeMap::new();
    for (key, tally) in &matrix.lines {
        for (reason, count) in &tally.reasons {
            // Which address it is about matters little.
            let reason = reason.split(" at 0x").next().unwrap_or(reason);
            *pairs.entry((key.oracle, key.engine)).or_default().entry(reason).or_default() += count;
        }
    }
    let mut text = String::new();
    for ((oracle, engine), reasons) in pairs {
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (reason, count) in reasons.iter().take(REASONS) {
            text += &format!("skipped: {oracle} on {engine}: {count}: {reason}\n");
        }
        if reasons.len() > REASONS {
            let rest: u64 = reasons[REASONS..].iter().map(|(_, count)| count).sum();
            text += &format!("skipped: {oracle} on {engine}: {rest}: for {} other reasons\n", reasons.len() - REASONS);
        }
    }
    text
}

fn spelled_out(first: &First) -> String {
    let rows = [
        ("mode", &first.mode),
        ("bytes", &first.bytes),
        ("text", &first.text),
        ("start", &first.start),
        ("expected", &first.expected),
        ("got", &first.got),
        ("source", &first.source),
    ];
    let lines = rows.iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("  {name:<10}{}\n", cut(value))).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}
