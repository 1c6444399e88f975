//! Memory that is there everywhere: a byte holds what the case sets, or what its address makes of it, until it is written.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Mode,
    case::Case,
    engine::{SystemPage, system_pages},
    layout::{GDT, selector},
};

/// The bit in the type of a task state segment's descriptor that says that it is in use.
const BUSY: u8 = 2;

/// A stretch of memory: its first byte, and the one after its last.
pub type Span = (u64, u64);

/// What memory holds at the start.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The processor's own pages.
    system: Arc<Vec<SystemPage>>,
    /// What the case sets.
    windows: Arc<Vec<(u64, Vec<u8>)>>,
    /// What is not the processor's own and in none of these is not what it was.
    kept: Option<Arc<Vec<Span>>>,
    /// Here, every bit is inverted.
    inverted: Option<Span>,
}

impl Contents {
    /// What the processor needs in `mode`.
    pub fn of_mode(mode: Mode) -> Self {
        let mut system = system_pages(mode);
        // A task state segment that LTR takes.
        for (_, bytes) in system.iter_mut().filter(|(at, _)| *at == GDT) {
            bytes[usize::from(selector::TSS) + 5] &= !BUSY;
        }
        Self { system: system.into(), windows: Arc::default(), kept: None, inverted: None }
    }

    /// With what `case` sets.
    pub fn with(&self, case: &Case) -> Self {
        let windows = case.windows().map(|window| (window.at, Case::bytes_of(window, &case.memory).to_vec())).collect();
        Self { windows: Arc::new(windows), ..self.clone() }
    }

    /// Other bytes outside of `kept`.
    pub fn spoilt_but(&self, kept: Vec<Span>) -> Self {
        Self { kept: Some(Arc::new(kept)), ..self.clone() }
    }

    /// Other bytes in `span`.
    pub fn spoilt_in(&self, span: Span) -> Self {
        Self { inverted: Some(span), ..self.clone() }
    }

    fn byte(&self, at: u64) -> u8 {
        let is_in = |span: &Span| (span.0..span.1).contains(&at);
        let find = |pages: &[(u64, Vec<u8>)]| {
            let (from, bytes) = pages.iter().find(|(from, bytes)| at.wrapping_sub(*from) < bytes.len() as u64)?;
            Some(bytes[(at - from) as usize])
        };
        if let Some(byte) = find(&self.system) {
            return byte;
        }
        let byte = find(&self.windows).unwrap_or_else(|| {
            let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 56) as u8
        });
        let is_spoilt =
            self.kept.as_ref().is_some_and(|kept| !kept.iter().any(is_in)) || self.inverted.is_some_and(|span| is_in(&span));
        if is_spoilt { !byte } else { byte }
    }
}

/// Memory while an instruction runs.
#[derive(Clone, Debug)]
pub struct Memory {
    contents: Contents,
    /// What was written, and what it holds now.
    pub written: BTreeMap<u64, u8>,
}

impl Memory {
    /// Memory as it is at the start.
    pub fn new(contents: Contents) -> Self {
        Self { contents, written: BTreeMap::new() }
    }

    /// `size` bytes, at most sixteen, as a number.
    pub fn read(&self, at: u64, size: u64) -> u128 {
        (0..size).fold(0, |value, n| {
            let at = at.wrapping_add(n);
            let byte = self.written.get(&at).copied().unwrap_or_else(|| self.contents.byte(at));
            value | u128::from(byte) << (8 * n)
        })
    }

    /// Writes `size` bytes, at most sixteen.
    pub fn write(&mut self, at: u64, size: u64, value: u128) {
        for n in 0..size {
            self.written.insert(at.wrapping_add(n), (value >> (8 * n)) as u8);
        }
    }
}
