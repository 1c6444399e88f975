//! A guest twice: in steps, and in one go. What an engine's blocks leave must be what its steps leave, code that overwrites
//! itself included. This judges the engine by itself, and so not what instructions mean.

use dragoman_accel::ExitReason;
use dragoman_state::{Activity, Cr0, GuestPhys};

use super::{
    census::Census,
    machine::{Machine, RAM},
    recipe::Recipe,
    scene::Maker,
    steps::{self, scenes},
    walker::Walker,
};
use crate::{generate::Random, judge::between};

/// How many steps a guest may take to its end.
const STEPS: usize = 600;
/// After so many accesses to ports, of which every exception makes one, a guest has come to its end.
const ACCESSES: u64 = 32;
/// One of so many guests runs while the pages that it writes are logged.
const LOGGED: u64 = 16;

/// Runs the case of `recipe`.
pub fn run(recipe: &Recipe, census: &mut Census, is_traced: bool) {
    let mut maker = Maker::new(recipe);
    let mut random = maker.fork();
    let seed = random.bits();
    let mut stepped = Machine::new(maker.model().clone(), seed);
    let mut running = Machine::new(maker.model().clone(), seed);
    for n in 0..scenes(recipe) {
        let scene = maker.next();
        census.scenes += 1;
        let fuse = 1 + random.below(ACCESSES) as u32;
        for machine in [&mut stepped, &mut running] {
            machine.begin(&scene);
            machine.bus().light_fuse(fuse);
        }
        let mut walker = Walker::new(recipe, n, &scene, maker.model(), is_traced);
        let (at_first, at_first_too) = (stepped.instructions(), running.instructions());
        let Some(end) = walk(&mut walker, &mut stepped, &mut random, census) else {
            // The other machine cannot be brought to where this one is.
            census.endless += 1;
            steps::finish(&stepped, census);
            return;
        };
        let before = random.one_in(LOGGED).then(|| running.start_log());
        let end_too = running.run();
        if let Some(before) = before {
            running.check_log(&before);
        }
        census.in_blocks += running.instructions() - at_first_too;
        census.compared += 1;
        assert_eq!(end, end_too, "the guest ends differently in blocks");
        let (one, other) = (stepped.save(), running.save());
        let differences: Vec<_> = between(&one, &other).iter().map(ToString::to_string).collect();
        assert!(differences.is_empty(), "blocks leave another state than steps:\n{}", differences.join("\n"));
        let (one, other) = (stepped.instructions() - at_first, running.instructions() - at_first_too);
        assert_eq!(one, other, "blocks count another number of instructions than steps");
        let is_end = n + 1 == scenes(recipe) && (recipe.code.is_none() || random.one_in(16));
        compare_memory(&stepped, &running, &mut random, is_end);
    }
    assert_eq!(stepped.bus().traffic(), running.bus().traffic(), "the bus sees other traffic in blocks");
    running.check_fences();
    steps::finish(&stepped, census);
}

/// Steps to the end; `None` where there is none. Where nothing depends on translations, which may be older than the tables
/// that they come from, the state is now and then taken out and put back, as if it came from another engine.
fn walk(walker: &mut Walker, machine: &mut Machine, random: &mut Random, census: &mut Census) -> Option<ExitReason> {
    for _ in 0..STEPS {
        if random.one_in(16) && !walker.state.cr0.contains(Cr0::PG) {
            machine.load(&walker.state);
        }
        let reason = walker.step(machine, census);
        if reason != ExitReason::StepDone {
            return Some(reason);
        }
        if machine.bus().stop().is_stopped() {
            // At once; but what was raised meanwhile has been heard.
            return Some(machine.run());
        }
        if walker.state.events.activity == Activity::Halted && walker.is_asleep() {
            return None;
        }
    }
    None
}

/// Panics where the two machines' memory differs: all of it where `is_end`, else some pages.
pub fn compare_memory(one: &Machine, other: &Machine, random: &mut Random, is_end: bool) {
    const PIECE: u64 = 1 << 16;
    let [mut a, mut b] = [vec![0; PIECE as usize], vec![0; PIECE as usize]];
    for at in (0..RAM).step_by(PIECE as usize).filter(|at| one.ram().is_ram(GuestPhys(*at), PIECE)) {
        if !is_end && !random.one_in(16) {
            continue;
        }
        for (machine, bytes) in [(one, &mut a), (other, &mut b)] {
            machine.ram().read(GuestPhys(at), bytes).expect("it is RAM");
        }
        if a == b {
            continue;
        }
        if let Some(n) = a.iter().zip(&b).position(|(a, b)| a != b) {
            let at = GuestPhys(at + n as u64);
            panic!("{:#x} is left in memory at {at}, where steps leave {:#x}", b[n], a[n]);
        }
    }
}
