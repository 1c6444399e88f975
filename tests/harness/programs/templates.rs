//! The instructions that random programs are made of.

use iced_x86::{Code, Instruction, MemoryOperand, Mnemonic, OpCodeOperandKind, Register};

use super::{
    List, insn, narrow,
    operands::{NARROW_POINTERS, POINTERS, memory, plain_byte, register, vector},
};
use crate::generate::Random;

/// Conditional jumps.
pub const BRANCHES: [Code; 16] = {
    use Code::*;
    [
        Jo_rel32_64,
        Jno_rel32_64,
        Jb_rel32_64,
        Jae_rel32_64,
        Je_rel32_64,
        Jne_rel32_64,
        Jbe_rel32_64,
        Ja_rel32_64,
        Js_rel32_64,
        Jns_rel32_64,
        Jp_rel32_64,
        Jnp_rel32_64,
        Jl_rel32_64,
        Jge_rel32_64,
        Jle_rel32_64,
        Jg_rel32_64,
    ]
};

/// Arithmetic in its forms for 8, 16, 32 and 64 bits: register or memory with register, register with either.
#[rustfmt::skip] // a table
const ARITHMETIC: &[([Code; 4], [Code; 4])] = {
    use Code::*;
    &[
        ([Add_rm8_r8, Add_rm16_r16, Add_rm32_r32, Add_rm64_r64], [Add_r8_rm8, Add_r16_rm16, Add_r32_rm32, Add_r64_rm64]),
        ([Or_rm8_r8, Or_rm16_r16, Or_rm32_r32, Or_rm64_r64],     [Or_r8_rm8, Or_r16_rm16, Or_r32_rm32, Or_r64_rm64]),
        ([Adc_rm8_r8, Adc_rm16_r16, Adc_rm32_r32, Adc_rm64_r64], [Adc_r8_rm8, Adc_r16_rm16, Adc_r32_rm32, Adc_r64_rm64]),
        ([Sbb_rm8_r8, Sbb_rm16_r16, Sbb_rm32_r32, Sbb_rm64_r64], [Sbb_r8_rm8, Sbb_r16_rm16, Sbb_r32_rm32, Sbb_r64_rm64]),
        ([And_rm8_r8, And_rm16_r16, And_rm32_r32, And_rm64_r64], [And_r8_rm8, And_r16_rm16, And_r32_rm32, And_r64_rm64]),
        ([Sub_rm8_r8, Sub_rm16_r16, Sub_rm32_r32, Sub_rm64_r64], [Sub_r8_rm8, Sub_r16_rm16, Sub_r32_rm32, Sub_r64_rm64]),
        ([Xor_rm8_r8, Xor_rm16_r16, Xor_rm32_r32, Xor_rm64_r64], [Xor_r8_rm8, Xor_r16_rm16, Xor_r32_rm32, Xor_r64_rm64]),
        ([Cmp_rm8_r8, Cmp_rm16_r16, Cmp_rm32_r32, Cmp_rm64_r64], [Cmp_r8_rm8, Cmp_r16_rm16, Cmp_r32_rm32, Cmp_r64_rm64]),
        ([Mov_rm8_r8, Mov_rm16_r16, Mov_rm32_r32, Mov_rm64_r64], [Mov_r8_rm8, Mov_r16_rm16, Mov_r32_rm32, Mov_r64_rm64]),
        ([Test_rm8_r8, Test_rm16_r16, Test_rm32_r32, Test_rm64_r64], [Mov_r8_rm8, Mov_r16_rm16, Mov_r32_rm32, Mov_r64_rm64]),
        ([Xchg_rm8_r8, Xchg_rm16_r16, Xchg_rm32_r32, Xchg_rm64_r64], [Mov_r8_rm8, Mov_r16_rm16, Mov_r32_rm32, Mov_r64_rm64]),
        ([Xadd_rm8_r8, Xadd_rm16_r16, Xadd_rm32_r32, Xadd_rm64_r64], [Mov_r8_rm8, Mov_r16_rm16, Mov_r32_rm32, Mov_r64_rm64]),
        ([Cmpxchg_rm8_r8, Cmpxchg_rm16_r16, Cmpxchg_rm32_r32, Cmpxchg_rm64_r64], [Mov_r8_rm8, Mov_r16_rm16, Mov_r32_rm32, Mov_r64_rm64]),
    ]
};

/// With one operand, register or memory.
#[rustfmt::skip] // a table
const UNARY: &[[Code; 4]] = {
    use Code::*;
    &[
        [Inc_rm8, Inc_rm16, Inc_rm32, Inc_rm64], [Dec_rm8, Dec_rm16, Dec_rm32, Dec_rm64],
        [Neg_rm8, Neg_rm16, Neg_rm32, Neg_rm64], [Not_rm8, Not_rm16, Not_rm32, Not_rm64],
        [Shl_rm8_CL, Shl_rm16_CL, Shl_rm32_CL, Shl_rm64_CL], [Sar_rm8_1, Sar_rm16_1, Sar_rm32_1, Sar_rm64_1],
        [Rcl_rm8_1, Rcl_rm16_1, Rcl_rm32_1, Rcl_rm64_1], [Ror_rm8_CL, Ror_rm16_CL, Ror_rm32_CL, Ror_rm64_CL],
        [Mul_rm8, Mul_rm16, Mul_rm32, Mul_rm64], [Imul_rm8, Imul_rm16, Imul_rm32, Imul_rm64],
    ]
};

/// With a register, and a register or memory, of 64 bits.
const WIDE: [Code; 11] = {
    use Code::*;
    [
        Imul_r64_rm64,
        Cmovb_r64_rm64,
        Cmovne_r64_rm64,
        Cmovle_r64_rm64,
        Popcnt_r64_rm64,
        Bsf_r64_rm64,
        Movsxd_r64_rm32,
        Movzx_r64_rm16,
        Movsx_r64_rm8,
        Adcx_r64_rm64,
        Adox_r64_rm64,
    ]
};

/// With a byte, register or memory.
const SET: [Code; 5] = [Code::Setb_rm8, Code::Sete_rm8, Code::Setg_rm8, Code::Setp_rm8, Code::Seto_rm8];

/// With a vector register, and one or memory.
const VECTOR: [Code; 9] = {
    use Code::*;
    [
        Paddd_xmm_xmmm128,
        Pshufb_xmm_xmmm128,
        Movups_xmm_xmmm128,
        Addsd_xmm_xmmm64,
        Mulss_xmm_xmmm32,
        Ucomisd_xmm_xmmm64,
        Ptest_xmm_xmmm128,
        Sqrtsd_xmm_xmmm64,
        Movq_xmm_xmmm64,
    ]
};

/// With two vector registers, and one or memory.
const VEX: [Code; 4] = [
    Code::VEX_Vaddps_ymm_ymm_ymmm256,
    Code::VEX_Vpxor_ymm_ymm_ymmm256,
    Code::VEX_Vaddsd_xmm_xmm_xmmm64,
    Code::VEX_Vpaddq_xmm_xmm_xmmm128,
];

/// With memory: loads, stores and sums of the x87 unit, and its control word.
const X87_MEMORY: [Code; 9] = [
    Code::Fld_m64fp,
    Code::Fld_m32fp,
    Code::Fild_m32int,
    Code::Fadd_m64fp,
    Code::Fmul_m32fp,
    Code::Fstp_m64fp,
    Code::Fistp_m32int,
    Code::Fnstcw_m2byte,
    Code::Fst_m32fp,
];

/// Of the top of the stack with another register.
const X87_STACK: [Code; 6] =
    [Code::Fadd_st0_sti, Code::Fmul_st0_sti, Code::Fsub_st0_sti, Code::Fcomi_st0_sti, Code::Fxch_st0_sti, Code::Fcmovb_st0_sti];

/// Of MMX registers.
const MMX: [Code; 4] = [Code::Paddd_mm_mmm64, Code::Pxor_mm_mmm64, Code::Movq_mm_mmm64, Code::Punpcklbw_mm_mmm32];

/// Without operands.
const BARE: [Code; 8] = [Code::Cmc, Code::Stc, Code::Clc, Code::Lahf, Code::Sahf, Code::Cdq, Code::Cqo, Code::VEX_Vzeroupper];

/// An instruction with one operand, or one and a count of CL or 1.
macro_rules! unary {
    ($code:expr, $operand:expr) => {{
        let (code, operand) = ($code, $operand);
        insn(match (code.op_code().op_count(), code.op_code().op1_kind()) {
            (1, _) => Instruction::with1(code, operand),
            (_, OpCodeOperandKind::cl) => Instruction::with2(code, operand, Register::CL),
            _ => Instruction::with2(code, operand, 1),
        })
    }};
}

/// A comparison.
pub fn compare(random: &mut Random, list: &mut List) {
    let width = random.below(list.widths()) as usize;
    let (codes, other) = (ARITHMETIC[7].0[width], register(random, list, 1 << width));
    let first = same_kind(random, list, other, 1 << width);
    list.push(insn(Instruction::with2(codes, first, other)));
}

/// A register that can stand beside `other`.
fn same_kind(random: &mut Random, list: &List, other: Register, bytes: usize) -> Register {
    let is_high = matches!(other, Register::AH | Register::CH | Register::DH | Register::BH);
    if is_high || bytes == 1 { plain_byte(random) } else { register(random, list, bytes) }
}

/// Where the manual leaves flags undefined, nothing may depend on them.
fn settle(random: &mut Random, list: &mut List, code: Code) {
    let leaves_some = [Mnemonic::Mul, Mnemonic::Imul, Mnemonic::Bsf, Mnemonic::Shl, Mnemonic::Ror, Mnemonic::Rcl, Mnemonic::Sar];
    if leaves_some.contains(&code.mnemonic()) {
        compare(random, list);
    }
}

/// One to three instructions that jump nowhere.
pub fn straight(random: &mut Random, list: &mut List) {
    let width = random.below(list.widths()) as usize;
    let bytes = 1 << width;
    match random.below(18) {
        0..=2 => {
            let codes = random.pick(ARITHMETIC);
            let source = register(random, list, bytes);
            let target = same_kind(random, list, source, bytes);
            list.push(insn(Instruction::with2(codes.0[width], target, source)));
        }
        3..=5 => {
            let (codes, source) =
                (random.pick(ARITHMETIC), if bytes == 1 { plain_byte(random) } else { register(random, list, bytes) });
            let mut made = insn(Instruction::with2(codes.0[width], memory(random, list), source));
            let can_lock = !matches!(codes.0[width].mnemonic(), Mnemonic::Cmp | Mnemonic::Mov | Mnemonic::Test);
            made.set_has_lock_prefix(can_lock && random.one_in(3));
            list.push(made);
        }
        6 | 7 => {
            let (codes, target) =
                (random.pick(ARITHMETIC), if bytes == 1 { plain_byte(random) } else { register(random, list, bytes) });
            list.push(insn(Instruction::with2(codes.1[width], target, memory(random, list))));
        }
        8 => {
            let code = random.pick(UNARY)[width];
            if random.one_in(3) {
                list.push(unary!(code, memory(random, list)));
            } else {
                list.push(unary!(code, if bytes == 1 { plain_byte(random) } else { register(random, list, bytes) }));
            }
            settle(random, list, code);
        }
        9 => {
            let code = if list.is_narrow { random.pick(&narrow::WIDE) } else { random.pick(&WIDE) };
            let target = register(random, list, list.widest());
            list.push(insn(Instruction::with2(code, target, memory(random, list))));
            settle(random, list, code);
        }
        10 => {
            let code = random.pick(&SET);
            let made = if random.one_in(3) {
                Instruction::with1(code, memory(random, list))
            } else {
                Instruction::with1(code, plain_byte(random))
            };
            list.push(insn(made));
        }
        11 => {
            let (code, target) = (random.pick(&VECTOR), vector(random, list, Register::XMM0));
            let made = if random.one_in(2) {
                Instruction::with2(code, target, memory(random, list))
            } else {
                Instruction::with2(code, target, vector(random, list, Register::XMM0))
            };
            list.push(insn(made));
        }
        12 => {
            let code = random.pick(&VEX);
            let first = if code.op_code().op0_kind() == OpCodeOperandKind::ymm_reg { Register::YMM0 } else { Register::XMM0 };
            let made = Instruction::with3(code, vector(random, list, first), vector(random, list, first), memory(random, list));
            list.push(insn(made));
        }
        13 if list.is_narrow => list.push(Instruction::with(random.pick(&narrow::BARE))),
        13 => list.push(Instruction::with(random.pick(&BARE))),
        14 => stack(random, list),
        15 => unit(random, list),
        16 => walk(random, list),
        _ if list.is_narrow => narrow::address(random, list),
        _ => {
            let (target, base) = (register(random, list, 8), register(random, list, 8));
            let from =
                MemoryOperand::with_base_index_scale_displ_size(base, register(random, list, 8), 4, random.below(4096) as i64, 8);
            list.push(insn(Instruction::with2(random.pick(&[Code::Lea_r64_m]), target, from)));
        }
    }
}

/// An instruction of the x87 unit or of MMX.
fn unit(random: &mut Random, list: &mut List) {
    let register = |random: &mut Random, first: Register| first + random.below(8) as u32;
    let made = match random.below(8) {
        0..=2 => Instruction::with1(random.pick(&X87_MEMORY), memory(random, list)),
        3 | 4 => Instruction::with2(random.pick(&X87_STACK), Register::ST0, register(random, Register::ST0)),
        5 => {
            // An environment, and with it where the last instruction was.
            let base = if list.is_narrow { Register::EBX } else { Register::RBX };
            let at = MemoryOperand::with_base_displ(base, 256);
            list.push(insn(Instruction::with1(Code::Fnstenv_m28byte, at)));
            Instruction::with1(Code::Fldcw_m2byte, at)
        }
        6 => Ok(Instruction::with(random.pick(&[Code::Emms, Code::Fninit, Code::Fld1, Code::Fldpi, Code::Wait]))),
        _ => Instruction::with2(random.pick(&MMX), register(random, Register::MM0), memory(random, list)),
    };
    list.push(insn(made));
}

/// Accesses off a pointer and an index while one of them moves, and moves back.
fn walk(random: &mut Random, list: &mut List) {
    let is_narrow = list.is_narrow;
    // R15 counts rounds: a small number. 32-bit code has no such register.
    let (pointer, index) = if is_narrow {
        (random.pick(&NARROW_POINTERS), Register::None)
    } else {
        (random.pick(&POINTERS), random.pick(&[Register::None, Register::R15]))
    };
    let (moved, by) = if index == Register::None || random.one_in(2) { (pointer, 8) } else { (index, 1) };
    let step = |random: &mut Random, by: i32| match (random.below(3), by.abs(), is_narrow) {
        (0, _, true) => Instruction::with2(Code::Add_rm32_imm8, moved, by),
        (0, _, false) => Instruction::with2(Code::Add_rm64_imm8, moved, by),
        (1, _, true) => Instruction::with2(Code::Sub_rm32_imm8, moved, -by),
        (1, _, false) => Instruction::with2(Code::Sub_rm64_imm8, moved, -by),
        (_, 1, _) => Instruction::with1(if by > 0 { Code::Inc_rm64 } else { Code::Dec_rm64 }, moved),
        (_, _, true) => Instruction::with2(Code::Lea_r32_m, moved, MemoryOperand::with_base_displ(moved, by.into())),
        (_, _, false) => Instruction::with2(Code::Lea_r64_m, moved, MemoryOperand::with_base_displ(moved, by.into())),
    };
    access(random, list, pointer, index);
    list.push(insn(step(random, by)));
    access(random, list, pointer, index);
    if random.one_in(2) {
        access(random, list, pointer, index);
    }
    list.push(insn(step(random, -by)));
    access(random, list, pointer, index);
}

/// Arithmetic on what is off a pointer and an index.
pub fn access(random: &mut Random, list: &mut List, pointer: Register, index: Register) {
    let at = random.pick(&[0i64, 0, 4, 8, -8, 16]);
    let place = MemoryOperand::with_base_index_scale_displ_size(pointer, index, 8, at, 1);
    let (other, width) = (register(random, list, list.widest()), list.widths() as usize - 1);
    let codes = &random.pick(ARITHMETIC);
    list.push(insn(match random.below(3) {
        0 => Instruction::with2(codes.0[width], place, other),
        1 => Instruction::with2(codes.1[width], other, place),
        _ => Instruction::with2(Code::Addsd_xmm_xmmm64, vector(random, list, Register::XMM0), place),
    }));
}

/// What is pushed is popped.
fn stack(random: &mut Random, list: &mut List) {
    if list.is_narrow {
        return narrow::stack(random, list);
    }
    let made = match random.below(4) {
        0 => Instruction::with1(Code::Push_rm64, memory(random, list)),
        1 => Instruction::with1(Code::Pushq_imm8, random.below(256) as i32 - 128),
        2 => Ok(Instruction::with(Code::Pushfq)),
        _ => Instruction::with1(Code::Push_r64, register(random, list, 8)),
    };
    list.push(insn(made));
    list.push(insn(Instruction::with1(Code::Pop_r64, register(random, list, 8))));
}
