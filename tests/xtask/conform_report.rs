//! `cargo xtask conform-report`: runs `dragoman conform` and writes the page that is kept in the repository.
//!
//! Rule of this file: every number is the program's own; nothing is added up or judged here.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::{paths::Places, process, progress::Progress, toolchain};

/// Where the page is kept, from the workspace's top folder.
const PAGE: &str = "tests/conformance/REPORT.md";

#[derive(Args)]
pub struct Options {
    /// How many generated cases of each encoding are compared with this host's processor
    #[arg(long, default_value_t = 10_000)]
    cases: u64,
    /// What generated cases follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Make the page of what `dragoman conform --json` printed into this file, on another host for example
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "seed"])]
    from: Option<PathBuf>,
    /// Where the page goes, instead of into the repository
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Document {
    program: String,
    host: Host,
    seed: u64,
    cases: u64,
    rows: Vec<Row>,
    totals: Totals,
    known: Vec<Known>,
}

#[derive(Deserialize)]
struct Host {
    vendor: String,
    model: String,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    class: String,
    mnemonic: String,
    engine: String,
    oracle: String,
    #[serde(flatten)]
    totals: Totals,
    reason: Option<String>,
    first: Option<First>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Totals {
    cases: u64,
    pass: u64,
    fail: u64,
    skip: u64,
}

#[derive(Deserialize)]
struct First {
    mode: String,
    bytes: String,
    text: String,
    start: String,
    expected: String,
    got: String,
    source: String,
}

#[derive(Deserialize)]
struct Known {
    oracles: String,
    who: String,
    what: String,
    extent: String,
    reason: String,
}

pub fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let text = match &options.from {
        Some(path) => fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?,
        None => judge(places, options)?,
    };
    let document: Document = serde_json::from_slice(&text).context("this is not the JSON of this version")?;
    let path = options.output.clone().unwrap_or_else(|| places.root.join(PAGE));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    fs::write(&path, page(&document)).with_context(|| format!("{} cannot be written", path.display()))?;
    let Totals { cases, fail, skip, .. } = document.totals;
    println!("{}: {cases} cases, {fail} differ, {skip} skipped", places.short(&path));
    Ok(if fail == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the program prints.
fn judge(places: &Places, options: &Options) -> Result<Vec<u8>> {
    process::inherit(toolchain::cargo(places).args(["build", "--release", "--package", "dragoman"]))?;
    let mut command = Command::new(places.program());
    command.args(["conform", "--json", "--cases", &options.cases.to_string(), "--seed", &options.seed.to_string()]);
    command.current_dir(&places.root).stdin(Stdio::null());
    let progress = Progress::start("dragoman conform");
    let output = command.stderr(Stdio::inherit()).output().context("the program cannot be started")?;
    drop(progress);
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("`dragoman conform` ended with {}", output.status);
    }
    Ok(output.stdout)
}

fn page(document: &Document) -> String {
    let Document { program, host, seed, cases, rows, totals, known } = document;
    let mut text = format!(
        "# Conformance of Dragoman {program}\n\n\
         What x86 instructions do, by every oracle, on every engine. Made by `cargo xtask conform-report`; anyone can make it again:\n\n\
         ```\ndragoman conform --cases {cases} --seed {seed}\n```\n\n\
         Host: {} {}. Its features: {}.\n\n",
        host.vendor,
        host.model,
        if host.features.is_empty() { "none of an x86 processor".into() } else { host.features.join(" ") }
    );
    let Totals { cases: all, pass, fail, skip } = totals;
    let _ = write!(text, "{all} cases: {pass} pass, {fail} fail, {skip} skipped.\n\n## Matrix\n\n");
    text += "| class | oracle | engine | cases | pass | fail | skip |\n|---|---|---|---:|---:|---:|---:|\n";
    for ((class, oracle, engine), Totals { cases, pass, fail, skip }) in by_class(rows) {
        let _ = writeln!(text, "| {class} | {oracle} | {engine} | {cases} | {pass} | {fail} | {skip} |");
    }
    text += "\n## What is not there\n\n";
    for row in rows.iter().filter(|row| row.totals.cases == 0) {
        let what = match (row.engine.as_str(), row.oracle.as_str()) {
            ("all", one) | (one, "all") => one.to_owned(),
            (engine, oracle) => format!("{oracle} on {engine}"),
        };
        let _ = writeln!(text, "- {what}: {}", row.reason.as_deref().unwrap_or_default());
    }
    text += "\n## Differences\n\n";
    if rows.iter().all(|row| row.first.is_none()) {
        text += "None that is not on the list below.\n";
    }
    for row in rows {
        let Some(First { mode, bytes, text: code, start, expected, got, source }) = &row.first else { continue };
        let _ = write!(
            text,
            "### {} {}: {} on {}, {} cases\n\n```\n{mode} | {bytes} | {code}\nstart     {start}\nexpected  {expected}\n\
             got       {got}\nsource    {source}\n```\n\n",
            row.class, row.mnemonic, row.oracle, row.engine, row.totals.fail
        );
    }
    text += "\n## Known differences\n\nThey count as passed, or are not compared.\n\n";
    text += "| oracle | whose | what | how far | why |\n|---|---|---|---|---|\n";
    for Known { oracles, who, what, extent, reason } in known {
        let _ = writeln!(text, "| {oracles} | {} | {} | {extent} | {} |", cell(who), cell(what), cell(reason));
    }
    text += "\n## Skipped\n\n| oracle | engine | cases | why |\n|---|---|---:|---|\n";
    for ((oracle, engine, reason), count) in skipped(rows) {
        let _ = writeln!(text, "| {oracle} | {engine} | {count} | {} |", cell(&reason));
    }
    text
}

/// Text that stands in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*").replace('_', "\\_")
}

/// The lines of each class added up, the classes in the order in which they come.
fn by_class(rows: &[Row]) -> Vec<((&str, &str, &str), Totals)> {
    let mut list: Vec<((&str, &str, &str), Totals)> = Vec::new();
    for row in rows.iter().filter(|row| row.totals.cases > 0) {
        let key = (row.class.as_str(), row.oracle.as_str(), row.engine.as_str());
        let at = list.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            list.push((key, Totals::default()));
            list.len() - 1
        });
        let (sum, more) = (&mut list[at].1, &row.totals);
        *sum = Totals {
            cases: sum.cases + more.cases,
            pass: sum.pass + more.pass,
            fail: sum.fail + more.fail,
            skip: sum.skip + more.skip,
        };
    }
    // Those of a class together; the sort keeps the order of what is equal.
    let order: Vec<String> = list.iter().map(|((class, ..), _)| (*class).to_owned()).collect();
    list.sort_by_key(|((class, oracle, engine), _)| (order.iter().position(|known| known == class), *oracle, *engine));
    list
}

/// How many cases were skipped by oracle, engine and reason. Where a line has several reasons, each stands behind its number.
fn skipped(rows: &[Row]) -> BTreeMap<(&str, &str, String), u64> {
    let mut sums = BTreeMap::new();
    for row in rows.iter().filter(|row| row.totals.skip > 0) {
        let reason = row.reason.as_deref().unwrap_or_default();
        let parts: Option<Vec<(u64, &str)>> = reason.split("; ").map(counted).collect();
        for (count, reason) in parts.unwrap_or_else(|| vec![(row.totals.skip, reason)]) {
            // Which address it is about matters little.
            let reason = reason.split(" at 0x").next().unwrap_or(reason).to_owned();
            *sums.entry((row.oracle.as_str(), row.engine.as_str(), reason)).or_insert(0) += count;
        }
    }
    sums
}

/// `count: reason`.
fn counted(text: &str) -> Option<(u64, &str)> {
    let (count, reason) = text.split_once(": ")?;
    Some((count.parse().ok()?, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"version":1,"program":"0.1.0","host":{"vendor":"V","model":"M","features":["sse","sse2"]},"seed":3,
        "cases":9,"rows":[
        {"class":"integer","mnemonic":"adc","engine":"interp","oracle":"rows","cases":2,"pass":2,"fail":0,"skip":0,
         "reason":null,"first":null},
        {"class":"integer","mnemonic":"add","engine":"interp","oracle":"rows","cases":4,"pass":1,"fail":1,"skip":2,
         "reason":"no such; processor","first":{"mode":"long64","bytes":"48 01 c3","text":"add rbx,rax","start":"rbx=1",
         "expected":"rbx 4","got":"rbx 3","source":"x.rows:1"}},
        {"class":"x87","mnemonic":"fld","engine":"interp","oracle":"rows","cases":3,"pass":0,"fail":0,"skip":3,
         "reason":"2: one | two; 1: three","first":null},
        {"class":"all","mnemonic":"all","engine":"jit","oracle":"all","cases":0,"pass":0,"fail":0,"skip":0,
         "reason":"not built yet","first":null}],
        "totals":{"cases":9,"pass":3,"fail":1,"skip":5},
        "known":[{"oracles":"native","who":"rcpps","what":"ymm*","extent":"near","reason":"an estimate"}]}"#;

    #[test]
    fn the_page_has_the_matrix_the_differences_and_the_lists() {
        let page = page(&serde_json::from_str(DOCUMENT).expect("JSON"));
        for part in [
            "# Conformance of Dragoman 0.1.0",
            "dragoman conform --cases 9 --seed 3",
            "Host: V M. Its features: sse sse2.",
            "9 cases: 3 pass, 1 fail, 5 skipped.",
            "| integer | rows | interp | 6 | 3 | 1 | 2 |",
            "| x87 | rows | interp | 3 | 0 | 0 | 3 |",
            "- jit: not built yet",
            "### integer add: rows on interp, 1 cases",
            "long64 | 48 01 c3 | add rbx,rax\nstart     rbx=1\nexpected  rbx 4\ngot       rbx 3\nsource    x.rows:1",
            "| native | rcpps | ymm\\* | near | an estimate |",
            "| rows | interp | 2 | no such; processor |",
            "| rows | interp | 2 | one \\| two |",
            "| rows | interp | 1 | three |",
        ] {
            assert!(page.contains(part), "{part:?} is missing:\n{page}");
        }
    }
}
