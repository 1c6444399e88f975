//! What waits to be delivered moves with a processor to another engine, whatever the instruction that it moves behind.

use std::sync::{Arc, atomic::Ordering};

use dragoman_devices::{
    Clock, Delivery, InterruptMessage,
    memory::{GuestRam, SMALLEST},
};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Activity, LvtIndex, RFlags, VcpuId, VcpuState, VmInstant};

use super::{CODE, Scene, surroundings};
use crate::{Accelerator, ExitReason, Pending, interpret::Interpreter};

/// How long the guest's clock goes on with each step, in nanoseconds.
const STEP: u64 = 100;
const STEPS: usize = 40;
/// What a handler counts in, above its address.
const COUNT: usize = 0x80;

/// The engines of this host, made anew: those that any processor can have, and those that use KVM, where there is one that can be
/// `model`.
fn engines(model: &CpuModel) -> Vec<Box<dyn Accelerator>> {
    let engines: Vec<Box<dyn Accelerator>> = vec![
        Box::new(Interpreter),
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Box::<crate::translate::Translator>::default(),
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Box::<crate::kvm::Kvm>::default(),
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Box::<crate::hybrid::Hybrid>::default(),
    ];
    let can_be = |engine: &dyn Accelerator| {
        let ram = Arc::new(GuestRam::new(SMALLEST).expect("small"));
        match engine.create_vcpu(VcpuId(0), surroundings(ram, model.clone())) {
            Err(error) if uses_kvm(engine) => {
                println!("SKIPPED: {}: {error}", engine.name());
                false
            }
            made => made.map(|_| true).expect("the engine can be had"),
        }
    };
    engines.into_iter().filter(|engine| can_be(&**engine)).collect()
}

fn uses_kvm(engine: &dyn Accelerator) -> bool {
    matches!(engine.name(), "kvm" | "hybrid")
}

/// The processor: one that KVM can be, where there is one.
fn model() -> CpuModel {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if let Ok(model) = crate::kvm::Kvm::default_model() {
        return model;
    }
    CpuModel::newest()
}

/// Something that is under way.
struct Plot {
    name: &'static str,
    code: &'static [u8],
    begin: fn(&mut VcpuState),
    /// What happens outside before each step.
    happens: fn(&Scene, usize),
}

fn message(delivery: Delivery, vector: u8) -> Pending {
    Pending::Message(InterruptMessage { destination: 0, is_logical: false, delivery, vector, is_level: false })
}

/// The timer's vector.
const TIMER: u8 = 0x40;

fn arm(state: &mut VcpuState, mode: u32, at: u64, period: u32) {
    state.lapic.lvt[LvtIndex::Timer as usize] = mode << 17 | u32::from(TIMER);
    state.lapic.divide_configuration = 0b1011;
    state.lapic.initial_count = period;
    state.lapic.tsc_deadline = if mode == 2 { at } else { 0 };
    state.lapic.timer_deadline = VmInstant(at);
}

/// INC AX, thirty times, and again.
const COUNTS: [u8; 32] = {
    let mut code = [0x40; 32];
    (code[30], code[31]) = (0xeb, 0xe0);
    code
};

#[rustfmt::skip] // a table
const PLOTS: &[Plot] = &[
    Plot { name: "an external interrupt behind STI", code: &[0xfb, 0x40, 0x40, 0xfa, 0xfb, 0x40, 0xeb, 0xf8], begin: |_| (),
           happens: |scene, n| if n % 7 == 3 { scene.handle.raise(Pending::ExternalInterrupt(n % 2 == 1)) } },
    // MOV AX, CX; MOV SS, AX; INC BX; INC BX; JMP back
    Plot { name: "a step and an NMI behind MOV SS", code: &[0x89, 0xc8, 0x8e, 0xd0, 0x43, 0x43, 0xeb, 0xf8],
           begin: |state| state.rflags |= RFlags::TF,
           happens: |scene, n| if n % 9 == 4 { scene.handle.raise(message(Delivery::Nmi, 0)) } },
    Plot { name: "a timer that expires once", code: &COUNTS,
           begin: |state| { arm(state, 0, 1550, 40); state.rflags |= RFlags::IF }, happens: |_, _| () },
    Plot { name: "a timer that expires again and again", code: &COUNTS,
           begin: |state| { arm(state, 1, 350, 20); state.rflags |= RFlags::IF }, happens: |_, _| () },
    Plot { name: "a timer by the time-stamp counter", code: &COUNTS,
           begin: |state| { arm(state, 2, 2050, 0); state.rflags |= RFlags::IF }, happens: |_, _| () },
    // HLT; INC AX; JMP back
    Plot { name: "a halt that a timer ends", code: &[0xf4, 0x40, 0xeb, 0xfc],
           begin: |state| { arm(state, 1, 350, 30); state.rflags |= RFlags::IF }, happens: |_, _| () },
    // MOV CX, 9; MOV SI, 3000h; MOV DI, 3800h; REP MOVSB; JMP back
    Plot { name: "a repeated instruction that is interrupted",
           code: &[0xb9, 9, 0, 0xbe, 0, 0x30, 0xbf, 0, 0x38, 0xf3, 0xa4, 0xeb, 0xf3],
           begin: |state| { arm(state, 1, 450, 20); state.rflags |= RFlags::IF }, happens: |_, _| () },
    Plot { name: "messages while interrupts are off", code: &[0xfa, 0x40, 0x40, 0x40, 0xfb, 0x40, 0x40, 0xeb, 0xf7], begin: |_| (),
           happens: |scene, n| scene.handle.raise(message(Delivery::Fixed, [0x41, 0x61, 0x51][n % 3])) },
    // FNINIT; FLDPI; FLD1; FDIVP; FSQRT; RDTSC; MOV [3000h], AX; JMP back
    Plot { name: "the x87 unit and the time-stamp counter",
           code: &[0xdb, 0xe3, 0xd9, 0xeb, 0xd9, 0xe8, 0xde, 0xf9, 0xd9, 0xfa, 0x0f, 0x31, 0xa3, 0, 0x30, 0xeb, 0xef],
           begin: |state| { arm(state, 1, 350, 25); state.rflags |= RFlags::IF; state.tsc_offset = 12345 }, happens: |_, _| () },
];

/// Handlers that count, end the interrupt, and come back.
fn put_handlers(scene: &Scene) {
    for (n, vector) in [1, 2, 0x21, 0x40, 0x41, 0x51, 0x61].into_iter().enumerate() {
        let at = 0x2000 + 0x100 * n as u16;
        let [low, high] = (at + COUNT as u16).to_le_bytes();
        // INC WORD [count]
        let mut code = vec![0xff, 0x06, low, high];
        if vector >= 0x40 {
            // MOV DWORD [FEE000B0h], 0
            code.extend([0x67, 0x66, 0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0]);
        }
        code.push(0xcf); // IRET
        scene.ram.write(dragoman_state::GuestPhys(at.into()), &code).expect("RAM");
        scene.vector(vector, at);
    }
}

/// What `plot` comes to by engine `from`, and from step `at` on by engine `to`, where there is one.
fn play(plot: &Plot, model: &CpuModel, from: &dyn Accelerator, at: usize, to: Option<&dyn Accelerator>) -> (VcpuState, Vec<u8>) {
    let mut scene = Scene::of(model.clone(), from, plot.code);
    put_handlers(&scene);
    let mut state = scene.state();
    state.segments.iter_mut().for_each(|segment| segment.limit = u32::MAX);
    state.lapic.spurious |= 0x100;
    state.lapic.lvt[LvtIndex::Lint0 as usize] = 0x700;
    (plot.begin)(&mut state);
    scene.vcpu.load(&state).expect("a valid state");
    for n in 0..STEPS {
        (plot.happens)(&scene, n);
        // A halt is slept through at once.
        let is_asleep = state.events.activity == Activity::Halted && state.lapic.timer_deadline != VmInstant::NEVER;
        let now = scene.clock.now().0 + STEP;
        scene.clock.0.store(if is_asleep { now.max(state.lapic.timer_deadline.0) } else { now }, Ordering::Relaxed);
        if state.lapic.timer_deadline <= scene.clock.now() {
            scene.handle.raise(Pending::Deadline);
        }
        if let Some(to) = to.filter(|_| n == at) {
            let state = scene.state();
            let (vcpu, handle) = to.create_vcpu(VcpuId(0), scene.context.clone()).expect("the engine can be had");
            (scene.vcpu, scene.handle) = (vcpu, handle);
            scene.vcpu.load(&state).expect("another engine's state");
        }
        assert_eq!(scene.vcpu.step().expect("no error of ours"), ExitReason::StepDone);
        state = scene.state();
    }
    let mut memory = vec![0; 0x3000];
    scene.ram.read(dragoman_state::GuestPhys(CODE), &mut memory).expect("RAM");
    (state, memory)
}

#[test]
fn what_waits_is_delivered_as_if_the_processor_had_stayed() {
    /// A machine of KVM's takes long to make.
    const STRIDE: usize = 7;
    let model = model();
    let engines = engines(&model);
    for plot in PLOTS {
        let expected = play(plot, &model, &Interpreter, 0, None);
        let counted = (0..7).map(|n| expected.1[0x1000 + 0x100 * n + COUNT]).map(u32::from).sum::<u32>();
        assert!(counted > 0, "{}: nothing was delivered", plot.name);
        for (from, to) in engines.iter().flat_map(|from| engines.iter().map(move |to| (&**from, &**to))) {
            // Nor is there a second processor of the same number in it.
            if uses_kvm(from) && from.name() == to.name() {
                continue;
            }
            let stride = if uses_kvm(from) || uses_kvm(to) { STRIDE } else { 1 };
            for at in (0..STEPS).step_by(stride) {
                let (state, memory) = play(plot, &model, from, at, Some(to));
                let who = format!("{}, from {} to {} before step {at}", plot.name, from.name(), to.name());
                assert_eq!(state, expected.0, "{who}");
                assert!(memory == expected.1, "{who}: memory");
            }
        }
    }
}
