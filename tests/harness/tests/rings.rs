//! What a kernel does on its way in and out, from states made up at random: what the interpreter makes of each, every other
//! engine must.

use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Cr4, Efer, Gpr, RFlags, VcpuState};
use harness::{
    Mode,
    case::{Access, PageMap},
    engine::{self, Rig},
    generate::{self, Random},
    layout::{CODE, DATA, PAGE, STACK, STACK_OFFSET},
};

/// How many states each instruction is executed in; `DRAGOMAN_RINGS` says otherwise.
const COUNT: u64 = 200;

#[rustfmt::skip] // a table
/// Encodings, and the privilege level that they are executed at.
const CODES: &[(u8, &[u8])] = &[
    (3, &[0x0f, 0x05]),                         // syscall
    (0, &[0x48, 0x0f, 0x07]),                   // sysretq
    (0, &[0x48, 0xcf]),                         // iretq
    (0, &[0x0f, 0x01, 0xca]),                   // clac
    (0, &[0x0f, 0x01, 0xcb]),                   // stac
    (3, &[0x0f, 0x01, 0xca]),
    (0, &[0xfc]),                               // cld
    (3, &[0xfd]),                               // std
    (0, &[0x0f, 0x20, 0xd0]),                   // mov rax,cr2
    (0, &[0x41, 0x0f, 0x20, 0xde]),             // mov r14,cr3
    (0, &[0x0f, 0x20, 0xe4]),                   // mov rsp,cr4
    (3, &[0x8c, 0xd8]),                         // mov eax,ds
    (3, &[0x66, 0x41, 0x8c, 0xca]),             // mov r10w,cs
    (3, &[0x48, 0x8c, 0xd1]),                   // mov rcx,ss
    (3, &[0xf3, 0x48, 0x0f, 0xae, 0xc0]),       // rdfsbase rax
    (3, &[0xf3, 0x41, 0x0f, 0xae, 0xca]),       // rdgsbase r10d
    (3, &[0xf3, 0x48, 0x0f, 0xae, 0xd3]),       // wrfsbase rbx
    (3, &[0xf3, 0x49, 0x0f, 0xae, 0xdb]),       // wrgsbase r11
    (3, &[0xf3, 0x0f, 0xae, 0xdb]),             // wrgsbase ebx
    (3, &[0x48, 0x0f, 0xa3, 0x4d, 0x08]),       // bt [rbp+8],rcx
    (3, &[0x0f, 0xab, 0x4d, 0x00]),             // bts [rbp],ecx
    (3, &[0x66, 0x0f, 0xbb, 0x4d, 0x00]),       // btc [rbp],cx
    (3, &[0xf0, 0x4c, 0x0f, 0xb3, 0x55, 0x00]), // lock btr [rbp],r10
    (3, &[0x4d, 0x0f, 0xa3, 0x13]),             // bt [r11],r10
    (3, &[0xf3, 0xa4]),                         // rep movsb
    (3, &[0xf3, 0x66, 0xa5]),                   // rep movsw
    (3, &[0xf3, 0xa5]),                         // rep movsd
    (3, &[0xf3, 0x48, 0xa5]),                   // rep movsq
    (3, &[0xf2, 0xaa]),                         // repne stosb
    (3, &[0xf3, 0x66, 0xab]),                   // rep stosw
    (3, &[0xf3, 0xab]),                         // rep stosd
    (3, &[0xf3, 0x48, 0xab]),                   // rep stosq
    (3, &[0x67, 0xf3, 0xa4]),                   // rep movsb with 32-bit addresses
    (3, &[0xf3, 0x90]),                         // pause
    (3, &[0x0f, 0x31]),                         // rdtsc
    (0, &[0x0f, 0x01, 0xf9]),                   // rdtscp
];

/// Registers that hold anything, pointers into memory in some, and flags and control bits that these instructions ask for.
fn start(rig: &Rig, cpl: u8, random: &mut Random) -> VcpuState {
    let mut state = rig.start(Mode::Long64, cpl);
    for n in 0..16 {
        state.gpr[Gpr(n)] = generate::integer(random);
    }
    let near = |random: &mut Random, at: u64| at.wrapping_add(random.below(64)).wrapping_sub(32);
    state.gpr[Gpr::RSP] = STACK + STACK_OFFSET;
    state.gpr[Gpr::RSI] = near(random, DATA + PAGE);
    state.gpr[Gpr::RDI] = if random.below(2) == 0 { near(random, DATA + 2 * PAGE) } else { near(random, DATA + PAGE) };
    state.gpr[Gpr::RBP] = DATA + PAGE + random.below(64);
    state.gpr[Gpr(11)] = if random.below(2) == 0 { random.bits() & 0x27_7fff } else { DATA + PAGE + random.below(PAGE) };
    state.gpr[Gpr(10)] = random.below(40_000).wrapping_sub(20_000);
    state.gpr[Gpr::RCX] = match random.below(4) {
        0 => CODE + random.below(64),
        1 => random.below(20),
        2 => random.below(3000),
        _ => random.below(1 << 17).wrapping_sub(1 << 16),
    };
    if random.below(4) == 0 {
        state.gpr[Gpr::RBX] = DATA;
    }
    let flags = RFlags::ARITHMETIC | RFlags::DF | RFlags::IOPL | RFlags::NT | RFlags::ID;
    let few = |random: &mut Random, flags| if random.below(6) == 0 { flags } else { RFlags::empty() };
    state.rflags = RFlags::FIXED | RFlags::from_bits_retain(random.bits()) & flags.difference(RFlags::DF | RFlags::NT);
    state.rflags |= few(random, RFlags::DF) | few(random, RFlags::AC) | few(random, RFlags::NT);
    state.msrs.lstar = CODE + 0x100 + random.below(64);
    state.msrs.fmask = if random.below(3) == 0 { 0x25_7fd5 } else { random.bits() & 0xffff_ffff };
    state.msrs.star = random.bits();
    state.msrs.tsc_aux = random.bits() & 0xffff_ffff;
    state.efer.set(Efer::SCE, random.below(8) != 0);
    state.cr4.set(Cr4::SMAP, random.below(2) == 0);
    state.cr4.set(Cr4::FSGSBASE, random.below(4) != 0);
    state.cr2 = random.bits();
    state
}

/// A frame for IRETQ, to either ring.
fn frame(rig: &Rig, random: &mut Random) {
    let user = rig.start(Mode::Long64, 3);
    let kernel = rig.start(Mode::Long64, 0);
    let to = if random.below(2) == 0 { user } else { kernel };
    let flags = RFlags::FIXED.bits() | random.bits() & 0x20_4cd5;
    let words =
        [CODE + random.below(64), to.segments[1].selector.into(), flags, STACK + PAGE / 2, to.segments[2].selector.into()];
    for (n, word) in words.iter().enumerate() {
        rig.memory().write(STACK + STACK_OFFSET + 8 * n as u64, &word.to_le_bytes());
    }
}

#[test]
fn every_engine_goes_in_and_out_of_the_kernel_alike() {
    let count = std::env::var("DRAGOMAN_RINGS").ok().and_then(|text| text.parse().ok()).unwrap_or(COUNT);
    let mut map = PageMap::new();
    map.add_range(CODE, PAGE, Access::Everything);
    map.add_range(DATA, 3 * PAGE, Access::ReadWrite);
    map.add_range(STACK, 2 * PAGE, Access::ReadWrite);
    for other in engine::engines().into_iter().filter(|engine| engine.name() != "interp") {
        let rig = |engine: &dyn Accelerator| Rig::new(engine, CpuModel::most()).expect("an engine");
        let (mut one, mut two) = (rig(&Interpreter), rig(other.as_ref()));
        for (cpl, code) in CODES {
            for seed in 0..count {
                let mut ends = Vec::new();
                for rig in [&mut one, &mut two] {
                    let mut random = Random::new(seed ^ u64::from(code[code.len() - 1]) << 32);
                    rig.memory_mut().forget();
                    rig.prepare(Mode::Long64, &map);
                    let fill: Vec<u8> = (0..3 * PAGE).map(|n| ((n * 37) >> (n & 3)) as u8).collect();
                    rig.memory().write(DATA, &fill);
                    frame(rig, &mut random);
                    rig.memory().write(CODE, code);
                    let begin = start(rig, *cpl, &mut random);
                    let finish = rig.run(Mode::Long64, &begin, code).expect("an engine");
                    let mut state = finish.state;
                    // Reads the clock, which stands still, but whose offset is set at the start.
                    state.tsc_offset = 0;
                    ends.push((format!("{:#x?}", (finish.end, state)), rig.memory().image()));
                }
                let lines = ends[0].0.lines().zip(ends[1].0.lines()).filter(|(a, b)| a != b);
                let differ: Vec<String> = lines.map(|(a, b)| format!("expected {}, got {}", a.trim(), b.trim())).collect();
                assert!(differ.is_empty(), "{} in {code:02x?} from state {seed}: {}", other.name(), differ.join("; "));
                assert!(ends[0].1 == ends[1].1, "{} in {code:02x?} from state {seed}: memory differs", other.name());
            }
        }
    }
}
