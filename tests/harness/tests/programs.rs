//! Random programs on every engine: what one that executes instruction by instruction does with them, each other does.

use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Gpr, GuestVirt, RFlags, SegmentIndex, VcpuState};
use harness::{
    Mode,
    case::{Access, PageMap},
    engine::{self, Rig},
    generate::{self, Random},
    layout::{CODE, DATA, PAGE, STACK, STACK_OFFSET},
    programs::{self, Program, TOP},
};

/// How many programs are run; `DRAGOMAN_PROGRAMS` says otherwise.
const COUNT: u64 = 3000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// How the three pages of data can be accessed: in half of the programs all can be written; in others one of them can only
/// be read, or is not there, so that somewhere in the middle an instruction faults, and its handler halts.
fn data_access(seed: u64) -> [Access; 3] {
    use Access::{Absent, ReadOnly, ReadWrite};
    match seed % 8 {
        1 | 5 => [ReadWrite, ReadWrite, Absent],
        3 => [ReadWrite, ReadWrite, ReadOnly],
        7 => [ReadWrite, ReadOnly, ReadWrite],
        _ => [ReadWrite; 3],
    }
}

/// Gives the processor the memory that programs use: their own pages, three of data, two of stack.
fn fill(rig: &mut Rig, program: &Program, seed: u64) {
    let mut map = PageMap::new();
    program.pages().into_iter().for_each(|page| map.add_range(page, PAGE, Access::Everything));
    if is_data_high(program, seed) {
        map.add_range(TOP, PAGE, Access::ReadWrite);
        map.add_range(0, PAGE, Access::ReadWrite);
    }
    for (n, access) in data_access(seed).into_iter().enumerate() {
        map.add_range(DATA + n as u64 * PAGE, PAGE, access);
    }
    map.add_range(STACK, 2 * PAGE, Access::ReadWrite);
    rig.memory_mut().forget();
    rig.prepare(program.mode, &map);
    let fill: Vec<u8> = (0..3 * PAGE).map(|n| ((n * 37) >> (n & 3)) as u8).collect();
    rig.memory().write(DATA, &fill);
    rig.memory().write(STACK, &fill[..2 * PAGE as usize]);
    for (at, bytes) in program.pieces() {
        rig.memory().write(at, bytes);
    }
}

/// Whether some of the data of 32-bit code lies where addresses begin again at zero. Not where the code does.
fn is_data_high(program: &Program, seed: u64) -> bool {
    program.mode != Mode::Long64 && seed % 5 == 0 && program.pages()[0] >= CODE && program.at < TOP
}

/// Where a program starts: with pointers into the data, one of them at the end of a page, and anything in the rest.
fn start(rig: &Rig, program: &Program, seed: u64) -> VcpuState {
    let random = &mut Random::new(!seed);
    let mut state = rig.start(program.mode, 0);
    // In compatibility mode, what 64-bit code left in the upper halves is still there.
    for n in 0..if program.mode == Mode::Prot32 { 0 } else { 16 } {
        state.gpr[Gpr(n)] = generate::integer(random);
    }
    for n in 0..if program.mode == Mode::Prot32 { 8 } else { 0 } {
        state.gpr[Gpr(n)] = generate::integer(random) & 0xffff_ffff;
    }
    let upper = if program.mode == Mode::Comp32 && random.one_in(2) { random.bits() << 32 } else { 0 };
    if program.mode != Mode::Long64 {
        let [fs, gs] = programs::based(random);
        *state.segment_mut(SegmentIndex::Fs) = fs;
        *state.segment_mut(SegmentIndex::Gs) = gs;
    }
    state.gpr[Gpr::RBX] = DATA + 512 + random.below(512);
    state.gpr[Gpr::RSI] = DATA + PAGE - random.below(24);
    state.gpr[Gpr(14)] = DATA + 2 * PAGE - random.below(300);
    // Not into the stack: who overwrites a return address may never come to an end.
    state.gpr[Gpr::RBP] = DATA + 2 * PAGE + 512 + random.below(64);
    state.gpr[Gpr::RSP] = STACK + STACK_OFFSET;
    if is_data_high(program, seed) {
        // Not both, as above.
        if random.one_in(3) {
            state.gpr[Gpr::RSP] = random.below(16) * 4;
        } else {
            for pointer in [Gpr::RBX, Gpr::RBP].into_iter().take(1 + random.below(2) as usize) {
                state.gpr[pointer] = 0x1_0000_0100u64.wrapping_sub(random.below(0x200)) & 0xffff_ffff;
            }
        }
    }
    for pointer in [Gpr::RBX, Gpr::RSI, Gpr::RBP, Gpr::RSP] {
        state.gpr[pointer] |= upper;
    }
    for register in &mut state.vectors.registers[..16] {
        register[..4].fill_with(|| generate::integer(random));
    }
    state.rip = program.at;
    state.rflags = RFlags::FIXED | RFlags::from_bits_retain(random.bits()) & RFlags::ARITHMETIC;
    state
}

/// All that a run leaves.
fn left(rig: &Rig, state: &VcpuState) -> (VcpuState, Vec<(u64, Vec<u8>)>) {
    let mut state = state.clone();
    // Reads the clock, which stands still, but whose offset is set at the start.
    state.tsc_offset = 0;
    // Said of a fault that is being raised, which KVM does not tell of those that it raises itself.
    state.events.page_fault_address = GuestVirt(0);
    (state, rig.memory().image())
}

/// What is in one and not in the other, line by line.
fn differing(one: &(VcpuState, Vec<(u64, Vec<u8>)>), two: &(VcpuState, Vec<(u64, Vec<u8>)>)) -> Vec<String> {
    let (a, b) = (format!("{:#x?}", one.0), format!("{:#x?}", two.0));
    let lines = a.lines().zip(b.lines()).enumerate().filter(|(_, (a, b))| a != b);
    let state = lines.map(|(n, (a, b))| format!("state, line {n}: expected {}, got {}", a.trim(), b.trim()));
    let bytes = one.1.iter().zip(&two.1).flat_map(|((at, a), (_, b))| {
        let differ = a.iter().zip(b).enumerate().filter(|(_, (a, b))| a != b);
        differ.map(move |(n, (a, b))| format!("memory at {:#x}: expected {a:#x}, got {b:#x}", at + n as u64))
    });
    state.chain(bytes.take(24)).collect()
}

/// Runs programs, each in one of `modes`, on every engine.
fn compare(modes: &[Mode]) {
    let (count, first) = (number("DRAGOMAN_PROGRAMS", COUNT), number("DRAGOMAN_PROGRAM_SEED", 0));
    for other in engine::running_engines() {
        let rig = |engine: &dyn Accelerator| Rig::new(engine, CpuModel::most()).expect("an engine");
        let (mut one, mut two) = (rig(&Interpreter), rig(other.as_ref()));
        for seed in first..first + count {
            let program = Program::new(seed, modes[seed as usize % modes.len()]);
            fill(&mut one, &program, seed);
            fill(&mut two, &program, seed);
            let begin = start(&one, &program, seed);
            let mut ends = Vec::new();
            for rig in [&mut one, &mut two] {
                let state = rig.run_to_halt(&begin).expect("an engine");
                ends.push(left(rig, &state));
            }
            let (expected, got) = (&ends[0], &ends[1]);
            if expected != got {
                let what = differing(expected, got).join("\n");
                panic!("{} differs in program {seed} of {modes:?}:\n{}\n{what}", other.name(), program.listing());
            }
        }
        println!("{}: {count} programs in {modes:?}", other.name());
    }
}

#[test]
fn every_engine_runs_programs_as_one_instruction_after_the_other() {
    compare(&[Mode::Long64]);
}

#[test]
fn every_engine_runs_programs_of_32_bit_code_as_one_instruction_after_the_other() {
    compare(&[Mode::Prot32, Mode::Comp32]);
}

/// Runs programs, each in one of `modes`, on one engine, and on engines that it moves between.
fn compare_moving(modes: &[Mode]) {
    let (count, first) = (number("DRAGOMAN_PROGRAMS", COUNT / 4), number("DRAGOMAN_PROGRAM_SEED", 0));
    let (engines, model) = engine::moving_with_kvm(CpuModel::most());
    let rig = || Rig::new(&Interpreter, model.clone()).expect("an engine");
    let (mut one, mut two, mut moves) = (rig(), rig(), 0);
    for seed in first..first + count {
        let mut random = Random::new(!seed);
        let program = Program::with_stops(seed, modes[seed as usize % modes.len()]);
        fill(&mut one, &program, seed);
        fill(&mut two, &program, seed);
        let begin = start(&one, &program, seed);
        let state = one.run_to_halt(&begin).expect("an engine");
        let expected = left(&one, &state);
        let (state, moved) = two.run_on(&begin, &engines, &mut random).expect("an engine");
        let got = left(&two, &state);
        moves += moved;
        if expected != got {
            let what = differing(&expected, &got).join("\n");
            panic!("program {seed} of {modes:?} comes to something else after {moved} moves:\n{}\n{what}", program.listing());
        }
    }
    println!("{count} programs in {modes:?}, {moves} moves");
    assert!(u64::from(moves) > count, "only {moves} moves in {count} programs");
}

#[test]
fn programs_that_move_between_engines_come_to_what_they_come_to_on_one() {
    compare_moving(&[Mode::Long64]);
}

#[test]
fn programs_of_32_bit_code_that_move_between_engines_come_to_what_they_come_to_on_one() {
    compare_moving(&[Mode::Prot32, Mode::Comp32]);
}
