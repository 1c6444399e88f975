//! A guest twice: on one processor, and on one that moves from engine to engine between instructions, whatever waits to be
//! delivered then. Both must come to the same after every step. This judges what a processor's state holds, and so not what
//! instructions mean.

use dragoman_accel::ExitReason;
use dragoman_state::{Activity, Cr0};

use super::{
    blocks::compare_memory,
    census::Census,
    events,
    machine::Machine,
    recipe::Recipe,
    scene::Maker,
    steps::{self, scenes},
    walker::Walker,
};
use crate::{engine::MOVING, generate::Random, judge::between};

/// How many steps a guest may take to its end.
const STEPS: usize = 300;
/// Once in so many steps the one processor moves.
const STAY: u64 = 30;

/// Runs the case of `recipe`.
pub fn run(recipe: &Recipe, census: &mut Census, is_traced: bool) {
    let mut maker = Maker::new(recipe);
    let mut random = maker.fork();
    let seed = random.bits();
    let mut staying = Machine::new(maker.model().clone(), seed);
    let mut moving = Machine::new(maker.model().clone(), seed);
    for n in 0..scenes(recipe) {
        let scene = maker.next();
        census.scenes += 1;
        staying.begin(&scene);
        moving.begin(&scene);
        let mut walker = Walker::new(recipe, n, &scene, maker.model(), is_traced);
        for _ in 0..STEPS {
            if !step(&mut walker, [&mut staying, &mut moving], &mut random, census) {
                break;
            }
        }
        let is_end = n + 1 == scenes(recipe);
        compare_memory(&staying, &moving, &mut random, is_end);
    }
    assert_eq!(staying.bus().traffic(), moving.bus().traffic(), "the bus sees other traffic of a processor that moves");
    moving.check_fences();
    steps::finish(&staying, census);
}

/// Whatever happens before the next step, and the step, on both. Whether the guest goes on.
fn step(walker: &mut Walker, [staying, moving]: [&mut Machine; 2], random: &mut Random, census: &mut Census) -> bool {
    // The same on both.
    if random.one_in(24) {
        events::raise_one(&mut random.clone(), staying.handle());
        events::raise_one(random, moving.handle());
    }
    if walker.state.events.activity == Activity::Halted && walker.is_asleep() {
        walker.wake(staying, &mut random.clone());
        walker.wake(moving, random);
    }
    let passed = random.below(2000);
    staying.pass_time(passed);
    moving.pass_time(passed);
    if random.one_in(STAY) {
        moving.move_to(random.pick(MOVING));
        census.moves += 1;
        // What it remembers of the page tables is new, and may differ from what another remembers since long ago.
        if walker.state.cr0.contains(Cr0::PG) {
            staying.load(&walker.state);
        }
    }
    let end = walker.step(staying, census);
    let end_too = moving.step();
    assert_eq!(end, end_too, "the guest ends differently on a processor that moves");
    let differences: Vec<_> = between(&walker.state, &moving.save()).iter().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "a processor that moves comes to another state:\n{}", differences.join("\n"));
    end == ExitReason::StepDone
}
