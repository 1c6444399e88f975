//! The matrix for programs: one JSON object, described in the README, that only ever gains fields.

use harness::matrix::{Matrix, Options, Tally, Written, written};
use serde::Serialize;

use crate::failure::Failure;

/// The version of the format.
pub const VERSION: u32 = 1;
/// The class and mnemonic of a row that speaks of all.
const ALL: &str = "all";

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    program: &'static str,
    host: Host,
    seed: u64,
    cases: u64,
    rows: Vec<Row<'a>>,
    totals: Totals,
    known: Vec<Known>,
}

/// Differences on a written list.
#[derive(Serialize)]
struct Known {
    oracles: &'static str,
    who: String,
    what: String,
    extent: String,
    reason: &'static str,
}

/// The processor that this program runs on.
#[derive(Serialize)]
pub struct Host {
    vendor: String,
    model: String,
    features: Vec<&'static str>,
}

#[derive(Serialize)]
struct Row<'a> {
    class: &'a str,
    mnemonic: &'a str,
    engine: &'a str,
    oracle: &'a str,
    #[serde(flatten)]
    totals: Totals,
    reason: Option<String>,
    first: Option<First<'a>>,
}

#[derive(Serialize)]
struct Totals {
    cases: u64,
    pass: u64,
    fail: u64,
    skip: u64,
}

#[derive(Serialize)]
struct First<'a> {
    mode: &'a str,
    bytes: &'a str,
    text: &'a str,
    start: &'a str,
    expected: &'a str,
    got: &'a str,
    source: &'a str,
}

impl Host {
    /// This one.
    pub fn this() -> Self {
        let host = harness::matrix::HostInfo::this();
        Self { vendor: host.vendor, model: host.model, features: host.features }
    }
}

impl From<Written> for Known {
    fn from(row: Written) -> Self {
        let Written { oracles, who, what, extent, reason } = row;
        Self { oracles, who, what, extent, reason }
    }
}

impl From<&Tally> for Totals {
    fn from(tally: &Tally) -> Self {
        Self { cases: tally.cases(), pass: tally.pass, fail: tally.fail, skip: tally.skip }
    }
}

impl<'a> From<&'a harness::matrix::First> for First<'a> {
    fn from(first: &'a harness::matrix::First) -> Self {
        let harness::matrix::First { mode, bytes, text, start, expected, got, source } = first;
        Self { mode, bytes, text, start, expected, got, source }
    }
}

/// The whole document.
pub fn document(options: &Options, matrix: &Matrix) -> Result<String, Failure> {
    let lines = matrix.lines.iter().map(|(key, tally)| Row {
        class: key.subject.class.name(),
        mnemonic: &key.subject.mnemonic,
        engine: key.engine,
        oracle: key.oracle,
        totals: tally.into(),
        reason: tally.reason(),
        first: tally.first.as_ref().map(First::from),
    });
    let absent = matrix.absent.iter().map(|absence| Row {
        class: ALL,
        mnemonic: ALL,
        engine: absence.engine.unwrap_or(ALL),
        oracle: absence.oracle.unwrap_or(ALL),
        totals: (&Tally::default()).into(),
        reason: Some(absence.reason.clone()),
        first: None,
    });
    print(&Document {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION"),
        host: Host::this(),
        seed: options.seed,
        cases: options.cases,
        rows: lines.chain(absent).collect(),
        totals: (&matrix.total()).into(),
        known: written().into_iter().map(Known::from).collect(),
    })
}

/// `value` as JSON, with a line end.
pub fn print(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::internal(format!("no JSON can be written: {error}")))?;
    Ok(text + "\n")
}
