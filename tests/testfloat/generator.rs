//! TestFloat's generator as a child process: its cases, one line each.
//!
//! Rule of this file: what cannot be read as a case is an error, never passed over.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// What is computed from what, and what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TestCase {
    /// The operands' encodings.
    pub operands: [u128; 3],
    /// The result's.
    pub result: u128,
    /// TestFloat's flags: 1 inexact, 2 underflow, 4 overflow, 8 infinite, 16 invalid.
    pub flags: u8,
}

/// A running generator.
pub struct Generator {
    child: Child,
    lines: BufReader<ChildStdout>,
    line: Vec<u8>,
}

impl Generator {
    /// Starts `program` for `function`.
    pub fn start(program: &Path, function: &str, options: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(options).arg(function).stdin(Stdio::null()).stdout(Stdio::piped());
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{} cannot be started: {error}", program.display()));
        let mut child = command.spawn().map_err(named)?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("the generator has no output"))?;
        Ok(Self { child, lines: BufReader::with_capacity(1 << 16, output), line: Vec::new() })
    }

    /// The next case, of which `operands` are read; nothing where the generator has come to its end.
    pub fn next(&mut self, operands: usize) -> io::Result<Option<TestCase>> {
        self.line.clear();
        if self.lines.read_until(b'\n', &mut self.line)? == 0 {
            let status = self.child.wait()?;
            return if status.success() { Ok(None) } else { Err(io::Error::other(format!("the generator ended with {status}"))) };
        }
        let unreadable = || io::Error::other(format!("no case: {:?}", String::from_utf8_lossy(&self.line)));
        parse(self.line.trim_ascii_end(), operands).map(Some).ok_or_else(unreadable)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &[u8], operands: usize) -> Option<TestCase> {
    let mut case = TestCase::default();
    let mut rest = line;
    for operand in &mut case.operands[..operands] {
        *operand = number(&mut rest)?;
    }
    case.result = number(&mut rest)?;
    case.flags = number(&mut rest)?.try_into().ok()?;
    rest.is_empty().then_some(case)
}

/// Takes a number and the blank after it. Of hundreds of millions of lines every digit passes here.
fn number(rest: &mut &[u8]) -> Option<u128> {
    const FIRST_WORD: usize = 16;
    let length = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
    let (word, tail) = rest.split_at(length);
    *rest = tail.get(1..).unwrap_or_default();
    let (high, low) = word.split_at(length.saturating_sub(FIRST_WORD));
    if word.is_empty() || high.len() > FIRST_WORD {
        return None;
    }
    Some(u128::from(digits(high)?) << 64 | u128::from(digits(low)?))
}

/// At most sixteen digits.
fn digits(word: &[u8]) -> Option<u64> {
    let (mut value, mut invalid) = (0, 0);
    for byte in word {
        let digit = DIGITS[usize::from(*byte)];
        invalid |= digit & !0xf;
        value = value << 4 | u64::from(digit & 0xf);
    }
    (invalid == 0).then_some(value)
}

/// What each character is worth; 0xff where it is no digit.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whole_or_not_at_all() {
        let case = TestCase { operands: [0x8683_f7ff, 0xc07f_3fff, 0], result: 1, flags: 0x11 };
        assert_eq!(parse(b"8683F7FF C07F3FFF 1 11", 2), Some(case));
        assert_eq!(parse(b"8683F7FF C07F3FFF 1 11", 1), None);
        assert_eq!(parse(b"8683F7FF C07F3FFF 1 11", 3), None);
        assert_eq!(parse(b"8683F7FF C07G3FFF 1 11", 2), None);
        assert_eq!(parse(b"", 1), None);
    }
}
