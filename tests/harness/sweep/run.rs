//! Running the sweep on an engine.

use std::collections::BTreeMap;

use dragoman_accel::Accelerator;
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Cr0, Gpr, RFlags, SegmentIndex, VcpuState};
use iced_x86::{Code, InstructionInfoFactory, Register};

use super::{
    expected::{Expected, expected},
    instances::Instance,
    scene::{PORT, PORT_BYTES, Scene},
    trouble::{Placement, SMALL_SEGMENT, Trouble},
};
use crate::{
    Mode,
    case::{Access, PageMap},
    engine::{Finish, Rig, RigError, segment},
    known::Difference,
    layout::{BACKGROUND, CODE, HLT, PAGE},
};

/// The modes, with the privilege levels that are tried in each.
const MODES: [(Mode, u8); 5] = [(Mode::Long64, 3), (Mode::Long64, 0), (Mode::Prot32, 3), (Mode::Prot32, 0), (Mode::Prot16, 3)];
/// Which elements of a repeated string instruction are placed.
const ELEMENTS: [u64; 2] = [0, 2];
/// The arithmetic flags.
const ARITHMETIC: u64 = RFlags::ARITHMETIC.bits();
/// A page that nobody has written to.
pub(super) const CLEAN: [u8; PAGE as usize] = [BACKGROUND; PAGE as usize];
/// The longest instruction, and HLT behind it.
const CODE_ROOM: usize = 16;

/// Where an operand is put, and with which flags.
#[derive(Clone, Copy, Debug)]
struct Spot {
    /// Which operand.
    operand: usize,
    /// Which element of it, where the instruction is repeated.
    element: u64,
    placement: Placement,
    flags: u64,
}

/// Every spot for the operands of `scene`.
fn spots(scene: &Scene) -> Vec<Spot> {
    let elements: &[u64] = if scene.is_repeated() { &ELEMENTS } else { &[0] };
    let directions: &[u64] = if scene.insn.is_string_instruction() { &[0, RFlags::DF.bits()] } else { &[0] };
    let mut spots = Vec::new();
    for operand in 0..scene.operands.len() {
        for placement in Placement::ALL {
            for element in elements {
                for direction in directions {
                    let spot = |flags| Spot { operand, element: *element, placement, flags };
                    spots.extend([spot(*direction), spot(*direction | ARITHMETIC)]);
                }
            }
        }
    }
    spots
}

/// One engine under the sweep.
pub struct Sweep {
    pub(super) rig: Rig,
    pub(super) factory: InstructionInfoFactory,
    found: BTreeMap<Difference, String>,
    pub(super) ended: BTreeMap<Code, bool>,
    cases: u64,
}

impl Sweep {
    /// A sweep of `engine` as a `model`.
    pub fn new(engine: &dyn Accelerator, model: &CpuModel) -> Result<Self, RigError> {
        Ok(Self {
            rig: Rig::new(engine, model.clone())?,
            factory: InstructionInfoFactory::new(),
            found: BTreeMap::new(),
            ended: BTreeMap::new(),
            cases: 0,
        })
    }

    /// How many cases were run.
    pub fn cases(&self) -> u64 {
        self.cases
    }

    /// What is not as it should be, with a case that shows it.
    pub fn differences(&self) -> &BTreeMap<Difference, String> {
        &self.found
    }

    /// Of each encoding that touches memory: whether it comes to an end where nothing is in the way.
    pub fn ended(&self) -> &BTreeMap<Code, bool> {
        &self.ended
    }

    /// Puts the operands of `codes` everywhere.
    pub fn run(&mut self, codes: &[Code]) -> Result<(), RigError> {
        for (mode, cpl) in MODES {
            let instances = self.instances(codes, mode, cpl)?;
            for trouble in Trouble::ALL.into_iter().filter(|trouble| trouble.exists(mode, cpl)) {
                let map = trouble.map();
                self.rig.prepare(mode, &map);
                let mut template = self.rig.start(mode, cpl);
                template.cr0.set(Cr0::WP, trouble != Trouble::ReadOnlyUnheeded);
                for instance in instances.iter().filter(|instance| instance.wanted.matters_to(trouble)) {
                    self.place(instance, mode, &template, trouble, &map)?;
                }
            }
        }
        Ok(())
    }

    /// Puts each operand of `instance` in each place about the zone.
    fn place(
        &mut self,
        instance: &Instance,
        mode: Mode,
        template: &VcpuState,
        trouble: Trouble,
        map: &PageMap,
    ) -> Result<(), RigError> {
        let Some(first) = Scene::new(&mut self.factory, mode, &instance.bytes, template.clone()) else { return Ok(()) };
        for spot in spots(&first) {
            let Some((scene, expected)) = self.scene(instance, &first, template, trouble, spot) else { continue };
            // One starting value of the flags is enough to see that nothing is refused.
            let is_repetition = expected.ends.is_empty() && spot.flags & ARITHMETIC != 0;
            if !is_repetition && is_sound(&scene, trouble, map) {
                self.judge(instance, &scene, &expected, (trouble, spot))?;
            }
        }
        Ok(())
    }

    /// The scene that `first` becomes when an operand is at `spot`, and what is expected of it. `None` where it cannot be
    /// there.
    fn scene(
        &mut self,
        instance: &Instance,
        first: &Scene,
        template: &VcpuState,
        trouble: Trouble,
        spot: Spot,
    ) -> Option<(Scene, Expected)> {
        let mut state = template.clone();
        state.rflags = RFlags::from_bits_retain(state.rflags.bits() & !ARITHMETIC | spot.flags);
        if trouble == Trouble::Limit && !limit(&mut state, first.mode, first.operands[spot.operand].segment()) {
            return None;
        }
        let mut scene = Scene::new(&mut self.factory, first.mode, &instance.bytes, state)?;
        let operand = scene.operands[spot.operand];
        let zone = trouble.zone(operand.is_stack);
        let back = scene.step().wrapping_mul(spot.element as i64);
        let target = spot.placement.target(zone, operand.size)?.wrapping_add_signed(-back);
        if !scene.aim(&mut self.factory, spot.operand, target) {
            return None;
        }
        scene.prepare(instance.seed);
        let expected = expected(&scene, trouble, zone);
        // The element that is placed must be the first that is refused.
        (expected.ends.is_empty() || expected.done == spot.element).then_some((scene, expected))
    }

    /// Runs a scene in the pages that were prepared.
    pub(super) fn run_scene(&mut self, scene: &Scene) -> Result<Finish, RigError> {
        let memory = self.rig.memory();
        let mut code = [HLT; CODE_ROOM];
        code[..scene.code.len()].copy_from_slice(&scene.code);
        memory.write(CODE, &code);
        for (at, bytes) in &scene.pokes {
            memory.write(*at, bytes);
        }
        self.rig.ports().clear();
        self.rig.ports().set(PORT, &PORT_BYTES);
        self.cases += 1;
        self.rig.run(scene.mode, &scene.state, &scene.code)
    }

    /// Makes memory what it was before `scene` was run.
    pub(super) fn clean(&self, scene: &Scene) {
        let memory = self.rig.memory();
        for (at, bytes) in &scene.pokes {
            memory.clear(*at, bytes.len());
        }
        for (page, bytes) in memory.data_pages().filter(|(_, bytes)| *bytes != CLEAN) {
            memory.clear(page, bytes.len());
        }
    }

    fn judge(
        &mut self,
        instance: &Instance,
        scene: &Scene,
        expected: &Expected,
        (trouble, spot): (Trouble, Spot),
    ) -> Result<(), RigError> {
        let finish = self.run_scene(scene)?;
        let found = self.differences_of(scene, expected, &finish);
        self.clean(scene);
        for (what, detail) in found {
            let gpr: Vec<_> = (0..16).map(|n| format!("{:x}", scene.state.gpr[Gpr(n)])).collect();
            let difference = Difference { code: instance.code, what: what.into() };
            self.found.entry(difference).or_insert_with(|| {
                let hex: Vec<_> = scene.code.iter().map(|byte| format!("{byte:02x}")).collect();
                format!(
                    "{}/cpl{} | {} | {}, {trouble:?} {:?}, from {} rflags {:x}: {detail}",
                    scene.mode,
                    scene.state.cpl(),
                    hex.join(" "),
                    scene.insn,
                    spot.placement,
                    gpr.join(" "),
                    scene.state.rflags.bits()
                )
            });
        }
        Ok(())
    }
}

/// Makes the segment in register `which` end after a page. False where that segment has no end here.
fn limit(state: &mut VcpuState, mode: Mode, which: Register) -> bool {
    let index = match which {
        Register::ES => SegmentIndex::Es,
        Register::SS => SegmentIndex::Ss,
        Register::DS => SegmentIndex::Ds,
        _ => return false,
    };
    *state.segment_mut(index) = segment(mode, SMALL_SEGMENT);
    true
}

/// Whether every byte that the scene touches is in the zone, or in memory that is there.
fn is_sound(scene: &Scene, trouble: Trouble, map: &PageMap) -> bool {
    let count = if scene.is_repeated() { scene.count() } else { 1 };
    scene.operands.iter().all(|operand| {
        let zone = trouble.zone(operand.is_stack);
        (0..count).all(|k| {
            let at = operand.at(&scene.state).wrapping_add_signed(scene.step().wrapping_mul(k as i64));
            [at, at.wrapping_add(operand.size - 1)]
                .into_iter()
                .all(|at| zone.first(at, 1).is_some() || matches!(map.access(at), Access::ReadWrite))
        })
    })
}
