//! The rows that user code cannot run, in the host's KVM.

use std::collections::BTreeMap;

use harness::{
    engine::{RigError, Stand},
    judge::{Fill, Judge, Setup, Verdict},
    kvm::{self, KvmStand, incomparable},
    row::RowFile,
};

/// How many failures are spelled out.
const SHOWN: usize = 400;

#[test]
fn rows_that_user_code_cannot_run_hold_in_kvm() {
    let features = match KvmStand::new() {
        Ok(stand) => stand.features(),
        Err(error) => {
            println!("SKIPPED: {error}");
            return;
        }
    };
    let mut judge = Judge::of(|_| Ok(Box::new(KvmStand::new()?) as Box<dyn Stand>));
    let (mut agreed, mut known, mut wrong) = (0, 0, Vec::new());
    let mut gave_up: BTreeMap<String, usize> = BTreeMap::new();
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    let filter = std::env::var("DRAGOMAN_KVM_FILTER").unwrap_or_default();
    for path in RowFile::list(&RowFile::folder()).expect("tests/insn is there") {
        let file = RowFile::read(&path).expect("rows");
        for (line, row) in file.rows().filter(|(_, row)| Setup::of(row, Fill::Zeros).case(row).is_err()) {
            if !format!("{}: {row}", file.name).contains(&filter) {
                continue;
            }
            if let Some(why) = incomparable(row, features) {
                *skipped.entry(why).or_default() += 1;
                continue;
            }
            match judge.judge(row) {
                Ok(Verdict::Agrees) => agreed += 1,
                Ok(Verdict::Skipped(_)) => *skipped.entry("the model lacks the feature").or_default() += 1,
                Ok(Verdict::Differs(found)) if kvm::known(row, &found).is_some() => known += 1,
                Ok(Verdict::Differs(found)) => {
                    let found: Vec<_> = found.iter().map(|one| format!("    {one}")).collect();
                    wrong.push(format!("{}:{line}: {row}\n{}", file.name, found.join("\n")));
                }
                Err(RigError::GaveUp(why)) => *gave_up.entry(why).or_default() += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let failed: usize = gave_up.values().sum();
    println!("{agreed} rows agree, {known} differ as the list says, {} differ otherwise, {failed} failed in KVM", wrong.len());
    for (why, count) in &gave_up {
        println!("failed: {count} rows: {why}");
    }
    for (why, count) in &skipped {
        println!("left out: {count} rows: {why}");
    }
    assert!(agreed > 0, "no row agrees");
    let count = wrong.len();
    wrong.truncate(SHOWN);
    assert!(count == 0, "{count} rows differ, and the list does not say so:\n{}", wrong.join("\n"));
}
