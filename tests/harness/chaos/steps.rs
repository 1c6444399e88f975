//! A guest one step at a time, with interrupts from outside; its state is looked at after each.

use dragoman_accel::ExitReason;
use dragoman_state::{Activity, ApicBase, VcpuState};

use super::{
    census::Census,
    events,
    machine::Machine,
    recipe::Recipe,
    scene::{CODE_SIZE, Maker},
    walker::Walker,
};
use crate::generate::Random;

/// How many guests a case has.
pub const SCENES: usize = 8;
/// How many steps a guest may take.
const STEPS: usize = 800;
/// How many where a fuzzer waits for the end, whose next input is better than more of this one.
const STEPS_GIVEN: usize = 200;
/// How many steps a guest may stay on one instruction.
const PATIENCE: usize = 24;
/// How often a guest that can go no further begins again, elsewhere in its code and in the memory that it left.
const RESTARTS: usize = 12;
/// So often in a row a guest may be seen in memory that holds nothing.
const EMPTINESS: usize = 4;

/// Runs the case of `recipe`.
pub fn run(recipe: &Recipe, census: &mut Census, is_traced: bool) {
    let mut maker = Maker::new(recipe);
    let mut random = maker.fork();
    let mut machine = Machine::new(maker.model().clone(), random.bits());
    for n in 0..scenes(recipe) {
        let scene = maker.next();
        machine.begin(&scene);
        let mut walker = Walker::new(recipe, n, &scene, maker.model(), is_traced);
        walker.go(&mut machine, &mut random, census);
    }
    finish(&machine, census);
}

/// How many guests the case of `recipe` has: a fuzzer's code is run once.
pub fn scenes(recipe: &Recipe) -> usize {
    if recipe.code.is_some() { 1 } else { SCENES }
}

/// The end of a case.
pub fn finish(machine: &Machine, census: &mut Census) {
    machine.check_fences();
    census.cases += 1;
    census.fenced += u64::from(machine.is_fenced());
    census.traffic.add(machine.bus().traffic());
}

impl Walker<'_> {
    fn go(&mut self, machine: &mut Machine, random: &mut Random, census: &mut Census) {
        census.scenes += 1;
        let (first, mut restarts) = (self.state.clone(), 0);
        let (mut last, mut stays) = (0, 0);
        for _ in 0..if self.recipe.code.is_some() { STEPS_GIVEN } else { STEPS } {
            if random.one_in(24) {
                events::raise_one(random, machine.handle());
            }
            if self.state.events.activity == Activity::Halted && self.is_asleep() {
                self.wake(machine, random);
            }
            machine.pass_time(random.below(2000));
            let is_over = self.step(machine, census) != ExitReason::StepDone;
            stays = if self.state.rip == last { stays + 1 } else { 0 };
            last = self.state.rip;
            if is_over || stays == PATIENCE || self.empty_looks == EMPTINESS {
                if restarts == RESTARTS || self.recipe.code.is_some() {
                    return;
                }
                restarts += 1;
                self.restart(machine, random, &first);
            }
        }
    }

    /// Goes on from the state that the guest began with, at another place of its code.
    fn restart(&mut self, machine: &mut Machine, random: &mut Random, first: &VcpuState) {
        self.empty_looks = 0;
        self.state = first.clone();
        self.state.rip += random.below(CODE_SIZE as u64);
        if !self.state.is_64bit() {
            self.state.rip &= 0xffff_ffff;
        }
        machine.load(&self.state);
    }

    /// Ends a halt.
    pub fn wake(&mut self, machine: &mut Machine, random: &mut Random) {
        // Whom no message reaches is woken by hand.
        let is_deaf = self.state.events.nmi_blocked || !self.state.msrs.apic_base.contains(ApicBase::EN);
        if is_deaf || random.one_in(2) {
            self.state.events.activity = Activity::Running;
            machine.load(&self.state);
        } else {
            events::nmi(machine.handle());
        }
    }
}
