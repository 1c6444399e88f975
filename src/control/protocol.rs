//! What is said on the control socket: a line of JSON asks, and a line of JSON answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The version of the protocol. It changes where what was there before changes, which it is not meant to.
const VERSION: u32 = 1;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How the machine is.
    Status,
    /// That it stands still.
    Pause,
    /// That it goes on.
    Resume,
    /// That it ends.
    Quit,
    /// That this engine runs it from now on.
    Switch(String),
}

/// A request as it is written. A field that nobody knows is refused, lest somebody believe that it did something.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
}

impl Request {
    /// The request that `line` is.
    pub fn parse(line: &[u8]) -> Result<Self, Failure> {
        let Line { command, engine } = serde_json::from_slice(line).map_err(|error| {
            Failure::usage(format!("this is no request: {error}; write one line such as {{\"command\":\"status\"}}"))
        })?;
        match (command.as_str(), engine) {
            ("switch", Some(engine)) => Ok(Self::Switch(engine)),
            ("switch", None) => Err(Failure::usage("switch needs an engine: add one, as in \"engine\":\"interp\"")),
            (_, Some(_)) => Err(Failure::usage(format!("{command} takes no engine: leave the field away"))),
            ("status", None) => Ok(Self::Status),
            ("pause", None) => Ok(Self::Pause),
            ("resume", None) => Ok(Self::Resume),
            ("quit", None) => Ok(Self::Quit),
            _ => {
                Err(Failure::usage(format!("no command is called {command:?}; there are status, pause, resume, quit and switch")))
            }
        }
    }

    /// The line that asks it.
    pub fn to_line(&self) -> String {
        let (command, engine) = match self {
            Self::Status => ("status", None),
            Self::Pause => ("pause", None),
            Self::Resume => ("resume", None),
            Self::Quit => ("quit", None),
            Self::Switch(engine) => ("switch", Some(engine.clone())),
        };
        to_line(&Line { command: command.into(), engine })
    }
}

/// Whether the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does.
    Running,
    /// It was told to stand still.
    Paused,
}

/// How the machine is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program that runs it.
    pub program: String,
    /// Whether it runs.
    pub state: State,
    /// The engine that has it.
    pub engine: String,
    /// Since when, in seconds of guest time.
    pub since: f64,
    /// Seconds of guest time since power-on.
    pub guest_seconds: f64,
    /// Seconds since power-on for everybody else: pauses count.
    pub host_seconds: f64,
    /// How often another engine took it over.
    pub switches: u64,
    /// What each engine did.
    pub engines: Vec<EngineTotals>,
}

/// What an engine did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineTotals {
    /// Its name.
    pub engine: String,
    /// Seconds of guest time that it had the guest.
    pub seconds: f64,
    /// Instructions that it executed, where it counted them.
    pub instructions: Option<u64>,
    /// What else it counted.
    pub counters: BTreeMap<String, u64>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One sentence, with cause and remedy.
    pub message: String,
    /// With what status a program ends for that reason.
    pub status: u8,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The version of the protocol.
    pub version: u32,
    /// How the machine is now that the request was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Or why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
}

impl From<Result<Status, Failure>> for Reply {
    fn from(result: Result<Status, Failure>) -> Self {
        let (status, error) = match result {
            Ok(status) => (Some(status), None),
            Err(failure) => (None, Some(Refusal { message: failure.to_string(), status: failure.status() as u8 })),
        };
        Self { version: VERSION, status, error }
    }
}

impl Reply {
    /// The answer that `line` is.
    pub fn parse(line: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(line)
            .map_err(|error| Failure::resource(format!("what answers there is no machine of this program: {error}")))
    }

    /// The line that gives it.
    pub fn to_line(&self) -> String {
        to_line(self)
    }
}

fn to_line(said: &impl Serialize) -> String {
    let Ok(line) = serde_json::to_string(said) else { unreachable!("numbers and texts can be written as JSON") };
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for request in [Request::Status, Request::Pause, Request::Resume, Request::Quit, Request::Switch("jit".into())] {
            let line = request.to_line();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(Request::parse(line.as_bytes()).expect("ours"), request);
        }
        assert_eq!(Request::Switch("a\"b\n".into()).to_line(), "{\"command\":\"switch\",\"engine\":\"a\\\"b\\n\"}\n");
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_would_be_one() {
        for (line, says) in [
            (&b"hello"[..], "{\"command\":\"status\"}"),
            (b"", "{\"command\":\"status\"}"),
            (b"[1,2]", "no request"),
            (b"{\"command\":\"status\"} {}", "trailing"),
            (b"{\"command\":7}", "invalid type"),
            (b"\xff\xfe{", "no request"),
            (b"{\"command\":\"fly\"}", "status, pause, resume, quit and switch"),
            (b"{\"command\":\"switch\"}", "\"engine\":\"interp\""),
            (b"{\"command\":\"pause\",\"engine\":\"jit\"}", "takes no engine"),
            (b"{\"command\":\"pause\",\"until\":5}", "until"),
        ] {
            let failure = Request::parse(line).expect_err("it is none");
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.status() as u8, 2);
        }
        assert!(Request::parse("[".repeat(1 << 20).as_bytes()).is_err(), "however deep it is");
    }

    #[test]
    fn an_answer_may_have_fields_that_came_later() {
        let text = br#"{"version":1,"status":{"program":"9","state":"paused","engine":"kvm","since":1.5,"guest_seconds":2.5,
            "host_seconds":3.5,"switches":4,"engines":[{"engine":"kvm","seconds":1.0,"instructions":null,"counters":{"exits":5},
            "more":1}],"more":[]},"more":{}}"#;
        let status = Reply::parse(text).expect("it is one").status.expect("no error");
        assert_eq!((status.state, status.engines[0].counters["exits"]), (State::Paused, 5));
        let reply = Reply::from(Err(Failure::accelerator("no")));
        assert_eq!(reply.to_line(), "{\"version\":1,\"error\":{\"message\":\"no\",\"status\":12}}\n");
        assert_eq!(Reply::parse(reply.to_line().as_bytes()).expect("ours"), reply);
    }
}
