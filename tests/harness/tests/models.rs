//! What the processors that can be had by name lack: instructions, bits of CR4, model-specific registers.

use dragoman_frontend::{
    decode::disassemble,
    fault::vector,
    model::{CpuModel, Feature},
};
use dragoman_state::Gpr;
use harness::{
    Mode,
    case::{Access, End, PageMap},
    engine::{Rig, engines},
    generate::{Form, Random, codes},
    layout::{CODE, HLT, STACK},
};
use iced_x86::{Code, Mnemonic};

const UNDEFINED: End = End::Fault { vector: vector::UD, error: 0, address: 0 };
const PROTECTION: End = End::Fault { vector: vector::GP, error: 0, address: 0 };

/// A processor in ring 0 of `mode`, with a page of code and the stack.
fn rig(model: &CpuModel, mode: Mode) -> Vec<Rig> {
    let mut map = PageMap::new();
    map.add(CODE, Access::Code);
    map.add(STACK, Access::ReadWrite);
    engines()
        .iter()
        .map(|engine| {
            let mut rig = Rig::new(&**engine, model.clone()).expect("the engine works");
            rig.prepare(mode, &map);
            rig
        })
        .collect()
}

/// How `code` ends in ring 0, with `registers` set.
fn end_of(rig: &mut Rig, mode: Mode, code: &[u8], registers: &[(Gpr, u64)]) -> End {
    let mut state = rig.start(mode, 0);
    for (register, value) in registers {
        state.gpr[*register] = *value;
    }
    rig.memory().write(CODE, &[code, &[HLT; 16]].concat());
    rig.run(mode, &state, code).expect("the engine works").end
}

/// Encodings that are another instruction where the processor does not know them.
fn is_another_without(code: Code) -> bool {
    matches!(code.mnemonic(), Mnemonic::Tzcnt | Mnemonic::Lzcnt | Mnemonic::Wbnoinvd | Mnemonic::Pause)
}

#[test]
fn every_instruction_that_a_model_lacks_is_undefined_on_it() {
    let all = codes(&CpuModel::most());
    for name in ["486", "pentium3", "x86-64-v1", "x86-64-v2", "skylake", "epyc-rome"] {
        let model = CpuModel::parse(name).expect("known");
        let mode = if model.has(Feature::Lm) { Mode::Long64 } else { Mode::Prot32 };
        let lacking: Vec<_> = all.iter().filter(|code| !model.has_code(**code) && !is_another_without(**code)).collect();
        let (mut random, mut tried, mut wrong) = (Random::new(1), 0, Vec::new());
        for rig in &mut rig(&model, mode) {
            for code in &lacking {
                let form = Form::of(**code);
                let ip = if mode.is_segmented() { 0 } else { CODE };
                let made = [false, true].map(|has_memory| form.make_plain(&mut random, mode, ip, has_memory, None));
                for (bytes, _) in made.into_iter().flatten().filter(|_| form.exists_in(mode)) {
                    tried += 1;
                    let end = end_of(rig, mode, &bytes, &[]);
                    if end != UNDEFINED {
                        wrong.push(format!("{}: {end:?}", disassemble(&bytes, mode.code_size(), ip)));
                    }
                }
            }
        }
        println!("{name}: {tried} instructions of {} encodings", lacking.len());
        assert!(tried > 0 && wrong.is_empty(), "{name}: {} are not #UD:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn a_486_has_no_bit_of_cr4_and_no_model_specific_register() {
    const MOV_CR4_EAX: [u8; 3] = [0x0f, 0x22, 0xe0];
    let model = CpuModel::parse("486").expect("known");
    for rig in &mut rig(&model, Mode::Prot32) {
        for bit in 0..32 {
            let end = end_of(rig, Mode::Prot32, &MOV_CR4_EAX, &[(Gpr::RAX, 1 << bit)]);
            assert_eq!(end, PROTECTION, "bit {bit} of CR4");
        }
        assert_eq!(end_of(rig, Mode::Prot32, &MOV_CR4_EAX, &[(Gpr::RAX, 0)]), End::Done);
        for code in [[0x0f, 0x32], [0x0f, 0x30], [0x0f, 0x31], [0x0f, 0x33]] {
            assert_eq!(end_of(rig, Mode::Prot32, &code, &[(Gpr::RCX, 0x10)]), UNDEFINED, "{code:02x?}");
        }
    }
}

#[test]
fn model_specific_registers_are_there_with_the_feature_or_the_vendor_that_has_them() {
    const RDMSR: [u8; 2] = [0x0f, 0x32];
    // EFER, STAR, IA32_TSC_AUX, IA32_MISC_ENABLE, HWCR, IA32_XSS.
    let registers = [0xc000_0080, 0xc000_0081, 0xc000_0103, 0x1a0, 0xc001_0015, 0xda0];
    for (name, there) in [
        ("pentium3", [false, false, false, false, false, false]),
        ("x86-64-v1", [true, true, true, true, false, false]),
        ("epyc-rome", [true, true, true, false, true, true]),
        ("skylake", [true, true, true, true, false, true]),
    ] {
        let model = CpuModel::parse(name).expect("known");
        for rig in &mut rig(&model, Mode::Prot32) {
            for (register, is_there) in registers.into_iter().zip(there) {
                let end = end_of(rig, Mode::Prot32, &RDMSR, &[(Gpr::RCX, register)]);
                assert_eq!(end, if is_there { End::Done } else { PROTECTION }, "{name}: {register:#x}");
            }
        }
    }
}

#[test]
fn system_calls_are_as_the_vendor_has_them() {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    const SYSENTER: [u8; 2] = [0x0f, 0x34];
    for (name, syscall, sysenter) in [("skylake", UNDEFINED, PROTECTION), ("epyc-rome", End::Done, UNDEFINED)] {
        let model = CpuModel::parse(name).expect("known");
        for rig in &mut rig(&model, Mode::Comp32) {
            assert_eq!(end_of(rig, Mode::Comp32, &SYSCALL, &[]), syscall, "{name}: SYSCALL in compatibility mode");
            assert_eq!(end_of(rig, Mode::Comp32, &SYSENTER, &[]), sysenter, "{name}: SYSENTER in long mode, its selector null");
        }
    }
}
