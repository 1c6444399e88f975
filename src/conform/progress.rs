//! Signs of life on standard error, where that is a terminal.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use harness::matrix::{Matrix, Watch};

/// How often the line is written anew.
const TICK: Duration = Duration::from_millis(120);

/// One line that is written over and over.
pub struct Progress {
    /// The signal that asks for the end.
    signal: Arc<AtomicUsize>,
    is_terminal: bool,
    started: Instant,
    shown: Option<Instant>,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn start(signal: Arc<AtomicUsize>) -> Self {
        Self { signal, is_terminal: stderr().is_terminal(), started: Instant::now(), shown: None }
    }

    /// Takes the line away.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            // There is nobody to tell that the terminal is gone.
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Watch for Progress {
    fn progress(&mut self, oracle: &str, done: usize, total: usize, matrix: &Matrix) {
        if !self.is_terminal || self.shown.is_some_and(|shown| shown.elapsed() < TICK) {
            return;
        }
        self.shown = Some(Instant::now());
        let sum = matrix.total();
        let percent = done * 100 / total.max(1);
        let seconds = self.started.elapsed().as_secs();
        // As above.
        let _ = write!(
            stderr(),
            "\r\x1b[K{seconds:4} s  {oracle} {percent} %  {} cases, {} differ, {} skipped",
            sum.cases(),
            sum.fail,
            sum.skip
        );
    }

    fn is_stopped(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }
}
