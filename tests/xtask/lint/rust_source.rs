//! Telling code, comments and strings of a Rust source apart, so that lints see only what they are about.
//!
//! Rule: what is taken out is replaced by spaces, so that lines and columns stay.

/// A source in two readings of the same shape.
pub struct Parts {
    /// Comments and the inside of strings are blank.
    pub code: String,
    /// All but comments is blank.
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Text,
}

/// Takes a source apart.
pub fn parts(source: &str) -> Parts {
    let bytes = source.as_bytes();
    let mut kinds = vec![Kind::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let after_word = at > 0 && is_word(bytes[at - 1]);
        let (length, kind) = if rest.starts_with(b"//") {
            (rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()), Kind::Comment)
        } else if rest.starts_with(b"/*") {
            (block_comment(rest), Kind::Comment)
        } else if rest[0] == b'"' {
            (string(rest), Kind::Text)
        } else if let Some(length) = raw_string(rest).filter(|_| !after_word) {
            (length, Kind::Text)
        } else if let Some(length) = character(rest).filter(|_| !after_word || bytes[at - 1] == b'b') {
            (length, Kind::Text)
        } else {
            (1, Kind::Code)
        };
        kinds[at..at + length].fill(kind);
        at += length;
    }
    let only = |wanted: Kind| {
        let kept = bytes.iter().zip(&kinds).map(|(byte, kind)| if *kind == wanted || *byte == b'\n' { *byte } else { b' ' });
        String::from_utf8_lossy(&kept.collect::<Vec<u8>>()).into_owned()
    };
    Parts { code: only(Kind::Code), comments: only(Kind::Comment) }
}

/// The lines, counted from 1, on which `word` stands by itself.
pub fn lines_with_word<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.lines().enumerate().filter(move |(_, line)| has_word(line, word)).map(|(index, _)| index + 1)
}

/// Whether `word` stands in `line` by itself.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].bytes().next_back();
        let after = line[at + word.len()..].bytes().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Block comments nest in Rust.
fn block_comment(bytes: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(bytes.len())
}

fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"`, `r#"…"#` and the like, with or without a `b` or `c` before them.
fn raw_string(bytes: &[u8]) -> Option<usize> {
    let prefix = usize::from(matches!(bytes[0], b'b' | b'c'));
    let rest = bytes[prefix..].strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    let inside = rest[hashes..].strip_prefix(b"\"")?;
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let length = inside.windows(end.len()).position(|window| window == end).map_or(inside.len(), |at| at + end.len());
    Some(prefix + 1 + hashes + 1 + length)
}

/// A character in quotes, which a lifetime is not.
fn character(bytes: &[u8]) -> Option<usize> {
    let inside = bytes.strip_prefix(b"'")?;
    if inside.first() == Some(&b'\\') {
        let end = inside.iter().skip(2).position(|byte| *byte == b'\'')?;
        return Some(1 + 2 + end + 1);
    }
    // At most four bytes make a character.
    let end = inside.iter().take(5).position(|byte| *byte == b'\'').filter(|end| *end > 0)?;
    let one = std::str::from_utf8(&inside[..end]).is_ok_and(|text| text.chars().count() == 1);
    one.then_some(1 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        let source =
            "let a = \"x // y \\\" z\"; // one\nlet b = r#\"p \" q\"#; /* two /* deep */ still */ let c = '\"'; 'life: loop {}\n";
        let parts = parts(source);
        for word in ["x", "y", "z", "p", "q", "one", "two", "deep", "still"] {
            assert!(!parts.code.lines().any(|line| has_word(line, word)), "{word} is not code");
        }
        for word in ["a", "b", "c", "life", "loop"] {
            assert!(parts.code.lines().any(|line| has_word(line, word)), "{word} is code");
        }
        assert_eq!(parts.comments.lines().map(str::trim).collect::<Vec<_>>(), ["// one", "/* two /* deep */ still */"]);
        assert_eq!(parts.code.len(), source.len());
    }

    #[test]
    fn a_word_is_whole() {
        assert_eq!(lines_with_word("safe\nunsafe {\nunsafe_code\n", "unsafe").collect::<Vec<_>>(), [2]);
    }
}
