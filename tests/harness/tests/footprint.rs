//! What every instruction touches, against the decoder's tables of what it touches.

use dragoman_frontend::model::CpuModel;
use harness::{
    footprint::{IDLE, Judge, KNOWN},
    generate::codes,
    known::idle_rows,
};

/// On an emulated host, one encoding of so many is judged.
const SHARE_WHEN_EMULATED: usize = 32;

#[test]
fn every_instruction_touches_what_the_tables_say() {
    let is_emulated = std::env::var_os("DRAGOMAN_EMULATED_HOST").is_some();
    let model = CpuModel::most();
    let mut judge = Judge::new(&model);
    let share = if is_emulated { SHARE_WHEN_EMULATED } else { 1 };
    let codes: Vec<_> = codes(&model).into_iter().step_by(share).collect();
    for code in &codes {
        judge.judge_encoding(*code, |_, _| {});
    }
    println!("{} runs of {} encodings", judge.runs(), codes.len());
    let differences = judge.differences();
    let mut wrong: Vec<String> = differences
        .iter()
        .filter(|(difference, _)| !KNOWN.iter().any(|known| known.covers(difference)))
        .map(|(difference, example)| format!("{difference}: {example}"))
        .collect();
    let is_idle = |code| IDLE.iter().any(|(who, _)| who.iter().any(|who| who.is(code)));
    for code in &codes {
        match (judge.times(*code), is_idle(*code)) {
            (0, false) => wrong.push(format!("{code:?} never came to an end")),
            (1.., true) => wrong.push(format!("{code:?} came to an end, and the list says that it cannot")),
            _ => {}
        }
    }
    // Of a part of the encodings, no row can be said to be of no use.
    if !is_emulated {
        wrong.extend(idle_rows(KNOWN, &differences.keys().collect::<Vec<_>>()));
    }
    assert!(wrong.is_empty(), "{} things are not as the tables say:\n{}", wrong.len(), wrong.join("\n"));
}
