//! The paragraphs of `Field: value` lines that Debian describes everything in.
//!
//! Rule: pure functions of text.
//! Reference: deb822(5), Debian Policy chapter 5.

/// One paragraph: fields in order, continuation lines kept with their line ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paragraph(Vec<(String, String)>);

impl Paragraph {
    /// The value of `field`; capital letters do not matter in its name.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value.as_str())
    }

    /// The words of `field`; none when it is absent.
    pub fn words(&self, field: &str) -> Vec<String> {
        self.get(field).unwrap_or_default().split_whitespace().map(str::to_string).collect()
    }
}

/// All paragraphs of `text`.
pub fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut current = Paragraph::default();
    for line in text.lines() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(Some(std::mem::take(&mut current)).filter(|paragraph| !paragraph.0.is_empty()));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = current.0.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            current.0.push((name.trim().to_string(), value.trim().to_string()));
        }
    }
    found.extend(Some(current).filter(|paragraph| !paragraph.0.is_empty()));
    found
}

/// The package names in a `Depends` field; of alternatives, the first.
pub fn dependencies(field: &str) -> Vec<String> {
    let names = field.split(',').filter_map(|one| one.split('|').next()?.split_whitespace().next());
    names.map(|name| name.split(':').next().unwrap_or(name).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_end_at_empty_lines_and_keep_continuations() {
        let found = paragraphs("# why\nA: 1\nB: x y\n z\n .\n\n\nA: 2\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].words("b"), ["x", "y", "z", "."]);
        assert_eq!(found[1].get("A"), Some("2"));
        assert_eq!(found[1].get("B"), None);
    }

    #[test]
    fn dependencies_lose_versions_architectures_and_later_alternatives() {
        let names = dependencies("linux-image-6.1 (= 6.1-2), kmod | module-init-tools, perl:any");
        assert_eq!(names, ["linux-image-6.1", "kmod", "perl"]);
    }
}
