//! Which instructions are wanted.

use std::collections::BTreeSet;

use iced_x86::Code;

use super::Subject;

/// A choice of instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    words: Vec<String>,
}

impl Filter {
    /// Reads words between commas: each is a class or a mnemonic, in which an asterisk stands for anything. Without a word,
    /// everything is wanted.
    pub fn parse(text: &str) -> Self {
        let words = text.split(',').map(|word| word.trim().to_ascii_lowercase());
        Self { words: words.filter(|word| !word.is_empty()).collect() }
    }

    /// A word that describes no instruction at all.
    pub fn idle_word(&self) -> Option<&str> {
        let mut idle: BTreeSet<&str> = self.words.iter().map(String::as_str).collect();
        for code in Code::values() {
            if idle.is_empty() {
                break;
            }
            let subject = Subject::of(code);
            idle.retain(|word| !is_meant(word, &subject));
        }
        idle.first().copied()
    }

    /// Whether `subject` is wanted.
    pub fn takes(&self, subject: &Subject) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| is_meant(word, subject))
    }
}

fn is_meant(word: &str, subject: &Subject) -> bool {
    is_like(word, &subject.mnemonic) || is_like(word, subject.class.name())
}

/// Whether `pattern`, in which asterisks stand for anything, describes `text`.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(text) = text.strip_prefix(start) else { return false };
            (0..=text.len()).any(|from| text.get(from..).is_some_and(|text| is_like(rest, text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_classes_and_mnemonics() {
        let takes = |text: &str, code| Filter::parse(text).takes(&Subject::of(code));
        assert!(takes("", Code::Add_AL_imm8) && takes("add", Code::Add_AL_imm8) && takes("x87, ADD", Code::Add_AL_imm8));
        assert!(takes("integer", Code::Add_AL_imm8) && takes("*d", Code::Add_AL_imm8) && takes("sse*", Code::Addps_xmm_xmmm128));
        assert_eq!(Filter::parse("add,x87,padd*").idle_word(), None);
        assert_eq!(Filter::parse("add,addd").idle_word(), Some("addd"));
        assert!(!takes("ad", Code::Add_AL_imm8) && !takes("*dd*x", Code::Add_AL_imm8) && !takes("sse", Code::Add_AL_imm8));
    }
}
