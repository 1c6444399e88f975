//! What the interpreter does between and around instructions. What each instruction does is judged elsewhere.
//!
//! Programs are a few bytes of real-mode code at address 0x1000.

mod hostile;
mod moves;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dragoman_devices::{Alarm, Clock, Delivery, InterruptMessage, lapic::Ipi, memory::GuestRam};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Gpr, GuestPhys, Port, RFlags, SegmentIndex, VcpuId, VcpuState, VmInstant, Width};

use super::Interpreter;
use crate::{Accelerator, CpuBus, ExitReason, Pending, StopToken, Vcpu, VcpuContext, VcpuHandle, World};

/// A clock that stands where it is put.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);
impl Clock for Hand {
    fn now(&self) -> VmInstant {
        VmInstant(self.0.load(Ordering::Relaxed))
    }
}
impl Alarm for Hand {
    fn wake_by(&self, _at: VmInstant) {}
}

/// Remembers writes; port 0x10 copies four bytes of NOP over guest memory, as a device does by DMA.
struct Devices {
    ram: Arc<GuestRam>,
    written: Mutex<Vec<(u16, u32)>>,
    stored: Mutex<Vec<(u64, u64)>>,
}
impl CpuBus for Devices {
    fn read_mmio(&self, _at: GuestPhys, width: Width) -> u64 {
        width.mask()
    }
    fn write_mmio(&self, at: GuestPhys, _width: Width, value: u64) {
        self.stored.lock().expect("not poisoned").push((at.0, value));
    }
    fn read_port(&self, port: Port, _width: Width) -> u32 {
        u32::from(port.0)
    }
    fn write_port(&self, port: Port, _width: Width, value: u32) {
        if port.0 == 0x10 {
            self.ram.write(GuestPhys(value.into()), &[0x90; 4]).expect("RAM");
        }
        self.written.lock().expect("not poisoned").push((port.0, value));
    }
    fn acknowledge_interrupt(&self) -> u8 {
        0x21
    }
    fn end_of_interrupt(&self, _vector: u8) {}
    fn send(&self, _sender: VcpuId, _ipi: Ipi) {}
}

/// The surroundings of a processor that is a `model`, with memory `ram` and a clock that stands still.
pub(crate) fn surroundings(ram: Arc<GuestRam>, model: CpuModel) -> VcpuContext {
    let devices = Arc::new(Devices { ram: ram.clone(), written: Mutex::default(), stored: Mutex::default() });
    let clock = Arc::new(Hand::default());
    VcpuContext { bus: devices, ram, clock: clock.clone(), alarm: clock, model, world: World::new() }
}

pub(crate) struct Scene {
    pub vcpu: Box<dyn Vcpu>,
    handle: Arc<dyn VcpuHandle>,
    devices: Arc<Devices>,
    pub ram: Arc<GuestRam>,
    clock: Arc<Hand>,
    context: VcpuContext,
}

const CODE: u64 = 0x1000;

impl Scene {
    fn new(code: &[u8]) -> Self {
        Self::on(&Interpreter, code)
    }

    /// `code` on another engine.
    pub(crate) fn on(engine: &dyn Accelerator, code: &[u8]) -> Self {
        Self::of(CpuModel::newest(), engine, code)
    }

    /// The same on a processor that is a `model`.
    pub(crate) fn of(model: CpuModel, engine: &dyn Accelerator, code: &[u8]) -> Self {
        let ram = Arc::new(GuestRam::new(2 << 20).expect("small"));
        ram.write(GuestPhys(CODE), code).expect("RAM");
        let devices = Arc::new(Devices { ram: ram.clone(), written: Mutex::default(), stored: Mutex::default() });
        let clock = Arc::new(Hand::default());
        let context = VcpuContext {
            bus: devices.clone(),
            ram: ram.clone(),
            clock: clock.clone(),
            alarm: clock.clone(),
            model,
            world: World::new(),
        };
        let (mut vcpu, handle) = engine.create_vcpu(VcpuId(0), context.clone()).expect("the engine can be had");
        let mut state = VcpuState::power_on(VcpuId(0), 0);
        state.segment_mut(SegmentIndex::Cs).base = 0;
        state.segment_mut(SegmentIndex::Cs).selector = 0;
        state.rip = CODE;
        state.gpr[Gpr::RSP] = 0x8000;
        vcpu.load(&state).expect("a valid state");
        Self { vcpu, handle, devices, ram, clock, context }
    }

    pub(crate) fn state(&mut self) -> VcpuState {
        self.vcpu.save().expect("a processor at rest")
    }

    pub(crate) fn run(&mut self) -> ExitReason {
        self.vcpu.run(&StopToken::new()).expect("no error of ours")
    }

    /// Sets the vector to `address`, segment zero.
    fn vector(&self, number: u64, address: u16) {
        self.ram.write(GuestPhys(4 * number), &u32::from(address).to_le_bytes()).expect("RAM");
    }
}

#[test]
fn a_step_is_one_instruction() {
    let mut scene = Scene::new(&[0x40, 0x40, 0xeb, 0xfe]); // INC AX; INC AX; JMP $
    for expected in [1, 2, 2] {
        assert_eq!(scene.vcpu.step().expect("no error"), ExitReason::StepDone);
        assert_eq!(scene.state().gpr[Gpr::RAX] & 0xffff, expected);
    }
    assert_eq!(scene.vcpu.instructions(), 3);
}

#[test]
fn a_halt_with_interrupts_off_is_for_ever() {
    let mut scene = Scene::new(&[0xfa, 0xf4]); // CLI; HLT
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.state().rip, CODE + 2);
}

#[test]
fn a_fault_without_a_vector_table_ends_in_a_triple_fault_that_names_its_causes() {
    let mut scene = Scene::new(&[0x0f, 0x0b]); // UD2
    let mut state = scene.state();
    state.idtr.limit = 0;
    scene.vcpu.load(&state).expect("a valid state");
    let ExitReason::TripleFault(end) = scene.run() else { panic!("it must not survive") };
    let vectors: Vec<u8> = end.0.iter().map(|link| link.event.vector).collect();
    assert_eq!(vectors, [6, 13, 13, 8, 13]);
}

#[test]
fn a_stop_token_ends_a_loop_within_a_block_and_a_sleep() {
    for code in [&[0xeb, 0xfe][..], &[0xfb, 0xf4]] {
        let mut scene = Scene::new(code); // JMP $; or STI, HLT
        let stop = StopToken::new();
        let (token, handle) = (stop.clone(), scene.handle.clone());
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            token.stop();
            handle.kick();
        });
        assert_eq!(scene.vcpu.run(&stop).expect("no error"), ExitReason::Stopped);
        other.join().expect("it only kicks");
    }
}

#[test]
fn an_external_interrupt_waits_for_the_instruction_after_sti() {
    // STI; INC AX; INC AX; CLI; HLT - with a handler that stores AX and halts.
    let mut scene = Scene::new(&[0xfb, 0x40, 0x40, 0xfa, 0xf4]);
    scene.ram.write(GuestPhys(0x2000), &[0xfa, 0xf4]).expect("RAM"); // CLI; HLT
    scene.vector(0x21, 0x2000);
    let mut state = scene.state();
    state.lapic.spurious |= 0x100;
    state.lapic.lvt[dragoman_state::LvtIndex::Lint0 as usize] = 0x700;
    scene.vcpu.load(&state).expect("a valid state");
    scene.handle.raise(Pending::ExternalInterrupt(true));
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    let state = scene.state();
    assert_eq!((state.gpr[Gpr::RAX] & 0xffff, state.rip), (1, 0x2002));
    assert!(!state.rflags.contains(RFlags::IF));
}

#[test]
fn a_non_maskable_interrupt_wakes_a_halt_and_no_other_comes_before_iret() {
    let mut scene = Scene::new(&[0xfb, 0xf4, 0x40, 0xfa, 0xf4]); // STI; HLT; INC AX; CLI; HLT
    scene.ram.write(GuestPhys(0x2000), &[0x43, 0xcf]).expect("RAM"); // INC BX; IRET
    scene.vector(2, 0x2000);
    let nmi = InterruptMessage { destination: 0, is_logical: false, delivery: Delivery::Nmi, vector: 0, is_level: false };
    let handle = scene.handle.clone();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        handle.raise(Pending::Message(nmi));
    });
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    other.join().expect("it only raises");
    let state = scene.state();
    assert_eq!((state.gpr[Gpr::RAX] & 0xffff, state.gpr[Gpr(3)] & 0xffff), (1, 1));
    assert!(!state.events.nmi_blocked);
}

#[test]
fn code_that_a_device_overwrites_is_decoded_again() {
    // Runs INC AX at `patched`, has the device overwrite it with NOPs, runs it again.
    let mut scene = Scene::new(&[
        0xe8, 0x0d, 0x00, // CALL patched
        0x66, 0xb8, 0x10, 0x10, 0x00, 0x00, // MOV EAX, patched
        0x66, 0xe7, 0x10, // OUT 10h, EAX
        0xe8, 0x01, 0x00, // CALL patched
        0xf4, // HLT (interrupts are off)
        0x43, 0x43, 0x43, 0x43, 0xc3, // patched: INC BX, four times; RET
    ]);
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.state().gpr[Gpr(3)] & 0xffff, 4);
    assert_eq!(*scene.devices.written.lock().expect("not poisoned"), [(0x10, 0x1010)]);
}

#[test]
fn a_store_into_the_running_block_is_seen_by_the_next_instruction() {
    let mut scene = Scene::new(&[
        0x40, // INC AX
        0xc6, 0x06, 0x06, 0x10, 0x90, // MOV BYTE [1006h], 90h: over the next instruction
        0x40, // INC AX, which never runs
        0xf4, // HLT
    ]);
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.state().gpr[Gpr::RAX] & 0xffff, 1);
}

#[test]
fn an_instruction_that_ends_in_the_next_page_runs_and_is_decoded_again_when_its_tail_changes() {
    let mut scene = Scene::new(&[0xb9, 0x02, 0x00, 0xe9, 0xf8, 0x0f]); // MOV CX, 2; JMP 1ffeh
    // At 1ffeh: MOV AX, imm16, whose last byte is in the next page; then INC BYTE [2000h]; LOOP 1ffeh; HLT.
    scene.ram.write(GuestPhys(0x1ffe), &[0xb8, 0x11, 0x22, 0xfe, 0x06, 0x00, 0x20, 0xe2, 0xf7, 0xf4]).expect("RAM");
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.state().gpr[Gpr::RAX] & 0xffff, 0x2311);
}

#[test]
fn instructions_are_counted_one_by_one() {
    let mut scene = Scene::new(&[0xb9, 0x64, 0x00, 0xe2, 0xfe, 0xf4]); // MOV CX, 100; LOOP $; HLT
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.vcpu.instructions(), 1 + 100 + 1);
}

#[test]
fn a_state_that_is_saved_and_loaded_goes_on_where_it_was() {
    let mut scene = Scene::new(&[0xb8, 0xff, 0xff, 0x40, 0x9c, 0xf4]); // MOV AX, FFFFh; INC AX; PUSHF; HLT
    for _ in 0..2 {
        scene.vcpu.step().expect("no error");
    }
    let saved = scene.state();
    assert!(saved.rflags.contains(RFlags::ZF));
    let mut other = Scene::new(&[0x90, 0x90, 0x90, 0x90, 0x9c, 0xf4]);
    other.vcpu.load(&saved).expect("a valid state");
    assert_eq!(other.run(), ExitReason::HaltedForever);
    let mut pushed = [0; 2];
    other.ram.read(GuestPhys(0x7ffe), &mut pushed).expect("RAM");
    assert_eq!(u64::from(u16::from_le_bytes(pushed)), saved.rflags.bits() & 0xffff);
}
