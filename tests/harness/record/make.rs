//! From a generated case to a row: what is set becomes its input, and what the host's processor makes of that its output.

use dragoman_state::{RFlags, SegmentIndex};

use super::outcome;
use crate::{
    Mode, Registers,
    case::{Case, End, Outcome, PageMap, Scene},
    generate::{Generated, ignored, uses_mmx},
    judge::{Fill, Setup},
    native::{NativeError, Oracle},
    row::{Assignment, Expression, Field, Part, Place, Row, SegmentName, Target, Value},
};

/// The most memory that one name in a row can have, in bytes.
pub(super) const CHUNK: usize = 64;
const LOCK: u8 = 0xf0;

/// The arithmetic flags, one by one.
pub(super) const FLAGS: [RFlags; 6] = [RFlags::CF, RFlags::PF, RFlags::AF, RFlags::ZF, RFlags::SF, RFlags::OF];

/// The row that `generated` makes. `None` where the host did not bring it to an end, or its outcome depends on more than
/// a row can name.
pub fn row(generated: &Generated, maps: &[PageMap], oracle: &mut Oracle) -> Result<Option<Row>, NativeError> {
    let case = &generated.case;
    let scene = Scene { case: Case { map: 0, ..*case }, map: maps[case.map as usize].clone() };
    let Some(outcome) = run(&scene, oracle)? else { return Ok(None) };
    if ignored(generated, &outcome, &outcome).is_some() || keeps_null(&case.registers, &outcome.registers) {
        return Ok(None);
    }
    let mut row = Row {
        mode: case.mode,
        cpl: 3,
        features: Vec::new(),
        code: case.code().to_vec(),
        tail: None,
        text: String::new(),
        inputs: inputs(generated),
        outputs: Vec::new(),
        fault: None,
        undefined: Vec::new(),
        lock: None,
        source: String::new(),
    };
    row.text = row.disassembly();
    if let Some(done) = again(&row, oracle)? {
        return Ok(Some(done));
    }
    // It may depend on flags that no table says it reads.
    for flag in FLAGS {
        let place = Place::Flag(flag);
        if row.inputs.iter().all(|input| input.target != Target::Place(place)) {
            row.inputs.push(Assignment {
                target: Target::Place(place),
                value: Value::from(u64::from(case.registers.rflags & flag.bits() != 0)),
            });
        }
    }
    again(&row, oracle)
}

/// Whether a null selector was loaded that is not zero: the host's kernel makes it zero before anyone can see it.
fn keeps_null(before: &Registers, after: &Registers) -> bool {
    (0..6).any(|n| n != 1 && before.selectors[n] != after.selectors[n] && after.selectors[n] < 4)
}

/// What differs from the register pattern, and memory.
fn inputs(generated: &Generated) -> Vec<Assignment> {
    let (case, insn) = (&generated.case, &generated.insn);
    let pattern = Registers::pattern(case.mode);
    let registers = &case.registers;
    let mut list = Vec::new();
    let mut set = |place, value| list.push(Assignment { target: Target::Place(place), value });
    let part = if case.mode == Mode::Long64 { Part::Qword } else { Part::Dword };
    for n in 0..case.mode.register_count() {
        if registers.gpr[n] != pattern.gpr[n] {
            set(Place::Gpr(n as u8, part), Value::from(registers.gpr[n]));
        }
    }
    let read = crate::generate::arithmetic_flags(insn.rflags_read());
    for flag in FLAGS.into_iter().filter(|flag| read.contains(*flag)).chain([RFlags::DF]) {
        let is_set = registers.rflags & flag.bits() != 0;
        if flag != RFlags::DF || is_set {
            set(Place::Flag(flag), Value::from(u64::from(is_set)));
        }
    }
    if registers.mxcsr != pattern.mxcsr {
        set(Place::Mxcsr, Value::from(u64::from(registers.mxcsr)));
    }
    for n in 0..case.mode.register_count() {
        let [low, high, ..] = registers.vectors[n];
        if registers.vectors[n] != pattern.vectors[n] {
            if registers.vectors[n][2..] == pattern.vectors[n][2..] {
                set(Place::Xmm(n as u8), Value([low, high, 0, 0, 0, 0, 0, 0]));
            } else {
                let [.., third, fourth] = registers.vectors[n];
                set(Place::Ymm(n as u8), Value([low, high, third, fourth, 0, 0, 0, 0]));
            }
        }
    }
    if registers.x87.control != pattern.x87.control {
        set(Place::Fcw, Value::from(u64::from(registers.x87.control)));
    }
    let is_mmx = uses_mmx(insn);
    for n in 0..8 {
        let register = registers.x87.registers[n];
        if register != pattern.x87.registers[n] {
            if is_mmx {
                set(Place::Mm(n as u8), Value::from(register.significand));
            } else {
                set(Place::St(n as u8), Value([register.significand, register.sign_exponent.into(), 0, 0, 0, 0, 0, 0]));
            }
        }
    }
    for window in case.windows() {
        for (n, chunk) in Case::bytes_of(window, &case.memory).chunks(CHUNK).enumerate() {
            let at = Expression::fixed(window.at + (n * CHUNK) as u64);
            list.push(Assignment { target: Target::Memory(8 * chunk.len() as u32, at), value: Value::from_bytes(chunk) });
        }
    }
    list
}

/// `row` with the outputs that the host's processor has for its inputs.
pub fn again(row: &Row, oracle: &mut Oracle) -> Result<Option<Row>, NativeError> {
    let mut runs = Vec::new();
    for fill in Fill::ALL {
        let setup = Setup::of(row, fill);
        let Ok(case) = setup.case(row) else { return Ok(None) };
        let Some(outcome) = run(&Scene { case, map: setup.map.clone() }, oracle)? else { return Ok(None) };
        runs.push((setup, outcome));
    }
    let [(zeros, after_zeros), (ones, after_ones)] = &runs[..] else { return Ok(None) };
    let mut done = Row {
        outputs: Vec::new(),
        fault: None,
        undefined: Vec::new(),
        lock: None,
        source: format!("host {}", oracle.host().name),
        ..row.clone()
    };
    if !outcome::write(&mut done, (zeros, after_zeros), (ones, after_ones)) {
        return Ok(None);
    }
    done.lock = lock(row, zeros, after_zeros, oracle)?;
    Ok(Some(done))
}

fn run(scene: &Scene, oracle: &mut Oracle) -> Result<Option<Outcome>, NativeError> {
    let outcomes = match oracle.run(std::slice::from_ref(&scene.map), std::slice::from_ref(&scene.case)) {
        Ok(outcomes) => outcomes,
        // Not what a program can be in.
        Err(NativeError::Refused(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(outcomes.into_iter().next().filter(|outcome| !matches!(outcome.end, End::Hang | End::Crash)))
}

/// Whether the host takes LOCK before it: only where it then does the same, or refuses.
fn lock(row: &Row, setup: &Setup, plain: &Outcome, oracle: &mut Oracle) -> Result<Option<bool>, NativeError> {
    const UNDEFINED: End = End::Fault { vector: 6, error: 0, address: 0 };
    if plain.end != End::Done || row.code.contains(&LOCK) || row.code.len() > 14 {
        return Ok(None);
    }
    let locked = Row { code: std::iter::once(LOCK).chain(row.code.iter().copied()).collect(), ..row.clone() };
    let Ok(case) = setup.case(&locked) else { return Ok(None) };
    let Some(outcome) = run(&Scene { case, map: setup.map.clone() }, oracle)? else { return Ok(None) };
    if outcome.end == UNDEFINED {
        return Ok(Some(false));
    }
    let mut same = outcome.registers;
    same.rip -= 1;
    let is_same = outcome.end == End::Done && same == plain.registers && outcome.memory == plain.memory;
    Ok(is_same.then_some(true))
}

/// Whether user code can both be given it and be asked for it, each once.
pub(crate) fn is_recorded(place: Place) -> bool {
    match place {
        Place::Rip | Place::Rflags | Place::Flag(_) => false,
        Place::Fsw(mask) => mask == u16::MAX,
        Place::Segment(SegmentName::Data(SegmentIndex::Fs | SegmentIndex::Gs), Field::Base) => true,
        place => place.is_user_visible(),
    }
}
