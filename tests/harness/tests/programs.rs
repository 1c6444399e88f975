//! Random programs on every engine: what one that executes instruction by instruction does with them, each other does.

use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Gpr, RFlags, VcpuState};
use harness::{
    Mode,
    case::{Access, PageMap},
    engine::{self, Rig},
    generate::{self, Random},
    layout::{CODE, DATA, PAGE, STACK, STACK_OFFSET},
    programs::{PAGES, Program},
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
    map.add_range(CODE, PAGES * PAGE, Access::Everything);
    for (n, access) in data_access(seed).into_iter().enumerate() {
        map.add_range(DATA + n as u64 * PAGE, PAGE, access);
    }
    map.add_range(STACK, 2 * PAGE, Access::ReadWrite);
    rig.memory_mut().forget();
    rig.prepare(Mode::Long64, &map);
    let fill: Vec<u8> = (0..3 * PAGE).map(|n| ((n * 37) >> (n & 3)) as u8).collect();
    rig.memory().write(DATA, &fill);
    rig.memory().write(STACK, &fill[..2 * PAGE as usize]);
    rig.memory().write(program.at, &program.code);
}

/// Where a program starts: with pointers into the data, one of them at the end of a page, and anything in the rest.
fn start(rig: &Rig, program: &Program, random: &mut Random) -> VcpuState {
    let mut state = rig.start(Mode::Long64, 0);
    for n in 0..16 {
        state.gpr[Gpr(n)] = generate::integer(random);
    }
    state.gpr[Gpr::RBX] = DATA + 512 + random.below(512);
    state.gpr[Gpr::RSI] = DATA + PAGE - random.below(24);
    state.gpr[Gpr(14)] = DATA + 2 * PAGE - random.below(300);
    // Not into the stack: who overwrites a return address may never come to an end.
    state.gpr[Gpr::RBP] = DATA + 2 * PAGE + 512 + random.below(64);
    state.gpr[Gpr::RSP] = STACK + STACK_OFFSET;
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

#[test]
fn every_engine_runs_programs_as_one_instruction_after_the_other() {
    let (count, first) = (number("DRAGOMAN_PROGRAMS", COUNT), number("DRAGOMAN_PROGRAM_SEED", 0));
    for other in engine::running_engines() {
        let rig = |engine: &dyn Accelerator| Rig::new(engine, CpuModel::most()).expect("an engine");
        let (mut one, mut two) = (rig(&Interpreter), rig(other.as_ref()));
        for seed in first..first + count {
            let program = Program::new(seed);
            let mut random = Random::new(!seed);
            fill(&mut one, &program, seed);
            fill(&mut two, &program, seed);
            let begin = start(&one, &program, &mut random);
            let mut ends = Vec::new();
            for rig in [&mut one, &mut two] {
                let state = rig.run_to_halt(&begin).expect("an engine");
                ends.push(left(rig, &state));
            }
            let (expected, got) = (&ends[0], &ends[1]);
            if expected != got {
                let what = differing(expected, got).join("\n");
                panic!("{} differs in program {seed}:\n{}\n{what}", other.name(), program.listing());
            }
        }
        println!("{}: {count} programs", other.name());
    }
}

#[test]
fn programs_that_move_between_engines_come_to_what_they_come_to_on_one() {
    let (count, first) = (number("DRAGOMAN_PROGRAMS", COUNT / 2), number("DRAGOMAN_PROGRAM_SEED", 0));
    let rig = || Rig::new(&Interpreter, CpuModel::most()).expect("an engine");
    let (mut one, mut two, mut moves) = (rig(), rig(), 0);
    for seed in first..first + count {
        let program = Program::with_stops(seed);
        let mut random = Random::new(!seed);
        fill(&mut one, &program, seed);
        fill(&mut two, &program, seed);
        let begin = start(&one, &program, &mut random);
        let state = one.run_to_halt(&begin).expect("an engine");
        let expected = left(&one, &state);
        let (state, moved) = two.run_on(&begin, &mut random).expect("an engine");
        let got = left(&two, &state);
        moves += moved;
        if expected != got {
            let what = differing(&expected, &got).join("\n");
            panic!("program {seed} comes to something else after {moved} moves:\n{}\n{what}", program.listing());
        }
    }
    println!("{count} programs, {moves} moves");
    assert!(u64::from(moves) > count, "only {moves} moves in {count} programs");
}
