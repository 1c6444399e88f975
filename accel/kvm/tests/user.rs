//! A kernel of a few instructions and its user mode, there and back, under KVM as in the interpreter: also where KVM does not run
//! ring 3 as it should, and a machine of its own does.

use dragoman_frontend::model::CpuModel;
use dragoman_state::{Gpr, GuestPhys, TableRegister, VcpuState};

use super::model;
use crate::{
    Accelerator, ExitReason, StopToken,
    interpret::Interpreter,
    kvm::Kvm,
    tiny::{CODE, TinyGuest},
};

/// How often user mode calls the kernel.
const ROUNDS: u64 = 12;
const ENTRY: u64 = CODE.0 + 0x100;
const USER: u64 = CODE.0 + 0x200;
const STACK: u64 = 0x1_8000;
const GDT: u64 = 0x2_0000;
/// A page table, what it maps, and where to.
const LEAF: u64 = 0x5000;
const WINDOW: u64 = 0x20_0000;
const PAGES: [u64; 2] = [0x4_0000, 0x4_1000];

/// Long enough to be in KVM for: `mov r10d, 6000`, `dec r10d`, `jnz`.
const KERNEL_WORK: [u8; 11] = [0x41, 0xba, 0x70, 0x17, 0, 0, 0x41, 0xff, 0xca, 0x75, 0xfb];
/// `mov r9d, 200000`, `dec r9d`, `jnz`.
const USER_WORK: [u8; 11] = [0x41, 0xb9, 0x40, 0x0d, 3, 0, 0x41, 0xff, 0xc9, 0x75, 0xfb];
const SYSRET: [u8; 3] = [0x48, 0x0f, 0x07];
const SYSCALL: [u8; 2] = [0x0f, 0x05];
const IRET: [u8; 2] = [0x48, 0xcf];

/// The kernel's entry: counts in RDX, has the window lead to the other page, and goes back by `way`; or ends.
fn entry(way: &[u8]) -> Vec<u8> {
    let mut code = KERNEL_WORK.to_vec();
    // `inc rdx`; `xor qword [LEAF], 0x1000`; `mov eax, WINDOW`, `invlpg [rax]`.
    code.extend([0x48, 0xff, 0xc2, 0x48, 0x81, 0x34, 0x25, 0, 0x50, 0, 0, 0, 0x10, 0, 0]);
    code.extend([0xb8, 0, 0, 0x20, 0, 0x0f, 0x01, 0x38]);
    // `cmp rdx, ROUNDS`, `jb` to the way back, `ud2`.
    code.extend([0x48, 0x83, 0xfa, ROUNDS as u8, 0x72, 2, 0x0f, 0x0b]);
    code.extend(way);
    code
}

/// `mov [rax], rdx`, work, `add r8, [rax]`, SYSCALL, and again.
fn user() -> Vec<u8> {
    let mut code = vec![0x48, 0x89, 0x10];
    code.extend(USER_WORK);
    code.extend([0x4c, 0x03, 0x00]);
    code.extend(SYSCALL);
    code.extend([0xeb, (256 - code.len() - 2) as u8]);
    code
}

/// Runs it, from ring 0 on; `way` is how the kernel goes to user mode. The state at its end, the two pages, and what was counted.
fn run(engine: &dyn Accelerator, model: &CpuModel, way: &[u8]) -> (VcpuState, [u64; 2], Vec<(&'static str, u64)>) {
    let mut guest = TinyGuest::new(engine, model, way).expect("the engine is there");
    let put = |at: u64, bytes: &[u8]| guest.ram.write(GuestPhys(at), bytes).expect("RAM");
    put(ENTRY, &entry(way));
    put(USER, &user());
    put(0x3008, &(LEAF | 7).to_le_bytes());
    put(LEAF, &(PAGES[0] | 7).to_le_bytes());
    let flat = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff];
    put(GDT, &flat.map(u64::to_le_bytes).concat());
    // RIP, CS, RFLAGS, RSP and SS of user mode; IRET takes the frame again each time, because nothing sets RSP.
    let frame = [USER, 0x2b, 0x202, STACK, 0x23];
    put(STACK, &frame.map(u64::to_le_bytes).concat());
    let mut state = guest.start(0, [WINDOW, USER, 0, 0]);
    state.gdtr = TableRegister { base: GDT, limit: 0x2f };
    (state.msrs.star, state.msrs.lstar, state.msrs.fmask) = (0x001b_0008 << 32, ENTRY, 0x4_7700);
    (state.gpr[Gpr::RSP], state.gpr[Gpr(11)]) = (STACK, 0x202);
    let reason = guest.run_from(&state, &StopToken::new()).expect("it runs");
    assert!(matches!(reason, ExitReason::TripleFault(_)), "{reason:?}");
    let pages = PAGES.map(|at| {
        let mut bytes = [0; 8];
        guest.ram.read(GuestPhys(at), &mut bytes).expect("RAM");
        u64::from_le_bytes(bytes)
    });
    (guest.vcpu.save().expect("it has one"), pages, guest.vcpu.counters())
}

#[test]
fn user_mode_calls_the_kernel_and_sees_what_that_does_to_page_tables() {
    let Some(model) = model() else { return };
    for way in [&SYSRET[..], &IRET] {
        let (state, pages, counts) = run(&Kvm::default(), &model, way);
        let (expected, expected_pages, _) = run(&Interpreter, &model, way);
        assert_eq!(pages, expected_pages, "{counts:?}");
        assert_eq!(pages, [ROUNDS - 2, ROUNDS - 1]);
        for n in [0, 1, 2, 4, 8, 9, 10, 11] {
            assert_eq!(state.gpr[Gpr(n)], expected.gpr[Gpr(n)], "register {n}: {counts:?}");
        }
        let system = |state: &VcpuState| (state.rip, state.rflags, state.segments, state.gdtr, state.idtr, state.msrs.clone());
        assert_eq!(system(&state), system(&expected), "{counts:?}");
        let count = |name| counts.iter().find(|(one, _)| *one == name).map_or(0, |(_, count)| *count);
        assert!(count("entries") > 0);
        if !Kvm::runs_user() {
            assert!(count("user runs") >= ROUNDS / 2 && count("events") + count("returns to user mode") > 0, "{counts:?}");
        }
    }
}

#[test]
fn a_loop_of_ring_3_runs_where_ring_3_does() {
    let Some(model) = model() else { return };
    // `dec rcx`, `jnz` to it, `ud2`.
    let mut guest = TinyGuest::new(&Kvm::default(), &model, &[0x48, 0xff, 0xc9, 0x75, 0xfb, 0x0f, 0x0b]).expect("there is a KVM");
    let turns = 50_000_000;
    let reason = guest.run(3, [0, turns, 0, 0], &StopToken::new()).expect("it runs");
    assert!(matches!(reason, ExitReason::TripleFault(_)), "{reason:?}");
    let counts = guest.vcpu.counters();
    let interpreted = counts.iter().find(|(name, _)| *name == "interpreted").map_or(0, |(_, count)| *count);
    assert!(interpreted < turns / 10, "{counts:?}");
}
