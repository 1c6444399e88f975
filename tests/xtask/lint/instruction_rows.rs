//! Every instruction that has a meaning has rows that judge it.
//!
//! Rule: a mnemonic in the tables of frontend/semantics stands in at least one row below tests/insn. Until there are rows
//! at all, nothing is asked.

use std::collections::BTreeSet;

use super::{Finding, rust, rust_source};
use crate::tree::File;

/// Mnemonics that a row cannot judge, each with the reason.
const EXEMPT: &[(&str, &str)] = &[];

/// Words that may stand before the mnemonic in a row's text.
const PREFIXES: [&str; 9] = ["lock", "rep", "repe", "repne", "xacquire", "xrelease", "bnd", "notrack", "o16"];

pub fn findings(files: &[File]) -> Vec<Finding> {
    let judged: BTreeSet<String> = files
        .iter()
        .filter(|file| file.path.starts_with("tests/insn/") && !file.path.ends_with(".rs"))
        .filter_map(File::text)
        .flat_map(|text| text.lines().filter_map(mnemonic_of_row))
        .collect();
    if judged.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (file, text) in rust(files).filter(|(file, _)| file.path.starts_with("frontend/semantics/")) {
        for (index, line) in rust_source::parts(text).code.lines().enumerate() {
            let Some(rest) = line.trim_start().strip_prefix("row(Mnemonic::") else { continue };
            let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            let mnemonic = name.to_ascii_lowercase();
            if !judged.contains(&mnemonic) && !EXEMPT.iter().any(|(exempt, _)| *exempt == mnemonic) {
                found.push(Finding::new(file, index + 1, format!("{mnemonic} has no row in tests/insn")));
            }
        }
    }
    found
}

/// `mode | bytes | text | in => out ; source`
fn mnemonic_of_row(line: &str) -> Option<String> {
    if line.trim_start().starts_with(['#', ';']) {
        return None;
    }
    let mut fields = line.split('|');
    let text = fields.nth(2)?;
    // A row has a fourth field.
    fields.next()?;
    text.split_whitespace().find(|word| !PREFIXES.contains(word)).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn a_mnemonic_without_a_row_is_found() {
        let table = file(
            "frontend/semantics/integer/arithmetic.rs",
            "        row(Mnemonic::Adc,  adc, PLAIN),\n        row(Mnemonic::Sub, sub, PLAIN),\n",
        );
        let rows = file("tests/insn/adc.ins", "# rows\nlong64 | f0 48 11 c3 | lock adc rbx,rax | rax=0 => rbx=0 ; SDM 2 ADC\n");
        let found = findings(&[table.clone(), rows]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].text.as_str()), (2, "sub has no row in tests/insn"));
        assert_eq!(findings(&[table]), [], "nothing is asked before there are rows");
    }
}
