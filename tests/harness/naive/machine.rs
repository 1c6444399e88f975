//! What an instruction finds and leaves: the registers, flags and memory of a case, by operand.

use dragoman_state::RFlags;
use iced_x86::{Instruction, OpKind, Register};

use super::{Fates, bits::Bits};
use crate::{
    case::{Case, End, Outcome},
    generate::operand_at,
    judge::Difference,
};

/// The six flags.
const ARITHMETIC: u64 = RFlags::ARITHMETIC.bits();

/// A case under way: at the start, then as the model leaves it.
pub struct Machine {
    insn: Instruction,
    /// What it starts from.
    start: Case,
    /// What it leaves.
    end: Case,
    fates: Fates,
    fault: Option<u8>,
    /// Bits of registers that the manual leaves open.
    open: [u64; 16],
    /// Linear address of the memory operand.
    at: Option<u64>,
    is_memory_open: bool,
}

/// Where a register's bits are: in which register of full width, from which bit, how many.
pub(super) fn place(register: Register) -> (usize, u32, u32) {
    use Register::{AH, BH, CH, DH};
    let shift = if matches!(register, AH | BH | CH | DH) { 8 } else { 0 };
    (register.full_register().number(), shift, 8 * register.size() as u32)
}

fn mask(width: u32) -> u64 {
    u64::MAX >> (64 - width)
}

impl Machine {
    /// `case`, whose one instruction is `insn`, at its start.
    pub fn new(case: &Case, insn: &Instruction) -> Self {
        Self {
            insn: *insn,
            start: *case,
            end: *case,
            fates: Fates::KEPT,
            fault: None,
            open: [0; 16],
            at: operand_at(case, insn),
            is_memory_open: false,
        }
    }

    /// The instruction.
    pub fn insn(&self) -> &Instruction {
        &self.insn
    }

    /// Whether the carry flag is set at the start.
    pub fn carry(&self) -> bool {
        self.start.registers.rflags & RFlags::CF.bits() != 0
    }

    /// Whether the overflow flag is set at the start.
    pub fn overflow(&self) -> bool {
        self.start.registers.rflags & RFlags::OF.bits() != 0
    }

    /// Whether the adjust flag is set at the start.
    pub fn adjust(&self) -> bool {
        self.start.registers.rflags & RFlags::AF.bits() != 0
    }

    /// The low byte of the flags at the start, as LAHF shows it.
    pub fn flags_byte(&self) -> u64 {
        self.start.registers.rflags & 0xff
    }

    /// A general-purpose register, or a part of one.
    pub fn register(&self, register: Register) -> Bits {
        let (number, shift, width) = place(register);
        Bits::new(self.start.registers.gpr[number] >> shift, width)
    }

    /// Writes a register: 32 bits clear what is above, fewer leave it.
    pub fn set_register(&mut self, register: Register, value: Bits) {
        put(&mut self.end, register, value.value());
    }

    /// The width of operand `n` in bits.
    pub fn width(&self, n: u32) -> u32 {
        match self.insn.op_kind(n) {
            OpKind::Register => 8 * self.insn.op_register(n).size() as u32,
            _ => 8 * self.insn.memory_size().size() as u32,
        }
    }

    /// Operand `n`. An immediate is as wide as `width`.
    pub fn operand(&self, n: u32, width: u32) -> Bits {
        match self.insn.op_kind(n) {
            OpKind::Register => self.register(self.insn.op_register(n)),
            OpKind::Memory => self.memory(0, width),
            _ => Bits::new(self.insn.immediate(n), width),
        }
    }

    /// Writes operand `n`.
    pub fn set_operand(&mut self, n: u32, value: Bits) {
        if self.insn.op_kind(n) == OpKind::Register {
            self.set_register(self.insn.op_register(n), value);
        } else {
            self.set_memory(0, value);
        }
    }

    /// The manual does not say what operand `n` becomes.
    pub fn leave_operand_open(&mut self, n: u32) {
        if self.insn.op_kind(n) == OpKind::Register {
            let (number, shift, width) = place(self.insn.op_register(n));
            self.open[number] |= if width == 32 { u64::MAX } else { mask(width) << shift };
        } else {
            self.is_memory_open = true;
        }
    }

    /// The manual does not say what the upper half of operand `n` becomes, where it is a register of 32 bits.
    pub fn leave_upper_half_open(&mut self, n: u32) {
        if self.insn.op_kind(n) == OpKind::Register && self.insn.op_register(n).size() == 4 {
            self.open[place(self.insn.op_register(n)).0] |= !mask(32);
        }
    }

    /// Memory `delta` bytes from the operand's address.
    pub fn memory(&self, delta: i64, width: u32) -> Bits {
        let from = self.memory_index(delta);
        let mut bits = Bits::zero(width);
        for n in 0..width {
            bits.set(n, self.end.memory[from + n as usize / 8] >> (n % 8) & 1 != 0);
        }
        bits
    }

    /// Writes memory `delta` bytes from the operand's address.
    pub fn set_memory(&mut self, delta: i64, value: Bits) {
        let from = self.memory_index(delta);
        for n in 0..value.width() as usize / 8 {
            self.end.memory[from + n] = value.part(8 * n as u32, 8).value() as u8;
        }
    }

    fn memory_index(&self, delta: i64) -> usize {
        let at = self.at.unwrap_or_default().wrapping_add_signed(delta);
        let window = self.start.windows().find(|window| (window.at..window.at + u64::from(window.length)).contains(&at));
        let window = window.expect("what a case touches is in its windows");
        window.from as usize + (at - window.at) as usize
    }

    /// What becomes of the flags.
    pub fn set_fates(&mut self, fates: Fates) {
        self.fates = fates;
    }

    /// It raises `vector`, and nothing else happens.
    pub fn raise(&mut self, vector: u8) {
        self.fault = Some(vector);
    }

    /// What `outcome` has other than the model.
    pub fn differences(&self, outcome: &Outcome) -> Vec<Difference> {
        let mut found = Vec::new();
        let end = match (self.fault, outcome.end) {
            (None, End::Done) => true,
            (Some(expected), End::Fault { vector, .. }) => vector == expected,
            _ => false,
        };
        if !end {
            let expected = self.fault.map_or(End::Done, |vector| End::Fault { vector, error: 0, address: 0 });
            found.push(Difference::new("end", format!("{expected:?}"), format!("{:?}", outcome.end)));
        }
        let (start, got) = (if self.fault.is_some() { &self.start } else { &self.end }, &outcome.registers);
        let mut differ = |what: String, expected: u64, got: u64| {
            if expected != got {
                found.push(Difference::new(what, format!("{expected:#x}"), format!("{got:#x}")));
            }
        };
        for n in 0..start.mode.register_count() {
            let seen = !self.open[n] & start.mode.register_mask();
            differ(format!("gpr {n}"), start.registers.gpr[n] & seen, got.gpr[n] & seen);
        }
        let length = if self.fault.is_some() { 0 } else { self.insn.len() as u64 };
        differ("rip".into(), start.registers.rip + length, got.rip);
        let (flags, seen) = self.flags();
        differ("rflags".into(), flags & seen, got.rflags & seen);
        if !self.is_memory_open && start.memory != outcome.memory {
            let first = (0..start.memory.len()).find(|n| start.memory[*n] != outcome.memory[*n]).unwrap_or_default();
            let window = start.windows().find(|window| (window.from..window.from + window.length).contains(&(first as u32)));
            let at = window.map_or(0, |window| window.at + first as u64 - u64::from(window.from));
            let near = first..(first + 8).min(start.memory.len());
            let hex = |memory: &[u8]| memory.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            let (expected, got) = (hex(&start.memory[near.clone()]), hex(&outcome.memory[near]));
            found.push(Difference::new(format!("memory at {at:#x}"), expected, got));
        }
        found
    }

    /// RFLAGS as the model leaves them, and which of their bits it knows.
    fn flags(&self) -> (u64, u64) {
        let before = self.start.registers.rflags;
        if self.fault.is_some() {
            return (before, u64::MAX);
        }
        let (mut flags, mut seen) = (before & !ARITHMETIC, u64::MAX);
        for (bit, fate) in self.fates.by_bit() {
            match fate {
                super::Fate::Is(value) => flags |= u64::from(value) << bit,
                super::Fate::Kept => flags |= before & 1 << bit,
                super::Fate::Undefined => seen &= !(1 << bit),
            }
        }
        (flags, seen)
    }
}

/// Writes a register of `case`: 32 bits clear what is above, fewer leave it.
pub(super) fn put(case: &mut Case, register: Register, value: u64) {
    let (number, shift, width) = place(register);
    let slot = &mut case.registers.gpr[number];
    let kept = if width >= 32 { 0 } else { *slot & !(mask(width) << shift) };
    *slot = (kept | (value & mask(width)) << shift) & case.mode.register_mask();
}
