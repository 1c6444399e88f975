//! A generated case in words: everything that it starts from.

use super::Generated;
use crate::case::Case;

impl Generated {
    /// The instruction, and the registers and the memory that may matter to it, on several lines.
    pub fn describe(&self) -> String {
        let case = &self.case;
        let text = dragoman_frontend::decode::disassemble(case.code(), case.mode.code_size(), case.registers.rip);
        let gpr: Vec<_> = case.registers.gpr[..case.mode.register_count()].iter().map(|value| format!("{value:x}")).collect();
        let mut all = format!(
            "{} | {} | {text}\n    start {} rflags {:x} mxcsr {:x} fcw {:x} fsw {:x} ftw {:x} map {}",
            case.mode,
            hex(case.code()),
            gpr.join(" "),
            case.registers.rflags,
            case.registers.mxcsr,
            case.registers.x87.control,
            case.registers.x87.status.bits(),
            case.registers.x87.valid,
            case.map
        );
        for n in (0..case.mode.register_count()).filter(|n| names_vector(&text, *n)) {
            let [a, b, c, d] = case.registers.vectors[n];
            all.push_str(&format!("\n    start ymm{n} {d:016x}_{c:016x}_{b:016x}_{a:016x}"));
        }
        if text.starts_with('f') || (0..8).any(|n| names(&text, "mm", n)) {
            for (n, register) in case.registers.x87.registers.iter().enumerate() {
                all.push_str(&format!("\n    start physical {n} {:04x}_{:016x}", register.sign_exponent, register.significand));
            }
        }
        for window in case.windows() {
            all.push_str(&format!("\n    start memory {:#x}: {}", window.at, hex(Case::bytes_of(window, &case.memory))));
        }
        all
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Whether a register of that kind and number is in `text`.
fn names(text: &str, kind: &str, number: usize) -> bool {
    let word = format!("{kind}{number}");
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|one| one == word)
}

/// Whether a vector register of that number is in `text`; the first may be implied.
fn names_vector(text: &str, number: usize) -> bool {
    number == 0 && text.contains("xmm") || names(text, "xmm", number) || names(text, "ymm", number)
}
