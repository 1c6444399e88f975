//! An engine's outcome beside the host's: everything, but what the manual leaves open.

use dragoman_state::{F80, RFlags, StatusWord};
use iced_x86::{Instruction, Mnemonic};

use super::{
    Generated,
    ignored::{Ignored, ignored, is_of_vendor},
    registers::arithmetic_flags,
    steer::operand_at,
};
use crate::{
    RSP, Registers,
    case::{Case, End, MEMORY_ROOM, Outcome},
    judge::Difference,
    layout::{self, selector},
    native::Host,
    row::Value,
    vendors::{self, Extent},
};

/// What `got` has other than `host`.
pub fn differences(generated: &Generated, native: &Outcome, got: &Outcome, host: &Host) -> Result<Vec<Difference>, Ignored> {
    let insn = &generated.insn;
    if let Some(reason) = ignored(generated, native, got) {
        return Err(reason);
    }
    if !host.is_kin() && is_of_vendor(generated) {
        return Err(Ignored::Vendor);
    }
    let mode = generated.case.mode;
    let mut found = Vec::new();
    if coarse(insn, native.end) != coarse(insn, got.end) {
        found.push(Difference::new("end", show(native.end), show(got.end)));
    }
    let is_fault = native.end != End::Done;
    let (a, b) = (&visible(&native.registers), &visible(&got.registers));
    let mut differ = |what: String, expected: u64, got: u64| {
        if expected != got {
            found.push(Difference::new(what, format!("{expected:#x}"), format!("{got:#x}")));
        }
    };
    for n in 0..mode.register_count() {
        let mask = mode.register_mask();
        differ(format!("gpr {n}{}", if n == RSP { " (rsp)" } else { "" }), a.gpr[n] & mask, b.gpr[n] & mask);
    }
    differ("rip".into(), a.rip, b.rip);
    let mut ignored = RFlags::RF;
    if matches!(native.end, End::Done) {
        ignored |= arithmetic_flags(insn.rflags_undefined());
    }
    differ("rflags".into(), a.rflags & !ignored.bits(), b.rflags & !ignored.bits());
    for n in 0..6 {
        differ(format!("segment register {n}"), a.selectors[n].into(), b.selectors[n].into());
    }
    differ("fs.base".into(), a.fs_base, b.fs_base);
    differ("gs.base".into(), a.gs_base, b.gs_base);
    differ("mxcsr".into(), a.mxcsr.into(), b.mxcsr.into());
    differ("fcw".into(), a.x87.control.into(), b.x87.control.into());
    for (name, bits) in [("fsw", !(StatusWord::C1 | StatusWord::TOP)), ("c1", StatusWord::C1), ("top", StatusWord::TOP)] {
        differ(name.into(), (a.x87.status & bits).bits().into(), (b.x87.status & bits).bits().into());
    }
    differ("ftw".into(), a.x87.valid.into(), b.x87.valid.into());
    differ("fip".into(), a.x87.instruction_pointer, b.x87.instruction_pointer);
    let tolerance = tolerance(insn.mnemonic());
    for n in 0..8 {
        let (a, b) = (a.x87.registers[n], b.x87.registers[n]);
        let is_same_sign = a.sign_exponent >> 15 == b.sign_exponent >> 15;
        let is_near = tolerance == Tolerance::LastPlace && is_same_sign && ordinal(a).abs_diff(ordinal(b)) <= 1;
        if a != b && !is_near {
            let text = |x: F80| Value([x.significand, x.sign_exponent.into(), 0, 0, 0, 0, 0, 0]).to_hex(80);
            found.push(Difference::new(format!("x87 register {n}"), text(a), text(b)));
        }
    }
    for n in 0..mode.register_count() {
        if a.vectors[n] != b.vectors[n] && !(tolerance == Tolerance::Estimate && is_estimate(&a.vectors[n], &b.vectors[n])) {
            let text = |x: [u64; 4]| Value([x[0], x[1], x[2], x[3], 0, 0, 0, 0]).to_hex(256);
            found.push(Difference::new(format!("ymm{n}"), text(a.vectors[n]), text(b.vectors[n])));
        }
    }
    compare_memory(generated, native, got, &mut found);
    found.retain(|one| !vendors::is_open(insn, mode, &host.vendor, is_fault, &one.what));
    Ok(found)
}

/// Images of the x87 unit, whose parts are accessed in an order of the processor's own.
pub(super) fn is_environment(insn: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        insn.mnemonic(),
        M::Fnsave
            | M::Frstor
            | M::Fldenv
            | M::Fnstenv
            | M::Fxsave
            | M::Fxsave64
            | M::Fxrstor
            | M::Fxrstor64
            | M::Maskmovq
            | M::Maskmovdqu
            | M::Vmaskmovdqu
    )
}

/// The end without what the manual does not say: which byte of a long operand is missed first.
fn coarse(insn: &Instruction, end: End) -> End {
    match end {
        End::Fault { vector, error, .. } if is_environment(insn) => End::Fault { vector, error, address: 0 },
        // There, the host's kernel is mapped, and the test stand's.
        End::Fault { vector, error, address } if address >> 47 != 0 || layout::SYSTEM.contains(&address) => {
            End::Fault { vector, error: error & !1, address }
        }
        end => end,
    }
}

/// Registers without what the manual leaves open.
fn visible(registers: &Registers) -> Registers {
    let mut registers = *registers;
    for (n, selector) in registers.selectors.iter_mut().enumerate() {
        // A return from the host's kernel clears what is in null selectors.
        if n != 1 && *selector < 4 {
            *selector = 0;
        }
    }
    if registers.selectors[1] != selector::USER_CODE64 {
        // Of a stack pointer that was wider before it left 64-bit mode.
        registers.gpr[RSP] &= 0xffff_ffff;
    }
    registers
}

/// Which number it is, counted from zero upwards: neighbours differ by one.
fn ordinal(x: F80) -> u128 {
    u128::from(x.sign_exponent & 0x7fff) << 63 | u128::from(x.significand << 1 >> 1)
}

fn show(end: End) -> String {
    match end {
        End::Fault { vector, error, address } => {
            let fault = crate::row::ExpectedFault { vector, error: Some(error) };
            if vector == 14 { format!("{fault} cr2={address:#x}") } else { fault.to_string() }
        }
        End::Done => "no exception".into(),
        End::Hang => "no end".into(),
        End::Crash => "a crash".into(),
    }
}

/// How far a result may be from the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Not at all.
    None,
    /// One unit in the last place of an extended number: what the manual grants transcendental instructions.
    LastPlace,
    /// 1.5 * 2^-12 of its magnitude: what the manual grants the estimates of single-precision numbers.
    Estimate,
}

/// How far results of `mnemonic` may be from the host's.
pub fn tolerance(mnemonic: Mnemonic) -> Tolerance {
    match vendors::nearness(mnemonic) {
        Some(Extent::Estimate) => Tolerance::Estimate,
        Some(Extent::LastPlace) => Tolerance::LastPlace,
        _ => Tolerance::None,
    }
}

/// Whether all lanes are near one another.
fn is_estimate(a: &[u64; 4], b: &[u64; 4]) -> bool {
    let lanes = |x: &[u64; 4]| x.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]).collect::<Vec<_>>();
    lanes(a).into_iter().zip(lanes(b)).all(|(a, b)| {
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        // Near the smallest normal number, either is allowed.
        let is_tiny = |x: f32| x.abs() <= f32::MIN_POSITIVE * 1.001;
        a == b || is_tiny(x) && is_tiny(y) || x.is_finite() && y.is_finite() && (x - y).abs() <= x.abs() * 7.4e-4
    })
}

/// Parts of images in memory that depend on the processor: offset and length.
fn unspecified(mnemonic: Mnemonic, is_wide: bool) -> &'static [(usize, usize)] {
    use Mnemonic as M;
    match mnemonic {
        // Opcode and pointers; what of MXCSR there is.
        M::Fxsave | M::Fxsave64 => &[(6, 18), (28, 4)],
        M::Fnstenv | M::Fnsave if is_wide => &[(12, 16)],
        M::Fnstenv | M::Fnsave => &[(6, 8)],
        _ => &[],
    }
}

fn compare_memory(generated: &Generated, native: &Outcome, got: &Outcome, found: &mut Vec<Difference>) {
    if native.memory == got.memory {
        return;
    }
    let insn = &generated.insn;
    let is_wide = insn.memory_size().size() > 94 || insn.memory_size() == iced_x86::MemorySize::FpuEnv28;
    let masked = |memory: &[u8; MEMORY_ROOM]| {
        let mut memory = *memory;
        if let Some(at) = operand_at(&generated.case, insn) {
            for (offset, length) in unspecified(insn.mnemonic(), is_wide) {
                for window in generated.case.windows() {
                    for n in 0..*length as u64 {
                        let byte = at.wrapping_add(*offset as u64 + n).wrapping_sub(window.at);
                        if byte < u64::from(window.length) {
                            memory[window.from as usize + byte as usize] = 0;
                        }
                    }
                }
            }
        }
        memory
    };
    let (a, b) = (masked(&native.memory), masked(&got.memory));
    for window in generated.case.windows() {
        let (a, b) = (Case::bytes_of(window, &a), Case::bytes_of(window, &b));
        if let Some(first) = (0..a.len()).find(|n| a[*n] != b[*n]) {
            let last = (0..a.len()).rfind(|n| a[*n] != b[*n]).unwrap_or(first);
            let hex = |bytes: &[u8]| bytes[first..=last].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            found.push(Difference::new(format!("memory at {:#x}", window.at + first as u64), hex(a), hex(b)));
        }
    }
}
