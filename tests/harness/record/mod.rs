//! Recording rows: what the host's processor makes of an instruction, written down.
//!
//! A file of rows may say in its head that it holds the recorded rows of some mnemonics. Rows whose source is a host are the recorder's: it writes
//! them anew, the same ones for the same encodings, and leaves all other lines alone.

mod make;
mod outcome;

pub(crate) use make::is_recorded;
pub(crate) use outcome::state;

use std::collections::BTreeSet;

use dragoman_frontend::model::CpuModel;
use iced_x86::Code;

use crate::{
    Mode,
    generate::{Form, Generator, native_codes},
    native::{NativeError, Oracle},
    row::{Line, Row, RowFile},
};

/// How many rows each form of an encoding gets.
const ROWS: usize = 2;
/// How many cases are tried for them.
const ATTEMPTS: usize = 12;

/// Writes the recorded rows of `file` anew.
pub fn record(file: &mut RowFile, oracle: &mut Oracle) -> Result<(), NativeError> {
    let wanted: BTreeSet<String> = file.mnemonics().into_iter().collect();
    let mut rows = Vec::new();
    for code in native_codes(&CpuModel::most(), oracle.host()) {
        if wanted.contains(&format!("{:?}", code.mnemonic()).to_ascii_lowercase()) {
            rows.extend(rows_of(code, oracle)?);
        }
    }
    file.lines.retain(|line| !matches!(line, Line::Row(row) if row.is_recorded()));
    while file.lines.last().is_some_and(|line| matches!(line, Line::Text(text) if text.is_empty())) {
        file.lines.pop();
    }
    if !rows.is_empty() {
        file.lines.push(Line::Text(String::new()));
        file.lines.extend(rows.into_iter().map(|row| Line::Row(Box::new(row))));
    }
    Ok(())
}

/// The rows of one encoding: with and without a memory operand, and repeated, where there are such forms.
fn rows_of(code: Code, oracle: &mut Oracle) -> Result<Vec<Row>, NativeError> {
    let form = Form::of(code);
    for mode in [Mode::Long64, Mode::Comp32, Mode::Comp16] {
        if form.exists_in(mode) && oracle.lacks(mode).is_none() {
            let rows = rows_in(mode, &form, oracle)?;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }
    Ok(Vec::new())
}

fn rows_in(mode: Mode, form: &Form, oracle: &mut Oracle) -> Result<Vec<Row>, NativeError> {
    // The same rows whenever it is recorded.
    let mut generator = Generator::new(form.code() as u64);
    let mut rows: Vec<Row> = Vec::new();
    let repeats: Vec<Option<u8>> = std::iter::once(None).chain(form.repeats().map(Some)).collect();
    for (has_memory, repeat) in [false, true].into_iter().flat_map(|memory| repeats.iter().map(move |repeat| (memory, *repeat))) {
        let mut found: Vec<Row> = Vec::new();
        let mut faults = Vec::new();
        for _ in 0..ATTEMPTS {
            if found.len() == ROWS {
                break;
            }
            let Some(generated) = generator.plain(form, mode, has_memory, repeat) else { break };
            let Some(row) = make::row(&generated, generator.maps(), oracle)? else { continue };
            let list = if row.fault.is_some() { &mut faults } else { &mut found };
            if list.iter().all(|other| *other != row) {
                list.push(row);
            }
        }
        if found.is_empty() {
            found.extend(faults.into_iter().take(1));
        }
        rows.extend(found);
    }
    Ok(rows)
}

/// Runs the rows of `file` that are user code on the host; what differs from what they say, with the line of each.
pub fn check(file: &RowFile, oracle: &mut Oracle) -> Result<Vec<(usize, String)>, NativeError> {
    let mut differing = Vec::new();
    let here = format!("host {}", oracle.host().name);
    for (line, row) in file.rows().filter(|(_, row)| row.source == here) {
        let again = make::again(row, oracle)?;
        if again.as_ref() != Some(row) {
            differing.push((line, again.map_or_else(|| "the host makes nothing of it".into(), |again| again.to_string())));
        }
    }
    Ok(differing)
}
