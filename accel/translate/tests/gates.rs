//! Gates, returns from them and loads of segment registers in 32-bit code: that they do not leave the code where they are common,
//! and that where they are not they do what the interpreter does.

use dragoman_state::{Attributes, Segment, SegmentIndex, TableRegister, VcpuState};
use dynasm::dynasm;
use dynasmrt::{DynasmApi, DynasmLabelApi};

use super::{
    TIMES,
    narrow::{Code, DATA, agree},
};

const GDT: u64 = 0x1_0000;
const IDT: u64 = 0x1_1000;
const TASK: u64 = 0x1_2000;
const LDT: u64 = 0x1_3000;
/// Where ring 0's stack begins, and ring 3's.
const INNER: i32 = 0x1_5000;
const OUTER: i32 = 0x1_6000;
/// What [`log`] writes next.
const CURSOR: i32 = DATA + 0x3ff8;

const CODE_0: u32 = 0x10;
const CODE_3: u32 = 0x1b;
const DATA_3: u32 = 0x23;
const SYSTEM_CALL: u8 = 0x80;
/// Leads to the end of the program.
const END: u8 = 0x82;

/// The global table: selectors rise by eight.
const DESCRIPTORS: [u64; 16] = [
    0,
    0x00cf_9300_0000_ffff, // 08: data of ring 0
    0x00cf_9b00_0000_ffff, // 10: code of ring 0
    0x00cf_fb00_0000_ffff, // 18: code of ring 3
    0x00cf_f300_0000_ffff, // 20: data of ring 3
    0x00cf_9301_8000_ffff, // 28: the same of ring 0 from 0x18000 on
    0x00cf_f200_0000_ffff, // 30: not accessed
    0x00cf_7300_0000_ffff, // 38: not present
    0x0040_f301_8000_ffff, // 40: 64 KiB
    0x00cf_f100_0000_ffff, // 48: not writable
    0x00cf_f700_0000_ffff, // 50: growing down
    0x00df_f312_3456_ffff, // 58: with a base, and the bit that is anybody's
    0x008f_b300_0000_ffff, // 60: data of ring 1, not big
    0x00cf_9f00_0000_ffff, // 68: conforming code
    0x0000_8b01_2000_0067, // 70: the task
    0xffcf_93ff_8000_ffff, // 78: with a base just below 4 GiB
];

fn put(code: &mut Code, at: u64, value: u64) {
    dynasm!(code ; .arch x86
        ; mov DWORD [at as i32], value as i32
        ; mov DWORD [at as i32 + 4], (value >> 32) as i32
    );
}

/// The tables. Gates are yet to be put in.
fn tables(code: &mut Code) {
    for (n, descriptor) in DESCRIPTORS.iter().enumerate() {
        put(code, GDT + 8 * n as u64, *descriptor);
    }
    put(code, LDT, DESCRIPTORS[4]);
    put(code, TASK + 4, 0x08 << 32 | INNER as u64);
    dynasm!(code ; .arch x86 ; mov DWORD [CURSOR], DATA);
}

/// Has vector `vector` lead to the address in EAX, by an interrupt gate of ring 3 or, where it is a trap gate, by one of those.
/// EDX is lost.
fn gate(code: &mut Code, vector: u8, is_trap: bool) {
    let at = IDT as i32 + 8 * i32::from(vector);
    let rights = if is_trap { 0xef00 } else { 0xee00 };
    dynasm!(code ; .arch x86
        ; movzx edx, ax
        ; or edx, (CODE_0 << 16) as i32
        ; mov [at], edx
        ; mov edx, eax
        ; and edx, 0xffff_0000u32 as i32
        ; or edx, rights
        ; mov [at + 4], edx
    );
}

/// The tables' registers, and flat segments.
fn begin(state: &mut VcpuState) {
    state.gdtr = TableRegister { base: GDT, limit: 8 * DESCRIPTORS.len() as u16 - 1 };
    state.idtr = TableRegister { base: IDT, limit: 0x7ff };
    state.tr = Segment { base: TASK, limit: 0x67, attributes: Attributes(0x8b), selector: 0x70 };
    state.ldtr = Segment { base: LDT, limit: 7, attributes: Attributes(0x82), selector: 0 };
    state.segment_mut(SegmentIndex::Cs).selector = CODE_0 as u16;
    state.segment_mut(SegmentIndex::Ss).selector = 8;
}

/// Goes to what follows in ring 3, with flags as they are. EAX is lost.
fn go_outside(code: &mut Code) {
    dynasm!(code ; .arch x86
        ; push DATA_3 as i32
        ; push OUTER
        ; .u8 0x9c // PUSHFD
        ; push CODE_3 as i32
        ; lea eax, [>outside]
        ; push eax
        ; iretd
        ; outside:
    );
}

/// Writes EAX down. DS is flat; EBP is lost.
fn log(code: &mut Code) {
    dynasm!(code ; .arch x86
        ; mov ebp, [CURSOR]
        ; mov [ebp], eax
        ; add ebp, 4
        ; and ebp, !0x3000
        ; mov [CURSOR], ebp
    );
}

/// Has the faults of instructions lead to `->fault`, and [`END`] to a HLT.
fn gates(code: &mut Code) {
    for vector in [10, 11, 12, 13] {
        dynasm!(code ; .arch x86 ; lea eax, [->fault]);
        gate(code, vector, false);
    }
    dynasm!(code ; .arch x86 ; lea eax, [->end]);
    gate(code, END, false);
}

/// What faults do: they are written down, and the program goes on at ESI with the stack at EDX, or, where they come from ring 3,
/// where EDX is zero, with the stack that there was.
fn faults(code: &mut Code) {
    dynasm!(code ; .arch x86
        ; ->end:
        ; hlt
        ; ->fault:
        ; mov eax, DATA_3 as i32
        ; .bytes [0x8eu8, 0xd8, 0x8e, 0xc0] // MOV DS, EAX; MOV ES, EAX
        ; pop eax
    );
    log(code);
    dynasm!(code ; .arch x86
        ; mov eax, [esp + 4]
    );
    log(code);
    dynasm!(code ; .arch x86
        ; test edx, edx
        ; je >outer
        ; mov esp, edx
        ; jmp esi
        ; outer:
        ; mov [esp], esi
        ; iretd
    );
}

/// Loads of each data segment register with the selector in EDI, by MOV and POP, and a read through each but DS. ESP stays.
fn loads(code: &mut Code) {
    for (mov, pop, store, prefix) in [
        (0xd9, &[0x1f][..], 0xd8, 0x3e),
        (0xc1, &[0x07], 0xc0, 0x26),
        (0xe1, &[0x0f, 0xa1], 0xe0, 0x64),
        (0xe9, &[0x0f, 0xa9], 0xe8, 0x65),
    ] {
        for is_pop in [false, true] {
            dynasm!(code ; .arch x86 ; lea esi, [>next] ; mov ecx, edi);
            if is_pop {
                dynasm!(code ; .arch x86 ; push edi ; .bytes pop ; push eax ; next: ; lea esp, [esp + 4]);
            } else {
                dynasm!(code ; .arch x86 ; .bytes [0x8e, mov] ; next:);
            }
            if prefix != 0x3e {
                dynasm!(code ; .arch x86 ; lea esi, [>read] ; .bytes [prefix, 0xa1] ; .i32 0x100 ; read:);
            }
            dynasm!(code ; .arch x86
                ; .bytes [0x8c, store] // MOV EAX, ...
                ; mov ecx, DATA_3 as i32
                ; .bytes [0x8eu8, 0xd9, 0x8e, 0xc1] // MOV DS, ECX; MOV ES, ECX
            );
            log(code);
        }
    }
}

#[test]
fn a_system_call_by_a_gate_does_not_leave_the_code() {
    const OF_FS: i32 = DATA - 0x1_8000;
    for is_trap in [false, true] {
        let write = |code: &mut Code| {
            tables(code);
            gates(code);
            dynasm!(code ; .arch x86 ; lea eax, [->call]);
            gate(code, SYSTEM_CALL, is_trap);
            go_outside(code);
            dynasm!(code ; .arch x86
                ; mov ecx, DATA_3 as i32
                ; .bytes [0x8eu8, 0xd9, 0x8e, 0xc1] // MOV DS, ECX; MOV ES, ECX
                ; mov edi, TIMES as i32
                ; again:
                ; lea eax, [edi + edi * 4]
                ; cmp eax, 100
                ; int SYSTEM_CALL as i8
                ; adc ebx, eax
                ; dec edi
                ; jne <again
                ; int END as i8
                ; ->call:
                ; .bytes [0x0fu8, 0xa0] // PUSH FS
                ; push es
                ; push ds
                ; push ebp
                ; mov ecx, 0x28
                ; .bytes [0x8eu8, 0xe1] // MOV FS, ECX
                ; mov ecx, DATA_3 as i32
                ; .bytes [0x8eu8, 0xd9, 0x8e, 0xc1] // MOV DS, ECX; MOV ES, ECX
                ; .bytes [0x64u8, 0x01, 0x05] ; .i32 OF_FS + 0x40 // ADD FS:[...], EAX
                ; mov ah, [esp + 32]
                ; add [esp - 32], dl
                ; sub [DATA + 0x50], ah
                ; imul eax, eax, 3
                ; pop ebp
                ; pop ds
                ; pop es
                ; .bytes [0x0fu8, 0xa1] // POP FS
                ; iretd
            );
            faults(code);
        };
        let interpreted = agree(write, begin, "interpreted");
        assert!(interpreted < TIMES / 2, "{interpreted}");
        // INT and IRETD; loads of segment registers are in the code itself.
        let handled = agree(write, begin, "handled");
        assert!((2 * TIMES - TIMES / 2..3 * TIMES).contains(&handled), "{handled}");
    }
}

#[test]
fn every_selector_is_loaded_or_refused_as_by_the_interpreter() {
    let write = |code: &mut Code| {
        tables(code);
        gates(code);
        for is_outer in [false, true] {
            if is_outer {
                dynasm!(code ; .arch x86 ; mov esp, INNER);
                go_outside(code);
            }
            dynasm!(code ; .arch x86
                ; xor edx, edx
                ; mov ecx, DATA_3 as i32
                ; .bytes [0x8eu8, 0xd9, 0x8e, 0xc1]
                ; xor edi, edi
                ; again:
            );
            loads(code);
            dynasm!(code ; .arch x86 ; inc edi ; cmp edi, 0x90 ; jne <again);
        }
        dynasm!(code ; .arch x86 ; int END as i8);
        faults(code);
    };
    agree(write, begin, "handled");
}

#[test]
fn a_descriptor_that_changes_is_seen_by_the_next_load() {
    let write = |code: &mut Code| {
        tables(code);
        gates(code);
        dynasm!(code ; .arch x86
            ; mov edi, TIMES as i32
            ; again:
            ; mov ecx, 0x28
            ; .bytes [0x8eu8, 0xe1] // MOV FS, ECX
            ; .bytes [0x64u8, 0xa1] ; .i32 DATA - 0x1_8000 // MOV EAX, FS:[...]
            ; add ebx, eax
            ; .bytes [0x64u8, 0x01, 0x3d] ; .i32 DATA - 0x1_8000 // ADD FS:[...], EDI
            ; add DWORD [GDT as i32 + 0x28 + 2], 4 // of the base
            ; cmp edi, TIMES as i32 / 2
            ; jne >same
            ; and BYTE [GDT as i32 + 0x28 + 6], !0x80u8 as i8 // 1 MiB
            ; same:
            ; dec edi
            ; jne <again
            ; int END as i8
        );
        faults(code);
    };
    agree(write, begin, "handled");
}

/// Returns by IRETD with what is in EAX as the flags, to a code segment that is in ECX, and from there comes back to where ESI
/// says.
fn return_and_come_back(code: &mut Code) {
    dynasm!(code ; .arch x86
        ; lea esi, [>back]
        ; mov edx, esp
        ; push DATA_3 as i32
        ; push OUTER
        ; push eax
        ; push ecx
        ; lea eax, [>there]
        ; push eax
        ; iretd
        ; there:
        ; nop
        ; nop
        ; int SYSTEM_CALL as i8
        ; back:
    );
}

/// What [`SYSTEM_CALL`] does for it, and single steps.
fn coming_back(code: &mut Code) {
    dynasm!(code ; .arch x86
        ; ->call:
        ; mov eax, DATA_3 as i32
        ; .bytes [0x8eu8, 0xd8, 0x8e, 0xc0] // MOV DS, EAX; MOV ES, EAX
        ; mov eax, [esp + 8]
    );
    log(code);
    dynasm!(code ; .arch x86 ; mov eax, [esp + 4]);
    log(code);
    dynasm!(code ; .arch x86
        ; mov esp, edx
        ; jmp esi
        ; ->step:
        ; mov eax, [esp]
    );
    log(code);
    dynasm!(code ; .arch x86
        ; and DWORD [esp + 8], !0x100
        ; iretd
    );
}

#[test]
fn returns_with_all_flags_and_to_all_selectors_are_as_the_interpreters() {
    let write = |code: &mut Code| {
        tables(code);
        gates(code);
        dynasm!(code ; .arch x86 ; lea eax, [->call]);
        gate(code, SYSTEM_CALL, false);
        dynasm!(code ; .arch x86 ; lea eax, [->step]);
        gate(code, 1, false);
        dynasm!(code ; .arch x86
            ; mov ecx, DATA_3 as i32
            ; .bytes [0x8eu8, 0xd9, 0x8e, 0xc1] // MOV DS, ECX; MOV ES, ECX
            ; xor edi, edi
            ; again:
            ; mov ecx, edi
            ; mov eax, 0x8d7
        );
        return_and_come_back(code);
        dynasm!(code ; .arch x86 ; inc edi ; cmp edi, 0x90 ; jne <again ; mov edi, 1 ; again:);
        for selector in [CODE_0, CODE_3] {
            dynasm!(code ; .arch x86 ; mov eax, edi ; or eax, 2 ; mov ecx, selector as i32);
            return_and_come_back(code);
        }
        // All flags but VM. Under NT, IRETD goes back to another task, of which there is none.
        dynasm!(code ; .arch x86
            ; .u8 0x9c // PUSHFD
            ; or DWORD [esp], 0x4000
            ; .u8 0x9d // POPFD
        );
        dynasm!(code ; .arch x86 ; mov eax, 2 ; mov ecx, CODE_3 as i32);
        return_and_come_back(code);
        dynasm!(code ; .arch x86
            ; add edi, edi
            ; cmp edi, 0x2_0000
            ; jne >other
            ; add edi, edi
            ; other:
            ; cmp edi, 0x40_0000
            ; jne <again
            ; int END as i8
        );
        coming_back(code);
        faults(code);
    };
    agree(write, begin, "handled");
}

#[test]
fn virtual_8086_mode_is_gone_to_and_come_back_from() {
    let write = |code: &mut Code| {
        tables(code);
        gates(code);
        dynasm!(code ; .arch x86
            ; mov BYTE [DATA + 0x3f00], 0xf4u8 as i8 // HLT, which is refused there
            ; mov edi, TIMES as i32
            ; again:
            ; lea esi, [>back]
            ; mov edx, esp
            ; push 1
            ; push 2
            ; push 3
            ; push 4
            ; push 5
            ; push 0x800
            ; push 0x2_0002
            ; push DATA >> 4
            ; push 0x3f00
            ; iretd
            ; back:
            ; dec edi
            ; jne <again
            ; int END as i8
        );
        faults(code);
    };
    agree(write, begin, "handled");
}

#[test]
fn an_interrupt_that_waits_is_delivered_where_a_return_lets_it_in() {
    const APIC: i32 = 0xfee0_0000_u32 as i32;
    let write = |code: &mut Code| {
        tables(code);
        gates(code);
        dynasm!(code ; .arch x86 ; lea eax, [->interrupt]);
        gate(code, 0x41, false);
        dynasm!(code ; .arch x86
            ; mov DWORD [APIC + 0xf0], 0x1ff
            ; mov edi, TIMES as i32
            ; again:
            ; test edi, 1
            ; je >none
            ; mov DWORD [APIC + 0x300], 0x4_4041 // to itself
            ; none:
            ; .u8 0x9c // PUSHFD
            ; or DWORD [esp], 0x200
            ; push CODE_0 as i32
            ; lea eax, [>there]
            ; push eax
            ; iretd
            ; there:
            ; inc ecx
            ; inc ecx
            ; cli
            ; dec edi
            ; jne <again
            ; mov DWORD [APIC + 0xf0], 0xff // off, so that nothing ends a halt
            ; mov eax, ecx
            ; int END as i8
            ; ->interrupt:
            ; mov eax, [esp]
        );
        log(code);
        dynasm!(code ; .arch x86 ; mov eax, ecx);
        log(code);
        dynasm!(code ; .arch x86 ; add ebx, 1 ; mov DWORD [APIC + 0xb0], 0 ; iretd);
        faults(code);
    };
    agree(write, begin, "handled");
}

#[test]
fn sysenter_and_sysexit_do_not_leave_the_code() {
    let write = |code: &mut Code| {
        tables(code);
        gates(code);
        dynasm!(code ; .arch x86
            ; mov ecx, 0x176
            ; lea eax, [->enter]
            ; xor edx, edx
            ; wrmsr
        );
        go_outside(code);
        dynasm!(code ; .arch x86
            ; mov edi, TIMES as i32
            ; again:
            ; mov ecx, esp
            ; lea edx, [>back]
            ; cmp edi, 50
            ; sysenter
            ; back:
            ; adc ebx, edi
            ; dec edi
            ; jne <again
            ; int END as i8
            ; ->enter:
            ; lea ebp, [ebp + edi]
            ; push ebp
            ; pop eax
            ; sysexit
        );
        faults(code);
    };
    let enters = |state: &mut VcpuState| {
        begin(state);
        (state.msrs.sysenter_cs, state.msrs.sysenter_esp) = (CODE_0.into(), INNER as u64);
    };
    let (interpreted, handled) = (agree(write, enters, "interpreted"), agree(write, enters, "handled"));
    assert!(interpreted < TIMES / 2 && handled > TIMES, "{interpreted}, {handled}");
}
