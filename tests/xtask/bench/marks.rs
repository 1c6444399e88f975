//! What the guest's driver prints between the programs, and what follows from it: how long each took, and its checksum.
//!
//! Rule: the driver's source, guest-images/bench/run.c, says which lines there are; whatever else the guest prints is passed
//! over.

use std::time::{Duration, Instant};

use super::watch::Listener;

const PREFIX: &str = "bench: ";

/// One line of the driver.
#[derive(Debug, PartialEq, Eq)]
enum Mark<'a> {
    Ready,
    Begin(&'a str),
    End { name: &'a str, checksum: &'a str },
    Failed { name: &'a str, status: i32 },
    Done,
}

impl<'a> Mark<'a> {
    /// Nothing where the line is not one of the driver's. Something of the kernel's may stand before it.
    fn parse(line: &'a str) -> Option<Self> {
        let rest = &line[line.find(PREFIX)? + PREFIX.len()..];
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["ready"] => Some(Self::Ready),
            ["begin", name] => Some(Self::Begin(name)),
            ["end", name, checksum] => Some(Self::End { name, checksum }),
            ["failed", name, status] => Some(Self::Failed { name, status: status.parse().ok()? }),
            ["done"] => Some(Self::Done),
            _ => None,
        }
    }
}

/// How one program went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub name: String,
    pub time: Duration,
    /// The checksum, or why there is none.
    pub checksum: Result<String, String>,
}

/// Follows the driver from line to line.
#[derive(Default)]
pub struct Marks {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    pub ready: Option<Instant>,
    running: Option<(String, Instant)>,
    pub outcomes: Vec<Outcome>,
    is_done: bool,
    last: Option<Instant>,
}

impl Marks {
    /// The program that has begun and not ended.
    pub fn running(&self) -> Option<&str> {
        self.running.as_ref().map(|(name, _)| name.as_str())
    }

    fn take(&mut self, at: Instant, mark: &Mark) {
        self.last = Some(at);
        match *mark {
            Mark::Ready => self.ready = Some(at),
            Mark::Begin(name) => self.running = Some((name.to_string(), at)),
            Mark::End { name, checksum } => self.ended(at, name, Ok(checksum.to_string())),
            Mark::Failed { name, status } => self.ended(at, name, Err(reason(status))),
            Mark::Done => self.is_done = true,
        }
    }

    fn ended(&mut self, at: Instant, name: &str, checksum: Result<String, String>) {
        let Some((running, begin)) = self.running.take() else { return };
        let checksum = if running == name { checksum } else { Err(format!("{name} ended instead")) };
        self.outcomes.push(Outcome { name: running, time: at - begin, checksum });
    }
}

impl Listener for Marks {
    fn feed(&mut self, at: Instant, chunk: &[u8]) {
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(mark) = Mark::parse(&String::from_utf8_lossy(&line)) {
                self.take(at, &mark);
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.is_done
    }

    fn awaited(&self) -> String {
        match (self.ready, self.running()) {
            (None, _) => format!("{PREFIX}ready"),
            (_, Some(name)) => format!("{PREFIX}end {name}"),
            (_, None) => format!("{PREFIX}done"),
        }
    }

    fn since(&self) -> Option<Instant> {
        self.last
    }
}

/// A status as wait4 gives it, in words.
fn reason(status: i32) -> String {
    match status & 0x7f {
        0 => format!("status {}", status >> 8 & 0xff),
        signal => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_driver_are_understood_and_others_are_not() {
        assert_eq!(Mark::parse("bench: begin fib\r"), Some(Mark::Begin("fib")));
        assert_eq!(Mark::parse("[    1.0] random: bench: ready\r"), Some(Mark::Ready));
        assert_eq!(Mark::parse("bench: end fib 00ff"), Some(Mark::End { name: "fib", checksum: "00ff" }));
        assert_eq!(Mark::parse("bench: failed aes 4"), Some(Mark::Failed { name: "aes", status: 4 }));
        for other in ["", "bench: end fib", "bench: failed aes x", "bench: begin", "fib 00ff", "Run /bench/run as init process"] {
            assert_eq!(Mark::parse(other), None, "{other}");
        }
    }

    #[test]
    fn programs_are_timed_from_line_to_line_however_the_bytes_come() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut marks = Marks::default();
        marks.feed(after(1), b"Linux version\r\nbench: re");
        assert_eq!((marks.ready, marks.awaited().as_str()), (None, "bench: ready"));
        marks.feed(after(2), b"ady\r\nbench: begin fib\r\n");
        assert_eq!((marks.ready, marks.running()), (Some(after(2)), Some("fib")));
        marks.feed(after(5), b"bench: end fib 00ff\r\nbench: begin aes\r\n");
        assert_eq!((marks.awaited().as_str(), marks.since()), ("bench: end aes", Some(after(5))));
        marks.feed(after(6), b"bench: failed aes 25344\r\nbench: done\r\n");
        assert!(marks.is_complete());
        let ended = |name: &str, seconds, checksum| Outcome { name: name.into(), time: Duration::from_secs(seconds), checksum };
        let expected = [ended("fib", 3, Ok("00ff".into())), ended("aes", 1, Err("status 99".into()))];
        assert_eq!(marks.outcomes, expected);
    }

    #[test]
    fn the_line_of_another_program_is_no_success() {
        let mut marks = Marks::default();
        marks.feed(Instant::now(), b"bench: begin fib\nbench: end aes 00ff\n");
        assert_eq!(marks.outcomes[0].checksum, Err("aes ended instead".into()));
    }

    #[test]
    fn a_signal_is_told_from_a_status() {
        assert_eq!((reason(4).as_str(), reason(99 << 8).as_str(), reason(0x8b).as_str()), ("signal 4", "status 99", "signal 11"));
    }
}
