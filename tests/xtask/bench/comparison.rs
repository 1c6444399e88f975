//! What the benchmark `programs` measured: a row for each program, means by group, as a table and as JSON.
//!
//! Rule: a ratio is a runner's median divided by the first runner's: above 1, the first is faster. A program whose checksums
//! differ counts in no mean. The JSON only ever gains fields.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::report::{extremes, median};

pub struct Comparison {
    pub guest: String,
    pub scale: f64,
    pub runs: u32,
    /// Which compiler made the programs.
    pub compiler: String,
    /// Each runner's name and version.
    pub runners: Vec<(String, String)>,
    pub rows: Vec<Row>,
}

/// One program.
pub struct Row {
    pub group: String,
    pub name: String,
    pub count: u64,
    pub host: Option<Host>,
    /// For each runner.
    pub cells: Vec<Cell>,
}

/// What the host itself computed.
pub struct Host {
    pub seconds: f64,
    pub checksum: String,
}

/// One program on one runner.
#[derive(Clone, Default)]
pub struct Cell {
    pub seconds: Vec<f64>,
    pub checksums: BTreeSet<String>,
    /// The last failure.
    pub failure: Option<String>,
}

impl Cell {
    pub fn add(&mut self, seconds: f64) {
        self.seconds.push(seconds);
    }
}

impl Row {
    pub fn new(group: &str, name: &str, count: u64, runners: usize) -> Self {
        Self { group: group.into(), name: name.into(), count, host: None, cells: vec![Cell::default(); runners] }
    }

    /// All checksums there are, the host's among them.
    fn checksums(&self) -> BTreeSet<&str> {
        let of_cells = self.cells.iter().flat_map(|cell| &cell.checksums);
        of_cells.chain(self.host.iter().map(|host| &host.checksum)).map(String::as_str).collect()
    }

    /// Whether every run ended, and with the same checksum.
    fn is_right(&self) -> bool {
        self.checksums().len() <= 1 && self.cells.iter().all(|cell| cell.failure.is_none())
    }

    fn ratio(&self, runner: usize) -> Option<f64> {
        let ratio = median(&self.cells[runner].seconds) / median(&self.cells[0].seconds);
        (self.checksums().len() <= 1 && ratio.is_finite()).then_some(ratio)
    }

    fn verdict(&self) -> String {
        let checksums = self.checksums();
        if let Some(failure) = self.cells.iter().find_map(|cell| cell.failure.as_deref()) {
            return format!("FAILED: {}", failure.lines().next().unwrap_or_default());
        }
        match checksums.len() {
            0 => String::new(),
            1 => format!("ok{}", if self.host.is_some() { "" } else { " (not run here)" }),
            _ => format!("DIFFER: {}", checksums.into_iter().collect::<Vec<_>>().join(" ")),
        }
    }
}

/// The geometric mean of some ratios; nothing where there are none.
fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (logarithms / ratios.len() as f64).exp())
}

impl Comparison {
    /// Whether no program failed and no checksums differ.
    pub fn is_right(&self) -> bool {
        self.rows.iter().all(Row::is_right)
    }

    /// The groups in the order of their first rows, and at last all programs together; the boot is no program.
    fn groups(&self) -> Vec<&str> {
        let mut groups = Vec::new();
        for row in self.rows.iter().filter(|row| row.count > 0) {
            if !groups.contains(&row.group.as_str()) {
                groups.push(&row.group);
            }
        }
        groups.push("all");
        groups
    }

    /// The ratios of a runner in a group.
    fn ratios(&self, group: &str, runner: usize) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.count > 0 && (group == "all" || row.group == group));
        rows.filter_map(|row| row.ratio(runner)).collect()
    }

    pub fn table(&self) -> String {
        let Self { guest, scale, runs, compiler, .. } = self;
        let mut text = format!("programs, {guest}, scale {scale}, runs {runs}; compiled by {compiler}\n");
        for (name, version) in &self.runners {
            text.push_str(&format!("{name:16} {version}\n"));
        }
        text.push_str(&format!("\n{:8} {:13}", "group", "program"));
        for (name, _) in &self.runners {
            text.push_str(&format!("  {name:>25}"));
        }
        for (name, _) in &self.runners[1..] {
            text.push_str(&format!("  {name:>9}"));
        }
        text.push_str(&format!("  {:>8}  checksum\n", "host"));
        for row in &self.rows {
            let mut line = format!("{:8} {:13}", row.group, row.name);
            for cell in &row.cells {
                line.push_str(&format!("  {:>25}", seconds(cell)));
            }
            for runner in 1..row.cells.len() {
                line.push_str(&format!("  {:>9}", shown(row.ratio(runner))));
            }
            let host = row.host.as_ref().map_or_else(String::new, |host| format!("{:.2} s", host.seconds));
            line.push_str(&format!("  {host:>8}  {}", row.verdict()));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if self.runners.len() > 1 {
            text.push_str("\ngeometric means of the ratios\n");
            for group in self.groups() {
                text.push_str(&format!("{group:22}"));
                for runner in 1..self.runners.len() {
                    let ratios = self.ratios(group, runner);
                    let count = format!("({})", ratios.len());
                    text.push_str(&format!("  {:>9} {count:5}", shown(geometric_mean(&ratios))));
                }
                text.truncate(text.trim_end().len());
                text.push('\n');
            }
            text.push_str(&format!(
                "\nratio: a runner's median divided by that of {}; above 1 {} is faster\n",
                self.runners[0].0, self.runners[0].0
            ));
        }
        text
    }

    pub fn json(&self) -> String {
        let programs: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let mut means = Vec::new();
        for group in self.groups() {
            for (runner, (name, _)) in self.runners.iter().enumerate().skip(1) {
                let ratios = self.ratios(group, runner);
                let mean = geometric_mean(&ratios).map(rounded);
                means.push(json!({ "group": group, "runner": name, "programs": ratios.len(), "over_first": mean }));
            }
        }
        let runners: Vec<Value> =
            self.runners.iter().map(|(name, version)| json!({ "name": name, "version": version })).collect();
        json!({
            "version": 1,
            "benchmark": "programs",
            "guest": self.guest,
            "scale": self.scale,
            "runs": self.runs,
            "compiler": self.compiler,
            "runners": runners,
            "programs": programs,
            "means": means,
        })
        .to_string()
    }

    fn row_json(&self, row: &Row) -> Value {
        let cells = self.runners.iter().zip(&row.cells).enumerate().map(|(runner, ((name, _), cell))| {
            let (low, high) = extremes(&cell.seconds);
            json!({
                "name": name,
                "seconds": cell.seconds.iter().copied().map(rounded).collect::<Vec<_>>(),
                "median": rounded(median(&cell.seconds)),
                "low": rounded(low),
                "high": rounded(high),
                "over_first": row.ratio(runner).map(rounded),
                "checksums": cell.checksums,
                "failure": cell.failure,
            })
        });
        json!({
            "name": row.name,
            "group": row.group,
            "count": row.count,
            "right": row.is_right(),
            "host": row.host.as_ref().map(|host| json!({ "seconds": rounded(host.seconds), "checksum": host.checksum })),
            "runners": cells.collect::<Vec<_>>(),
        })
    }
}

/// To a tenth of a millisecond; what is no number becomes null.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn seconds(cell: &Cell) -> String {
    if cell.seconds.is_empty() {
        return "-".into();
    }
    let (low, high) = extremes(&cell.seconds);
    format!("{:.2} s ({low:.2} - {high:.2})", median(&cell.seconds))
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: &str, name: &str, ours: &[f64], theirs: &[f64], checksums: [&str; 2]) -> Row {
        let cell = |seconds: &[f64], checksum: &str| Cell {
            seconds: seconds.to_vec(),
            checksums: BTreeSet::from([checksum.to_string()]),
            failure: None,
        };
        let host = Some(Host { seconds: 0.25, checksum: checksums[0].into() });
        let cells = vec![cell(ours, checksums[0]), cell(theirs, checksums[1])];
        Row { group: group.into(), name: name.into(), count: 10, host, cells }
    }

    fn comparison(rows: Vec<Row>) -> Comparison {
        let runners = vec![("ours".to_string(), "1".to_string()), ("theirs".to_string(), "2 \"x\"".to_string())];
        Comparison { guest: "linux".into(), scale: 0.5, runs: 3, compiler: "gcc 12".into(), runners, rows }
    }

    #[test]
    fn the_geometric_mean_of_a_half_and_of_eight_is_two() {
        assert!((geometric_mean(&[0.5, 8.0]).expect("there are some") - 2.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn a_ratio_is_theirs_over_ours_and_means_are_by_group() {
        let mut boot = row("boot", "boot", &[9.0], &[1.0], ["", ""]);
        (boot.count, boot.host, boot.cells[0].checksums, boot.cells[1].checksums) = (0, None, BTreeSet::new(), BTreeSet::new());
        let fast = row("integer", "fib", &[1.0, 3.0, 2.0], &[4.0], ["aa", "aa"]);
        let slow = row("integer", "lz", &[8.0], &[4.0], ["bb", "bb"]);
        let other = row("memory", "chase", &[1.0], &[16.0], ["cc", "cc"]);
        let comparison = comparison(vec![boot, fast, slow, other]);
        assert!(comparison.is_right());
        let table = comparison.table();
        let line = |start: &str| table.lines().rfind(|line| line.starts_with(start)).expect("it is there").to_string();
        let words = |start: &str| line(start).split_whitespace().map(str::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(words("integer  fib"), "integer fib 2.00 s (1.00 - 3.00) 4.00 s (4.00 - 4.00) 2.000 0.25 s ok");
        assert_eq!(words("boot "), "boot boot 9.00 s (9.00 - 9.00) 1.00 s (1.00 - 1.00) 0.111");
        assert_eq!(words("integer   "), "integer 1.000 (2)");
        assert_eq!(words("memory   "), "memory 16.000 (1)");
        assert_eq!(words("all "), "all 2.520 (3)");
        assert!(line("programs, linux").contains("scale 0.5, runs 3; compiled by gcc 12"));
    }

    #[test]
    fn checksums_that_differ_are_shown_and_count_in_no_mean() {
        let comparison = comparison(vec![row("integer", "fib", &[1.0], &[2.0], ["aa", "bb"])]);
        assert!(!comparison.is_right());
        assert!(comparison.table().contains("DIFFER: aa bb"));
        assert!(comparison.ratios("integer", 1).is_empty());
    }

    #[test]
    fn a_program_that_failed_is_named_with_its_reason() {
        let mut failed = row("float", "aes", &[1.0], &[], ["aa", "aa"]);
        failed.cells[1].failure = Some("signal 4".into());
        let comparison = comparison(vec![failed]);
        assert!(!comparison.is_right() && comparison.table().contains("FAILED: signal 4"));
        let json: Value = serde_json::from_str(&comparison.json()).expect("it is JSON");
        assert_eq!(json["programs"][0]["runners"][1]["failure"], "signal 4");
        assert_eq!(json["programs"][0]["runners"][1]["median"], Value::Null);
    }

    #[test]
    fn the_json_holds_the_scale_and_every_run() {
        let comparison = comparison(vec![row("integer", "fib", &[1.0, 3.0, 2.0], &[4.0], ["aa", "aa"])]);
        let json: Value = serde_json::from_str(&comparison.json()).expect("it is JSON");
        assert_eq!((&json["scale"], &json["runs"], &json["runners"][1]["version"]), (&json!(0.5), &json!(3), &json!("2 \"x\"")));
        let program = &json["programs"][0];
        assert_eq!((&program["right"], &program["host"]["checksum"]), (&json!(true), &json!("aa")));
        assert_eq!(program["runners"][0]["seconds"], json!([1.0, 3.0, 2.0]));
        assert_eq!(program["runners"][1]["over_first"], json!(2.0));
        let mean = json!({ "group": "integer", "runner": "theirs", "programs": 1, "over_first": 2.0 });
        assert_eq!(json["means"][0], mean);
    }
}
