//! The engine, where there is a KVM: small guests, and what other threads say to them.

mod user;

use std::{
    thread,
    time::{Duration, Instant},
};

use dragoman_frontend::model::CpuModel;
use dragoman_state::{Gpr, GuestPhys, VcpuState, VmInstant};

use super::{Kvm, Settings};
use crate::{ExitReason, StopToken, interpret::Interpreter, measure, tiny::TinyGuest};

/// The newest model, where there is a KVM.
fn model() -> Option<CpuModel> {
    match Kvm::default_model() {
        Ok(model) => Some(model),
        Err(error) => {
            println!("SKIPPED: {error}");
            None
        }
    }
}

fn guest(model: &CpuModel, code: &[u8]) -> TinyGuest {
    TinyGuest::new(&Kvm::default(), model, code).expect("there is a KVM")
}

/// `jmp $`
const SPIN: [u8; 2] = [0xeb, 0xfe];
/// `inc rax`, `jmp` to it
const COUNT: [u8; 5] = [0x48, 0xff, 0xc0, 0xeb, 0xfb];
/// `pushfq`, `pop rax`, `lock cmpxchg16b [rbx]`, `inc rcx`, `out 80h, al`, `rdtsc`, `ud2`: what needs each way out.
const MIXED: [u8; 17] = [0x9c, 0x58, 0xf0, 0x48, 0x0f, 0xc7, 0x0b, 0x48, 0xff, 0xc1, 0xe6, 0x80, 0x0f, 0x31, 0x0f, 0x0b, 0x90];

#[test]
fn a_guest_ends_in_kvm_as_it_does_in_the_interpreter() {
    let Some(model) = model() else { return };
    let run = |engine: &dyn crate::Accelerator| -> (ExitReason, VcpuState) {
        let mut guest = TinyGuest::new(engine, &model, &MIXED).expect("the engine is there");
        let reason = guest.run(0, [5, 7, 9, crate::tiny::DATA.0], &StopToken::new()).expect("it runs");
        (reason, guest.vcpu.save().expect("it has one"))
    };
    let (kvm, interp) = (run(&Kvm::default()), run(&Interpreter));
    assert_eq!(kvm.0, interp.0);
    for n in [1, 3, 4, 5] {
        assert_eq!(kvm.1.gpr[Gpr(n)], interp.1.gpr[Gpr(n)], "register {n}");
    }
    assert_eq!((kvm.1.rip, kvm.1.segments, kvm.1.cr0), (interp.1.rip, interp.1.segments, interp.1.cr0));
}

#[test]
fn a_kick_is_never_lost_however_it_races_with_the_entry() {
    let Some(model) = model() else { return };
    let mut guest = guest(&model, &SPIN);
    let handle = guest.handle.clone();
    for round in 0..300u32 {
        let stop = StopToken::new();
        let (token, handle) = (stop.clone(), handle.clone());
        let other = thread::spawn(move || {
            for _ in 0..round % 50 * 20 {
                std::hint::spin_loop();
            }
            token.stop();
            handle.kick();
        });
        assert_eq!(guest.run(0, [0; 4], &stop).expect("it runs"), ExitReason::Stopped);
        other.join().expect("it only kicks");
    }
}

#[test]
fn a_guest_goes_on_where_it_was_stopped_whoever_ran_it() {
    let Some(model) = model() else { return };
    let mut guest = guest(&model, &COUNT);
    let mut interpreted = TinyGuest::new(&Interpreter, &model, &COUNT).expect("it runs anything");
    let run = |guest: &mut TinyGuest, state: Option<&VcpuState>| {
        let stop = StopToken::new();
        let (token, handle) = (stop.clone(), guest.handle.clone());
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(3));
            token.stop();
            handle.kick();
        });
        let reason = match state {
            None => guest.run(0, [0; 4], &stop),
            Some(state) => guest.vcpu.load(state).and_then(|()| guest.vcpu.run(&stop)),
        };
        assert_eq!(reason.expect("it runs"), ExitReason::Stopped);
        other.join().expect("it only kicks");
        guest.vcpu.save().expect("it has one")
    };
    let first = run(&mut guest, None);
    let second = run(&mut interpreted, Some(&first));
    let third = run(&mut guest, Some(&second));
    let counts = [&first, &second, &third].map(|state| state.gpr[Gpr::RAX]);
    assert!(counts[0] > 0 && counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
    let but_for_progress =
        |state: &VcpuState| VcpuState { gpr: first.gpr.clone(), rip: 0, rflags: first.rflags, tsc_offset: 0, ..state.clone() };
    assert_eq!(but_for_progress(&third), but_for_progress(&first));
}

#[test]
fn the_time_stamp_counter_goes_on_across_the_way_there_and_back() {
    let Some(model) = model() else { return };
    // `rdtsc`, `shl rdx, 32`, `or rax, rdx`, `ud2`.
    let mut guest = guest(&model, &[0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x0f, 0x0b]);
    let mut read = || {
        guest.run(0, [0; 4], &StopToken::new()).expect("it runs");
        guest.vcpu.save().expect("it has one").gpr[Gpr::RAX]
    };
    let (began, first) = (Instant::now(), read());
    thread::sleep(Duration::from_millis(20));
    let (second, elapsed) = (read(), began.elapsed());
    let passed = second.wrapping_sub(first);
    let most = VmInstant(elapsed.as_nanos() as u64).to_ticks(model.tsc_hertz());
    let least = VmInstant(19_000_000).to_ticks(model.tsc_hertz());
    assert!((least..=most + most / 100).contains(&passed), "{passed} of {least} to {most}");
}

#[test]
fn what_the_guest_writes_in_kvm_is_in_the_log() {
    let Some(model) = model() else { return };
    // `mov [rbx], rax`, `ud2`.
    let mut guest = guest(&model, &[0x48, 0x89, 0x03, 0x0f, 0x0b]);
    let (tracker, at) = (guest.ram.tracker().clone(), GuestPhys(0x2_3000));
    tracker.start_log();
    guest.run(0, [1, 0, 0, at.0 + 8], &StopToken::new()).expect("it runs");
    assert!(tracker.is_dirty(at), "{:?}", tracker.dirty_pages().collect::<Vec<_>>());
    assert!(!tracker.is_dirty(GuestPhys(0x4_0000)));
    tracker.start_log();
    guest.run(0, [2, 0, 0, at.0 + 0x1000], &StopToken::new()).expect("it runs");
    assert!(tracker.is_dirty(GuestPhys(at.0 + 0x1000)) && !tracker.is_dirty(at));
}

#[test]
fn steps_of_kvms_make_one_instruction_each() {
    let Some(model) = model() else { return };
    let engine = Kvm::new(Settings { steps: true });
    // `inc rax` three times.
    let code = [0x48, 0xff, 0xc0].repeat(3);
    let mut guest = TinyGuest::new(&engine, &model, &code).expect("there is a KVM");
    let stop = StopToken::new();
    stop.stop();
    // Nothing runs: the state is the beginning.
    assert_eq!(guest.run(0, [0; 4], &stop).expect("it runs"), ExitReason::Stopped);
    let mut state = guest.vcpu.save().expect("it has one");
    for n in 1..=3 {
        assert_eq!(guest.vcpu.step().expect("it steps"), ExitReason::StepDone);
        let next = guest.vcpu.save().expect("it has one");
        assert_eq!((next.gpr[Gpr::RAX], next.rip), (n, state.rip + 3));
        state = next;
    }
    assert!(!state.rflags.contains(dragoman_state::RFlags::TF));
}

#[test]
fn both_rings_are_measured() {
    let Some(model) = model() else { return };
    let speed = measure(&Kvm::default(), &model, Duration::from_millis(400)).expect("it runs");
    assert!(speed.kernel > 1e3 && speed.user > 1e3, "{speed:?}");
    let report = Kvm::probe(Duration::from_millis(400));
    assert!(report.problem().is_none() && report.speed.is_some(), "{report:?}");
}

#[test]
fn a_model_that_kvm_cannot_be_is_refused_when_a_processor_is_made() {
    if model().is_none() {
        return;
    }
    let model = Kvm::clocked(CpuModel::most()).expect("there is a KVM");
    let error = TinyGuest::new(&Kvm::default(), &model, &SPIN).map(drop).expect_err("no KVM has all of it");
    assert!(error.to_string().contains("it lacks"), "{error}");
}
