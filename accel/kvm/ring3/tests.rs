//! User mode in KVM, where there is one: a few instructions of ring 3 under page tables that are changed from outside.

use dragoman_devices::memory::GuestRam;
use dragoman_state::{Attributes, Cr0};

use super::*;
use crate::{interpret::tests::surroundings, kvm::Kvm};

const ROOT: u64 = 0x1_0000;
const LEAF: u64 = 0x1_3000;
/// Where user mode's pages begin, in its address space and in memory.
const USER: u64 = 0x40_0000;
const MEMORY: u64 = 0x10_0000;
/// A page that user mode writes to.
const DATA: u64 = USER + 0x5000;

/// A processor about to run `code` in ring 3, with 16 pages from [`USER`] on, and the runner of its user mode. `None` where
/// there is no KVM.
fn scene(code: &[u8]) -> Option<(Box<Processor>, Ring3)> {
    let model = match Kvm::default_model() {
        Ok(model) => model,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    let ram = Arc::new(GuestRam::new(4 << 20).expect("little memory"));
    let mut cpu = Box::new(Processor::new(dragoman_state::VcpuId(0), surroundings(ram.clone(), model)));
    for (at, value) in [(ROOT, 0x1_1007), (0x1_1000, 0x1_2007), (0x1_2010, LEAF | 7)] {
        set(&cpu, at, value);
    }
    (0..16).for_each(|page| set(&cpu, LEAF + 8 * page, (MEMORY + page * PAGE_SIZE) | 0x67));
    ram.write(GuestPhys(MEMORY), code).expect("RAM");
    let state = &mut cpu.state;
    let flat = |selector, attributes| Segment { base: 0, limit: u32::MAX, attributes: Attributes(attributes), selector };
    for index in SegmentIndex::ALL {
        state.segments[index as usize] = flat(0x2b, 0xc0f3);
    }
    state.segments[SegmentIndex::Cs as usize] = flat(0x33, 0xa0fb);
    state.cr0 = Cr0::PE | Cr0::PG | Cr0::WP | Cr0::NE | Cr0::ET | Cr0::MP;
    state.cr4 = Cr4::PAE | Cr4::OSFXSR | Cr4::OSXMMEXCPT;
    state.efer = Efer::LME | Efer::LMA | Efer::SCE | Efer::NXE;
    state.gdtr = dragoman_state::TableRegister { base: 0, limit: 0x7f };
    state.cr3 = ROOT;
    state.rflags = RFlags::FIXED | RFlags::IF;
    state.gpr[Gpr::RSP] = USER + 0x8000;
    state.gpr[Gpr(3)] = DATA;
    state.rip = USER;
    cpu.load_flags();
    cpu.derive();
    let runner = Ring3::new(&cpu).expect("KVM can be had");
    Some((cpu, runner))
}

fn set(cpu: &Processor, at: u64, value: u64) {
    cpu.context.ram.write(GuestPhys(at), &value.to_le_bytes()).expect("RAM");
}

fn word(cpu: &Processor, at: u64) -> u64 {
    cpu.mmu.read_physical(GuestPhys(at))
}

/// Runs until an instruction is to be executed elsewhere: where.
fn run(cpu: &mut Processor, runner: &mut Ring3, rip: u64) -> u64 {
    cpu.state.rip = rip;
    assert!(runner.can_run(cpu));
    for _ in 0..100 {
        if runner.run(cpu).expect("it runs") == Back::Instruction {
            return cpu.state.rip;
        }
    }
    panic!("it never comes to an end");
}

/// MOV [RBX], RAX; SYSCALL.
const STORE: &[u8] = &[0x48, 0x89, 0x03, 0x0f, 0x05];

#[test]
fn ring_3_runs_until_a_system_call_and_leaves_its_registers() {
    let Some((mut cpu, mut runner)) = scene(STORE) else { return };
    cpu.state.gpr[Gpr::RAX] = 0x1234;
    cpu.state.vectors.registers[3][0] = 0x5678;
    assert_eq!(run(&mut cpu, &mut runner, USER), USER + 3);
    assert_eq!(word(&cpu, MEMORY + 0x5000), 0x1234);
    assert_eq!((cpu.state.gpr[Gpr::RAX], cpu.state.gpr[Gpr(3)], cpu.state.vectors.registers[3][0]), (0x1234, DATA, 0x5678));
    assert_eq!((cpu.state.cpl(), cpu.state.segment(SegmentIndex::Cs).selector), (3, 0x33));
}

#[test]
fn page_tables_that_are_changed_are_looked_at_again() {
    let Some((mut cpu, mut runner)) = scene(STORE) else { return };
    let entry = LEAF + 8 * 5;
    for round in 0..4u64 {
        cpu.state.gpr[Gpr::RAX] = round + 1;
        assert_eq!(run(&mut cpu, &mut runner, USER), USER + 3);
        assert_eq!(word(&cpu, MEMORY + 0x5000), round + 1);
        // Read-only, elsewhere, and gone.
        cpu.state.gpr[Gpr::RAX] = round + 100;
        set(&cpu, entry, word(&cpu, entry) & !2);
        assert_eq!(run(&mut cpu, &mut runner, USER), USER, "round {round}");
        set(&cpu, entry, MEMORY + 0x6067);
        assert_eq!(run(&mut cpu, &mut runner, USER), USER + 3);
        assert_eq!((word(&cpu, MEMORY + 0x5000), word(&cpu, MEMORY + 0x6000)), (round + 1, round + 100));
        set(&cpu, entry, 0);
        assert_eq!(run(&mut cpu, &mut runner, USER), USER);
        set(&cpu, entry, MEMORY + 0x5067);
    }
}

#[test]
fn two_address_spaces_are_kept_apart() {
    let Some((mut cpu, mut runner)) = scene(STORE) else { return };
    // The same but for one page of a leaf of its own.
    for (at, value) in [(0x2_0000, 0x2_1007), (0x2_1000, 0x2_2007), (0x2_2010, 0x2_3007)] {
        set(&cpu, at, value);
    }
    (0..16).for_each(|page| set(&cpu, 0x2_3000 + 8 * page, (MEMORY + page * PAGE_SIZE) | 0x67));
    set(&cpu, 0x2_3000 + 8 * 5, MEMORY + 0x7067);
    for round in 1..4u64 {
        for (root, page) in [(ROOT, 0x5000), (0x2_0000, 0x7000)] {
            cpu.state.cr3 = root;
            cpu.state.gpr[Gpr::RAX] = round * page;
            assert_eq!(run(&mut cpu, &mut runner, USER), USER + 3);
            assert_eq!(word(&cpu, MEMORY + page), round * page);
        }
        // What changes in one while the other is in force is seen in the one.
        let entry = LEAF + 8 * 5;
        set(&cpu, entry, word(&cpu, entry) & !2);
        assert_eq!(run(&mut cpu, &mut runner, USER), USER + 3);
        cpu.state.cr3 = ROOT;
        assert_eq!(run(&mut cpu, &mut runner, USER), USER);
        set(&cpu, entry, MEMORY + 0x5067);
    }
}

#[test]
fn what_ring_3_may_not_know_is_asked_elsewhere() {
    // CPUID; RDTSC; SYSCALL.
    let Some((mut cpu, mut runner)) = scene(&[0x0f, 0xa2, 0x0f, 0x31, 0x0f, 0x05]) else { return };
    if run(&mut cpu, &mut runner, USER) != USER {
        println!("this KVM lets ring 3 ask CPUID by itself");
    }
    if run(&mut cpu, &mut runner, USER + 2) != USER + 2 {
        println!("this KVM lets ring 3 read the time-stamp counter by itself");
    }
    assert_eq!(run(&mut cpu, &mut runner, USER + 4), USER + 4);
}

#[test]
fn code_that_ring_3_overwrites_is_told_of_and_other_pages_are_not() {
    let Some((mut cpu, mut runner)) = scene(STORE) else { return };
    let tracker = cpu.context.ram.tracker().clone();
    let page = GuestPhys(MEMORY + 0x5000);
    for round in 0..3 {
        assert!(tracker.mark_code(GuestPhys(page.0 + 0x800), 8));
        cpu.state.gpr[Gpr(3)] = DATA + 0x1000;
        assert_eq!(run(&mut cpu, &mut runner, USER), USER + 3, "round {round}");
        assert_eq!(cpu.inbox.take_overwritten(), []);
        cpu.inbox.take();
        cpu.state.gpr[Gpr(3)] = DATA + 0x800;
        assert_eq!(run(&mut cpu, &mut runner, USER), USER + 3);
        assert_eq!(cpu.inbox.take_overwritten(), [(page, PAGE_SIZE)]);
        // Otherwise it is told again, and nothing runs.
        cpu.inbox.take();
        tracker.clear_code(page);
    }
}
