//! Counters at the end of a run, as text and as JSON.

use std::{fmt, time::Duration};

/// What a run did.
pub struct Report {
    /// The engine that ran the guest.
    pub engine: &'static str,
    /// Instructions executed.
    pub instructions: u64,
    /// From the start of the guest to its end.
    pub elapsed: Duration,
}

impl Report {
    /// One JSON object. It only ever gains fields.
    pub fn to_json(&self) -> String {
        format!(
            "{{\"version\": 1, \"engine\": \"{}\", \"seconds\": {:.6}, \"instructions\": {}}}\n",
            self.engine,
            self.elapsed.as_secs_f64(),
            self.instructions
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "engine        {}", self.engine)?;
        writeln!(f, "seconds       {seconds:.3}")?;
        writeln!(f, "instructions  {}", self.instructions)?;
        writeln!(f, "per second    {:.1} million", self.instructions as f64 / seconds.max(1e-9) / 1e6)
    }
}
