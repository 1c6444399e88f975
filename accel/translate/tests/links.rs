//! Links from one page to another, while what is mapped there changes.
//!
//! Rule of these programs: a page of callers calls functions in the pages behind it and before it; whatever the guest does to
//! have another page there, the calls that follow reach that one.

use std::thread;

use dragoman_devices::memory::GuestRam;
use dragoman_state::{Cr4, Gpr, GuestPhys, PAGE_SIZE};
use dynasm::dynasm;
use dynasmrt::{DynasmApi, DynasmLabelApi, VecAssembler, x64::X64Relocation};

use super::processors::{PROGRAM, RESULT, TABLES, counter, processor, run, sixteen_mib};
use crate::{Accelerator, World, interpret::Interpreter, translate::Translator};

type Asm = VecAssembler<X64Relocation>;

/// Where the callers' page is mapped; the pages before and behind it are those that change.
const CALLERS: u64 = 0x4000_1000;
/// Where it is mapped as well, with the other page on both sides.
const ALIAS: u64 = 0x4000_5000;
const CALLERS_AT: u64 = 0x40_0000;
/// The page whose function adds 1 to R15, and the one whose function adds 0x1000.
const ONE_AT: u64 = 0x41_0000;
const OTHER_AT: u64 = 0x52_0000;
/// The table that maps them, of each address space.
const PAGES_AT: [u64; 2] = [0x60_0000, 0x61_0000];
const SPACES_AT: [u64; 2] = [0x62_0000, 0x63_0000];
/// Where functions lie in their pages.
const OFFSET: u64 = 0x123;
const LEAF: u64 = PRESENT | WRITABLE | ACCESSED | GLOBAL;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const ACCESSED: u64 = 0x20;
const GLOBAL: u64 = 0x100;
/// Enough to be translated and linked.
const TIMES: i32 = 9;

/// Calls what is behind, or before, and does the same with a branch whose flags are used there.
#[rustfmt::skip]
fn callers() -> Vec<u8> {
    let mut asm = Asm::new(CALLERS as usize);
    let page = PAGE_SIZE as i32;
    let from_start = |asm: &Asm, target: i32, length: usize| target + OFFSET as i32 - (asm.offset().0 + length) as i32;
    for target in [page, -page] {
        let call = from_start(&asm, target, 5);
        dynasm!(asm ; .arch x64 ; .bytes [0xe8u8] ; .bytes call.to_le_bytes());
    }
    // JNE to what is behind: not taken at first, then taken.
    dynasm!(asm ; .arch x64 ; cmp rcx, rcx);
    for flags_differ in [false, true] {
        if flags_differ {
            dynasm!(asm ; .arch x64 ; mov edx, 1 ; shl edx, 3); // Flags that follow from no register.
        }
        let jump = from_start(&asm, page, 6);
        dynasm!(asm ; .arch x64 ; .bytes [0x0fu8, 0x85] ; .bytes jump.to_le_bytes());
    }
    asm.finalize().expect("it is complete")
}

/// Adds `n` to R15, and one more if CF is set, which it is for nobody.
fn function(n: i32) -> Vec<u8> {
    let mut asm = Asm::new(0);
    dynasm!(asm ; .arch x64 ; adc r15, n ; ret);
    asm.finalize().expect("it is complete")
}

/// What is added by one call of the callers, by pages that add so much behind them and before them.
const fn sum(behind: u64, before: u64) -> u64 {
    2 * behind + before
}

/// Memory with `program`, and two address spaces that have one page around the callers each.
fn memory(program: &[u8]) -> std::sync::Arc<GuestRam> {
    let ram = sixteen_mib(program);
    let put = |at: u64, bytes: &[u8]| ram.write(GuestPhys(at), bytes).expect("RAM");
    put(CALLERS_AT, &callers());
    put(ONE_AT + OFFSET, &function(1));
    put(OTHER_AT + OFFSET, &function(0x1000));
    let mut directory = [0; 8];
    ram.read(GuestPhys(TABLES + 0x1000), &mut directory).expect("RAM");
    for (n, (top, table)) in SPACES_AT.into_iter().zip(PAGES_AT).enumerate() {
        put(top, &((top + 0x1000) | PRESENT | WRITABLE).to_le_bytes());
        put(top + 0x1000, &directory);
        put(top + 0x1008, &((top + 0x2000) | PRESENT | WRITABLE).to_le_bytes());
        put(top + 0x2000, &(table | PRESENT | WRITABLE).to_le_bytes());
        let (first, second) = if n == 0 { (ONE_AT, OTHER_AT) } else { (OTHER_AT, ONE_AT) };
        for (middle, around) in [(CALLERS, first), (ALIAS, second)] {
            for (page, at) in [(middle - PAGE_SIZE, around), (middle, CALLERS_AT), (middle + PAGE_SIZE, around)] {
                // Those of the second space are nobody else's.
                let rights = if n == 0 { LEAF } else { LEAF & !GLOBAL };
                put(table + page / PAGE_SIZE % 512 * 8, &(at | rights).to_le_bytes());
            }
        }
    }
    ram
}

#[rustfmt::skip]
fn call(asm: &mut Asm, callers: u64) {
    dynasm!(asm ; .arch x64
        ; mov r12d, TIMES
        ; again:
        ; mov rbx, callers as i32
        ; clc
        ; call rbx
        ; dec r12d
        ; jnz <again
    );
}

/// From now on `at` is mapped at `page` in address space `space`, once that is flushed.
#[rustfmt::skip]
fn map(asm: &mut Asm, space: usize, page: u64, at: u64, rights: u64) {
    let entry = PAGES_AT[space] + page / PAGE_SIZE % 512 * 8;
    dynasm!(asm ; .arch x64 ; mov rbx, entry as i32 ; mov rax, (at | rights) as i32 ; mov [rbx], rax);
}

#[rustfmt::skip]
fn end(mut asm: Asm) -> Vec<u8> {
    dynasm!(asm ; .arch x64 ; xor eax, eax ; mov edx, RESULT.into() ; out dx, al ; hlt);
    asm.finalize().expect("it is complete")
}

/// The program that does everything that can change what is mapped, and the sum that it ends with.
#[rustfmt::skip]
fn everything(rounds: i32) -> (Vec<u8>, u64) {
    const BEHIND: u64 = CALLERS + PAGE_SIZE;
    const BEFORE: u64 = CALLERS - PAGE_SIZE;
    const NO_FLUSH: i64 = 1 << 63;
    let mut asm = Asm::new(PROGRAM as usize);
    let mut expected = 0;
    let mut calls = |asm: &mut Asm, at: u64, behind: u64, before: u64| {
        call(asm, at);
        expected += TIMES as u64 * sum(behind, before);
    };
    let spaces = SPACES_AT.map(|space| space as i32);
    dynasm!(asm ; .arch x64
        ; xor r15d, r15d
        ; mov r13d, rounds
        ; mov rax, spaces[0]
        ; mov cr3, rax
        ; mov rax, cr4
        ; or eax, (Cr4::PGE | Cr4::PCIDE).bits() as i32
        ; mov cr4, rax
        ; round:
    );
    calls(&mut asm, CALLERS, 1, 1);
    calls(&mut asm, ALIAS, 0x1000, 0x1000);
    calls(&mut asm, CALLERS, 1, 1);
    // One page at a time.
    map(&mut asm, 0, BEHIND, OTHER_AT, LEAF);
    dynasm!(asm ; .arch x64 ; mov rbx, BEHIND as i32 ; invlpg [rbx]);
    calls(&mut asm, CALLERS, 0x1000, 1);
    map(&mut asm, 0, BEFORE, OTHER_AT, LEAF);
    dynasm!(asm ; .arch x64 ; mov rbx, BEFORE as i32 + 0x777 ; invlpg [rbx]);
    calls(&mut asm, CALLERS, 0x1000, 0x1000);
    // Global pages, by what flushes them all.
    map(&mut asm, 0, BEHIND, ONE_AT, LEAF);
    map(&mut asm, 0, BEFORE, ONE_AT, LEAF & !GLOBAL);
    dynasm!(asm ; .arch x64
        ; mov rax, cr4
        ; mov rbx, rax
        ; and eax, !Cr4::PGE.bits() as i32
        ; mov cr4, rax
        ; mov cr4, rbx
    );
    calls(&mut asm, CALLERS, 1, 1);
    // Pages that are not global, by what flushes those.
    map(&mut asm, 0, BEFORE, OTHER_AT, LEAF);
    dynasm!(asm ; .arch x64 ; mov rax, cr3 ; mov cr3, rax);
    calls(&mut asm, CALLERS, 1, 0x1000);
    map(&mut asm, 0, BEFORE, ONE_AT, LEAF);
    dynasm!(asm ; .arch x64 ; mov rbx, BEFORE as i32 ; invlpg [rbx]);
    calls(&mut asm, CALLERS, 1, 1);
    // Another address space and back, whose pages are remembered. Global pages must go first.
    for page in [CALLERS, ALIAS] {
        for page in [page - PAGE_SIZE, page, page + PAGE_SIZE] {
            dynasm!(asm ; .arch x64 ; mov rbx, page as i32 ; invlpg [rbx]);
        }
    }
    for _ in 0..3 {
        dynasm!(asm ; .arch x64 ; mov rax, QWORD NO_FLUSH | i64::from(spaces[1]) | 1 ; mov cr3, rax);
        calls(&mut asm, CALLERS, 0x1000, 0x1000);
        calls(&mut asm, ALIAS, 1, 1);
        map(&mut asm, 1, BEHIND, ONE_AT, LEAF & !GLOBAL);
        dynasm!(asm ; .arch x64 ; mov rbx, BEHIND as i32 ; invlpg [rbx]);
        calls(&mut asm, CALLERS, 1, 0x1000);
        map(&mut asm, 1, BEHIND, OTHER_AT, LEAF & !GLOBAL);
        dynasm!(asm ; .arch x64 ; mov rbx, BEHIND as i32 ; invlpg [rbx]);
        dynasm!(asm ; .arch x64 ; mov rax, QWORD NO_FLUSH | i64::from(spaces[0]) ; mov cr3, rax);
        calls(&mut asm, CALLERS, 1, 1);
        for page in [CALLERS - PAGE_SIZE, CALLERS, CALLERS + PAGE_SIZE] {
            dynasm!(asm ; .arch x64 ; mov rbx, page as i32 ; invlpg [rbx]);
        }
    }
    // The function itself, and back.
    for (byte, adds) in [(7, 7), (1, 1)] {
        dynasm!(asm ; .arch x64 ; mov rbx, (ONE_AT + OFFSET + 3) as i32 ; mov BYTE [rbx], byte);
        calls(&mut asm, CALLERS, adds, adds);
    }
    dynasm!(asm ; .arch x64 ; dec r13d ; jnz <round);
    (end(asm), expected * rounds as u64)
}

#[test]
fn a_jump_to_another_page_goes_where_that_is_mapped_now() {
    const ROUNDS: i32 = 20;
    let (program, expected) = everything(ROUNDS);
    for engine in [&Interpreter as &dyn Accelerator, &Translator::default()] {
        let (mut vcpu, bus) = processor(engine, 0, &memory(&program), &World::new());
        assert_eq!(run(&mut *vcpu, &bus), expected, "{}", engine.name());
    }
}

/// Calls across pages over and over, in the address space in RSI; where that is zero, writes the functions over and over, as
/// they are.
#[rustfmt::skip]
fn calls_only(rounds: i32) -> Vec<u8> {
    let mut asm = Asm::new(PROGRAM as usize);
    dynasm!(asm ; .arch x64 ; xor r15d, r15d ; mov r13d, rounds ; test rsi, rsi ; jz >writes ; mov cr3, rsi ; round:);
    call(&mut asm, CALLERS);
    dynasm!(asm ; .arch x64
        ; dec r13d
        ; jnz <round
        ; jmp >end
        ; writes:
        ; mov rbx, (ONE_AT + OFFSET) as i32
        ; mov rbp, (OTHER_AT + OFFSET) as i32
        ; again:
        ; mov BYTE [rbx + 6], function(1)[6] as i8
        ; mov ecx, 300
        ; waits:
        ; dec ecx
        ; jnz <waits
        ; mov BYTE [rbp + 6], function(0x1000)[6] as i8
        ; dec r13d
        ; jnz <again
        ; end:
    );
    end(asm)
}

#[test]
fn a_link_to_another_page_is_taken_without_leaving_the_code() {
    const ROUNDS: i32 = 5000;
    let (mut vcpu, bus) = processor(&Translator::default(), 0, &memory(&calls_only(ROUNDS)), &World::new());
    let mut state = vcpu.save().expect("at rest");
    state.gpr[Gpr::RSI] = SPACES_AT[0];
    vcpu.load(&state).expect("a valid state");
    assert_eq!(run(&mut *vcpu, &bus), ROUNDS as u64 * TIMES as u64 * sum(1, 1));
    assert!(counter(&*vcpu, "unlinked") < 40, "{:?}", vcpu.counters());
}

#[test]
fn processors_that_have_different_pages_behind_the_same_code_each_reach_their_own() {
    const ROUNDS: i32 = 6000;
    const WRITER: usize = 4;
    let (ram, world, engine) = (memory(&calls_only(ROUNDS)), World::new(), Translator::default());
    let processors: Vec<_> = (0..=WRITER).map(|n| processor(&engine, n as u64, &ram, &world)).collect();
    thread::scope(|scope| {
        for (n, (mut vcpu, bus)) in processors.into_iter().enumerate() {
            scope.spawn(move || {
                let mut state = vcpu.save().expect("at rest");
                state.gpr[Gpr::RSI] = if n == WRITER { 0 } else { SPACES_AT[n % 2] };
                vcpu.load(&state).expect("a valid state");
                let adds = match n {
                    WRITER => 0,
                    n if n % 2 == 0 => 1,
                    _ => 0x1000,
                };
                assert_eq!(run(&mut *vcpu, &bus), ROUNDS as u64 * TIMES as u64 * sum(adds, adds), "processor {n}");
            });
        }
    });
}
