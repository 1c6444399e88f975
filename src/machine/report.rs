//! Counters at the end of a run, as text and as JSON.

use std::{fmt, time::Duration};

/// What a run did.
pub struct Report {
    /// The engine that ran the guest.
    pub engine: &'static str,
    /// Instructions executed, where they were counted.
    pub instructions: Option<u64>,
    /// What the engine has counted, by name.
    pub counters: Vec<(&'static str, u64)>,
    /// From the start of the guest to its end.
    pub elapsed: Duration,
}

impl Report {
    /// One JSON object. It only ever gains fields.
    pub fn to_json(&self) -> String {
        let instructions = self.instructions.map_or_else(|| "null".into(), |count| count.to_string());
        let counters: Vec<String> = self.counters.iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
        format!(
            "{{\"version\": 1, \"engine\": \"{}\", \"seconds\": {:.6}, \"instructions\": {instructions}, \"counters\": {{{}}}}}\n",
            self.engine,
            self.elapsed.as_secs_f64(),
            counters.join(", ")
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "engine        {}", self.engine)?;
        writeln!(f, "seconds       {seconds:.3}")?;
        match self.instructions {
            Some(count) => {
                writeln!(f, "instructions  {count}")?;
                writeln!(f, "per second    {:.1} million", count as f64 / seconds.max(1e-9) / 1e6)?;
            }
            None => writeln!(f, "instructions  not counted by this engine")?,
        }
        self.counters.iter().try_for_each(|(name, count)| writeln!(f, "{name:<13} {count}"))
    }
}
