//! The rows that a program can run, on the host's own processor: it judges them.

use harness::{
    judge::{HostJudge, Verdict},
    native::Oracle,
    row::{Row, RowFile},
};

/// Whose processors the rows are about.
const VENDOR: &str = "GenuineIntel";

#[test]
fn the_host_does_what_the_rows_say() {
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let host = oracle.host().clone();
    let mut judge = HostJudge::new(&mut oracle);
    let (mut agreed, mut skipped, mut wrong) = (0, 0, Vec::new());
    for path in RowFile::list(&RowFile::folder()).expect("tests/insn is there") {
        let file = RowFile::read(&path).expect("rows");
        for (line, row) in file.rows() {
            match judge.judge(row).expect("the host runs it") {
                Verdict::Agrees => agreed += 1,
                Verdict::Skipped(_) => skipped += 1,
                Verdict::Differs(found) => {
                    let found: Vec<_> = found.iter().map(|one| format!("    {one}")).collect();
                    wrong.push(format!("{}:{line}: {row}\n{}", file.name, found.join("\n")));
                }
            }
        }
    }
    println!("{}: {agreed} rows agree, {skipped} are not for programs, {} differ", host.name, wrong.len());
    assert!(agreed > 0);
    let verdict = format!("{} rows are not what the host does:\n{}", wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty() || host.vendor != VENDOR, "{verdict}");
    if !wrong.is_empty() {
        println!("the host is not {VENDOR}'s; {verdict}");
    }
}

#[test]
fn the_host_refuses_rows_that_are_wrong() {
    let Ok(mut oracle) = Oracle::new() else {
        println!("skipped: the host cannot be asked");
        return;
    };
    let mut judge = HostJudge::new(&mut oracle);
    for (line, what) in [
        ("long64 | 48 01 c3 | add rbx,rax | rbx=1 rax=2 => rbx=4 cf=0 pf=1 af=0 zf=0 sf=0 of=0 ; SDM 2 ADD", "rbx"),
        ("long64 | 48 01 c3 | add rbx,rax | rbx=1 rax=2 => rbx=3 cf=1 pf=1 af=0 zf=0 sf=0 of=0 ; SDM 2 ADD", "cf"),
        ("long64 | 88 07 | mov [rdi],al | rdi=0x20000 al=1 m8[rdi]=0 => m8[rdi]=2 ; SDM 2 MOV", "memory at 0x20000"),
        ("long64 | 8a 07 | mov al,[rdi] | rdi=0x20000 => #PF(6) cr2=0x20000 ; SDM 2 MOV", "fault"),
        ("long64 | 8a 07 | mov al,[rdi] | rdi=0x20000 => #PF(4) cr2=0x20001 ; SDM 2 MOV", "cr2"),
        ("long64 | 90 | nop | => lock=ok ; SDM 2 NOP", "LOCK"),
    ] {
        let row = Row::parse(line).expect(line);
        let Verdict::Differs(found) = judge.judge(&row).expect("the host runs it") else { panic!("{line} is accepted") };
        assert!(found.iter().any(|one| one.what.contains(what)), "{line}: {found:?}");
    }
    let right = "long64 | 8a 07 | mov al,[rdi] | rdi=0x20000 => #PF(4) cr2=0x20000 ; SDM 2 MOV";
    assert!(matches!(judge.judge(&Row::parse(right).expect(right)).expect("the host runs it"), Verdict::Agrees));
}
