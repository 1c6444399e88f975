//! Saying what goes on: a spinner on a terminal, plain lines elsewhere.
//!
//! Rule: nothing but this file draws; without a terminal every line is complete, plain and written once.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal, how long to stay silent before saying that work goes on.
const REMINDER: Duration = Duration::from_secs(30);

/// One piece of work in progress.
pub struct Progress {
    name: String,
    bar: Option<ProgressBar>,
    start: Instant,
    reminded: Instant,
}

impl Progress {
    /// Announces `name`.
    pub fn start(name: &str) -> Self {
        let bar = is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg:.dim}") {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_string());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{name} ...");
        }
        Self { name: name.to_string(), bar, start: Instant::now(), reminded: Instant::now() }
    }

    /// Shows the latest sign of life, on a terminal only.
    pub fn show(&mut self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.replace('\t', " "));
        }
        self.tick();
    }

    /// To be called now and then.
    pub fn tick(&mut self) {
        if self.bar.is_none() && self.reminded.elapsed() >= REMINDER {
            self.reminded = Instant::now();
            eprintln!("{} ... {} s so far", self.name, self.start.elapsed().as_secs());
        }
    }

    /// Ends the display and gives the time it took.
    pub fn finish(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.start.elapsed()
    }
}

/// Whether a person is watching standard error.
pub fn is_terminal() -> bool {
    stderr().is_terminal()
}
