//! Watching a guest's serial output for what it must say, with the host's clock.
//!
//! Rule: a time is taken when the bytes arrive, not when they are looked at; whatever happens, the program is ended.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::{cache, process};

/// How often a file is looked at for more: the precision of its times.
const POLL: Duration = Duration::from_millis(5);

/// How long the last bytes of a program that has ended may take to arrive.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where a guest's serial bytes come out.
pub enum Serial {
    Output,
    /// A file that the program writes. An old one of that name is removed first.
    File(PathBuf),
}

/// A guest that can be started, and where it speaks.
pub struct Start {
    pub command: Command,
    pub serial: Serial,
}

/// Who looks for something in what a guest says.
pub trait Listener {
    /// Takes the next bytes, with the moment they came.
    fn feed(&mut self, at: Instant, chunk: &[u8]);
    /// Whether all has been said.
    fn is_complete(&self) -> bool;
    /// What has to come next.
    fn awaited(&self) -> String;
    /// From when the time limit counts, where not from the start.
    fn since(&self) -> Option<Instant> {
        None
    }
}

/// Starts it and gives the time from there to each of `marks`, which must come in this order.
pub fn watch(start: Start, complaints: File, marks: &[&str], limit: Duration) -> Result<Vec<Duration>> {
    let mut search = Search::new(marks);
    let (begin, outcome) = listen(start, complaints, &mut search, limit)?;
    outcome.map(|()| search.found.iter().map(|at| *at - begin).collect())
}

/// Starts it and lets `listener` have what it says, until that is complete. Gives the moment of the start, and whether all came.
pub fn listen(mut start: Start, complaints: File, listener: &mut dyn Listener, limit: Duration) -> Result<(Instant, Result<()>)> {
    let command = &mut start.command;
    command.stdin(Stdio::null()).stderr(complaints);
    command.stdout(if matches!(start.serial, Serial::Output) { Stdio::piped() } else { Stdio::null() });
    if let Serial::File(path) = &start.serial {
        // What an earlier run left there would be taken for this one's.
        cache::remove(path)?;
    }
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| format!("`{}` cannot be started", process::brief(command)))?;
    let (sender, chunks) = mpsc::channel();
    match (start.serial, child.stdout.take()) {
        (Serial::Output, Some(pipe)) => drop(thread::spawn(move || read(pipe, &sender))),
        (Serial::File(path), _) => drop(thread::spawn(move || follow(&path, &sender))),
        (Serial::Output, None) => {}
    }
    let mut said = Vec::new();
    let mut ended: Option<Instant> = None;
    let outcome = loop {
        if listener.is_complete() {
            break Ok(());
        }
        match chunks.recv_timeout(PATIENCE) {
            Ok((at, chunk)) => {
                listener.feed(at, &chunk);
                said.extend_from_slice(&chunk);
            }
            Err(RecvTimeoutError::Disconnected) => break Err(failure("the guest fell silent", listener, &said)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() && child.try_wait().ok().flatten().is_some() {
            ended = Some(Instant::now());
        }
        // Its last words may still be on their way.
        if ended.is_some_and(|at| at.elapsed() > PATIENCE) && !listener.is_complete() {
            break Err(failure("the guest ended", listener, &said));
        }
        if Instant::now() > listener.since().unwrap_or(begin) + limit {
            break Err(failure(&format!("{} s passed", limit.as_secs()), listener, &said));
        }
    };
    process::kill_family(&mut child);
    Ok((begin, outcome))
}

fn failure(what: &str, listener: &dyn Listener, said: &[u8]) -> anyhow::Error {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(10)..].join("\n");
    anyhow!("{what} before `{}` came; the last lines:\n{last}", listener.awaited())
}

/// Bytes with the moment they came.
type Chunk = (Instant, Vec<u8>);

/// Looks for marks, one after the other, in what comes bit by bit.
struct Search<'a> {
    marks: &'a [&'a str],
    found: Vec<Instant>,
    seen: Vec<u8>,
    /// Before this, the next mark does not begin.
    from: usize,
}

impl<'a> Search<'a> {
    fn new(marks: &'a [&'a str]) -> Self {
        Self { marks, found: Vec::new(), seen: Vec::new(), from: 0 }
    }
}

impl Listener for Search<'_> {
    fn feed(&mut self, at: Instant, chunk: &[u8]) {
        self.seen.extend_from_slice(chunk);
        while let Some(mark) = self.marks.get(self.found.len()) {
            let rest = &self.seen[self.from..];
            let Some(position) = rest.windows(mark.len()).position(|window| window == mark.as_bytes()) else {
                self.from = self.from.max((self.seen.len() + 1).saturating_sub(mark.len()));
                return;
            };
            self.from += position + mark.len();
            self.found.push(at);
        }
    }

    fn is_complete(&self) -> bool {
        self.found.len() == self.marks.len()
    }

    fn awaited(&self) -> String {
        self.marks.get(self.found.len()).copied().unwrap_or_default().to_string()
    }
}

fn read(mut pipe: impl Read, chunks: &Sender<Chunk>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        if chunks.send((Instant::now(), buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

/// Reads a file as it grows, until nobody listens any more.
fn follow(path: &Path, chunks: &Sender<Chunk>) {
    let mut file = None;
    let mut buffer = vec![0; 1 << 16];
    loop {
        if file.is_none() {
            file = File::open(path).ok();
        }
        let count = file.as_mut().map_or(0, |file| file.read(&mut buffer).unwrap_or(0));
        // An empty chunk asks whether somebody still listens.
        if chunks.send((Instant::now(), buffer[..count].to_vec())).is_err() {
            return;
        }
        if count == 0 {
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_across_chunks_and_in_order_only() {
        let mut search = Search::new(&["Linux version", "guest# "]);
        let start = Instant::now();
        search.feed(start, b"guest# BIOS\r\nLinux ver");
        assert_eq!(search.found.len(), 0);
        let later = start + Duration::from_secs(1);
        search.feed(later, b"sion 6.1\r\nguest");
        assert_eq!(search.found, [later]);
        search.feed(later, b"#");
        search.feed(later + Duration::from_secs(1), b" ");
        assert!(search.is_complete());
    }

    fn shell(script: &str) -> Start {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Start { command, serial: Serial::Output }
    }

    fn nowhere() -> File {
        File::create("/dev/null").expect("it is always there")
    }

    #[test]
    fn a_program_that_says_all_is_ended_and_timed() {
        let start = shell("echo one; sleep 0.3; echo two; exec sleep 60");
        let times = watch(start, nowhere(), &["one", "two"], Duration::from_secs(20)).expect("both come");
        assert!(times[1] - times[0] >= Duration::from_millis(250), "{times:?}");
    }

    #[test]
    fn a_file_is_followed_while_it_grows_and_the_end_of_its_program_is_seen() {
        let path = std::env::temp_dir().join(format!("dragoman-xtask-watch-{}", std::process::id()));
        let start = |script: &str| {
            let mut start = shell(script);
            start.command.env("SERIAL", &path);
            start.serial = Serial::File(path.clone());
            start
        };
        let script = "echo one >$SERIAL; sleep 0.3; echo two >>$SERIAL; sleep 60";
        let times = watch(start(script), nowhere(), &["one", "two"], Duration::from_secs(20)).expect("both come");
        assert!(times[1] - times[0] >= Duration::from_millis(250), "{times:?}");
        let begin = Instant::now();
        let error = watch(start("echo panic >$SERIAL"), nowhere(), &["two"], Duration::from_secs(30)).expect_err("it ended");
        assert!(error.to_string().contains("the guest ended") && begin.elapsed() < Duration::from_secs(10), "{error}");
        std::fs::remove_file(&path).expect("it was written");
    }

    #[test]
    fn a_program_that_ends_or_hangs_is_reported_with_its_last_lines() {
        let error = watch(shell("echo panic"), nowhere(), &["guest# "], Duration::from_secs(20)).expect_err("it ended");
        assert!(error.to_string().contains("panic"), "{error}");
        let error = watch(shell("sleep 60"), nowhere(), &["x"], Duration::from_millis(300)).expect_err("it hangs");
        assert!(error.to_string().contains("before `x`"), "{error}");
    }
}
