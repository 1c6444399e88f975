//! Several processors over one code cache: code that runs, jumps and is overwritten while the little room there is for it is
//! used again and again.
//!
//! Rule of these programs: they keep to what the SDM promises processors that change each other's code (vol. 3 §9.1.3): who
//! changes it holds a lock, and who executes it afterwards takes that lock and executes CPUID first.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use dragoman_devices::{lapic::Ipi, memory::GuestRam};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{
    Activity, Attributes, Cr0, Cr4, Efer, Gpr, GuestPhys, Port, RFlags, SegmentIndex, VcpuId, VcpuState, Width,
};
use dynasm::dynasm;
use dynasmrt::{DynasmApi, DynasmLabelApi, VecAssembler, x64::X64Relocation};

use crate::{
    Accelerator, CpuBus, ExitReason, StopToken, Vcpu, VcpuContext, VcpuHandle, World,
    interpret::{Interpreter, tests::Hand},
    translate::{Settings, Translator},
};

const RAM: u64 = 16 << 20;
pub(super) const TABLES: u64 = 0x1000;
pub(super) const PROGRAM: u64 = 0x10_0000;
/// Functions that any processor changes under a lock: one every 64 bytes.
const SHARED: u64 = 0x20_0000;
/// The lock of each, and the number that it is to return.
const LOCKS: u64 = 0x21_0000;
const NUMBERS: u64 = 0x21_0100;
/// Functions that one processor changes and calls alone: beside each other in a page.
const OWN: u64 = 0x22_0000;
/// Functions that nobody changes: more of them than there is room for.
const FILLING: u64 = 0x30_0000;
const FILLINGS: u32 = 4096;
const STACKS: u64 = 0x80_0000;
/// Where results are written to, one byte: zero where all went well.
pub(super) const RESULT: u16 = 0xf4;

/// A bus on which a write to [`RESULT`] stops the processor that it belongs to.
#[derive(Default)]
pub(super) struct Bus {
    result: Mutex<Option<u32>>,
    stop: StopToken,
    handle: OnceLock<Arc<dyn VcpuHandle>>,
}
impl CpuBus for Bus {
    fn read_mmio(&self, _at: GuestPhys, width: Width) -> u64 {
        width.mask()
    }
    fn write_mmio(&self, _at: GuestPhys, _width: Width, _value: u64) {}
    fn read_port(&self, _port: Port, _width: Width) -> u32 {
        u32::MAX
    }
    fn write_port(&self, port: Port, _width: Width, value: u32) {
        assert_eq!(port.0, RESULT);
        *self.result.lock().expect("not poisoned") = Some(value);
        self.stop.stop();
        self.handle.get().expect("set before it ran").kick();
    }
    fn acknowledge_interrupt(&self) -> u8 {
        0x21
    }
    fn end_of_interrupt(&self, _vector: u8) {}
    fn send(&self, _sender: VcpuId, _ipi: Ipi) {}
}

/// Memory with the programs.
fn memory(rounds: u32) -> Arc<GuestRam> {
    with_program(&program(rounds))
}

/// Memory with `program`, mapped where it is, all 16 MiB of it.
pub(super) fn sixteen_mib(program: &[u8]) -> Arc<GuestRam> {
    let ram = Arc::new(GuestRam::new(RAM).expect("small"));
    let put = |at: u64, bytes: &[u8]| ram.write(GuestPhys(at), bytes).expect("RAM");
    put(TABLES, &(TABLES + 0x1003).to_le_bytes());
    put(TABLES + 0x1000, &(TABLES + 0x2003).to_le_bytes());
    for n in 0..RAM >> 21 {
        put(TABLES + 0x2000 + 8 * n, &(n << 21 | 0x83).to_le_bytes());
    }
    put(PROGRAM, program);
    ram
}

fn with_program(program: &[u8]) -> Arc<GuestRam> {
    let ram = sixteen_mib(program);
    let put = |at: u64, bytes: &[u8]| ram.write(GuestPhys(at), bytes).expect("RAM");
    for n in 0..16 {
        put(SHARED + 64 * n, &RETURNS_A_SUM);
        put(OWN + 64 * n, &RETURNS_A_SUM);
    }
    for n in 0..FILLINGS {
        put(FILLING + 32 * u64::from(n), &filling(n));
    }
    ram
}

/// MOV EAX, 0; ADD EAX, EDI; RET. The number is what is changed.
const RETURNS_A_SUM: [u8; 8] = [0xb8, 0, 0, 0, 0, 0x01, 0xf8, 0xc3];

/// Adds `n` to R15, rotates it, and returns, by way of a branch that every other takes.
#[rustfmt::skip]
fn filling(n: u32) -> Vec<u8> {
    let mut asm = VecAssembler::<X64Relocation>::new(0);
    dynasm!(asm ; .arch x64
        ; add r15, n as i32
        ; test r15, 1
        ; jz >even
        ; rol r15, 1
        ; even:
        ; rol r15, 7
        ; ret
    );
    let code = asm.finalize().expect("it is complete");
    assert!(code.len() <= 32);
    code
}

/// What R15 becomes by `count` of them from number `first` on.
fn filled(mut sum: u64, first: u32, count: u32) -> u64 {
    for n in first..first + count {
        sum = sum.wrapping_add(n.into());
        sum = sum.rotate_left(if sum & 1 == 0 { 7 } else { 8 });
    }
    sum
}

const CALLS: u32 = 48;
const FACTOR: i64 = 0x5851_f42d_4c95_7f2d;
const ADDEND: u64 = 0x1405_7b7e_f767_814f;

/// Everything: RDI is the seed, RSI the processor's own function. At the end R15 is the sum.
#[rustfmt::skip]
fn program(rounds: u32) -> Vec<u8> {
    let mut asm = VecAssembler::<X64Relocation>::new(PROGRAM as usize);
    dynasm!(asm ; .arch x64
        ; mov r13, rdi
        ; mov rbp, rsi
        ; xor r15d, r15d
        ; mov r12d, rounds as i32
        ; round:
        ; mov rax, QWORD FACTOR
        ; imul r13, rax
        ; mov rax, QWORD ADDEND as i64
        ; add r13, rax
        // Changes its own function, and calls it.
        ; mov r14, r13
        ; shr r14, 32
        ; mov [rbp + 1], r14d
        ; mov edi, 5
        ; call rbp
        ; sub eax, 5
        ; cmp eax, r14d
        ; jne >wrong_own
        // Takes the lock of a shared one.
        ; mov rbx, r13
        ; shr rbx, 40
        ; and ebx, 15
        ; mov r8, LOCKS as i32
        ; lea r8, [r8 + rbx * 4]
        ; taken:
        ; mov eax, 1
        ; xchg [r8], eax
        ; test eax, eax
        ; jne <taken
        ; mov r9, NUMBERS as i32
        ; lea r9, [r9 + rbx * 4]
        ; shl rbx, 6
        ; lea r10, [rbx + SHARED as i32]
        ; test r13d, 0x7000
        ; jne >calls
        // Changes it, once in eight times.
        ; mov [r10 + 1], r14d
        ; mov [r9], r14d
        ; jmp >frees
        ; calls:
        ; xor eax, eax
        ; cpuid
        ; mov edi, r13d
        ; call r10
        ; sub eax, edi
        ; cmp eax, [r9]
        ; jne >wrong_shared
        ; frees:
        ; mov DWORD [r8], 0
        // Calls some that nobody changes.
        ; mov rsi, r13
        ; shr rsi, 20
        ; and esi, FILLINGS as i32 - 64
        ; shl esi, 5
        ; add rsi, FILLING as i32
        ; mov ecx, CALLS as i32
        ; filling:
        ; call rsi
        ; add rsi, 32
        ; dec ecx
        ; jnz <filling
        ; dec r12d
        ; jnz <round
        ; xor eax, eax
        ; jmp >end
        ; wrong_own:
        ; mov eax, 1
        ; jmp >end
        ; wrong_shared:
        ; mov eax, 2
        ; end:
        ; mov edx, RESULT.into()
        ; out dx, al
        ; hlt
    );
    asm.finalize().expect("it is complete")
}

/// What R15 is at the end.
fn sum(seed: u64, rounds: u32) -> u64 {
    let (mut random, mut sum) = (seed, 0);
    for _ in 0..rounds {
        random = random.wrapping_mul(FACTOR as u64).wrapping_add(ADDEND);
        sum = filled(sum, (random >> 20) as u32 & (FILLINGS - 64), CALLS);
    }
    sum
}

fn seed(n: u64) -> u64 {
    0x1234_5678_9abc_def1 * (n + 1)
}

/// What surrounds a processor.
pub(super) fn context(ram: &Arc<GuestRam>, world: &Arc<World>) -> (VcpuContext, Arc<Bus>) {
    let (bus, clock) = (Arc::new(Bus::default()), Arc::new(Hand::default()));
    let context = VcpuContext {
        bus: bus.clone(),
        ram: ram.clone(),
        clock: clock.clone(),
        alarm: clock,
        model: CpuModel::newest(),
        world: world.clone(),
    };
    (context, bus)
}

/// A processor of `engine` in 64-bit mode at the program.
pub(super) fn processor(engine: &dyn Accelerator, n: u64, ram: &Arc<GuestRam>, world: &Arc<World>) -> (Box<dyn Vcpu>, Arc<Bus>) {
    let (context, bus) = context(ram, world);
    let id = VcpuId(n as u32);
    let (mut vcpu, handle) = engine.create_vcpu(id, context).expect("the host can translate");
    assert!(bus.handle.set(handle).is_ok());
    vcpu.load(&long_state(n)).expect("a valid state");
    (vcpu, bus)
}

/// Processor `n` in 64-bit mode at the program.
pub(super) fn long_state(n: u64) -> VcpuState {
    let mut state = CpuModel::newest().power_on(VcpuId(n as u32));
    state.cr0 = Cr0::PE | Cr0::MP | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::PG;
    state.cr4 = Cr4::PAE | Cr4::OSFXSR | Cr4::OSXMMEXCPT;
    state.efer = Efer::LME | Efer::LMA;
    state.cr3 = TABLES;
    for index in SegmentIndex::ALL {
        let segment = state.segment_mut(index);
        (segment.base, segment.limit, segment.selector) = (0, u32::MAX, 16);
        segment.attributes = Attributes(0xc093);
    }
    let code = state.segment_mut(SegmentIndex::Cs);
    (code.selector, code.attributes) = (8, Attributes(0xa09b));
    state.rflags = RFlags::from_bits_retain(2);
    // Others than the first wait for one that starts them.
    state.events.activity = Activity::Running;
    state.rip = PROGRAM;
    state.gpr[Gpr::RSP] = STACKS + 0x1_0000 * (n + 1);
    state.gpr[Gpr::RDI] = seed(n);
    state.gpr[Gpr::RSI] = OWN + 64 * n;
    state
}

/// Runs the program; the sum that it ends with.
pub(super) fn run(vcpu: &mut dyn Vcpu, bus: &Bus) -> u64 {
    let end = vcpu.run(&bus.stop).expect("no error of ours");
    assert_eq!(end, ExitReason::Stopped);
    assert_eq!(*bus.result.lock().expect("not poisoned"), Some(0));
    let state: VcpuState = vcpu.save().expect("at rest");
    state.gpr[Gpr::R15]
}

pub(super) fn counter(vcpu: &dyn Vcpu, name: &str) -> u64 {
    vcpu.counters().into_iter().find(|(other, _)| *other == name).expect("it is counted").1
}

/// As little as there can be: sixteen regions of 8 KiB.
const TINY: Settings = Settings { code_bytes: 128 << 10, counts: false, steps: false };

#[test]
fn processors_that_overwrite_each_others_code_in_a_tiny_cache_compute_the_right_sums() {
    const ROUNDS: u32 = 3000;
    let (ram, world, engine) = (memory(ROUNDS), World::new(), Translator::new(TINY));
    // All of them first: who is alone in the world does without stopping others.
    let processors: Vec<_> = (0..4).map(|n| processor(&engine, n, &ram, &world)).collect();
    let (evicted, invalidated) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for (n, (mut vcpu, bus)) in processors.into_iter().enumerate() {
            let (evicted, invalidated) = (&evicted, &invalidated);
            scope.spawn(move || {
                assert_eq!(run(&mut *vcpu, &bus), sum(seed(n as u64), ROUNDS), "processor {n}");
                evicted.fetch_max(counter(&*vcpu, "evicted"), Ordering::Relaxed);
                invalidated.fetch_max(counter(&*vcpu, "invalidated"), Ordering::Relaxed);
            });
        }
    });
    let counts = (evicted.into_inner(), invalidated.into_inner());
    assert!(counts.0 > 1000 && counts.1 > 100, "{counts:?}");
}

#[test]
fn instructions_are_counted_as_the_interpreter_counts_them() {
    const ROUNDS: u32 = 500;
    let count = |engine: &dyn Accelerator| {
        let (mut vcpu, bus) = processor(engine, 0, &memory(ROUNDS), &World::new());
        assert_eq!(run(&mut *vcpu, &bus), sum(seed(0), ROUNDS));
        vcpu.trace().instructions
    };
    let expected = count(&Interpreter);
    assert!(expected > Some(u64::from(ROUNDS * CALLS)));
    assert_eq!(count(&Translator::new(Settings { counts: true, ..TINY })), expected);
    assert_eq!(count(&Translator::new(Settings { counts: true, ..Settings::default() })), expected);
    assert_eq!(count(&Translator::new(TINY)), None);
}

/// Writes a function, calls it, writes beside it in its page, and then all over it.
#[rustfmt::skip]
fn writes_beside_code(rounds: u32) -> Vec<u8> {
    const PAGE: i32 = 0x40_0000;
    const FUNCTION: i32 = 0xc00;
    const BESIDE: i32 = 0x400;
    let mut asm = VecAssembler::<X64Relocation>::new(PROGRAM as usize);
    dynasm!(asm ; .arch x64
        ; xor r15d, r15d
        ; mov ebx, PAGE
        ; mov r12d, rounds as i32
        ; round:
        ; mov BYTE [rbx + FUNCTION], 0xb8u8 as i8 // MOV EAX, R12D; RET
        ; mov [rbx + FUNCTION + 1], r12d
        ; mov BYTE [rbx + FUNCTION + 5], 0xc3u8 as i8
        ; lea rbp, [rbx + FUNCTION]
        ; mov ecx, 100
        ; calls:
        ; call rbp
        ; add r15, rax
        ; mov [rbx + BESIDE], ecx
        ; add [rbx + BESIDE + 8], rcx
        ; dec ecx
        ; jnz <calls
        ; lea rdi, [rbx + BESIDE]
        ; mov ecx, FUNCTION - BESIDE + 0x100
        ; mov eax, 0xc3
        ; rep stosb
        ; call rbp
        ; add r15, rax
        ; dec r12d
        ; jnz <round
        ; xor eax, eax
        ; mov edx, RESULT.into()
        ; out dx, al
        ; hlt
    );
    asm.finalize().expect("it is complete")
}

#[test]
fn what_is_written_beside_code_leaves_it_alone_and_what_is_written_all_over_it_does_not() {
    const ROUNDS: u32 = 200;
    let engine = Translator::default();
    let (mut vcpu, bus) = processor(&engine, 0, &with_program(&writes_beside_code(ROUNDS)), &World::new());
    let expected: u64 = (1..=u64::from(ROUNDS)).map(|n| 100 * n + 0xc3).sum();
    assert_eq!(run(&mut *vcpu, &bus), expected);
    let (interpreted, refused) = (counter(&*vcpu, "interpreted"), counter(&*vcpu, "refused"));
    assert!(interpreted < u64::from(ROUNDS) * 40 && refused == 0, "{:?}", vcpu.counters());
}

/// Where RSI is not zero, calls functions that nobody changes, and counts how often it called all of them; otherwise writes another
/// one, calls it until it is translated, waits until the others were called twice, and writes it again.
#[rustfmt::skip]
fn calls_beside_a_writer(rounds: u32) -> Vec<u8> {
    const CALLED: i32 = 64;
    let mut asm = VecAssembler::<X64Relocation>::new(PROGRAM as usize);
    dynasm!(asm ; .arch x64
        ; mov r9, NUMBERS as i32
        ; test rsi, rsi
        ; jz >writes
        ; calls:
        ; mov r8, FILLING as i32
        ; mov ecx, CALLED
        ; next:
        ; call r8
        ; add r8, 32
        ; dec ecx
        ; jnz <next
        ; inc DWORD [r9 + 8]
        ; cmp DWORD [r9], 0
        ; je <calls
        ; jmp >end
        ; writes:
        ; mov r12d, rounds as i32
        ; mov rbp, SHARED as i32
        ; round:
        ; mov [rbp + 1], r12d
        ; mov ecx, 4000
        ; again:
        ; call rbp
        ; dec ecx
        ; jnz <again
        ; mov r14d, [r9 + 8]
        ; waits:
        ; pause
        ; mov eax, [r9 + 8]
        ; sub eax, r14d
        ; cmp eax, 2
        ; jb <waits
        ; dec r12d
        ; jnz <round
        ; mov DWORD [r9], 1
        ; end:
        ; xor eax, eax
        ; mov edx, RESULT.into()
        ; out dx, al
        ; hlt
    );
    asm.finalize().expect("it is complete")
}

#[test]
fn a_processor_keeps_what_it_knows_of_code_that_others_leave_alone() {
    const ROUNDS: u32 = 100;
    let (ram, world, engine) = (with_program(&calls_beside_a_writer(ROUNDS)), World::new(), Translator::default());
    let processors: Vec<_> = (0..2).map(|n| processor(&engine, n, &ram, &world)).collect();
    thread::scope(|scope| {
        for (n, (mut vcpu, bus)) in processors.into_iter().enumerate() {
            scope.spawn(move || {
                let mut state = vcpu.save().expect("at rest");
                state.gpr[Gpr::RSI] = n as u64;
                vcpu.load(&state).expect("a valid state");
                run(&mut *vcpu, &bus);
                let (jumps, invalidated) = (counter(&*vcpu, "jumps"), counter(&*vcpu, "invalidated"));
                // Each of 64 functions is forgotten with all others no more than a few times, not once a round.
                assert!(n == 0 || jumps < 64 * 20, "{jumps}");
                assert!(n == 1 || invalidated > 50, "{invalidated}");
            });
        }
    });
}
