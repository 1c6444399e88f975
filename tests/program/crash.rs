//! The report on a dead guest: each of the ways to die that `guest-images/src/broken*.S` know must be named for what it is.

use std::path::Path;

use crate::guest::{guests, kvm_kind, run};

/// The most lines that a report may have.
const MOST_LINES: usize = 25;

/// What a KVM of software lets 64-bit mode survive: it does not look at what kind of gate and of segment leads to a handler.
const SURVIVED: [char; 2] = ['d', 'f'];

/// Lets `image` die in the way called `case`; the report must hold every text of `causes`, and the status be `status`.
fn dies(image: &str, case: char, status: i32, causes: &[&str]) {
    let Some(image) = guests(image) else { return };
    dies_on("interp", &image, case, status, &[causes, &[" rip ", "  cs 00", "  gdt ", "stack ", "branches "]].concat());
    // Translated code notes no branches, and neither does KVM.
    let parts = [causes, &[" rip ", "  cs 00", "  gdt ", "stack "]].concat();
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        dies_on("jit", &image, case, status, &parts);
    }
    let Some(kind) = kvm_kind() else { return };
    if status == TRIPLE_FAULT && !(kind == "software" && image.ends_with("broken_long.elf") && SURVIVED.contains(&case)) {
        dies_on("kvm", &image, case, status, &parts);
    }
}

fn dies_on(engine: &str, image: &Path, case: char, status: i32, texts: &[&str]) {
    let arguments = ["run", &image.to_string_lossy(), "--append", &case.to_string(), "--timeout", "60", "--accel", engine];
    let output = run(&arguments);
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{case}: {report}");
    assert!(report.starts_with("dragoman: ") && report.lines().count() <= MOST_LINES, "{case}: {report}");
    for text in texts {
        assert!(report.contains(text), "{case}, {engine}: `{text}` is missing in\n{report}");
    }
    assert!(output.stdout.is_empty(), "{case}: the guest printed nothing");
}

const TRIPLE_FAULT: i32 = 6;
const HALTED: i32 = 8;

#[test]
fn what_protected_mode_dies_of_is_named() {
    for (case, causes) in [
        ('a', &["#UD at 0008:", "ud2", "IDT entry 6 (at offset 0x30, limit 0x0) lies beyond the IDT's limit"][..]),
        ('b', &["no way to the handler of #UD: IDT entry 6 (", "is not present (P = 0)"]),
        (
            'c',
            &["GDT entry 2 (selector 0x10: 00cf93000000ffff, writable data, DPL 0) is no code segment, and the gate leads there"],
        ),
        ('d', &["GDT entry 1 (selector 0x8) lies beyond its table's limit"]),
        ('e', &["GDT entry 1 (selector 0x8) cannot be read", "page 0x500008: PDE at ", " is 0x0: not present (P = 0)"]),
        (
            'f',
            &[
                "mov eax,[700000h]",
                "page 0x700000: PDE at",
                "the stack at 0010:60000c cannot be accessed",
                "page 0x60000c: PDE at",
            ],
        ),
        ('g', &["push eax; SS (0028), accessed at 0x3ffe, ends before the access does", "the stack at 0028:3ffe ends before"]),
        (
            'h',
            &[
                "#TS(0x31: GDT entry 6, external)",
                "SS0 of the TSS (TR 0030, base",
                "lies beyond the limit of the task state segment",
            ],
        ),
        ('i', &["GDT entry 1 (selector 0x8: 00cf9b000000ffff, 32-bit code, DPL 0) is no writable data, as a stack must be"]),
        (
            'j',
            &[
                "(no memory to fetch from)",
                "PDE at",
                "is 0x0: not present (P = 0)",
                "IDT entry 14 (at offset 0x70, limit 0xfff) cannot be read",
            ],
        ),
        ('k', &["PDE would be at 0xb0000000, where there is no memory (CR3 = 0xb0000000)"]),
        (
            'l',
            &["#PF(0x9: read by the supervisor, reserved bits)", "page 0x400123: PDE at", "is 0x200081: reserved bits are set"],
        ),
        ('m', &["jmp 0010h:", "GDT entry 2 (selector 0x10: 00cf93000000ffff, writable data, DPL 0) is no code segment"]),
        ('n', &["mov ss,eax; the selector 0x0 is null, and no stack here"]),
        ('p', &["#DE at 0008:", "div ecx; the divisor is zero, or the quotient does not fit"]),
        ('q', &["IDT entry 6 (00000000000", "is no interrupt, trap or task gate"]),
        ('r', &["#PF(0x3: write by the supervisor, not allowed)", "page 0x200010: PTE at", "is 0x200001: read-only (R/W = 0)"]),
        ('s', &["ltr ax; GDT entry 6 (selector 0x30:", "a busy TSS", "is no available task state segment"]),
    ] {
        dies("own/broken.elf", case, TRIPLE_FAULT, causes);
    }
}

#[test]
fn what_64_bit_mode_dies_of_is_named() {
    for (case, causes) in [
        ('a', &["mov cr0,eax; the instruction sets CR0.PG with EFER.LME set and CR4.PAE clear"][..]),
        ('b', &["wrmsr; the instruction sets bits of EFER that this processor does not have"]),
        ('c', &["mov cr4,eax; the instruction sets bits of CR4 that this processor does not have"]),
        ('d', &["32-bit code, DPL 0) is no 64-bit code segment, and the gate leads there"]),
        ('e', &["no way to the handler of #UD: the stack at 0010:7ffffffffffffff8 is not canonical"]),
        ('f', &["IDT entry 6 (", "is no 64-bit interrupt or trap gate"]),
        ('g', &["#PF(0x11: fetch by the supervisor, not allowed)", "page 0x180000: PTE at", "not to be executed (XD = 1)"]),
        ('h', &["mov dword [180010h],1", "page 0x180010: PTE at", "read-only (R/W = 0)"]),
        (
            'i',
            &[
                "call 0000000000100",
                "page 0x180ff8: PTE at",
                "not present (P = 0)",
                "the stack at 0010:180ff8 cannot be accessed",
            ],
        ),
        ('j', &["mov eax,[rbx+8]; its operand's address 0x1234567812345680 is not canonical"]),
        ('k', &["no way to the handler of #UD: the stack at 0010:7ffff8 cannot be accessed", "page 0x7ffff8: PDE at"]),
        ('l', &["wrmsr; the instruction changes EFER.LME while paging is on"]),
        ('m', &["movaps xmm0,[", "is not aligned to 16 bytes"]),
    ] {
        dies("own/broken_long.elf", case, TRIPLE_FAULT, causes);
    }
}

#[test]
fn what_came_before_a_halt_with_interrupts_off_is_named() {
    let halted = "with interrupts off (RFLAGS.IF = 0)";
    dies("own/broken.elf", 'o', HALTED, &[halted, "no exception was raised before"]);
    let selector = "the last exception before: #GP(0x1000: GDT entry 512) at 0008:";
    dies("own/broken.elf", 't', HALTED, &[halted, selector, "GDT entry 512 (selector 0x1000) lies beyond its table's limit"]);
    dies("own/broken_long.elf", 'n', HALTED, &[halted, "#PF(0x0: read by the supervisor", "page 0x300000: PDE at"]);
}
