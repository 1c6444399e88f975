//! Reading a row: `mode[/cplN] [cpu=FEATURE] | bytes | text | in => out ; source`.

use super::{Assignment, ExpectedFault, Expression, Place, Row, Target, Undefined, Value};
use crate::{Mode, case::CODE_ROOM};

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct RowError {
    /// The file.
    pub file: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// What is wrong, and how it should be.
    pub what: String,
}

impl Row {
    /// Reads one row. Its text must be what its bytes are.
    pub fn parse(line: &str) -> Result<Self, String> {
        let row = Self::parse_unchecked(line)?;
        let text = row.disassembly();
        if text != row.text {
            return Err(format!("the bytes are `{text}`, and the row says `{}`", row.text));
        }
        Ok(row)
    }

    /// As [`Row::parse`], but takes the text as it stands.
    pub fn parse_unchecked(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [mode, bytes, text, rest] = fields[..] else {
            return Err(format!(
                "a row has four fields, `mode | bytes | text | in => out ; source`, and this has {}",
                fields.len()
            ));
        };
        let (mode, cpl, features) = parse_mode(mode)?;
        let (code, tail) = parse_bytes(bytes)?;
        let (states, source) =
            rest.rsplit_once(';').ok_or("a row ends with `; source`: SDM and an entry, or host and a processor")?;
        let (inputs, outputs) = states.split_once("=>").ok_or("`in => out` lacks its arrow")?;
        let source = source.trim().to_string();
        if !["SDM", "host", "APM"].iter().any(|known| source.split(' ').next() == Some(*known)) {
            return Err(format!("the source is SDM, APM or host, each with what exactly, and not `{source}`"));
        }
        let mut row = Self {
            mode,
            cpl,
            features,
            code,
            tail,
            text: text.to_string(),
            inputs: inputs.split_whitespace().map(|word| parse_assignment(word, mode)).collect::<Result<_, _>>()?,
            outputs: Vec::new(),
            fault: None,
            undefined: Vec::new(),
            lock: None,
            source,
        };
        row.parse_outputs(outputs)?;
        row.check()?;
        Ok(row)
    }

    fn parse_outputs(&mut self, text: &str) -> Result<(), String> {
        let mut is_undefined = false;
        for word in text.split_whitespace() {
            if let Some(fault) = word.strip_prefix('#') {
                if self.fault.replace(ExpectedFault::parse(fault)?).is_some() {
                    return Err("a row has one fault at most".into());
                }
            } else if word == "undef:" {
                is_undefined = true;
            } else if let Some(lock) = word.strip_prefix("lock=") {
                self.lock = Some(match lock {
                    "ok" => true,
                    "ud" => false,
                    _ => return Err(format!("lock={lock} is neither lock=ok nor lock=ud")),
                });
                is_undefined = false;
            } else if is_undefined {
                self.undefined.push(parse_undefined(word, self.mode)?);
            } else {
                self.outputs.push(parse_assignment(word, self.mode)?);
            }
        }
        Ok(())
    }

    /// What the fields must agree on.
    fn check(&self) -> Result<(), String> {
        if self.code.len() + self.tail.as_ref().map_or(0, Vec::len) > CODE_ROOM {
            return Err(format!("a row has at most {CODE_ROOM} bytes of code"));
        }
        for (list, name) in [(&self.inputs, "before"), (&self.outputs, "after")] {
            for (n, one) in list.iter().enumerate() {
                if list[..n].iter().any(|other| other.target == one.target) {
                    return Err(format!("`{one}` gives a second value {name} the arrow"));
                }
            }
        }
        let maps = |expression: &Expression| {
            self.inputs.iter().any(|input| matches!(&input.target, Target::Memory(_, known) if known == expression))
        };
        for output in &self.outputs {
            if let Target::Memory(_, expression) = &output.target {
                let is_fixed = expression.places().next().is_none();
                if !maps(expression) && !is_fixed && self.inputs.iter().all(|input| !matches!(input.target, Target::Memory(..))) {
                    return Err(format!("`{output}` names memory that nothing before the arrow maps"));
                }
            }
        }
        if self.lock == Some(true) && self.fault.is_some() {
            return Err("lock=ok says nothing about a row that faults".into());
        }
        Ok(())
    }
}

/// The mode, the privilege level, and which features there must or must not be.
type Setting = (Mode, u8, Vec<(String, bool)>);

fn parse_mode(text: &str) -> Result<Setting, String> {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let (name, cpl) = first.split_once('/').map_or((first, None), |(name, cpl)| (name, Some(cpl)));
    let mode = Mode::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Mode::ALL.iter().map(|mode| mode.name()).collect();
        format!("`{name}` is no mode; there are {}", known.join(", "))
    })?;
    let cpl = match cpl {
        None => mode.default_cpl(),
        Some(cpl) => match cpl.strip_prefix("cpl").and_then(|n| n.parse().ok()) {
            Some(n @ 0..=3) => n,
            _ => return Err(format!("`{cpl}` is no privilege level; write /cpl0 to /cpl3")),
        },
    };
    let mut features = Vec::new();
    for word in words {
        let list = word.strip_prefix("cpu=").ok_or_else(|| format!("`{word}` after the mode is not cpu=FEATURE"))?;
        features.extend(list.split(',').map(|feature| match feature.strip_prefix('-') {
            Some(name) => (name.to_string(), false),
            None => (feature.trim_start_matches('+').to_string(), true),
        }));
    }
    Ok((mode, cpl, features))
}

/// Code before the page end, and after it where there is one.
type Code = (Vec<u8>, Option<Vec<u8>>);

fn parse_bytes(text: &str) -> Result<Code, String> {
    let bytes = |text: &str| -> Result<Vec<u8>, String> {
        text.split_whitespace()
            .map(|word| match (word.len(), u8::from_str_radix(word, 16)) {
                (2, Ok(byte)) => Ok(byte),
                _ => Err(format!("`{word}` is no byte; write two hexadecimal digits for each")),
            })
            .collect()
    };
    let (code, tail) = match text.split_once('^') {
        None => (bytes(text)?, None),
        Some((code, tail)) => (bytes(code)?, Some(bytes(tail)?)),
    };
    if code.is_empty() {
        return Err("a row has at least one byte of code before a page end".into());
    }
    Ok((code, tail))
}

fn parse_assignment(word: &str, mode: Mode) -> Result<Assignment, String> {
    let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is no name=value"))?;
    let target = parse_target(name, mode)?;
    let value = parse_value(&target, value)?;
    Ok(Assignment { target, value })
}

fn parse_value(target: &Target, text: &str) -> Result<Value, String> {
    match target {
        Target::Place(place) if place.is_hexadecimal() => {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            Value::parse_hex(digits, place.bits()).map_err(|error| format!("`{text}` {error}"))
        }
        Target::Place(Place::Activity) => word_of(text, &["running", "halted", "wait_for_sipi", "shutdown"]),
        Target::Place(Place::Shadow) => word_of(text, &["none", "sti", "mov_ss"]),
        target => Value::parse_number(text, target.bits()),
    }
}

fn word_of(text: &str, words: &[&str]) -> Result<Value, String> {
    let n = words.iter().position(|word| *word == text).ok_or_else(|| format!("`{text}` is none of {}", words.join(", ")))?;
    Ok(Value::from(n as u64))
}

fn parse_target(name: &str, mode: Mode) -> Result<Target, String> {
    if let Some((kind, expression)) = name.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        let digits = kind.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let bits: u32 = digits.parse().unwrap_or(0);
        let is_size = bits > 0 && bits % 8 == 0 && bits <= 512;
        return match &kind[..kind.len() - digits.len()] {
            "m" if is_size => Ok(Target::Memory(bits, Expression::parse(expression)?)),
            "port" if is_size && bits <= 32 => Ok(Target::Port(bits, Expression::parse(expression)?)),
            _ => Err(format!("`{kind}` is neither m8 to m512 nor port8 to port32")),
        };
    }
    let place = Place::from_name(name).ok_or_else(|| format!("nothing is called `{name}`"))?;
    match place {
        Place::Gpr(n, _) if usize::from(n) >= mode.register_count() => Err(format!("{mode} has no register {name}")),
        Place::Gpr(_, super::Part::Qword) if mode.register_mask() != u64::MAX && !name.starts_with('r') => {
            Err(format!("{mode} has no register {name}"))
        }
        Place::Xmm(n) | Place::Ymm(n) if usize::from(n) >= mode.register_count() => Err(format!("{mode} has no register {name}")),
        _ => Ok(Target::Place(place)),
    }
}

fn parse_undefined(word: &str, mode: Mode) -> Result<Undefined, String> {
    let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is no name=value"))?;
    let Target::Place(place) = parse_target(name, mode)? else {
        return Err(format!("`{name}` is memory, which no instruction leaves undefined"));
    };
    let value = if value == "same" { None } else { Some(parse_value(&Target::Place(place), value)?) };
    Ok(Undefined { place, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADC: &str =
        "long64 | 48 11 c3 | adc rbx,rax | rbx=-1 rax=0 cf=1 => rbx=0 cf=1 zf=1 sf=0 of=0 af=1 pf=1 lock=ud ; SDM 2 ADC";

    #[test]
    fn a_row_has_its_parts() {
        let row = Row::parse(ADC).expect("as the page has it");
        assert_eq!((row.mode, row.cpl, row.code.as_slice()), (Mode::Long64, 3, &[0x48, 0x11, 0xc3][..]));
        assert_eq!((row.inputs.len(), row.outputs.len(), row.lock), (3, 7, Some(false)));
        assert_eq!(row.inputs[0].value, Value::from(u64::MAX));
        assert_eq!(row.source, "SDM 2 ADC");
        let row = Row::parse("prot32/cpl0 cpu=sse3,-fsgsbase | 90 ^ 90 | nop / nop | => undef: af=1 cf=same ; host EMR")
            .expect("valid");
        assert_eq!((row.cpl, row.features.len(), row.tail.as_deref()), (0, 2, Some(&[0x90][..])));
        assert_eq!((row.undefined[0].value, row.undefined[1].value), (Some(Value::from(1)), None));
        assert_eq!(row.code_at(), 0x1_0fff);
        let row = Row::parse("long64 | 8a 07 | mov al,[rdi] | rdi=0x20000 => #PF(4) cr2=0x20000 ; SDM 2 MOV").expect("valid");
        assert_eq!(row.fault, Some(ExpectedFault { vector: 14, error: Some(4) }));
    }

    #[test]
    fn the_text_cannot_lie() {
        let error = Row::parse(&ADC.replace("adc rbx", "add rbx")).expect_err("another instruction");
        assert!(error.contains("the bytes are `adc rbx,rax`"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, part) in [
            ("long64 | 90 | nop", "four fields"),
            ("long65 | 90 | nop | => ; SDM 2 NOP", "is no mode"),
            ("long64/cpl4 | 90 | nop | => ; SDM 2 NOP", "privilege level"),
            ("long64 sse | 90 | nop | => ; SDM 2 NOP", "cpu=FEATURE"),
            ("long64 | 9 | nop | => ; SDM 2 NOP", "is no byte"),
            ("long64 | ^ 90 | nop | => ; SDM 2 NOP", "at least one byte"),
            ("long64 | 90 | nop | rax=1 ; SDM 2 NOP", "arrow"),
            ("long64 | 90 | nop | =>", "; source"),
            ("long64 | 90 | nop | => ; hearsay", "the source is"),
            ("long64 | 90 | nop | rax => ; SDM 2 NOP", "name=value"),
            ("long64 | 90 | nop | raz=1 => ; SDM 2 NOP", "nothing is called"),
            ("long64 | 90 | nop | al=256 => ; SDM 2 NOP", "more than 8 bits"),
            ("long64 | 90 | nop | al=1 al=2 => ; SDM 2 NOP", "second value"),
            ("comp32 | 90 | nop | r8=1 => ; SDM 2 NOP", "has no register"),
            ("long64 | 90 | nop | m9[rdi]=1 => ; SDM 2 NOP", "neither m8"),
            ("long64 | 90 | nop | m8[rdx:4]=1 => ; SDM 2 NOP", "no segment register"),
            ("long64 | 90 | nop | => m8[rdi]=1 ; SDM 2 NOP", "nothing before the arrow maps"),
            ("long64 | 90 | nop | => #XX ; SDM 2 NOP", "is no exception"),
            ("long64 | 90 | nop | => #GP(0 ; SDM 2 NOP", "closing parenthesis"),
            ("long64 | 90 | nop | => lock=maybe ; SDM 2 NOP", "lock=ok"),
        ] {
            let error = Row::parse(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
