//! What must come of a scene, from the decoder's tables and the manual alone.
//! SDM: vol. 3 §4.7 (page-fault error codes), §6.15 (#GP, #SS, #PF), vol. 2 REP.

use std::collections::BTreeMap;

use dragoman_frontend::fault::vector;
use dragoman_state::{Gpr, VcpuState};
use iced_x86::Mnemonic as M;

use super::{
    operands::{Alignment, Operand},
    scene::{PORT_BYTES, Scene},
    trouble::{Trouble, Zone},
};
use crate::{case::End, layout::BACKGROUND};

/// What is expected of a scene.
pub struct Expected {
    /// Any of these; none where nothing refuses.
    pub ends: Vec<End>,
    /// How many elements of a repeated instruction are done before.
    pub done: u64,
}

/// What must come of `scene`.
pub fn expected(scene: &Scene, trouble: Trouble, zone: Zone) -> Expected {
    let cpl = scene.state.cpl();
    let count = if scene.is_repeated() { scene.count() } else { 1 };
    for k in 0..count {
        let mut ends = Vec::new();
        for operand in &scene.operands {
            let at = operand.at(&scene.state).wrapping_add_signed(scene.step().wrapping_mul(k as i64));
            let first = zone.first(at, operand.size).filter(|_| trouble.refuses(operand.is_write, cpl));
            let is_late = operand.alignment == Alignment::AfterSegment && trouble.is_of_segment() && first.is_some();
            if operand.alignment != Alignment::Free && at % operand.boundary != 0 && !is_late {
                return Expected { ends: vec![End::Fault { vector: vector::GP, error: 0, address: 0 }], done: k };
            }
            let Some(first) = first else { continue };
            ends.push(match (trouble.is_of_segment(), operand.is_stack) {
                (true, true) => End::Fault { vector: vector::SS, error: 0, address: 0 },
                (true, false) => End::Fault { vector: vector::GP, error: 0, address: 0 },
                (false, _) => {
                    let error = u32::from(trouble.is_present()) | u32::from(operand.is_write) << 1 | u32::from(cpl == 3) << 2;
                    End::Fault { vector: vector::PF, error, address: first }
                }
            });
        }
        if !ends.is_empty() {
            return Expected { ends, done: k };
        }
    }
    Expected { ends: Vec::new(), done: count }
}

/// What `done` elements of a repeated string instruction leave in registers.
pub fn advance(scene: &Scene, done: u64, state: &mut VcpuState) {
    if !scene.is_repeated() || done == 0 {
        return;
    }
    state.gpr[Gpr::RCX] -= done;
    for pointer in scene.operands.iter().filter_map(Operand::pointer) {
        let slot = &mut state.gpr[pointer];
        *slot = slot.wrapping_add_signed(scene.step() * done as i64);
    }
    if let M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq = scene.insn.mnemonic() {
        let value = u64::from_le_bytes([BACKGROUND; 8]);
        state.gpr[Gpr::RAX] = match scene.step().unsigned_abs() {
            8 => value,
            4 => value & 0xffff_ffff,
            size => state.gpr[Gpr::RAX] & !((1 << (8 * size)) - 1) | value & ((1 << (8 * size)) - 1),
        };
    }
}

/// What `done` elements of a repeated string instruction leave in memory.
pub fn written(scene: &Scene, done: u64) -> BTreeMap<u64, u8> {
    let mut bytes = BTreeMap::new();
    if !scene.is_repeated() {
        return bytes;
    }
    let value = match scene.insn.mnemonic() {
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => scene.state.gpr[Gpr::RAX].to_le_bytes(),
        M::Insb | M::Insw | M::Insd => [PORT_BYTES, PORT_BYTES].concat().try_into().unwrap_or_default(),
        _ => return bytes,
    };
    let size = scene.step().unsigned_abs();
    for operand in scene.operands.iter().filter(|operand| operand.is_write) {
        for k in 0..done {
            let at = operand.at(&scene.state).wrapping_add_signed(scene.step().wrapping_mul(k as i64));
            for n in 0..size {
                bytes.insert(at + n, value[n as usize]);
            }
        }
    }
    bytes
}
