//! A guest on a pipe: started, typed to, read from, waited for. Nothing here waits without a limit.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// The program under test. Where it was compiled for another processor, `DRAGOMAN_RUNNER` holds the command that runs it,
/// one word a line.
pub fn dragoman() -> Command {
    let program = env!("CARGO_BIN_EXE_dragoman");
    let runner = std::env::var("DRAGOMAN_RUNNER").unwrap_or_default();
    let mut words = runner.lines().chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words);
    command
}

/// Where guests are, where `cargo xtask guest` has made them; prints why a test is skipped where not.
pub fn guests(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DRAGOMAN_GUESTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there; `cargo xtask guest` makes it", path.display());
    None
}

/// What the KVM that runs guests here runs them by: hardware, nested or software. Prints why a test is skipped where there is
/// none.
pub fn kvm_kind() -> Option<&'static str> {
    static FOUND: OnceLock<Result<String, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let output = run(&["doctor", "--json"]);
        let findings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let kvm = &findings["kvm"];
        if kvm["usable"] == true { Ok(kvm["kind"].as_str().unwrap_or_default().into()) } else { Err(kvm["problem"].to_string()) }
    });
    if let Err(problem) = found {
        println!("skipped: there is no KVM that runs guests here: {problem}");
    }
    found.as_deref().ok()
}

/// Whether this test runs on an emulated host, where booting a kernel takes too long.
pub fn is_emulated_host() -> bool {
    let is_emulated = std::env::var_os("DRAGOMAN_EMULATED_HOST").is_some();
    if is_emulated {
        println!("skipped: the host is emulated");
    }
    is_emulated
}

/// Runs to the end, with nothing on standard input.
pub fn run(arguments: &[&str]) -> Output {
    dragoman().args(arguments).stdin(Stdio::null()).output().expect("the program can be started")
}

/// Expects a failure: its status, and what its one sentence says.
pub fn refused(arguments: &[&str], status: i32, says: &[&str]) {
    let output = run(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?} wrote to standard output");
    assert!(message.starts_with("dragoman: ") && message.trim_end().lines().count() == 1, "{arguments:?}: {message}");
    for part in says {
        assert!(message.contains(part), "{arguments:?} does not say {part:?}: {message}");
    }
}

/// A guest that runs.
pub struct Guest {
    child: Child,
    input: Option<ChildStdin>,
    pieces: Receiver<Vec<u8>>,
    /// Everything it printed.
    pub transcript: Vec<u8>,
    seen: usize,
}

impl Guest {
    /// Starts `dragoman run` with `arguments`.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = dragoman()
            .arg("run")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut output = child.stdout.take().expect("it is piped");
        let (send, pieces) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, pieces, transcript: Vec::new(), seen: 0 }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `text` is printed and gives what came before it, since the last wait.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            let new = &self.transcript[self.seen..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text.as_bytes()) {
                let before = String::from_utf8_lossy(&new[..at]).into_owned();
                self.seen += at + text.len();
                return before;
            }
            match self.pieces.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.transcript.extend(piece),
                Err(why) => self.fail(text, why),
            }
        }
    }

    fn fail(&mut self, text: &str, why: RecvTimeoutError) -> ! {
        let _ = self.child.kill();
        let tail = &self.transcript[self.transcript.len().saturating_sub(3000)..];
        panic!("{text:?} did not come ({why}); the guest's last words:\n{}", String::from_utf8_lossy(tail));
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not closed yet");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the program reads");
    }

    /// Types a command and gives what it prints, up to the next prompt. The command fits a line of the terminal: the shell
    /// would break a longer one.
    pub fn ask(&mut self, command: &str, limit: Duration) -> String {
        self.type_line(command);
        // The shell echoes what is typed.
        self.wait_for("\n", limit);
        self.wait_for(PROMPT, limit).replace('\r', "").replace("\x1b[6n", "").trim().to_string()
    }

    /// Waits for the program's end and gives its exit status.
    pub fn status(mut self, limit: Duration) -> Option<i32> {
        drop(self.input.take());
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            if Instant::now() > end {
                self.fail("the end", RecvTimeoutError::Timeout);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The prompt of our guests' shell.
pub const PROMPT: &str = "guest# ";
