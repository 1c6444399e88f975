//! `dragoman ctl`: asks a machine through its control socket, and prints the answer.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;

use super::{Reply, Request, State, Status};
use crate::failure::Failure;

/// How long a machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a machine can be asked.
#[derive(Subcommand)]
pub enum Command {
    /// Say how it is: which engine runs it, since when, and what each engine did.
    Status,
    /// Have it stand still: no instruction is executed and no guest time passes.
    Pause,
    /// Have it go on.
    Resume,
    /// End it, as Ctrl-A x does.
    Quit,
    /// Have another engine run it from now on; the guest does not notice.
    Switch {
        /// An engine, as --accel takes it.
        engine: String,
    },
}

impl Command {
    fn request(&self) -> Request {
        match self {
            Self::Status => Request::Status,
            Self::Pause => Request::Pause,
            Self::Resume => Request::Resume,
            Self::Quit => Request::Quit,
            Self::Switch { engine } => Request::Switch(engine.clone()),
        }
    }
}

/// Asks the machine behind the socket at `path`, and prints what it answers: as JSON, where that is wanted.
pub fn ask(path: &Path, command: &Command, is_json: bool) -> Result<ExitCode, Failure> {
    let line = exchange(path, &command.request())?;
    let reply = Reply::parse(&line)?;
    if is_json {
        println!("{}", String::from_utf8_lossy(&line).trim_end());
    } else if let Some(status) = &reply.status {
        print!("{}", text(command, status));
    }
    match reply.error {
        None => Ok(ExitCode::SUCCESS),
        Some(refusal) => {
            if !is_json {
                eprintln!("dragoman: {}", refusal.message);
            }
            Ok(ExitCode::from(refusal.status.max(1)))
        }
    }
}

/// The line that answers `request`.
fn exchange(path: &Path, request: &Request) -> Result<Vec<u8>, Failure> {
    let refused = |error: std::io::Error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                "no machine listens there; start one with `run --control unix:PATH`"
            }
            ErrorKind::PermissionDenied => "only the user who runs the machine can control it",
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "it does not answer; end the process if it must not go on",
            _ => "give the path that the machine was started with",
        };
        Failure::resource(format!("the machine at {} cannot be reached: {error}: {remedy}", path.display()))
    };
    let mut stream = UnixStream::connect(path).map_err(refused)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(refused)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(refused)?;
    stream.write_all(request.to_line().as_bytes()).map_err(refused)?;
    let mut line = Vec::new();
    BufReader::new(&stream).read_until(b'\n', &mut line).map_err(refused)?;
    if line.is_empty() {
        return Err(Failure::resource(format!("the machine at {} ended before it answered", path.display())));
    }
    Ok(line)
}

/// The answer to `command`, for people.
fn text(command: &Command, status: &Status) -> String {
    let Status { engine, guest_seconds, .. } = status;
    match command {
        Command::Status => describe(status),
        Command::Pause => format!("paused at {guest_seconds:.3} s of guest time\n"),
        Command::Resume => format!("running on from {guest_seconds:.3} s of guest time\n"),
        Command::Quit => format!("ended at {guest_seconds:.3} s of guest time\n"),
        Command::Switch { .. } => format!("{engine} runs the guest since {:.3} s of guest time\n", status.since),
    }
}

fn describe(status: &Status) -> String {
    let state = match status.state {
        State::Running => "running",
        State::Paused => "paused",
    };
    let mut text = format!("state         {state}\n");
    text += &format!("engine        {}, since {:.3} s of guest time\n", status.engine, status.since);
    text += &format!("guest time    {:.3} s\n", status.guest_seconds);
    text += &format!("host time     {:.3} s\n", status.host_seconds);
    text += &format!("switches      {}\n", status.switches);
    for totals in &status.engines {
        let instructions = totals.instructions.map_or_else(|| "not counted".into(), |count| count.to_string());
        text += &format!("{:<13} {:.3} s of guest time, instructions {instructions}\n", totals.engine, totals.seconds);
        let counters: Vec<_> = totals.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if !counters.is_empty() {
            text += &format!("{:<13} {}\n", "", counters.join(", "));
        }
    }
    text
}
