//! Counters at the end of a run, as text and as JSON.

use std::{fmt, time::Duration};

use super::ledger::{Account, Ledger};

/// What a run did.
pub struct Report {
    /// The engine that ran the guest last.
    pub engine: &'static str,
    /// What each engine did.
    pub ledger: Ledger,
    /// How often another engine took the guest over.
    pub switches: u64,
    /// From the start of the guest to its end.
    pub elapsed: Duration,
}

fn number(count: Option<u64>) -> String {
    count.map_or_else(|| "null".into(), |count| count.to_string())
}

fn object(counters: &[(&str, u64)]) -> String {
    let fields: Vec<String> = counters.iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
    format!("{{{}}}", fields.join(", "))
}

impl Report {
    /// One JSON object. It only ever gains fields.
    pub fn to_json(&self) -> String {
        let account = |account: &Account| {
            format!(
                "{{\"engine\": \"{}\", \"seconds\": {:.6}, \"instructions\": {}, \"counters\": {}}}",
                account.engine,
                seconds(account.ran.0),
                number(account.instructions),
                object(&account.counters)
            )
        };
        let engines: Vec<String> = self.ledger.accounts().iter().map(account).collect();
        format!(
            "{{\"version\": 1, \"engine\": \"{}\", \"seconds\": {:.6}, \"instructions\": {}, \"counters\": {}, \
             \"switches\": {}, \"engines\": [{}]}}\n",
            self.engine,
            self.elapsed.as_secs_f64(),
            number(self.ledger.instructions()),
            object(&self.ledger.counters()),
            self.switches,
            engines.join(", ")
        )
    }
}

/// Nanoseconds as seconds.
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.elapsed.as_secs_f64();
        writeln!(f, "engine        {}", self.engine)?;
        writeln!(f, "seconds       {elapsed:.3}")?;
        match self.ledger.instructions() {
            Some(count) => {
                writeln!(f, "instructions  {count}")?;
                writeln!(f, "per second    {:.1} million", count as f64 / elapsed.max(1e-9) / 1e6)?;
            }
            None => writeln!(f, "instructions  not counted by this engine")?,
        }
        if self.switches > 0 {
            writeln!(f, "switches      {}", self.switches)?;
            for account in self.ledger.accounts() {
                writeln!(f, "by {:<10} {:.3} seconds", account.engine, seconds(account.ran.0))?;
            }
        }
        self.ledger.counters().iter().try_for_each(|(name, count)| writeln!(f, "{name:<13} {count}"))
    }
}
