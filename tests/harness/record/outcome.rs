//! What the host's processor left behind, as the outputs of a row.

use dragoman_frontend::fault::vector;
use dragoman_state::{RFlags, VcpuState};
use iced_x86::{Instruction, Mnemonic, Register};

use super::make::{CHUNK, FLAGS, is_recorded};
use crate::{
    case::{Case, End, Outcome},
    engine,
    generate::{Tolerance, arithmetic_flags, tolerance},
    judge::Setup,
    row::{Assignment, ExpectedFault, Expression, Part, Place, Row, Target, Undefined, Value},
};

/// Writes the outputs of `row` from its two runs. False where they say different things of something other than flags.
pub fn write(row: &mut Row, zeros: (&Setup, &Outcome), ones: (&Setup, &Outcome)) -> bool {
    let (setup, outcome) = zeros;
    if outcome.end != ones.1.end || outcome.memory != ones.1.memory {
        return false;
    }
    let (after, after_ones) = (state(row, setup, outcome), state(row, ones.0, ones.1));
    let decoded = decode(row);
    let is_done = outcome.end == End::Done;
    write_end(row, outcome.end);
    let natural = row.start() + if is_done || row.fault.is_some_and(ExpectedFault::is_trap) { row.code.len() as u64 } else { 0 };
    if after.rip != natural {
        row.outputs.push(output(Place::Rip, Value::from(after.rip)));
    }
    // Registers of the stack are named by where they are at the end.
    let mut before = setup.state.clone();
    before.x87.set_top(after.x87.top());
    let mut before_ones = ones.0.state.clone();
    before_ones.x87.set_top(after_ones.x87.top());
    let mut places = Vec::new();
    for place in Place::all().filter(|place| is_recorded(*place)) {
        let (a, b) = (place.get(&after), place.get(&after_ones));
        let is_changed = a != place.get(&before);
        if is_changed != (b != place.get(&before_ones)) || is_changed && a != b {
            return false;
        }
        // The status word's top is where registers of the stack are counted from.
        if is_changed || place == Place::Fsw(u16::MAX) && a != place.get(&setup.state) {
            places.push(place);
        }
    }
    for place in places {
        let place = narrowed(row, place, &before, &after);
        let value = place.get(&after);
        // An estimate is the vendor's own.
        if tolerance(decoded.mnemonic()) == Tolerance::Estimate && matches!(place, Place::Xmm(_) | Place::Ymm(_)) {
            row.undefined.push(Undefined { place, value: Some(value) });
        } else {
            row.outputs.push(output(place, value));
        }
    }
    if is_done {
        write_unseen(row, &decoded);
    }
    if is_done && !write_flags(row, &decoded, (setup, &after), (ones.0, &after_ones)) {
        return false;
    }
    write_memory(row, setup, outcome);
    true
}

fn output(place: Place, value: Value) -> Assignment {
    Assignment { target: Target::Place(place), value }
}

/// What the host does not let programs see.
fn write_unseen(row: &mut Row, insn: &Instruction) {
    const MOV_SS: u64 = 2;
    let name = insn.mnemonic();
    if matches!(name, Mnemonic::Mov | Mnemonic::Pop) && insn.op0_register() == Register::SS {
        row.outputs.push(output(Place::Shadow, Value::from(MOV_SS)));
    }
    if matches!(name, Mnemonic::Fldenv | Mnemonic::Frstor | Mnemonic::Fxrstor | Mnemonic::Fxrstor64) {
        row.undefined.extend([Place::Fcs, Place::Fds].map(|place| Undefined { place, value: None }));
    }
}

fn decode(row: &Row) -> Instruction {
    iced_x86::Decoder::new(row.mode.bitness(), &row.code, iced_x86::DecoderOptions::NONE).decode()
}

/// The state after a run.
pub(crate) fn state(row: &Row, setup: &Setup, outcome: &Outcome) -> VcpuState {
    let mut state = setup.state.clone();
    let mut registers = outcome.registers;
    registers.rflags &= !RFlags::RF.bits();
    if !setup.state.is_64bit() {
        // Programs outside 64-bit mode do not see the others.
        for n in 8..16 {
            registers.gpr[n] = setup.state.gpr[dragoman_state::Gpr(n as u8)];
        }
    }
    engine::set_user_view(&mut state, row.mode, &registers);
    state
}

/// The exception that ended it.
fn write_end(row: &mut Row, end: End) {
    let End::Fault { vector, error, address } = end else { return };
    row.fault = Some(ExpectedFault { vector, error: engine::has_error_code(vector).then_some(error) });
    if vector == vector::PF {
        row.outputs.push(output(Place::Cr2, Value::from(address)));
    }
}

/// `place`, or the part of it that rows name it by.
fn narrowed(row: &Row, place: Place, before: &VcpuState, after: &VcpuState) -> Place {
    match place {
        Place::Ymm(n) => {
            let (a, b) = (&before.vectors.registers[usize::from(n)], &after.vectors.registers[usize::from(n)]);
            if a[2..] == b[2..] { Place::Xmm(n) } else { place }
        }
        Place::Gpr(n, _) if row.mode != crate::Mode::Long64 => Place::Gpr(n, Part::Dword),
        // An MMX instruction leaves the top at zero.
        Place::St(n)
            if after.x87.registers[(after.x87.top() + usize::from(n)) % 8].sign_exponent == 0xffff && after.x87.top() == 0 =>
        {
            Place::Mm(n)
        }
        place => place,
    }
}

/// The flags: those that are defined where they are the same whatever they were, the others as a note.
fn write_flags(row: &mut Row, insn: &Instruction, zeros: (&Setup, &VcpuState), ones: (&Setup, &VcpuState)) -> bool {
    let undefined = arithmetic_flags(insn.rflags_undefined());
    for flag in FLAGS {
        let place = Place::Flag(flag);
        let [a0, a1] = [zeros.1, ones.1].map(|state| state.rflags.contains(flag));
        let [b0, b1] = [zeros.0, ones.0].map(|setup| setup.state.rflags.contains(flag));
        let is_kept = a0 == b0 && a1 == b1;
        if undefined.contains(flag) {
            if !is_kept && a0 != a1 {
                return false;
            }
            row.undefined.push(Undefined { place, value: (!is_kept).then(|| Value::from(u64::from(a0))) });
        } else if !is_kept {
            if a0 != a1 {
                return false;
            }
            row.outputs.push(output(place, Value::from(u64::from(a0))));
        }
    }
    for flag in [RFlags::DF, RFlags::AC, RFlags::NT, RFlags::ID, RFlags::TF] {
        let is_set = zeros.1.rflags.contains(flag);
        if is_set != zeros.0.state.rflags.contains(flag) {
            row.outputs.push(output(Place::Flag(flag), Value::from(u64::from(is_set))));
        }
    }
    true
}

/// Memory that changed, named as the inputs name it.
fn write_memory(row: &mut Row, setup: &Setup, outcome: &Outcome) {
    let Ok(case) = setup.case(row) else { return };
    for window in case.windows() {
        let (before, after) = (Case::bytes_of(window, &case.memory), Case::bytes_of(window, &outcome.memory));
        for (n, (before, after)) in before.chunks(CHUNK).zip(after.chunks(CHUNK)).enumerate() {
            if before != after {
                let at = Expression::fixed(window.at + (n * CHUNK) as u64);
                let target = Target::Memory(8 * after.len() as u32, at);
                row.outputs.push(Assignment { target, value: Value::from_bytes(after) });
            }
        }
    }
}
