//! What is not as it should be, in the words of rows.

use dragoman_state::VcpuState;

use crate::row::{Place, Target, Value, shown};

/// One value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub what: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub got: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.got)
    }
}

impl Difference {
    /// `what` is `got` and should be `expected`.
    pub fn new(what: impl ToString, expected: impl ToString, got: impl ToString) -> Self {
        Self { what: what.to_string(), expected: expected.to_string(), got: got.to_string() }
    }

    /// A place that differs.
    pub fn of_place(place: Place, expected: Value, got: Value) -> Self {
        let target = Target::Place(place);
        Self::new(place, shown(&target, expected), shown(&target, got))
    }
}

/// The places in which two states differ.
pub fn between(expected: &VcpuState, got: &VcpuState) -> Vec<Difference> {
    if expected == got {
        return Vec::new();
    }
    let mut found: Vec<_> = Place::all()
        .filter_map(|place| {
            let (a, b) = (place.get(expected), place.get(got));
            (a != b).then(|| Difference::of_place(place, a, b))
        })
        .collect();
    if found.is_empty() {
        let (a, b) = (format!("{expected:#?}"), format!("{got:#?}"));
        let first = a.lines().zip(b.lines()).position(|(a, b)| a != b).unwrap_or(0);
        // The line that differs, with what leads to it.
        let shown =
            |text: &str| text.lines().take(first + 1).skip(first.saturating_sub(4)).map(str::trim).collect::<Vec<_>>().join(" ");
        found.push(Difference::new("what no row can name", shown(&a), shown(&b)));
    }
    found
}

/// The bytes in which two images of memory differ, runs of them together.
pub fn between_images(expected: &[(u64, Vec<u8>)], got: &[(u64, Vec<u8>)]) -> Vec<Difference> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for ((at, a), (_, b)) in expected.iter().zip(got) {
        let mut n = 0;
        while let Some(first) = (n..a.len()).find(|n| a[*n] != b[*n]) {
            let end = (first..a.len()).find(|n| a[*n] == b[*n]).unwrap_or(a.len()).min(first + 32);
            found.push(Difference::new(format!("memory at {:#x}", at + first as u64), hex(&a[first..end]), hex(&b[first..end])));
            n = end;
        }
    }
    found
}
