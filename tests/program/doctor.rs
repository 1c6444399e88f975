//! `dragoman doctor`: an answer on every host.

use serde_json::Value;

use crate::guest::{dragoman, run};

fn findings(output: &std::process::Output) -> Value {
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Expects that what was found is told whole, and does not contradict itself.
fn is_whole(found: &Value) {
    assert_eq!(found["version"], 1, "{found}");
    for engine in ["kvm", "jit", "interp"] {
        let one = &found[engine];
        let is_usable = one["usable"].as_bool().expect("yes or no");
        assert_eq!(one["problem"].is_null(), is_usable, "{engine}: {found}");
        for ring in ["kernel", "user"] {
            assert_eq!(one[ring].as_f64().is_some_and(|speed| speed > 1e3), is_usable, "{engine}, {ring}: {found}");
        }
    }
    assert_eq!(found["interp"]["usable"], true, "{found}");
    let steps = found["kvm"]["steps"].as_array().expect("a list");
    let all_pass = steps.iter().all(|step| step["ok"] == true);
    assert_eq!(found["kvm"]["usable"], all_pass, "{found}");
    let engine = found["auto"]["engine"].as_str().expect("a name");
    assert_eq!(found[engine]["usable"], true, "{found}");
    assert!(found["auto"]["why"].as_str().is_some_and(|why| why.len() > 10), "{found}");
}

#[test]
fn this_host_is_examined_and_all_that_was_found_is_told() {
    let found = findings(&run(&["doctor", "--json"]));
    is_whole(&found);
    let is_x86 = cfg!(target_arch = "x86_64");
    assert_eq!(found["virtualises"].is_null(), !is_x86);
    if !is_x86 {
        assert_eq!(found["kvm"]["usable"], false, "{found}");
        assert!(found["kvm"]["problem"].as_str().is_some_and(|problem| problem.contains("x86-64 hosts")), "{found}");
    }
    let output = run(&["doctor"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    for line in ["host", "virtualises", "jit", "interp", "auto"] {
        assert!(text.lines().any(|one| one.starts_with(line)), "no line {line}: {text}");
    }
    let said = if is_x86 { "the processor has" } else { "not an x86 host" };
    assert!(text.contains(said), "{text}");
}

#[test]
fn a_container_without_the_device_gets_its_answer() {
    // A namespace of its own, in which the device is hidden by an empty one.
    let mut command = dragoman();
    let program = command.get_program().to_owned();
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = std::process::Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs none /dev && exec \"$@\"", "sh"]);
    let output = command.arg(program).args(words).args(["doctor", "--json"]).output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) => return println!("skipped: no namespace: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => return println!("skipped: no unshare: {error}"),
    };
    let found = findings(&output);
    is_whole(&found);
    assert_eq!(found["kvm"]["usable"], false, "{found}");
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        assert!(found["kvm"]["problem"].as_str().is_some_and(|problem| problem.contains("not there")), "{found}");
    }
}
