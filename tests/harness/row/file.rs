//! Files of rows: `tests/insn/*.rows`. A line is a row, a comment after `#`, or empty.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Row, RowError};

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A comment, or nothing.
    Text(String),
    /// A row.
    Row(Box<Row>),
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFile {
    /// Its name, for messages.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// The comment that says of which mnemonics a file holds recorded rows.
const RECORDED: &str = "# recorded:";

impl RowFile {
    /// The folder that holds the project's rows.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../insn")
    }

    /// Reads `text`, the content of the file at `path`. Every line that is wrong is an error.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<RowError>> {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let (mut lines, mut errors) = (Vec::new(), Vec::new());
        for (n, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                lines.push(Line::Text(line.trim_end().to_string()));
                continue;
            }
            match Row::parse(trimmed) {
                Ok(row) => lines.push(Line::Row(Box::new(row))),
                Err(what) => errors.push(RowError { file: name.clone(), line: n + 1, what }),
            }
        }
        if errors.is_empty() { Ok(Self { name, path: path.to_path_buf(), lines }) } else { Err(errors) }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Vec<RowError>> {
        let text = fs::read_to_string(path).map_err(|error| {
            vec![RowError { file: path.display().to_string(), line: 0, what: format!("it cannot be read: {error}") }]
        })?;
        Self::parse(path, &text)
    }

    /// The files below `folder`, sorted by name.
    pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rows") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Its rows, with the number of each line.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.lines.iter().enumerate().filter_map(|(n, line)| match line {
            Line::Row(row) => Some((n + 1, &**row)),
            Line::Text(_) => None,
        })
    }

    /// The mnemonics, in lower case, whose rows are recorded here: a comment `# recorded:` at its head names them.
    pub fn mnemonics(&self) -> Vec<String> {
        let texts = self.lines.iter().filter_map(|line| match line {
            Line::Text(text) => text.strip_prefix(RECORDED),
            Line::Row(_) => None,
        });
        texts.flat_map(str::split_whitespace).map(str::to_string).collect()
    }

    /// The file as text; the fields of neighbouring rows are aligned.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut lines = self.lines.as_slice();
        while let Some(first) = lines.first() {
            if let Line::Text(line) = first {
                text.push_str(line);
                text.push('\n');
                lines = &lines[1..];
                continue;
            }
            let end = lines.iter().position(|line| matches!(line, Line::Text(_))).unwrap_or(lines.len());
            let (block, rest) = lines.split_at(end);
            let rows = || block.iter().filter_map(|line| if let Line::Row(row) = line { Some(row) } else { None });
            let mut widths = [0; 3];
            for row in rows() {
                for (width, field) in widths.iter_mut().zip(row.head()) {
                    *width = (*width).max(field.len());
                }
            }
            for row in rows() {
                text.push_str(&row.line(widths));
                text.push('\n');
            }
            lines = rest;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_survives_reading_and_writing() {
        let text = "# Additions.\n# recorded: add adc\n\n\
                    long64 | 48 01 c3 | add rbx,rax    | => ; SDM 2 ADD\n\
                    long64 | 01 03    | add [rbx],eax  | => ; SDM 2 ADD\n";
        let file = RowFile::parse(Path::new("add.rows"), text).expect("valid");
        assert_eq!(file.mnemonics(), ["add", "adc"]);
        assert_eq!(file.rows().map(|(line, _)| line).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(file.text(), text.replace("rax    |", "rax   |").replace("eax  |", "eax |"));
    }

    #[test]
    fn errors_name_file_and_line() {
        let text = "# x\nlong64 | 90 | nop | => ; SDM 2 NOP\nlong64 | 91 | nop | => ; SDM 2 NOP\nnonsense\n";
        let errors = RowFile::parse(Path::new("/somewhere/nop.rows"), text).expect_err("two lines are wrong");
        assert_eq!(errors.len(), 2);
        assert_eq!(errors[0].to_string(), "nop.rows:3: the bytes are `xchg ecx,eax`, and the row says `nop`");
        assert!(errors[1].to_string().starts_with("nop.rows:4: "));
    }
}
