//! Every memory operand of every instruction, where it cannot be reached.

use dragoman_frontend::model::CpuModel;
use harness::{
    engine::engines,
    generate::codes,
    known::idle_rows,
    sweep::{KNOWN, Sweep},
};

/// How many differences are spelled out.
const SHOWN: usize = 40;
/// On an emulated host, one encoding of so many is swept.
const SHARE_WHEN_EMULATED: usize = 32;

#[test]
fn every_operand_faults_where_it_cannot_be_reached() {
    let is_emulated = std::env::var_os("DRAGOMAN_EMULATED_HOST").is_some();
    let model = CpuModel::most();
    let share = if is_emulated { SHARE_WHEN_EMULATED } else { 1 };
    let codes: Vec<_> = codes(&model).into_iter().step_by(share).collect();
    for engine in engines() {
        let mut sweep = Sweep::new(&*engine, &model).expect("the engine works");
        sweep.run(&codes).expect("the engine works");
        println!("{}: {} cases of {} encodings that touch memory", engine.name(), sweep.cases(), sweep.ended().len());
        let mut wrong: Vec<String> = sweep
            .differences()
            .iter()
            .filter(|(difference, _)| !KNOWN.iter().any(|known| known.covers(difference)))
            .map(|(difference, example)| format!("{difference}:\n    {example}"))
            .collect();
        let stuck = sweep.ended().iter().filter(|(_, is_ended)| !**is_ended);
        wrong.extend(stuck.map(|(code, _)| format!("{code:?} does not come to an end even where nothing is in the way")));
        // Of a part of the encodings, no row can be said to be of no use.
        if !is_emulated {
            wrong.extend(idle_rows(KNOWN, &sweep.differences().keys().collect::<Vec<_>>()));
        }
        let count = wrong.len();
        wrong.truncate(SHOWN);
        assert!(count == 0, "{}: {count} things are not as they should be:\n{}", engine.name(), wrong.join("\n"));
    }
}
