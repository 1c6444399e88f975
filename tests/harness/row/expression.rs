//! Addresses in rows: sums of numbers and registers as they are before the instruction.
//!
//! `rdi`, `rdi+rcx*8-8`, `0x20000`, `ss:rsp-2`, `gdtr.base+0x80`. The address is linear; a segment register before a colon
//! adds its base. Outside 64-bit mode it wraps at 4 GiB.

use dragoman_state::VcpuState;

use super::{
    Value,
    place::{Field, Place, SegmentName, segment_of},
};

/// One part of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    Number(u64),
    Place(Place, u64),
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    segment: Option<SegmentName>,
    /// Whether each term is subtracted.
    terms: Vec<(bool, Term)>,
    text: String,
}

impl Expression {
    /// The fixed address `at`.
    pub fn fixed(at: u64) -> Self {
        Self { segment: None, terms: vec![(false, Term::Number(at))], text: format!("{at:#x}") }
    }

    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (segment, sum) = match text.split_once(':') {
            None => (None, text),
            Some((name, rest)) => match Place::from_name(name) {
                Some(Place::Segment(segment, Field::Selector)) => (Some(segment), rest),
                _ => return Err(format!("`{name}` before the colon is no segment register")),
            },
        };
        let mut terms = Vec::new();
        let (mut rest, mut is_subtracted) = (sum, false);
        loop {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            terms.push((is_subtracted, term(&rest[..end])?));
            match rest[end..].chars().next() {
                None => break,
                Some(sign) => (is_subtracted, rest) = (sign == '-', &rest[end + 1..]),
            }
        }
        Ok(Self { segment, terms, text: text.to_string() })
    }

    /// The linear address, with registers as they are in `state`.
    pub fn evaluate(&self, state: &VcpuState) -> u64 {
        let base = self.segment.map_or(0, |name| segment_of(state, name).base);
        let sum = self.terms.iter().fold(base, |sum, (is_subtracted, term)| {
            let value = match term {
                Term::Number(number) => *number,
                Term::Place(place, factor) => place.get(state).low().wrapping_mul(*factor),
            };
            if *is_subtracted { sum.wrapping_sub(value) } else { sum.wrapping_add(value) }
        });
        if state.is_64bit() { sum } else { sum & 0xffff_ffff }
    }

    /// The places that it reads.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.terms.iter().filter_map(|(_, term)| match term {
            Term::Place(place, _) => Some(*place),
            Term::Number(_) => None,
        })
    }
}

fn term(text: &str) -> Result<Term, String> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(Term::Number(Value::parse_number(text, 64)?.low()));
    }
    let (name, factor) = text.split_once('*').unwrap_or((text, "1"));
    let place = Place::from_name(name).filter(|place| place.bits() <= 64).ok_or_else(|| format!("`{name}` is no register"))?;
    Ok(Term::Place(place, Value::parse_number(factor, 64)?.low()))
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use dragoman_state::{Gpr, SegmentIndex, VcpuId};

    use super::*;

    #[test]
    fn sums_use_registers_factors_and_segments() {
        let mut state = VcpuState::power_on(VcpuId(0), 0);
        state.gpr[Gpr::RDI] = 0x2_0000;
        state.gpr[Gpr::RCX] = 3;
        state.segment_mut(SegmentIndex::Ss).base = 0x3_0000;
        for (text, at) in [
            ("rdi", 0x2_0000),
            ("rdi+rcx*8-8", 0x2_0010),
            ("0x1000-1", 0xfff),
            ("ss:rcx+1", 0x3_0004),
            ("ecx-4", 0xffff_ffff),
            ("ss.base", 0x3_0000),
        ] {
            let expression = Expression::parse(text).expect(text);
            assert_eq!(expression.evaluate(&state), at, "{text}");
            assert_eq!(expression.to_string(), text);
        }
        for bad in ["", "rdi+", "foo", "xmm0", "rdi*x", "rax:4"] {
            assert!(Expression::parse(bad).is_err(), "{bad}");
        }
    }
}
