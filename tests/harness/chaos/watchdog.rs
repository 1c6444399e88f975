//! Whoever runs random code must notice when it does not come back.

use std::{
    io::Write as _,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(250);

/// What is being run, and since when.
type Running = Mutex<Option<(Instant, String)>>;

/// Ends the process, with a word on what was running, when a case takes too long.
pub struct Watchdog(Arc<Running>);

impl Watchdog {
    /// A watchdog that lets a case take `limit`.
    pub fn new(limit: Duration) -> Self {
        let running = Arc::new(Running::default());
        let watched = Arc::downgrade(&running);
        thread::spawn(move || watch(&watched, limit));
        Self(running)
    }

    /// Runs `work`; `what` is told where it takes too long.
    pub fn guard<R>(&self, what: String, work: impl FnOnce() -> R) -> R {
        self.set(Some((Instant::now(), what)));
        let result = work();
        self.set(None);
        result
    }

    fn set(&self, running: Option<(Instant, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }
}

fn watch(watched: &Weak<Running>, limit: Duration) {
    while let Some(running) = watched.upgrade() {
        let overdue = match &*running.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((since, what)) if since.elapsed() > limit => Some(what.clone()),
            _ => None,
        };
        if let Some(what) = overdue {
            // Past what a test's output is captured by: nobody will be there to print it.
            let _ = writeln!(std::io::stderr(), "no end after {} s: {what}", limit.as_secs());
            std::process::abort();
        }
        drop(running);
        thread::sleep(TICK);
    }
}
