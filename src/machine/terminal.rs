//! The user's terminal: raw while a guest runs on it, restored however the run ends, and the keys that are ours.

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// A terminal in raw mode. Dropping it restores the terminal.
pub struct RawTerminal {
    saved: Termios,
}

impl RawTerminal {
    /// Puts standard input in raw mode, where it is a terminal.
    pub fn enter() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return None;
        }
        let saved = tcgetattr(stdin).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        // Our own messages, and what a guest prints before it sets up its console, still start at the left edge.
        raw.output_modes = saved.output_modes;
        tcsetattr(stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { saved })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.saved);
    }
}

/// What a key sequence of ours means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// End the run.
    Quit,
    /// List the keys.
    Help,
}

/// Takes the sequences that begin with Ctrl-A out of what the user types.
#[derive(Debug, Default)]
pub struct Escapes {
    is_armed: bool,
}

const CTRL_A: u8 = 1;

/// The keys there are.
pub const KEYS: &str = "Ctrl-A x  quit\nCtrl-A h  this help\nCtrl-A Ctrl-A  send one Ctrl-A";

impl Escapes {
    /// What of `typed` is for the guest, and the last of our keys among it.
    pub fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, Option<Key>) {
        let (mut rest, mut key) = (Vec::with_capacity(typed.len()), None);
        for byte in typed {
            match (std::mem::take(&mut self.is_armed), byte) {
                (false, &CTRL_A) => self.is_armed = true,
                (true, b'x' | b'X') => key = Some(Key::Quit),
                (true, b'h' | b'H' | b'?') => key = Some(Key::Help),
                (_, byte) => rest.push(*byte),
            }
        }
        (rest, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_after_ctrl_a_are_ours_wherever_the_input_is_cut() {
        let mut escapes = Escapes::default();
        assert_eq!(escapes.filter(b"ls\x01"), (b"ls".to_vec(), None));
        assert_eq!(escapes.filter(b"xrest"), (b"rest".to_vec(), Some(Key::Quit)));
        assert_eq!(escapes.filter(b"\x01h"), (vec![], Some(Key::Help)));
    }

    #[test]
    fn two_ctrl_a_send_one() {
        assert_eq!(Escapes::default().filter(b"a\x01\x01b"), (b"a\x01b".to_vec(), None));
    }
}
