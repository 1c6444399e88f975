//! A case that differed, spelled out for people.

use iced_x86::{Instruction, InstructionInfoFactory, Register};

use super::tally::First;
use crate::{
    Mode, Registers,
    case::Case,
    engine,
    generate::{is_x87, operand_at, uses_mmx},
    judge::{Difference, Fill, Setup},
    row::{Row, Value},
};

/// How much of a window is shown about the operand, in bytes.
const SHOWN: u64 = 32;

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// What was expected, and what was got, of all that differs.
fn sides(found: &[Difference]) -> (String, String) {
    let side =
        |of: fn(&Difference) -> &str| found.iter().map(|one| format!("{} {}", one.what, of(one))).collect::<Vec<_>>().join("; ");
    (side(|one| &one.expected), side(|one| &one.got))
}

impl First {
    /// `case`, of which `source` expects something else than what was found.
    pub fn of_case(case: &Case, insn: &Instruction, found: &[Difference], source: &str) -> Self {
        let (expected, got) = sides(found);
        let mut start = registers(case.mode, insn, &case.registers);
        let at = operand_at(case, insn);
        for window in case.windows() {
            // About the operand where there is one in it, else from the window's beginning.
            let inside = at.map(|at| at.wrapping_sub(window.at)).filter(|offset| *offset < u64::from(window.length));
            let from = inside.unwrap_or(0);
            let to = (from + SHOWN).min(window.length.into());
            let bytes = &Case::bytes_of(window, &case.memory)[from as usize..to as usize];
            start.push(format!("memory {:#x}: {}", window.at + from, hex(bytes)));
        }
        if case.map != 0 {
            start.push(format!("page map {}", case.map));
        }
        Self {
            mode: case.mode.name().into(),
            bytes: hex(case.code()),
            text: dragoman_frontend::decode::disassemble(case.code(), case.mode.code_size(), case.registers.rip),
            start: start.join(" "),
            expected,
            got,
            source: source.into(),
        }
    }

    /// `row`, which was found to differ.
    pub fn of_row(row: &Row, found: &[Difference], source: String) -> Self {
        let (expected, got) = sides(found);
        let [mode, bytes, text] = row.head();
        let view = engine::user_view(&Setup::of(row, Fill::Zeros).state);
        let mut start: Vec<String> = row.inputs.iter().map(ToString::to_string).collect();
        for insn in row.mode.instructions(&row.bytes()) {
            let more = registers(row.mode, &insn, &view);
            // Of what the row itself names, its own words are shown.
            let is_new = |text: &String| {
                let name = text.split('=').next().unwrap_or_default();
                !start.iter().any(|known| known.split('=').next() == Some(name))
            };
            let more: Vec<_> = more.into_iter().filter(is_new).collect();
            start.extend(more);
        }
        Self { mode, bytes, text, start: start.join(" "), expected, got, source }
    }
}

/// The registers that `insn` is concerned with, each as `name=value`.
fn registers(mode: Mode, insn: &Instruction, registers: &Registers) -> Vec<String> {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(insn);
    let mut used: Vec<Register> = info.used_registers().iter().map(|used| used.register().full_register()).collect();
    for memory in info.used_memory() {
        used.extend([memory.base(), memory.index()].map(Register::full_register));
    }
    used.sort_unstable();
    used.dedup();
    let is_vector = |register: &Register| register.is_xmm() || register.is_ymm() || register.is_zmm();
    let mut list: Vec<String> = Vec::new();
    for register in used.iter().filter(|register| register.is_gpr()) {
        let (name, value) = (format!("{register:?}").to_ascii_lowercase(), registers.gpr[register.number()]);
        let name = if mode == Mode::Long64 || !name.starts_with('r') { name } else { name.replacen('r', "e", 1) };
        list.push(format!("{name}={value:#x}"));
    }
    list.push(format!("rflags={:#x}", registers.rflags));
    for register in used.iter().filter(|register| is_vector(register)) {
        if let Some([a, b, c, d]) = registers.vectors.get(register.number()) {
            list.push(format!("ymm{}={}", register.number(), Value([*a, *b, *c, *d, 0, 0, 0, 0]).to_hex(256)));
        }
    }
    if used.iter().any(is_vector) {
        list.push(format!("mxcsr={:#x}", registers.mxcsr));
    }
    if is_x87(insn) || uses_mmx(insn) {
        let unit = &registers.x87;
        list.push(format!("fcw={:#x} fsw={:#x} ftw={:#x}", unit.control, unit.status.bits(), unit.valid));
        for n in 0..8 {
            let register = unit.registers[(unit.top() + n) % 8];
            let value = Value([register.significand, register.sign_exponent.into(), 0, 0, 0, 0, 0, 0]);
            list.push(format!("st{n}={}", value.to_hex(80)));
        }
    }
    list
}
