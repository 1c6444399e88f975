//! What was measured, as a table for people and as JSON for programs.
//!
//! Rule: a ratio says how many times as long the first runner takes; its own is 1. The JSON only ever gains fields.

use std::time::Duration;

/// The times of one runner.
pub struct Series {
    pub runner: String,
    pub version: String,
    /// For each mark, the seconds of each run.
    pub seconds: Vec<Vec<f64>>,
}

pub struct Report {
    pub benchmark: String,
    pub guest: String,
    /// What the columns are called.
    pub marks: Vec<&'static str>,
    pub series: Vec<Series>,
}

impl Series {
    pub fn new(runner: &str, version: String) -> Self {
        Self { runner: runner.to_string(), version, seconds: Vec::new() }
    }

    /// Adds the times of one run, one for each mark.
    pub fn add(&mut self, times: &[Duration]) {
        self.seconds.resize(times.len(), Vec::new());
        for (seconds, time) in self.seconds.iter_mut().zip(times) {
            seconds.push(time.as_secs_f64());
        }
    }
}

impl Report {
    pub fn table(&self) -> String {
        let mut text = format!("{}, {}\n\n", self.benchmark, self.guest);
        for (mark, name) in self.marks.iter().enumerate() {
            text.push_str(&format!("{:18} {:>9} {:>19} {:>8}   {name}\n", "", "median", "from - to", "ratio"));
            for series in &self.series {
                let Some(seconds) = series.seconds.get(mark) else { continue };
                let (low, high) = extremes(seconds);
                text.push_str(&format!(
                    "{:18} {:>7.2} s {:>8.2} - {:>6.2} s {:>8}   {}\n",
                    series.runner,
                    median(seconds),
                    low,
                    high,
                    self.ratio(mark, seconds).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                    series.version
                ));
            }
            text.push('\n');
        }
        text.push_str("ratio: the first runner's median divided by this one's; below 1 the first runner is faster\n");
        text
    }

    pub fn json(&self) -> String {
        let list = |items: Vec<String>| format!("[{}]", items.join(","));
        let series = self.series.iter().map(|series| {
            let marks = self.marks.iter().zip(&series.seconds).enumerate().map(|(mark, (name, seconds))| {
                let (low, high) = extremes(seconds);
                format!(
                    "{{\"name\":{},\"seconds\":{},\"median\":{:.4},\"low\":{low:.4},\"high\":{high:.4},\"ratio\":{}}}",
                    quoted(name),
                    list(seconds.iter().map(|time| format!("{time:.4}")).collect()),
                    median(seconds),
                    self.ratio(mark, seconds).map_or_else(|| "null".to_string(), |ratio| format!("{ratio:.4}")),
                )
            });
            let marks = list(marks.collect());
            format!("{{\"name\":{},\"version\":{},\"marks\":{marks}}}", quoted(&series.runner), quoted(&series.version))
        });
        format!(
            "{{\"version\":1,\"benchmark\":{},\"guest\":{},\"runners\":{}}}",
            quoted(&self.benchmark),
            quoted(&self.guest),
            list(series.collect())
        )
    }

    fn ratio(&self, mark: usize, seconds: &[f64]) -> Option<f64> {
        let first = self.series.first()?.seconds.get(mark)?;
        Some(median(first) / median(seconds)).filter(|ratio| ratio.is_finite())
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

pub fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for next in text.chars() {
        match next {
            '"' | '\\' => quoted.extend(['\\', next]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let series = |name: &str, seconds: &[f64]| Series {
            runner: name.into(),
            version: "1 \"x\"".into(),
            seconds: vec![seconds.to_vec()],
        };
        Report {
            benchmark: "boot".into(),
            guest: "linux".into(),
            marks: vec!["prompt"],
            series: vec![series("ours", &[4.0, 2.0, 3.0]), series("theirs", &[1.0, 2.0])],
        }
    }

    #[test]
    fn medians_of_odd_and_even_numbers_of_runs() {
        assert_eq!(median(&[4.0, 2.0, 3.0]), 3.0);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_table_shows_ratios_to_the_first_runner() {
        let table = report().table();
        let line = table.lines().find(|line| line.starts_with("theirs")).expect("it is there");
        assert!(line.contains("1.50 s") && line.contains("2.00"), "{line}");
    }

    #[test]
    fn the_json_is_quoted_and_complete() {
        assert_eq!(
            report().json(),
            "{\"version\":1,\"benchmark\":\"boot\",\"guest\":\"linux\",\"runners\":[\
             {\"name\":\"ours\",\"version\":\"1 \\\"x\\\"\",\"marks\":[{\"name\":\"prompt\",\"seconds\":[4.0000,2.0000,3.0000],\
             \"median\":3.0000,\"low\":2.0000,\"high\":4.0000,\"ratio\":1.0000}]},\
             {\"name\":\"theirs\",\"version\":\"1 \\\"x\\\"\",\"marks\":[{\"name\":\"prompt\",\"seconds\":[1.0000,2.0000],\
             \"median\":1.5000,\"low\":1.0000,\"high\":2.0000,\"ratio\":2.0000}]}]}"
        );
    }
}
