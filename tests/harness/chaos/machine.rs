//! A processor of the interpreter's with memory that is fenced in, a bus that looks closely, and a clock.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dragoman_accel::{Accelerator, ExitReason, SafepointWork, Vcpu, VcpuContext, VcpuHandle, World, interpret::Interpreter};
use dragoman_devices::{
    Alarm, Clock,
    memory::{GuestRam, SMALLEST, VIDEO_WINDOW},
};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{GuestPhys, PAGE_SIZE, VcpuId, VcpuState, VmInstant};

use super::{bus::Bus, scene::Scene};
use crate::engine::MakeEngine;

/// How much memory guests have: as little as there can be, so that it stays interesting.
pub const RAM: u64 = SMALLEST;
/// What the fences hold.
const FENCE: u8 = 0xd7;
/// The memory of a fence that may lie next to the guest's.
const FENCED: [u64; 4] = [0, VIDEO_WINDOW.start - PAGE_SIZE, VIDEO_WINDOW.end, RAM - PAGE_SIZE];

/// A clock that is moved by hand.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> VmInstant {
        VmInstant(self.0.load(Ordering::Relaxed))
    }
}

impl Alarm for Hand {
    fn wake_by(&self, _at: VmInstant) {}
}

/// A machine for one guest.
pub struct Machine {
    context: VcpuContext,
    vcpu: Box<dyn Vcpu>,
    handle: Arc<dyn VcpuHandle>,
    bus: Arc<Bus>,
    ram: Arc<GuestRam>,
    clock: Arc<Hand>,
    fences: [GuestRam; 2],
}

impl Machine {
    /// A machine with a processor of `model`, whose devices answer by `seed`.
    pub fn new(model: CpuModel, seed: u64) -> Self {
        let memory = || GuestRam::new(RAM).expect("the host has two mebibytes");
        // Mapped one after another, which most hosts do side by side.
        let (before, ram, after) = (memory(), Arc::new(memory()), memory());
        for (fence, at) in [&before, &after].into_iter().flat_map(|fence| FENCED.map(|at| (fence, at))) {
            fence.write(GuestPhys(at), &[FENCE; PAGE_SIZE as usize]).expect("it is RAM");
        }
        let bus = Arc::new(Bus::new(seed, ram.ranges().map(|(at, length)| (at.0, length)).collect()));
        let clock = Arc::new(Hand::default());
        let context = VcpuContext {
            bus: bus.clone(),
            ram: ram.clone(),
            clock: clock.clone(),
            alarm: clock.clone(),
            model,
            world: World::new(),
        };
        let (vcpu, handle) = Interpreter.create_vcpu(VcpuId(0), context.clone()).expect("the interpreter is always there");
        bus.connect(handle.clone());
        Self { context, vcpu, handle, bus, ram, clock, fences: [before, after] }
    }

    /// How the outside reaches the processor.
    pub fn handle(&self) -> &dyn VcpuHandle {
        &*self.handle
    }

    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Guest memory.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// Lets `nanoseconds` pass.
    pub fn pass_time(&self, nanoseconds: u64) {
        self.clock.0.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Puts `scene` into memory and the processor.
    pub fn begin(&mut self, scene: &Scene) {
        for (at, bytes) in &scene.memory {
            self.ram.write(GuestPhys(*at), bytes).expect("scenes lie in RAM");
        }
        self.load(&scene.state);
    }

    /// Replaces the processor's state.
    pub fn load(&mut self, state: &VcpuState) {
        self.vcpu.load(state).expect("the interpreter takes every state");
    }

    /// The processor's state.
    pub fn save(&mut self) -> VcpuState {
        self.vcpu.save().expect("the interpreter has a state")
    }

    /// Lets another processor go on where this one is, one of the engine that `make` makes. Its handle stays what it was.
    pub fn move_to(&mut self, make: MakeEngine) {
        let state = self.save();
        let (vcpu, _) = make().create_vcpu(VcpuId(0), self.context.clone()).expect("the engine can be had");
        self.vcpu = vcpu;
        self.ram.tracker().clear_all_code();
        self.load(&state);
    }

    /// One instruction, or one interrupt.
    pub fn step(&mut self) -> ExitReason {
        self.vcpu.step().expect("the interpreter does not fail")
    }

    /// Runs until the bus asks to stop, or the guest can go no further.
    pub fn run(&mut self) -> ExitReason {
        self.vcpu.run(self.bus.stop()).expect("the interpreter does not fail")
    }

    /// How many instructions the processor has executed.
    pub fn instructions(&self) -> u64 {
        self.vcpu.instructions()
    }

    /// A copy of memory; from now on the pages that are written are logged.
    pub fn start_log(&self) -> Vec<(GuestPhys, Vec<u8>)> {
        self.ram.tracker().start_log();
        self.handle.at_safepoint(SafepointWork::DropWriteEntries);
        self.pages().collect()
    }

    /// Panics where memory is not as in `before`, and the log does not say so.
    pub fn check_log(&self, before: &[(GuestPhys, Vec<u8>)]) {
        for ((at, now), (_, old)) in self.pages().zip(before) {
            assert!(now == *old || self.ram.tracker().is_dirty(at), "the page at {at} was written, and not logged");
        }
        self.ram.tracker().stop_log();
    }

    fn pages(&self) -> impl Iterator<Item = (GuestPhys, Vec<u8>)> {
        (0..RAM).step_by(PAGE_SIZE as usize).filter_map(|at| {
            let mut page = vec![0; PAGE_SIZE as usize];
            self.ram.read(GuestPhys(at), &mut page).ok().map(|()| (GuestPhys(at), page))
        })
    }

    /// Panics where something beside guest memory was written.
    pub fn check_fences(&self) {
        let mut page = [0; PAGE_SIZE as usize];
        for (fence, at) in self.fences.iter().flat_map(|fence| FENCED.map(|at| (fence, at))) {
            fence.read(GuestPhys(at), &mut page).expect("it is RAM");
            assert!(page.iter().all(|byte| *byte == FENCE), "memory beside the guest's was written");
        }
    }

    /// Whether the fences are next to guest memory on this host, on both sides.
    pub fn is_fenced(&self) -> bool {
        let edges = |ram: &GuestRam| -> Vec<(usize, usize)> {
            let of = |(at, length): (GuestPhys, u64)| {
                let from = ram.host_page(at).map_or(0, |page| page.addr());
                (from, from + length as usize)
            };
            ram.ranges().map(of).collect()
        };
        let fences: Vec<_> = self.fences.iter().flat_map(edges).collect();
        let own = edges(&self.ram);
        let has_neighbour = |end: usize, others: &[(usize, usize)]| others.iter().any(|(from, to)| *from == end || *to == end);
        own.iter().flat_map(|(from, to)| [*from, *to]).all(|end| {
            let is_between = own.iter().filter(|(from, to)| *from == end || *to == end).count() > 1;
            is_between || has_neighbour(end, &fences)
        })
    }
}
