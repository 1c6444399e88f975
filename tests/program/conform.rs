//! `dragoman conform`: its matrix for people and for programs, what it refuses, and that it finds what is planted.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::guest::{self, dragoman, kvm_kind, run};

const RIGHT: &str = "long64 | 48 01 c3 | add rbx,rax | rbx=1 rax=2 => rbx=3 cf=0 pf=1 af=0 zf=0 sf=0 of=0 ; SDM 2 ADD\n";
const WRONG: &str = "long64 | 48 01 c3 | add rbx,rax | rbx=1 rax=2 => rbx=4 cf=0 pf=1 af=0 zf=0 sf=0 of=0 ; SDM 2 ADD\n";

/// A file of our own that goes when the test is over.
struct Own(PathBuf);

impl Own {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = std::env::temp_dir().join(format!("dragoman-conform-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("a file can be written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("its name is ours")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn conform(arguments: &[&str]) -> Output {
    run(&[&["conform"], arguments].concat())
}

/// The document of a run that ended with `status`.
fn json(arguments: &[&str], status: i32) -> Value {
    let output = conform(&[arguments, &["--json"]].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {complaint}");
    assert!(complaint.is_empty(), "{arguments:?}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn rows(document: &Value) -> &Vec<Value> {
    document["rows"].as_array().expect("there are rows")
}

/// Expects a refusal: its status, and what its one sentence says.
fn refused(arguments: &[&str], status: i32, says: &[&str]) {
    guest::refused(&[&["conform"], arguments].concat(), status, says);
}

#[test]
fn a_difference_that_is_planted_is_found_and_spelled_out() {
    let own = Own::new("wrong.rows", WRONG);
    let asked = [own.path(), "--engine", "interp", "--oracle", "rows", "--filter", "add"];
    let output = conform(&asked);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let place = format!("{}:1", own.path());
    for part in ["integer add: 1 differ: rows on interp", "48 01 c3", "add rbx,rax", "rax=2", "rbx 4", "rbx 3", &place] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    let document = json(&asked, 1);
    let [row] = &rows(&document)[..] else { panic!("one line was asked for: {document}") };
    let first = &row["first"];
    assert_eq!((first["bytes"].as_str(), first["text"].as_str()), (Some("48 01 c3"), Some("add rbx,rax")));
    assert_eq!(first["mode"], "long64");
    assert!(first["expected"].as_str().is_some_and(|text| text.contains("rbx 4")), "{first}");
    assert!(first["got"].as_str().is_some_and(|text| text.contains("rbx 3")), "{first}");
    assert!(first["start"].as_str().is_some_and(|text| text.contains("rbx=1 rax=2")), "{first}");
    assert!(first["source"].as_str().is_some_and(|text| text.contains(&place) && text.contains("SDM 2 ADD")), "{first}");
    assert_eq!(document["totals"]["fail"], 1);
}

#[test]
fn rows_of_ones_own_are_judged_beside_those_of_the_program() {
    let own = Own::new("right.rows", format!("# a comment\n\n{RIGHT}"));
    let asked = ["--engine", "interp", "--oracle", "rows", "--filter", "add"];
    let alone = json(&asked, 0);
    let beside = json(&[&[own.path()], &asked[..]].concat(), 0);
    let cases = |document: &Value| document["totals"]["cases"].as_u64().expect("a number");
    assert!(cases(&alone) > 10, "{alone}");
    assert_eq!(cases(&beside), cases(&alone) + 1);
}

#[test]
fn the_document_has_the_fields_that_the_readme_names() {
    let document = json(&["--engine", "interp,host", "--oracle", "rows,naive", "--filter", "adc", "--seed", "7"], 0);
    assert_eq!((document["version"].as_u64(), document["seed"].as_u64()), (Some(1), Some(7)));
    assert_eq!(document["program"], env!("CARGO_PKG_VERSION"));
    assert!(document["host"]["vendor"].is_string() && document["host"]["model"].is_string());
    assert!(document["host"]["features"].is_array());
    let mut sum = 0;
    for row in rows(&document) {
        let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} of {row}"));
        assert_eq!(number("cases"), number("pass") + number("fail") + number("skip"), "{row}");
        assert!(row.get("reason").is_some() && row.get("first").is_some(), "{row}");
        assert!(["engine", "oracle", "class", "mnemonic"].iter().all(|name| row[*name].is_string()), "{row}");
        sum += number("cases");
    }
    assert_eq!(document["totals"]["cases"].as_u64(), Some(sum));
    let judged = |oracle: &str| rows(&document).iter().any(|row| row["oracle"] == oracle && row["pass"].as_u64() > Some(0));
    assert!(judged("rows") && judged("naive"), "{document}");
    assert!(rows(&document).iter().filter(|row| row["class"] != "all").all(|row| row["mnemonic"] == "adc"));
    assert!(document["known"].as_array().is_some_and(|list| list.iter().all(|row| row["reason"].is_string())));
}

#[test]
fn the_matrix_is_by_class_oracle_and_engine() {
    let output = conform(&["--engine", "interp", "--oracle", "rows", "--filter", "x87,mmx"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(output.stderr.is_empty());
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["class", "oracle", "engine", "cases", "pass", "fail", "skip"]);
    assert_eq!(words[1][..3], ["x87", "rows", "interp"]);
    assert_eq!(words[2][..3], ["mmx", "rows", "interp"]);
    assert_eq!(words[3][0], "all");
}

/// Engines that use KVM are judged by rows alone, which those that are right agree with; where there is no KVM, they are left out with
/// the reason.
#[test]
fn engines_that_use_kvm_are_judged_by_rows_where_there_is_one() {
    for engine in ["kvm", "hybrid"] {
        let document = json(&["--engine", engine, "--oracle", "rows,naive", "--filter", "adc"], 0);
        let list = rows(&document);
        assert!(list.iter().all(|row| row["engine"] == engine), "{document}");
        let of = |oracle: &str| list.iter().filter(|row| row["oracle"] == oracle).collect::<Vec<_>>();
        let is_told = |row: &Value| row["reason"].as_str().is_some_and(|reason| !reason.is_empty());
        if kvm_kind().is_some() {
            assert!(of("rows").iter().any(|row| row["pass"].as_u64() > Some(0)), "{document}");
            assert!(
                of("naive").len() == 1 && of("naive")[0]["reason"].as_str().is_some_and(|reason| reason.contains("rows alone"))
            );
        } else {
            assert!(list.len() == 1 && is_told(&list[0]), "{document}");
        }
    }
}

/// Where the host's processor cannot be asked, the reason says so, and nothing fails.
#[test]
fn the_host_judges_where_it_can() {
    let document = json(&["--oracle", "native,rows", "--filter", "adc", "--cases", "12"], 0);
    let of = |engine: &str, oracle: &str| {
        rows(&document).iter().filter(|row| row["engine"] == engine && row["oracle"] == oracle).collect::<Vec<_>>()
    };
    let reason = |list: &[&Value]| list.first().and_then(|row| row["reason"].as_str()).map(str::to_owned);
    for (engine, oracle) in [("interp", "native"), ("host", "rows")] {
        let list = of(engine, oracle);
        let is_judged = list.iter().any(|row| row["pass"].as_u64() > Some(0));
        let absent = reason(&of("all", oracle)).or_else(|| reason(&of("host", oracle)));
        let reasons = ["this host is", "native oracle", "host refused"];
        let is_told = absent.is_some_and(|reason| reasons.iter().any(|one| reason.contains(one)));
        assert!(is_judged || is_told, "{oracle} on {engine}: {document}");
        if cfg!(not(target_arch = "x86_64")) {
            assert!(!is_judged && is_told);
        }
    }
}

#[test]
fn the_list_says_what_can_be_had_here() {
    let output = conform(&["--list"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for part in ["integer", "avx2", "interp", "jit", "host", "rows", "native", "vectors", "footprint", "faults", "naive", "kvm"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    let document = json(&["--list"], 0);
    let list = |name: &str| document[name].as_array().expect("a list").clone();
    assert!(list("classes").contains(&Value::from("x87")));
    let named = |kind: &str, name: &str| list(kind).into_iter().find(|one| one["name"] == name).expect(name);
    assert_eq!(named("engines", "interp")["available"], true);
    assert_eq!(named("engines", "jit")["available"], cfg!(all(target_arch = "x86_64", target_os = "linux")));
    for name in ["kvm", "hybrid"] {
        assert_eq!(named("engines", name)["available"], kvm_kind().is_some(), "{document}");
    }
    assert_eq!(named("oracles", "rows")["available"], true);
    assert!(named("oracles", "native")["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
}

#[test]
fn what_cannot_be_asked_is_refused() {
    #[rustfmt::skip] // a table
    let table: &[(&[&str], &[&str])] = &[
        (&["--engine", "warp"],                              &["warp", "--list"]),
        (&["--oracle", "delphi"],                            &["delphi", "--list"]),
        (&["--filter", "addd", "--oracle", "rows", "--engine", "interp"], &["addd", "--list"]),
        (&["--cases", "0"],                                  &["--cases"]),
        (&["--cases", "many"],                               &["many"]),
        (&["--seed", "-1"],                                  &["-1"]),
    ];
    for (arguments, says) in table {
        refused(arguments, 2, says);
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_line() {
    for (bad, says) in [
        ("nonsense", "four fields"),
        ("long64 | 90 | int3 | => ; SDM 2 NOP", "the bytes are `nop`"),
        ("long65 | 90 | nop | => ; SDM 2 NOP", "long65"),
        ("long64 | 9z | nop | => ; SDM 2 NOP", "9z"),
        ("long64 | 90 | nop | => rax=1", "source"),
        ("long64 | 90 | nop | => rux=1 ; SDM 2 NOP", "rux"),
    ] {
        let own = Own::new("bad.rows", format!("# one\n{RIGHT}{bad}\n"));
        refused(&[own.path(), "--oracle", "rows"], 4, &[&format!("{}:3: ", own.path()), says]);
    }
    let two = Own::new("two.rows", "nonsense\nnonsense\n");
    refused(&[two.path()], 4, &[":1: ", "1 more line is wrong"]);
    let empty = Own::new("empty.rows", "# nothing\n");
    refused(&[empty.path()], 4, &[empty.path(), "no row"]);
    let binary = Own::new("binary.rows", [0xff, 0xfe, 0]);
    refused(&[binary.path()], 4, &[binary.path(), "cannot be read"]);
    refused(&["/nowhere/at/all.rows"], 4, &["/nowhere/at/all.rows", "cannot be read"]);
    refused(&["--vectors", "/nowhere/at/all"], 4, &["/nowhere/at/all", "cannot be read"]);
    let bad = Own::new("bad.MOO.gz", "this is no file of vectors");
    refused(&["--vectors", bad.path(), "--oracle", "vectors", "--engine", "interp"], 4, &[bad.path()]);
}

#[test]
fn vectors_are_judged_where_they_are_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/80286-real/00.MOO.gz");
    let path = path.to_str().expect("a path");
    let document = json(&["--vectors", path, "--oracle", "vectors", "--engine", "interp"], 0);
    let [row] = &rows(&document)[..] else { panic!("the file is about one mnemonic: {document}") };
    assert_eq!((row["mnemonic"].as_str(), row["cases"].as_u64()), (Some("add"), Some(160)));
    let reason = row["reason"].as_str().unwrap_or_default();
    assert_eq!(row["skip"].as_u64() > Some(0), reason.contains("LOCK"), "{row}");
}

#[test]
fn a_signal_ends_it_and_leaves_no_half_of_a_matrix() {
    let start = Instant::now();
    let mut command = dragoman();
    command.args(["conform", "--oracle", "footprint,faults,naive", "--json"]).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
    std::thread::sleep(Duration::from_millis(1500));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("there is kill");
    let output = child.wait_with_output().expect("ours");
    assert_eq!(output.status.signal(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    println!("ended after {} ms", start.elapsed().as_millis());
}

#[test]
fn completions_and_help_know_it() {
    let completions = String::from_utf8(run(&["completions", "bash"]).stdout).expect("text");
    assert!(completions.contains("conform") && completions.contains("--oracle"));
    let help = String::from_utf8(conform(&["--help"]).stdout).expect("text");
    assert!(help.contains("Examples:") && help.contains("Exit status:"));
}
