//! What translated code does without leaving it, where no single instruction shows it.

mod gates;
mod links;
mod narrow;
mod processors;
mod turns;

use dragoman_jit::{
    pages::Entry,
    rewrite::{HostInstructions, Rewriter, Source, Translation},
};
use dragoman_state::{Attributes, Cr0, Cr4, Efer, Gpr, GuestPhys, PAGE_SIZE, RFlags, Segment, VcpuId, VcpuState, Xcr0};

use super::{Translator, layout::layout};
use crate::{
    Accelerator, ExitReason, Vcpu, World,
    interpret::{InterpretedVcpu, Interpreter, tests::Scene},
};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const DIRTY: u64 = 0x40;
const LARGE: u64 = 0x80;
/// Pages so far apart share a slot of the first level.
const APART: u64 = Entry::COUNT as u64 * PAGE_SIZE;
const TIMES: u64 = 100;

/// In 64-bit mode: the first 2 MiB where they are, and at `APART` and twice as far a page of memory each.
fn long(scene: &mut Scene) -> VcpuState {
    let put = |at: u64, entry: u64| scene.ram.write(GuestPhys(at), &entry.to_le_bytes()).expect("RAM");
    put(0x10_0000, 0x10_1000 | PRESENT | WRITABLE);
    put(0x10_1000, 0x10_2000 | PRESENT | WRITABLE);
    put(0x10_2000, PRESENT | WRITABLE | LARGE);
    for n in [1, 2] {
        let table = 0x10_2000 + 0x1000 * n;
        put(0x10_2000 + 8 * ((n * APART) >> 21), table | PRESENT | WRITABLE);
        put(table, (0x18_0000 + 0x1000 * n) | PRESENT | WRITABLE | DIRTY);
        let bytes: Vec<u8> = (0..PAGE_SIZE).map(|k| ((k * k) ^ (37 * k) ^ n) as u8).collect();
        scene.ram.write(GuestPhys(0x18_0000 + 0x1000 * n), &bytes).expect("RAM");
    }
    let mut state = scene.state();
    let data = Segment { base: 0, limit: u32::MAX, attributes: Attributes(0xc093), selector: 0 };
    state.segments = [data; 6];
    state.segments[1].attributes = Attributes(0xa09b);
    state.cr0 |= Cr0::PE | Cr0::PG | Cr0::WP | Cr0::NE;
    state.cr4 |= Cr4::PAE | Cr4::OSFXSR | Cr4::OSXSAVE;
    state.efer |= Efer::LME | Efer::LMA;
    state.cr3 = 0x10_0000;
    state.xcr0 = Xcr0::X87 | Xcr0::SSE | Xcr0::AVX;
    for n in 0..16 {
        state.gpr[Gpr(n)] = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(u64::from(n) + 1);
    }
    for (n, register) in state.vectors.registers[..16].iter_mut().enumerate() {
        register[..4].fill(0xc2b2_ae3d_27d4_eb4fu64.wrapping_mul(n as u64 + 3));
    }
    (state.gpr[Gpr::RCX], state.gpr[Gpr::RSI], state.gpr[Gpr::RSP]) = (TIMES, APART, 0x8000);
    state
}

/// Every memory operand's page was pushed out by the one before.
fn code() -> Vec<u8> {
    let beyond = |bytes: &[u8], offset: u64| [bytes, &((APART + offset) as u32).to_le_bytes()].concat();
    let body = [
        vec![0x48, 0x01, 0xd3],               // ADD RBX, RDX
        vec![0x4c, 0x8b, 0x06],               // MOV R8, [RSI]
        beyond(&[0x4c, 0x8b, 0x8e], 0),       // MOV R9, [RSI + APART]
        vec![0x4c, 0x11, 0xc5],               // ADC RBP, R8
        vec![0x4d, 0x01, 0xca],               // ADD R10, R9
        vec![0x4d, 0x11, 0xd3],               // ADC R11, R10
        vec![0x4c, 0x33, 0x36],               // XOR R14, [RSI]
        beyond(&[0x4c, 0x13, 0xbe], 0),       // ADC R15, [RSI + APART]
        vec![0x66, 0x0f, 0xd4, 0x06],         // PADDQ XMM0, [RSI]
        beyond(&[0x66, 0x0f, 0xd4, 0x96], 0), // PADDQ XMM2, [RSI + APART]
        vec![0x48, 0x89, 0x6e, 0x10],         // MOV [RSI + 16], RBP
        beyond(&[0x48, 0x01, 0xae], 16),      // ADD [RSI + APART + 16], RBP
        vec![0x48, 0xff, 0xc9],               // DEC RCX
    ]
    .concat();
    let back = -(body.len() as i8 + 2);
    [body, vec![0x75, back as u8, 0xf4]].concat() // JNZ; HLT
}

/// The state in which the program ends on `engine`, after `change` to how it begins, with what the engine counted.
fn run(engine: &dyn Accelerator, change: impl Fn(&mut VcpuState)) -> (VcpuState, Vec<(&'static str, u64)>, [u8; 0x3000]) {
    let mut scene = Scene::on(engine, &code());
    let mut state = long(&mut scene);
    change(&mut state);
    scene.vcpu.load(&state).expect("a valid state");
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    let mut memory = [0; 0x3000];
    scene.ram.read(GuestPhys(0x18_0000), &mut memory).expect("RAM");
    (scene.state(), scene.vcpu.counters(), memory)
}

#[test]
fn a_page_that_is_found_without_leaving_the_code_costs_no_register_and_no_flag() {
    for halves in [true, false] {
        let change = |state: &mut VcpuState| {
            if !halves {
                state.vectors.registers.iter_mut().for_each(|register| register[2..].fill(0));
            }
        };
        let ((expected, _, wanted), (state, counters, memory)) = (run(&Interpreter, change), run(&Translator::default(), change));
        assert!((0..16).map(Gpr).all(|n| state.gpr[n] == expected.gpr[n]), "{:x?}, not {:x?}", state.gpr, expected.gpr);
        assert_eq!(state.vectors, expected.vectors);
        assert_eq!(state.rflags & RFlags::ARITHMETIC, expected.rflags & RFlags::ARITHMETIC);
        assert_eq!(memory, wanted);
        let count = |name| counters.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
        assert!(count("refilled") > 4 * TIMES, "{counters:?}");
        assert!(count("interpreted") < TIMES, "{counters:?}");
    }
}

/// What the first instructions of `code` are translated to, of ring 0's.
fn translation(code: &[u8], count: usize) -> Translation {
    let at = GuestPhys(0x10_0100);
    let (context, _) = processors::context(&processors::sixteen_mib(&[]), &World::new());
    let mut vcpu = InterpretedVcpu::new(VcpuId(0), context);
    vcpu.load(&processors::long_state(0)).expect("a valid state");
    let mode = vcpu.cpu.mode;
    let (block, originals) = vcpu.decoder.decode_for_rewriting(at, code, mode, count).expect("it is whole");
    let source =
        Source { insns: &block.insns, originals: &originals, page_offset: 0x100, view: 0, mode, is_grouped: true, tail: None };
    Rewriter::new(layout(), HostInstructions::detect(false)).rewrite(source)
}

#[test]
fn whichever_instruction_the_host_refuses_is_known_by_its_place() {
    const CODE: &[u8] = &[
        0x48, 0x01, 0xd8, // ADD RAX, RBX
        0x48, 0x0f, 0xaf, 0xca, // IMUL RCX, RDX
        0x48, 0xc1, 0xe6, 0x03, // SHL RSI, 3
        0x4d, 0x89, 0xda, // MOV R10, R11
        0x0f, 0xc8, // BSWAP EAX
        0x66, 0x0f, 0xef, 0xc1, // PXOR XMM0, XMM1
        0x48, 0x89, 0x03, // MOV [RBX], RAX
        0x42, 0x03, 0x04, 0xbb, // ADD EAX, [RBX + R15 * 4]
        0x48, 0xf7, 0xf1, // DIV RCX
    ];
    const COUNT: u8 = 9;
    let translation = translation(CODE, COUNT.into());
    let (numbers, starts): (Vec<u8>, Vec<u32>) = translation.rows.iter().map(|row| (row.insn, row.start())).unzip();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<u8>>());
    assert!(starts.is_sorted_by(|one, next| one < next), "{starts:?}");
}
