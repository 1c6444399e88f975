//! 32-bit code: that it runs translated, and where it differs from 64-bit code.

use dragoman_state::{Attributes, Cr0, Cr4, Gpr, GuestPhys, Segment, SegmentIndex, VcpuState};
use dynasm::dynasm;
use dynasmrt::{DynasmApi, DynasmLabelApi, VecAssembler, x86::X86Relocation};

use super::TIMES;
use crate::{
    Accelerator, ExitReason,
    interpret::{Interpreter, tests::Scene},
    translate::Translator,
};

const CODE: usize = 0x1000;
pub(super) const DATA: i32 = 0x2_0000;
/// Where FS begins.
const BASE: i32 = 0x1_8000;

pub(super) type Code = VecAssembler<X86Relocation>;

/// What a run leaves: the state, what the engine counted, memory from [`DATA`] on.
type End = (VcpuState, Vec<(&'static str, u64)>, Vec<u8>);

/// Runs what `write` writes, which ends in HLT, in protected mode with flat segments but for FS, after `change`.
fn run(engine: &dyn Accelerator, code: &[u8], change: impl Fn(&mut VcpuState)) -> End {
    let mut scene = Scene::on(engine, code);
    let mut state = scene.state();
    let data = Segment { base: 0, limit: u32::MAX, attributes: Attributes(0xc093), selector: 8 };
    state.segments = [data; 6];
    state.segment_mut(SegmentIndex::Cs).attributes = Attributes(0xc09b);
    state.segment_mut(SegmentIndex::Fs).base = BASE as u64;
    state.cr0 |= Cr0::PE | Cr0::NE;
    state.cr4 |= Cr4::OSFXSR;
    state.gpr[Gpr::RSP] = 0x8000;
    change(&mut state);
    scene.vcpu.load(&state).expect("a valid state");
    assert!(matches!(scene.run(), ExitReason::HaltedForever), "it comes to its end");
    let mut memory = vec![0; 0x4000];
    scene.ram.read(GuestPhys(DATA as u64), &mut memory).expect("RAM");
    (scene.state(), scene.vcpu.counters(), memory)
}

/// Runs a program on both engines: they agree. What the translator counted under `name`.
pub(super) fn agree(write: impl Fn(&mut Code), change: impl Fn(&mut VcpuState), name: &str) -> u64 {
    let mut code = Code::new(CODE);
    write(&mut code);
    let code = code.finalize().expect("its labels are there");
    let (expected, got) = (run(&Interpreter, &code, &change), run(&Translator::default(), &code, &change));
    assert_eq!(got.0.gpr, expected.0.gpr);
    assert_eq!((got.0.rip, got.0.rflags), (expected.0.rip, expected.0.rflags));
    assert_eq!(got.0.segments, expected.0.segments);
    assert!(got.2 == expected.2, "memory differs");
    let count = got.1.iter().find(|(known, _)| *known == name);
    count.map_or_else(|| panic!("{name} is not among {:?}", got.1), |(_, count)| *count)
}

#[test]
fn common_32_bit_code_runs_without_the_interpreter() {
    let write = |code: &mut Code| {
        dynasm!(code ; .arch x86
            ; mov ebx, DATA
            ; mov edi, TIMES as i32
            ; again:
            ; push edi
            ; push DWORD [DATA + 0x20]
            ; push 0x1234567
            ; push ds
            ; call >function
            ; add esp, 8
            ; pop ecx
            ; push ecx
            ; .bytes [0x64u8, 0xa1] ; .i32 DATA - BASE + 0x40 // MOV EAX, FS:[...]
            ; add eax, edx
            ; .bytes [0x64u8, 0xa3] ; .i32 DATA - BASE + 0x44 // MOV FS:[...], EAX
            ; inc DWORD [DATA + 0x48]
            ; mov ecx, 3
            ; inner:
            ; .u8 0x42 // INC EDX
            ; loop <inner
            ; .bytes [0xe3u8, 5] // JECXZ, over the next
            ; mov eax, 5
            ; .u8 0x9c // PUSHFD
            ; cli
            ; .u8 0x9d // POPFD
            ; mov esi, DATA
            ; lea edi, [esi + 0x800]
            ; mov ecx, 16
            ; rep movsd
            ; xor eax, eax
            ; mov ecx, 9
            ; rep stosb
            ; mov eax, cr0
            ; mov ax, fs
            ; add [ebx + 0x60], eax
            ; mov ah, [ebx + 0x61]
            ; sub [ebx + 0x66], ah
            ; adc dh, [ebx + ecx + 0x67]
            ; cmp [DATA + 0x68], bh
            ; sbb [DATA + 0x69], ch
            ; pop edi
            ; dec edi
            ; jne <again
            ; hlt
            ; function:
            ; push ebp
            ; mov ebp, esp
            ; push ebx
            ; mov edx, [ebp + 12]
            ; add edx, [ebp + 8]
            ; mov [ebx + 0x50], edx
            ; pop ebx
            ; leave
            ; ret 4
        );
    };
    let interpreted = agree(write, |_| {}, "interpreted");
    assert!(interpreted < TIMES / 4, "{interpreted}");
}

#[test]
fn fs_with_bounds_is_the_interpreters() {
    let write = |code: &mut Code| {
        dynasm!(code ; .arch x86
            ; mov edi, TIMES as i32
            ; again:
            ; .bytes [0x64u8, 0xa1] ; .i32 DATA - BASE + 0x40 // MOV EAX, FS:[...]
            ; add eax, edi
            ; .bytes [0x64u8, 0xa3] ; .i32 DATA - BASE + 0x40 // MOV FS:[...], EAX
            ; dec edi
            ; jne <again
            ; hlt
        );
    };
    assert!(agree(write, |_| {}, "interpreted") < TIMES / 4);
    let bounded = |state: &mut VcpuState| state.segment_mut(SegmentIndex::Fs).limit = 0xffff;
    assert!(agree(write, bounded, "interpreted") > TIMES);
}

/// Where the last page lies, by [`tables`].
const LAST: i32 = DATA + 0x3000;

/// Writes page tables: the first 4 MiB where they are, and the last page at 64 KiB before [`DATA`]'s end.
fn tables(code: &mut Code) {
    dynasm!(code ; .arch x86
        ; mov eax, 0x83
        ; mov [0x10_0000], eax
        ; mov DWORD [0x10_0ffc], 0x10_1003
        ; mov DWORD [0x10_1ffc], LAST | 3
        ; mov eax, cr4
        ; or eax, 0x10
        ; mov cr4, eax
        ; mov eax, 0x10_0000
        ; mov cr3, eax
        ; mov eax, cr0
        ; or eax, 0x8001_0000u32 as i32
        ; mov cr0, eax
        ; jmp >paged
        ; paged:
    );
}

#[test]
fn addresses_begin_again_at_zero() {
    let write = |code: &mut Code| {
        tables(code);
        dynasm!(code ; .arch x86
            ; mov edi, TIMES as i32
            ; again:
            ; mov ebx, -8
            ; mov eax, [ebx + 0x10] // at 8
            ; mov [ebx + 4], edi
            ; add ebx, 0x18
            ; mov edx, [ebx - 0x14] // at -4
            ; add [ebx - 8], edx // at 8
            ; mov ecx, 2
            ; add edx, [ebx + ecx * 8 - 0x28] // at -8
            ; mov ebp, esp
            ; mov esp, 8
            ; push edi
            ; push edx
            ; push eax
            ; push ebx
            ; call >function
            ; pop ebx
            ; pop eax
            ; pop edx
            ; pop edi
            ; mov esp, ebp
            ; mov esi, DATA
            ; push edi
            ; mov edi, -64
            ; mov ecx, 32
            ; rep movsd
            ; add [DATA + 0x100], edi
            ; pop edi
            ; dec edi
            ; jne <again
            ; hlt
            ; function:
            ; mov eax, [esp + 0xc]
            ; mov [esp + 8], eax
            ; ret
        );
    };
    let interpreted = agree(write, |_| {}, "interpreted");
    assert!(interpreted < TIMES / 2, "{interpreted}");
}

#[test]
fn jumps_to_other_pages_do_not_leave_the_code_and_begin_again_at_zero() {
    const IN_LAST: i32 = -4096 + 0x123;
    const IN_THIRD: i32 = 0x3000;
    // What else is in the last page later.
    const OTHER: i32 = LAST - 0x1000;
    let write = |code: &mut Code| {
        tables(code);
        // In the last page: LEA EDX, [EDX + EDI], or EDI twice, and a jump beyond 4 GiB to the third page of the code.
        let jump = IN_THIRD - (IN_LAST + 3 + 5);
        for (page, add) in [(LAST, 0xe93a_148d_u32 as i32), (OTHER, 0xe97a_148d_u32 as i32)] {
            dynasm!(code ; .arch x86 ; mov DWORD [page + 0x123], add ; mov DWORD [page + 0x127], jump);
        }
        dynasm!(code ; .arch x86
            ; mov esi, 2
            ; both:
            ; mov edi, TIMES as i32
            ; again:
            ; call >second
        );
        let call = IN_LAST - (CODE + code.offset().0 + 5) as i32;
        dynasm!(code ; .arch x86
            ; .bytes [0xe8u8] ; .i32 call
            ; dec edi
            ; jne <again
            ; mov DWORD [0x10_1ffc], OTHER | 3
            ; invlpg [IN_LAST]
            ; dec esi
            ; jne <both
            ; hlt
            ; first:
            ; adc ebx, 1
            ; ret
            ; .align 4096
            ; second:
            ; lea eax, [eax + edi * 8]
            ; shl eax, 1 // Flags that follow from no register.
            ; jne <first
            ; cmp edi, TIMES as i32 / 2
            ; jb <first
            ; sub ebx, 3
            ; ret
            ; .align 4096
        );
        assert_eq!(CODE + code.offset().0, IN_THIRD as usize);
        dynasm!(code ; .arch x86 ; adc ebx, edx ; cmp edx, 5 ; ret);
    };
    for counter in ["interpreted", "unlinked", "jumps"] {
        let left = agree(write, |_| {}, counter);
        assert!(left < TIMES / 4, "{counter}: {left}");
    }
}
