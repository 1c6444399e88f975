//! From the decoder's instruction to ours: every choice that the encoding and the mode make, made once.

use dragoman_state::{Gpr, SegmentIndex, Width};
use iced_x86::{Code, ConditionCode, EncodingKind, Instruction, Mnemonic, OpKind, Register};

use super::{Condition, Insn, InsnFlags, Kind, Mode, Opcode, Operand, SegmentUse};

/// Lowers `insn`, which was decoded with the block's first byte at address zero.
pub(super) fn lower(insn: &Instruction, mode: Mode) -> Insn {
    let mut lowered = Insn {
        immediate: immediate(insn),
        displacement: insn.memory_displacement64(),
        opcode: Opcode::of(insn.code()),
        start: insn.ip() as u16,
        length: insn.len() as u8,
        width: Width::Byte,
        address_width: address_width(insn, mode),
        flags: flags(insn),
        operands: [Operand::default(); 4],
        base: address_register(insn.memory_base()),
        index: address_register(insn.memory_index()),
        scale: insn.memory_index_scale().trailing_zeros() as u8,
        segment: segment_use(memory_segment(insn, mode), mode),
        stack_width: mode.stack_width(),
        stack_segment: mode.segment_use(SegmentIndex::Ss),
        memory_size: insn.memory_size().size().min(255) as u8,
        condition: condition(insn),
    };
    for n in 0..insn.op_count().min(4) {
        lowered.operands[n as usize] = operand(insn, n);
    }
    lowered.width = operation_width(insn, &lowered, mode);
    if insn.code() == Code::Arpl_r32m16_r32 {
        lowered.operands[0].width = Width::Word;
    }
    if has_extended_immediate(insn) {
        lowered.immediate = lowered.width.truncate(lowered.immediate);
    }
    lowered
}

/// Extended immediates are written at 64 bits by the decoder; operations want them no wider than themselves.
fn has_extended_immediate(insn: &Instruction) -> bool {
    use OpKind::*;
    insn.op_kinds().any(|kind| matches!(kind, Immediate8to16 | Immediate8to32 | Immediate8to64 | Immediate32to64))
}

fn immediate(insn: &Instruction) -> u64 {
    let Some(n) = (0..insn.op_count()).find(|n| is_immediate(insn.op_kind(*n))) else { return 0 };
    match insn.op_kind(n) {
        OpKind::NearBranch16 => insn.near_branch16().into(),
        OpKind::NearBranch32 => insn.near_branch32().into(),
        OpKind::NearBranch64 => insn.near_branch64(),
        OpKind::FarBranch16 => u64::from(insn.far_branch16()) | u64::from(insn.far_branch_selector()) << 32,
        OpKind::FarBranch32 => u64::from(insn.far_branch32()) | u64::from(insn.far_branch_selector()) << 32,
        first => {
            let second = (n + 1..insn.op_count()).any(|m| insn.op_kind(m) == OpKind::Immediate8_2nd);
            let shift = if first == OpKind::Immediate16 { 16 } else { 8 };
            insn.immediate(n) | if second { u64::from(insn.immediate8_2nd()) << shift } else { 0 }
        }
    }
}

fn is_immediate(kind: OpKind) -> bool {
    use OpKind::*;
    matches!(
        kind,
        NearBranch16
            | NearBranch32
            | NearBranch64
            | FarBranch16
            | FarBranch32
            | Immediate8
            | Immediate16
            | Immediate32
            | Immediate64
            | Immediate8to16
            | Immediate8to32
            | Immediate8to64
            | Immediate32to64
    )
}

fn operand(insn: &Instruction, n: u32) -> Operand {
    let kind = insn.op_kind(n);
    match kind {
        OpKind::Register => register_operand(insn.op_register(n)),
        OpKind::Memory => Operand {
            kind: Kind::Memory,
            register: vector_index(insn),
            width: Width::from_bytes(insn.memory_size().size()).unwrap_or(Width::Byte),
        },
        kind if is_immediate(kind) => Operand { kind: Kind::Immediate, register: 0, width: immediate_width(kind) },
        _ => Operand::default(), // the implied memory of string instructions
    }
}

fn immediate_width(kind: OpKind) -> Width {
    match kind {
        OpKind::Immediate16 | OpKind::Immediate8to16 | OpKind::NearBranch16 | OpKind::FarBranch16 => Width::Word,
        OpKind::Immediate32 | OpKind::Immediate8to32 | OpKind::NearBranch32 | OpKind::FarBranch32 => Width::Dword,
        OpKind::Immediate64 | OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::NearBranch64 => Width::Qword,
        _ => Width::Byte,
    }
}

fn register_operand(register: Register) -> Operand {
    let (kind, number) = match register {
        Register::AH | Register::CH | Register::DH | Register::BH => (Kind::HighByte, register as u8 - Register::AH as u8),
        _ if register.is_gpr() => (Kind::Gpr, gpr(register).0),
        _ if register.is_segment_register() => (Kind::Segment, register.number() as u8),
        _ if register.is_cr() => (Kind::Control, register.number() as u8),
        _ if register.is_dr() => (Kind::Debug, register.number() as u8),
        _ if register.is_st() => (Kind::X87, register.number() as u8),
        _ if register.is_mm() => (Kind::Mmx, register.number() as u8),
        _ if register.is_vector_register() => (Kind::Vector, register.number() as u8),
        _ if register.is_k() => (Kind::Opmask, register.number() as u8),
        _ => (Kind::None, 0),
    };
    Operand { kind, register: number, width: Width::from_bytes(register.size()).unwrap_or(Width::Byte) }
}

fn gpr(register: Register) -> Gpr {
    Gpr(match register {
        Register::SPL | Register::BPL | Register::SIL | Register::DIL => register as u8 - Register::SPL as u8 + 4,
        _ => register.full_register() as u8 - Register::RAX as u8,
    })
}

fn address_register(register: Register) -> Gpr {
    match register {
        Register::None => Gpr::ZERO,
        Register::RIP | Register::EIP => Gpr::BLOCK,
        _ if register.is_gpr() => gpr(register),
        _ => Gpr::ZERO, // a vector index: gathers read it themselves
    }
}

fn vector_index(insn: &Instruction) -> u8 {
    let index = insn.memory_index();
    if index.is_vector_register() { index.number() as u8 } else { 0 }
}

fn address_width(insn: &Instruction, mode: Mode) -> Width {
    use OpKind as K;
    for kind in insn.op_kinds() {
        match kind {
            K::MemorySegSI | K::MemorySegDI | K::MemoryESDI => return Width::Word,
            K::MemorySegESI | K::MemorySegEDI | K::MemoryESEDI => return Width::Dword,
            K::MemorySegRSI | K::MemorySegRDI | K::MemoryESRDI => return Width::Qword,
            K::Memory => {
                let sized = if insn.memory_base() != Register::None { insn.memory_base() } else { insn.memory_index() };
                return match sized {
                    Register::EIP => Width::Dword,
                    Register::RIP => Width::Qword,
                    _ if sized.is_gpr() => Width::from_bytes(sized.size()).unwrap_or(Width::Qword),
                    _ => Width::from_bytes(insn.memory_displ_size() as usize).unwrap_or(default_address_width(mode)),
                };
            }
            _ => {}
        }
    }
    counter_width(insn.code()).unwrap_or(default_address_width(mode))
}

fn default_address_width(mode: Mode) -> Width {
    match mode.code_size() {
        super::CodeSize::Bits16 => Width::Word,
        super::CodeSize::Bits32 => Width::Dword,
        super::CodeSize::Bits64 => Width::Qword,
    }
}

/// The width of the count register of LOOP and JrCXZ, which the address size selects.
fn counter_width(code: Code) -> Option<Width> {
    use Code::*;
    Some(match code {
        Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX | Loopne_rel8_16_CX | Loopne_rel8_32_CX
        | Jcxz_rel8_16 | Jcxz_rel8_32 => Width::Word,
        Loop_rel8_16_ECX | Loop_rel8_32_ECX | Loop_rel8_64_ECX | Loope_rel8_16_ECX | Loope_rel8_32_ECX | Loope_rel8_64_ECX
        | Loopne_rel8_16_ECX | Loopne_rel8_32_ECX | Loopne_rel8_64_ECX | Jecxz_rel8_16 | Jecxz_rel8_32 | Jecxz_rel8_64 => {
            Width::Dword
        }
        Loop_rel8_16_RCX | Loop_rel8_64_RCX | Loope_rel8_16_RCX | Loope_rel8_64_RCX | Loopne_rel8_16_RCX | Loopne_rel8_64_RCX
        | Jrcxz_rel8_16 | Jrcxz_rel8_64 => Width::Qword,
        _ => return None,
    })
}

fn segment_use(register: Register, mode: Mode) -> SegmentUse {
    let index = match register {
        Register::ES => SegmentIndex::Es,
        Register::CS => SegmentIndex::Cs,
        Register::SS => SegmentIndex::Ss,
        Register::FS => SegmentIndex::Fs,
        Register::GS => SegmentIndex::Gs,
        _ => SegmentIndex::Ds,
    };
    // Flat code reaches every address, and yet cannot be written.
    if index == SegmentIndex::Cs && !mode.is_64bit() { SegmentUse::checked(index) } else { mode.segment_use(index) }
}

fn flags(insn: &Instruction) -> InsnFlags {
    let mut flags = InsnFlags::empty();
    flags.set(InsnFlags::LOCK, insn.has_lock_prefix());
    flags.set(InsnFlags::REP, insn.has_rep_prefix());
    flags.set(InsnFlags::REPNE, insn.has_repne_prefix());
    let is_vex = insn.code().encoding() == EncodingKind::VEX;
    flags.set(InsnFlags::VEX, is_vex);
    flags.set(InsnFlags::WIDE, is_vex && has_256_bits(insn));
    flags
}

/// Whether any operand has 256 bits: a register, memory, or the indices of a gather.
fn has_256_bits(insn: &Instruction) -> bool {
    insn.memory_size().size() == 32 || insn.memory_index().is_ymm() || (0..insn.op_count()).any(|n| insn.op_register(n).is_ymm())
}

/// The segment of the memory operand. In 64-bit mode, prefixes other than FS and GS do nothing, not even to which fault
/// an address raises that is not canonical.
fn memory_segment(insn: &Instruction, mode: Mode) -> Register {
    match insn.memory_segment() {
        segment @ (Register::FS | Register::GS) => segment,
        segment if !mode.is_64bit() => segment,
        _ => match insn.memory_base() {
            Register::RSP | Register::RBP | Register::ESP | Register::EBP => Register::SS,
            _ => Register::DS,
        },
    }
}

fn condition(insn: &Instruction) -> Condition {
    use ConditionCode as C;
    match insn.condition_code() {
        // The decoder's conditions leave those of the x87 unit out.
        C::None => match insn.mnemonic() {
            Mnemonic::Fcmovb => Condition::B,
            Mnemonic::Fcmovnb => Condition::Ae,
            Mnemonic::Fcmove => Condition::E,
            Mnemonic::Fcmovne => Condition::Ne,
            Mnemonic::Fcmovbe => Condition::Be,
            Mnemonic::Fcmovnbe => Condition::A,
            Mnemonic::Fcmovu => Condition::P,
            Mnemonic::Fcmovnu => Condition::Np,
            _ => Condition::O,
        },
        C::o => Condition::O,
        C::no => Condition::No,
        C::b => Condition::B,
        C::ae => Condition::Ae,
        C::e => Condition::E,
        C::ne => Condition::Ne,
        C::be => Condition::Be,
        C::a => Condition::A,
        C::s => Condition::S,
        C::ns => Condition::Ns,
        C::p => Condition::P,
        C::np => Condition::Np,
        C::l => Condition::L,
        C::ge => Condition::Ge,
        C::le => Condition::Le,
        C::g => Condition::G,
    }
}

/// The width of the operation: its first operand's where that is a register or memory of integer width; else what the
/// effective operand size makes of an instruction whose operands are implied.
fn operation_width(insn: &Instruction, lowered: &Insn, mode: Mode) -> Width {
    use Code::*;
    match insn.code() {
        _ if insn.is_string_instruction() => Width::from_bytes(insn.memory_size().size()).unwrap_or(Width::Byte),
        Retnw | Retnw_imm16 | Retfw | Retfw_imm16 | Iretw | Pushfw | Popfw | Pushaw | Popaw | Leavew | Enterw_imm16_imm8
        | Pushw_CS | Pushw_DS | Pushw_ES | Pushw_FS | Pushw_GS | Pushw_SS | Popw_DS | Popw_ES | Popw_FS | Popw_GS | Popw_SS
        | Call_ptr1616 | Jmp_ptr1616 | Call_m1616 | Jmp_m1616 | Cbw | Cwd | Lgdt_m1632_16 | Lidt_m1632_16 | Sgdt_m1632_16
        | Sidt_m1632_16 | Arpl_r32m16_r32 => Width::Word,
        Retnd | Retnd_imm16 | Retfd | Retfd_imm16 | Iretd | Pushfd | Popfd | Pushad | Popad | Leaved | Enterd_imm16_imm8
        | Pushd_CS | Pushd_DS | Pushd_ES | Pushd_FS | Pushd_GS | Pushd_SS | Popd_DS | Popd_ES | Popd_FS | Popd_GS | Popd_SS
        | Call_ptr1632 | Jmp_ptr1632 | Call_m1632 | Jmp_m1632 | Sysretd | Sysexitd | Cwde | Cdq | Lgdt_m1632 | Lidt_m1632
        | Sgdt_m1632 | Sidt_m1632 => Width::Dword,
        Retnq | Retnq_imm16 | Retfq | Retfq_imm16 | Iretq | Pushfq | Popfq | Leaveq | Enterq_imm16_imm8 | Pushq_FS | Pushq_GS
        | Popq_FS | Popq_GS | Call_m1664 | Jmp_m1664 | Sysretq | Sysexitq | Cdqe | Cqo | Lgdt_m1664 | Lidt_m1664 | Sgdt_m1664
        | Sidt_m1664 => Width::Qword,
        _ => match lowered.operands[0].kind {
            Kind::Gpr | Kind::HighByte | Kind::Memory | Kind::Immediate => lowered.operands[0].width,
            Kind::Segment => lowered.operands[1].width,
            _ => default_address_width(mode),
        },
    }
}
