//! Writing rows as files have them.

use super::{Assignment, Place, Row, Target, Undefined, Value};

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Place(place) => write!(f, "{place}"),
            Self::Memory(bits, expression) => write!(f, "m{bits}[{expression}]"),
            Self::Port(bits, expression) => write!(f, "port{bits}[{expression}]"),
        }
    }
}

impl std::fmt::Display for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.target, shown(&self.target, self.value))
    }
}

impl std::fmt::Display for Undefined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.value {
            None => write!(f, "{}=same", self.place),
            Some(value) => write!(f, "{}={}", self.place, shown(&Target::Place(self.place), value)),
        }
    }
}

/// `value` in the way that `target` is written.
pub fn shown(target: &Target, value: Value) -> String {
    match target {
        Target::Place(place) if place.is_hexadecimal() => value.to_hex(place.bits()),
        Target::Place(Place::Activity) => ["running", "halted", "wait_for_sipi", "shutdown"][value.low() as usize & 3].into(),
        Target::Place(Place::Shadow) => ["none", "sti", "mov_ss", "?"][value.low() as usize & 3].into(),
        Target::Memory(bits, _) if *bits > 64 => format!("0x{}", value.to_hex(*bits)),
        target => {
            let bits = target.bits();
            // All ones and its neighbours read better as negative numbers.
            let distance = Value::from(u64::MAX).truncated(bits.min(64)).low().wrapping_sub(value.low());
            if (32..=64).contains(&bits) && distance < 9 { format!("-{}", distance + 1) } else { value.to_string() }
        }
    }
}

fn joined<T: std::fmt::Display>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

impl Row {
    /// The first three fields, which files align.
    pub fn head(&self) -> [String; 3] {
        let cpl = if self.cpl == self.mode.default_cpl() { String::new() } else { format!("/cpl{}", self.cpl) };
        let features: Vec<String> =
            self.features.iter().map(|(name, is_in)| format!("{}{name}", if *is_in { "" } else { "-" })).collect();
        let features = if features.is_empty() { String::new() } else { format!(" cpu={}", features.join(",")) };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let bytes = match &self.tail {
            None => hex(&self.code),
            Some(tail) => format!("{} ^ {}", hex(&self.code), hex(tail)).trim_end().to_string(),
        };
        [format!("{}{cpl}{features}", self.mode), bytes, self.text.clone()]
    }

    /// What stands before the arrow.
    pub fn before(&self) -> String {
        joined(&self.inputs)
    }

    /// What stands after the arrow.
    pub fn after(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.fault.iter().map(ToString::to_string));
        parts.push(joined(&self.outputs));
        if !self.undefined.is_empty() {
            parts.push(format!("undef: {}", joined(&self.undefined)));
        }
        parts.extend(self.lock.map(|is_allowed| format!("lock={}", if is_allowed { "ok" } else { "ud" })));
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }

    /// The row as a line whose fields are at least as wide as `widths`.
    pub fn line(&self, widths: [usize; 3]) -> String {
        let [mode, bytes, text] = self.head();
        let [a, b, c] = widths;
        let before = self.before();
        let before = if before.is_empty() { before } else { format!("{before} ") };
        let after = self.after();
        let after = if after.is_empty() { after } else { format!("{after} ") };
        format!("{mode:a$} | {bytes:b$} | {text:c$} | {before}=> {after}; {}", self.source)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line([0; 3]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_row_reads_back_as_itself() {
        for line in [
            "long64 | 48 11 c3 | adc rbx,rax | rbx=-1 rax=0 cf=1 => rbx=0 cf=1 pf=1 af=1 zf=1 sf=0 of=0 ; SDM 2 ADC",
            "long64 | 10 17 | adc [rdi],dl | rdi=0x20000 dl=0x7f m8[rdi]=0 cf=1 => m8[rdi]=0x80 sf=1 lock=ok ; host ZEN5",
            "prot32/cpl0 cpu=sse3,-fsgsbase | 90 ^ 90 | nop / nop | st0=3fff_8000000000000000 => undef: af=1 cf=same ; host EMR",
            "real16 | ec | in al,dx | dx=0x80 port8[dx]=0x12 => al=0x12 ; SDM 2 IN",
            "long64/cpl0 | f4 | hlt | => activity=halted ; SDM 2 HLT",
            "long64 | 0f 10 07 | movups xmm0,[rdi] | rdi=0x20ff8 m64[rdi]=1 => #PF(4) cr2=0x21000 ; SDM 2 MOVUPS",
            "long64 | cd 80 | int 80h | => #INT(0x80) ; SDM 2 INT n",
        ] {
            let row = Row::parse(line).expect(line);
            assert_eq!(row.to_string(), line);
        }
    }
}
