//! What was run: so that a test which runs nothing cannot pass for one that finds nothing.

use std::{collections::BTreeSet, fmt};

use iced_x86::Mnemonic;

use super::bus::Traffic;
use crate::Mode;

/// Counts of one or more cases.
#[derive(Clone, Debug)]
pub struct Census {
    /// Cases.
    pub cases: u64,
    /// Guests.
    pub scenes: u64,
    /// Instructions executed in steps, by mode, and by whether it was ring 3.
    pub stepped: [[u64; 2]; Mode::ALL.len()],
    /// Instructions executed in blocks.
    pub in_blocks: u64,
    /// Guests that came to the same in steps and in blocks.
    pub compared: u64,
    /// Guests of which that was not asked, because they came to no end.
    pub endless: u64,
    /// How often a guest moved to another engine, or to another processor of the same.
    pub moves: u64,
    /// How often a handler was entered, by vector.
    pub entered: [u64; 256],
    /// Double faults that could not be delivered.
    pub triple_faults: u64,
    /// Halts.
    pub halts: u64,
    /// Steps that ended in another mode.
    pub mode_changes: u64,
    /// What came over the bus.
    pub traffic: Traffic,
    /// Cases in which memory lay between fences on both sides.
    pub fenced: u64,
    /// The mnemonics that were looked at and executed; not every step is looked at.
    pub mnemonics: BTreeSet<Mnemonic>,
}

impl Default for Census {
    fn default() -> Self {
        Self {
            cases: 0,
            scenes: 0,
            stepped: Default::default(),
            in_blocks: 0,
            compared: 0,
            endless: 0,
            moves: 0,
            entered: [0; 256],
            triple_faults: 0,
            halts: 0,
            mode_changes: 0,
            traffic: Traffic::default(),
            fenced: 0,
            mnemonics: BTreeSet::new(),
        }
    }
}

impl Census {
    /// All instructions executed.
    pub fn instructions(&self) -> u64 {
        self.in_blocks + self.stepped.iter().flatten().sum::<u64>()
    }

    /// How many different exceptions (vectors below 32) came to a handler.
    pub fn exceptions(&self) -> usize {
        self.entered[..32].iter().filter(|count| **count > 0).count()
    }

    /// How many different interrupts (vectors from 32 on) came to a handler.
    pub fn interrupts(&self) -> usize {
        self.entered[32..].iter().filter(|count| **count > 0).count()
    }

    /// Takes in what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.scenes += other.scenes;
        self.in_blocks += other.in_blocks;
        self.compared += other.compared;
        self.endless += other.endless;
        self.moves += other.moves;
        self.triple_faults += other.triple_faults;
        self.halts += other.halts;
        self.mode_changes += other.mode_changes;
        self.fenced += other.fenced;
        self.traffic.add(other.traffic);
        for (to, from) in self.stepped.iter_mut().flatten().zip(other.stepped.iter().flatten()) {
            *to += from;
        }
        for (to, from) in self.entered.iter_mut().zip(other.entered) {
            *to += from;
        }
        self.mnemonics.extend(&other.mnemonics);
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stepped = self.instructions() - self.in_blocks;
        writeln!(f, "{} instructions in {} cases of {} guests", self.instructions(), self.cases, self.scenes)?;
        writeln!(f, "in steps: {stepped}")?;
        for (mode, [kernel, user]) in Mode::ALL.iter().zip(self.stepped) {
            writeln!(f, "  {mode}: {kernel} at rings 0 to 2, {user} at ring 3")?;
        }
        let Self { in_blocks, compared, endless, .. } = self;
        writeln!(f, "in blocks: {in_blocks}; {compared} guests compared with steps, {endless} without an end left out")?;
        writeln!(f, "{} moves between engines", self.moves)?;
        writeln!(f, "{} mnemonics, {} exceptions, {} interrupts", self.mnemonics.len(), self.exceptions(), self.interrupts())?;
        let vectors: Vec<_> = (0..32).filter(|n| self.entered[*n] > 0).map(|n| format!("{n}: {}", self.entered[n])).collect();
        writeln!(f, "  by vector {}", vectors.join(", "))?;
        let Self { triple_faults, halts, mode_changes, .. } = self;
        writeln!(f, "{triple_faults} triple faults, {halts} halts, {mode_changes} changes of mode")?;
        let Traffic { memory, ports, interrupts } = self.traffic;
        writeln!(f, "on the bus: {memory} accesses to memory, {ports} to ports, {interrupts} for interrupts")?;
        write!(f, "fenced in on both sides: {} of {} cases", self.fenced, self.cases)
    }
}
