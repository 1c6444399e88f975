//! Starting other programs, so that none can hang and none fails without saying why.
//!
//! Rule: every program that xtask waits for has a time limit, except one that owns the terminal.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often a waiting loop looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// How long pipes are read after their program has ended: something it left behind may hold them open.
const AFTERMATH: Duration = Duration::from_secs(2);

/// Runs `command` and gives what it printed on standard output. Its standard error is part of the failure's text.
pub fn capture(command: &mut Command, limit: Duration) -> Result<String> {
    let mut printed = String::new();
    let mut complaints = String::new();
    let status = watch(command, limit, |line| match line {
        Line::Output(text) => keep(&mut printed, &text),
        Line::Error(text) => keep(&mut complaints, &text),
        Line::Nothing => {}
    })?;
    if !status.success() {
        bail!("`{}` ended with {status}{}", brief(command), because(&complaints));
    }
    Ok(printed)
}

/// Runs `command` with this terminal as its own.
pub fn inherit(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", brief(command));
    }
    Ok(())
}

/// What a watched program did since the last report.
pub enum Line {
    /// A line on standard output, without its end.
    Output(String),
    /// A line on standard error, without its end.
    Error(String),
    /// Some time passed.
    Nothing,
}

/// Runs `command` without input, reports each of its lines as it comes, and kills it with all its children after `limit`.
pub fn watch(command: &mut Command, limit: Duration, mut report: impl FnMut(Line)) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| cannot_start(command))?;
    let (sender, lines) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        read_lines(pipe, sender.clone(), Line::Output);
    }
    if let Some(pipe) = child.stderr.take() {
        read_lines(pipe, sender, Line::Error);
    }
    let deadline = Instant::now() + limit;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => report(line),
            Err(RecvTimeoutError::Timeout) => report(Line::Nothing),
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK / 10),
        }
        if let Some(status) = child.try_wait().context("the end of a program cannot be waited for")? {
            let end = Instant::now() + AFTERMATH;
            while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                report(line);
            }
            return Ok(status);
        }
        if Instant::now() > deadline {
            kill_family(&mut child);
            bail!("`{}` was ended after its limit of {} s", brief(command), limit.as_secs());
        }
    }
}

/// Ends `child` and everything it started.
pub fn kill_family(child: &mut Child) {
    for id in descendants(child.id()) {
        if let Some(pid) = Pid::from_raw(id) {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The program and what it is asked to do, for a sentence.
pub fn brief(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let name = program.rsplit('/').next().unwrap_or(&program);
    let first = command.get_args().next().map(|word| word.to_string_lossy());
    first
        .filter(|word| !word.starts_with('-') && !word.contains('/'))
        .map_or_else(|| name.to_string(), |word| format!("{name} {word}"))
}

/// Whether a program of this name is on the search path, or at this path.
pub fn exists(program: &str) -> bool {
    if program.contains('/') {
        return fs::metadata(program).is_ok();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn cannot_start(command: &Command) -> String {
    format!("`{}` cannot be started", command.get_program().to_string_lossy())
}

fn because(complaints: &str) -> String {
    let lines: Vec<&str> = complaints.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(12)..];
    if tail.is_empty() { String::new() } else { format!(":\n{}", tail.join("\n")) }
}

fn keep(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn read_lines(pipe: impl Read + Send + 'static, lines: mpsc::Sender<Line>, kind: fn(String) -> Line) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // Lossy, because a guest's or compiler's output need not be UTF-8.
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_string();
            if lines.send(kind(line)).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

/// The processes below `ancestor`, by /proc; none where there is no /proc.
fn descendants(ancestor: u32) -> Vec<i32> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold anything, so count from the last closing one: state, then the parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        if let Some(parent) = parent {
            parents.push((id, parent));
        }
    }
    let mut found = vec![ancestor as i32];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(id, _)| *id));
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_captured_and_standard_error_is_not_part_of_it() {
        let text = capture(&mut shell("echo one; echo two >&2; printf three"), Duration::from_secs(10)).expect("sh runs");
        assert_eq!(text, "one\nthree\n");
    }

    #[test]
    fn a_failure_carries_what_the_program_complained_of() {
        let error = capture(&mut shell("echo broken pipe wrench >&2; exit 3"), Duration::from_secs(10)).expect_err("it fails");
        assert!(error.to_string().contains("broken pipe wrench"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let start = Instant::now();
        let error = capture(&mut shell("sleep 60 & sleep 61; wait"), Duration::from_millis(300)).expect_err("it hangs");
        assert!(error.to_string().contains("limit"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
