//! What 32-bit code has in place of 64-bit code's instructions, and what only it has.

use dragoman_state::{Attributes, Segment};
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::{
    List, insn,
    operands::{BASES, memory, register},
    strings, templates,
};
use crate::{
    generate::Random,
    layout::{DATA, LDT_ENTRIES, PAGE, selector},
};

/// With a register, and a register or memory, of 32 bits.
pub const WIDE: [Code; 10] = {
    use Code::*;
    [
        Imul_r32_rm32,
        Cmovb_r32_rm32,
        Cmovne_r32_rm32,
        Cmovle_r32_rm32,
        Popcnt_r32_rm32,
        Bsf_r32_rm32,
        Movzx_r32_rm16,
        Movsx_r32_rm8,
        Adcx_r32_rm32,
        Adox_r32_rm32,
    ]
};

/// Without operands.
pub const BARE: [Code; 13] = [
    Code::Cmc,
    Code::Stc,
    Code::Clc,
    Code::Lahf,
    Code::Sahf,
    Code::Cdq,
    Code::Cwde,
    Code::VEX_Vzeroupper,
    Code::Aaa,
    Code::Aas,
    Code::Daa,
    Code::Das,
    Code::Salc,
];

/// The conditional jump that 64-bit code has as `code`.
pub fn branch(code: Code) -> Code {
    use Code::*;
    const NARROW: [Code; 16] = [
        Jo_rel32_32,
        Jno_rel32_32,
        Jb_rel32_32,
        Jae_rel32_32,
        Je_rel32_32,
        Jne_rel32_32,
        Jbe_rel32_32,
        Ja_rel32_32,
        Js_rel32_32,
        Jns_rel32_32,
        Jp_rel32_32,
        Jnp_rel32_32,
        Jl_rel32_32,
        Jge_rel32_32,
        Jle_rel32_32,
        Jg_rel32_32,
    ];
    templates::BRANCHES.iter().position(|wide| *wide == code).map_or(code, |n| NARROW[n])
}

/// FS and GS: with bases, and mostly without bounds.
pub fn based(random: &mut Random) -> [Segment; 2] {
    BASES.map(|base| {
        let plain = Segment { base, limit: u32::MAX, attributes: Attributes(0xc0f3), selector: selector::USER_DATA };
        match random.below(8) {
            0 => Segment { limit: 0x2_0000, ..plain },
            1 => Segment { limit: u32::MAX - 1, ..plain },
            2 => Segment { attributes: Attributes(0xc0f1), ..plain },
            _ => plain,
        }
    })
}

/// Jumps through a register to what comes next, whose address a call has pushed.
pub fn far_and_back(list: &mut List) {
    const LENGTH_TO_BEHIND_THE_JUMP: i64 = 1 + 3 + 2;
    let here = list.fresh();
    list.push(insn(Instruction::with_branch(Code::Call_rel32_32, here)));
    list.define(here);
    list.push_behind(insn(Instruction::with1(Code::Pop_r32, Register::EDX)));
    let behind = MemoryOperand::with_base_displ(Register::EDX, LENGTH_TO_BEHIND_THE_JUMP);
    list.push_behind(insn(Instruction::with2(Code::Lea_r32_m, Register::EDX, behind)));
    list.push_behind(insn(Instruction::with1(Code::Jmp_rm32, Register::EDX)));
    list.push_behind(Instruction::with(Code::Nopd));
}

/// LEA, with addresses of 32 and of 16 bits.
pub fn address(random: &mut Random, list: &mut List) {
    let displacement = random.below(4096) as i64;
    let from = if random.one_in(6) {
        MemoryOperand::with_base_index_scale_displ_size(Register::BX, Register::SI, 1, displacement, 2)
    } else {
        let (base, index) = (register(random, list, 4), register(random, list, 4));
        MemoryOperand::with_base_index_scale_displ_size(base, index, 4, displacement, 4)
    };
    let (code, bytes) = random.pick(&[(Code::Lea_r32_m, 4), (Code::Lea_r32_m, 4), (Code::Lea_r16_m, 2)]);
    list.push(insn(Instruction::with2(code, register(random, list, bytes), from)));
}

/// What is pushed is popped.
pub fn stack(random: &mut Random, list: &mut List) {
    let made = match random.below(8) {
        0 => Instruction::with1(Code::Push_rm32, memory(random, list)),
        1 => Instruction::with1(Code::Pushd_imm8, random.below(256) as i32 - 128),
        2 => Instruction::with1(Code::Pushd_imm32, random.bits() as i32),
        3 => Ok(Instruction::with(Code::Pushfd)),
        4 => {
            let (code, segment) = random.pick(&[
                (Code::Pushd_DS, Register::DS),
                (Code::Pushd_CS, Register::CS),
                (Code::Pushd_FS, Register::FS),
                (Code::Pushd_SS, Register::SS),
            ]);
            Instruction::with1(code, segment)
        }
        5 => Instruction::with1(Code::Push_r32, Register::ESP),
        _ => Instruction::with1(Code::Push_r32, register(random, list, 4)),
    };
    list.push(insn(made));
    let target = register(random, list, 4);
    list.push(match random.below(6) {
        0 => insn(Instruction::with1(Code::Pop_rm32, memory(random, list))),
        1 => insn(Instruction::with1(Code::Pop_rm32, target)),
        _ => insn(Instruction::with1(Code::Pop_r32, target)),
    });
}

/// One of the instructions that 64-bit code has in another form, or not at all.
pub fn special(random: &mut Random, list: &mut List) {
    let short = register(random, list, 4);
    match random.below(15) {
        0 => list.push(insn(Instruction::with1(Code::Inc_r32, short))),
        1 => list.push(insn(Instruction::with1(Code::Dec_r32, short))),
        2 => list.push(insn(Instruction::with1(random.pick(&[Code::Inc_r16, Code::Dec_r16]), Register::AX))),
        3 => moffs(random, list),
        4 => {
            let code = random.pick(&[Code::Add_rm8_imm8_82, Code::Cmp_rm8_imm8_82, Code::Sbb_rm8_imm8_82]);
            list.push(insn(Instruction::with2(code, Register::CL, random.below(256) as i32)));
        }
        5 => count_down(random, list),
        6 => {
            let over = list.fresh();
            list.push(insn(Instruction::with_branch(Code::Jecxz_rel8_32, over)));
            templates::straight(random, list);
            list.define(over);
            list.push(Instruction::with(Code::Nopd));
        }
        7 | 8 => strings::repeated(random, list),
        9 => {
            list.push(insn(Instruction::with1(Code::Push_r32, Register::EBP)));
            list.push(insn(Instruction::with2(Code::Mov_r32_rm32, Register::EBP, Register::ESP)));
            list.push(Instruction::with(Code::Leaved));
        }
        10 => {
            list.push(Instruction::with(Code::Pushad));
            list.push(Instruction::with(Code::Popad));
        }
        11 => {
            list.push(Instruction::with(Code::Pushfd));
            templates::compare(random, list);
            list.push(Instruction::with(Code::Popfd));
        }
        12 => segments(random, list),
        13 => {
            list.push(insn(Instruction::with1(Code::Push_r16, Register::CX)));
            list.push(insn(Instruction::with1(Code::Pop_r16, Register::DX)));
        }
        _ => match random.below(4) {
            0 => {
                let from = MemoryOperand::with_base_index(Register::EBX, Register::AL);
                list.push(insn(Instruction::with1(Code::Xlat_m8, from)));
            }
            1 => {
                list.push(insn(Instruction::with1(Code::Push_r32, Register::EBX)));
                list.push(Instruction::with(Code::Cpuid));
                list.push(insn(Instruction::with1(Code::Pop_r32, Register::EBX)));
            }
            _ => list.push(Instruction::with(random.pick(&[Code::Cli, Code::Cld]))),
        },
    }
}

/// MOV between the accumulator and memory whose address is in the instruction.
fn moffs(random: &mut Random, list: &mut List) {
    let (segment, less) =
        random.pick(&[(Register::None, 0), (Register::None, 0), (Register::FS, BASES[0]), (Register::GS, BASES[1])]);
    let at = (DATA + random.below(2 * PAGE)).wrapping_sub(less) as u32;
    let memory = MemoryOperand::new(Register::None, Register::None, 1, at.into(), 4, false, segment);
    let made = match random.below(6) {
        0 => Instruction::with2(Code::Mov_AL_moffs8, Register::AL, memory),
        1 => Instruction::with2(Code::Mov_AX_moffs16, Register::AX, memory),
        2 => Instruction::with2(Code::Mov_EAX_moffs32, Register::EAX, memory),
        3 => Instruction::with2(Code::Mov_moffs8_AL, memory, Register::AL),
        4 => Instruction::with2(Code::Mov_moffs16_AX, memory, Register::AX),
        _ => Instruction::with2(Code::Mov_moffs32_EAX, memory, Register::EAX),
    };
    list.push(insn(made));
}

/// A loop of a few rounds by LOOP, whose body does not write ECX.
fn count_down(random: &mut Random, list: &mut List) {
    list.push(insn(Instruction::with2(Code::Mov_r32_imm32, Register::ECX, 1 + random.below(4) as i32)));
    let top = list.next_label();
    list.push(insn(Instruction::with2(Code::Adc_rm32_r32, memory(random, list), Register::ECX)));
    if random.one_in(2) {
        list.push(insn(Instruction::with2(Code::Cmp_rm32_r32, Register::ECX, Register::EDX)));
    }
    let code = random.pick(&[Code::Loop_rel8_32_ECX, Code::Loop_rel8_32_ECX, Code::Loope_rel8_32_ECX, Code::Loop_rel8_32_CX]);
    list.push(insn(Instruction::with_branch(code, top)));
    list.push(insn(Instruction::with2(Code::Adc_rm32_r32, Register::EAX, Register::EDX)));
}

/// Loads ES or FS: with what is flat, with what has bounds, with nothing.
fn segments(random: &mut Random, list: &mut List) {
    let small = LDT_ENTRIES.iter().position(|entry| entry.name == "small data").map_or(0, |n| n as i32 * 8 + 4);
    let value = match random.below(16) {
        0 => 0,
        1 => small,
        _ => selector::USER_DATA.into(),
    };
    let segment = random.pick(&[Register::ES, Register::ES, Register::FS, Register::DS]);
    let value = if segment == Register::DS { selector::USER_DATA.into() } else { value };
    list.push(insn(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, value)));
    if random.one_in(2) {
        list.push(insn(Instruction::with2(Code::Mov_Sreg_rm16, segment, Register::AX)));
    } else {
        list.push(insn(Instruction::with1(Code::Push_r32, Register::EAX)));
        let code = match segment {
            Register::ES => Code::Popd_ES,
            Register::FS => Code::Popd_FS,
            _ => Code::Popd_DS,
        };
        list.push(insn(Instruction::with1(code, segment)));
    }
}
