//! What is done with an instruction: encoded again, replaced by code of ours, or left to the interpreter.

use dragoman_frontend::decode::{Insn, Mode, Opcode};
use dragoman_state::{SegmentIndex, Width};
use iced_x86::{
    Code, CpuidFeature, EncodingKind, FlowControl, Instruction, InstructionInfo, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use crate::run::is_intel;

use super::{
    flags::Effect,
    handled::is_handled,
    narrow,
    registers::{Home, home, number},
    segments::is_common_load,
};

/// What is done with an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It does nothing that can be seen.
    Nothing,
    /// It is encoded again.
    Native,
    /// LEA.
    Address,
    Push,
    /// PUSH of a segment register, 32 bits.
    PushSelector,
    Pop,
    Leave,
    Call,
    CallIndirect,
    Return,
    Jump,
    JumpIndirect,
    /// Jcc.
    Branch,
    /// JRCXZ; JECXZ and LOOP in 32-bit code.
    CountBranch,
    /// PUSHFQ, PUSHFD.
    PushFlags,
    /// POPFQ and POPFD at ring 0, after which the block ends; so after the next four.
    PopFlags,
    /// CLI.
    ClearInterrupts,
    /// STI.
    SetInterrupts,
    SwapGs,
    Serialize,
    /// SYSCALL at ring 3.
    SystemCall,
    /// SYSRET at ring 0, to 64-bit code.
    SystemReturn,
    /// STAC at ring 0.
    SetAccess,
    /// CLAC at ring 0.
    ClearAccess,
    /// STD, or CLD.
    SetDirection(bool),
    /// MOV from a control register.
    ReadControl,
    /// MOV from a segment register to a general one.
    ReadSelector,
    /// RDFSBASE and RDGSBASE.
    ReadBase,
    /// WRFSBASE and WRGSBASE.
    WriteBase,
    /// BT, BTS, BTR and BTC of a bit anywhere in memory.
    BitString,
    /// RDTSC and RDTSCP.
    ReadTime,
    Pause,
    /// REP MOVS.
    Move,
    /// REP STOS.
    Store,
    /// REPE and REPNE with CMPS and SCAS.
    Compare,
    /// The interpreter executes it, and the block goes on.
    Interpret,
    /// The interpreter executes it until it is done, and the block ends.
    Repeat,
    /// The interpreter executes it, and the block ends.
    InterpretLast,
    /// Its handler executes it, and the block ends.
    Handled,
    /// MOV and POP to a data segment register in 32-bit code.
    LoadSegment,
}

impl Plan {
    /// What is done with `insn`, of which this is the plan, where it is the last of its block.
    pub(super) fn of_last(self, insn: &Instruction, mode: Mode) -> Self {
        match self {
            Self::Interpret | Self::InterpretLast if is_common_load(insn, mode) => Self::LoadSegment,
            Self::Interpret | Self::InterpretLast if is_handled(insn) => Self::Handled,
            Self::Interpret => Self::InterpretLast,
            plan => plan,
        }
    }
}

/// A memory operand of a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryUse {
    pub size: u32,
    pub is_write: bool,
}

/// An instruction's plan, and what the plan needs to know of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub plan: Plan,
    pub effect: Effect,
    pub memory: Option<MemoryUse>,
    /// The host may refuse it.
    pub may_fault: bool,
    /// It reads or changes the x87 unit.
    pub touches_x87: bool,
    /// How each operand is accessed.
    pub access: [OpAccess; 5],
    /// The general-purpose registers that it writes, a bit for each.
    pub written: u16,
    /// How many registers it names that are in memory.
    pub borrowed: u32,
}

impl Step {
    /// Whether nothing of the block follows.
    pub fn ends_block(&self) -> bool {
        use Plan::*;
        matches!(self.plan, Call | CallIndirect | Return | Jump | JumpIndirect | Branch | CountBranch | Repeat | InterpretLast)
            || matches!(self.plan, SystemCall | SystemReturn | Move | Store | Compare | Handled | LoadSegment)
            || self.ends_by_what_it_changes()
    }
}

impl Step {
    /// Whether its code may go on elsewhere than behind it without anybody looking on.
    pub fn may_leave(&self) -> bool {
        self.plan == Plan::Branch || self.ends_block()
    }

    /// Whether translated code can be left at it, but where the host refuses it.
    pub fn may_be_left_at(&self) -> bool {
        match self.plan {
            Plan::Nothing | Plan::Address => false,
            Plan::Native => self.memory.is_some() || self.touches_x87,
            _ => true,
        }
    }

    fn ends_by_what_it_changes(&self) -> bool {
        use Plan::*;
        matches!(self.plan, PopFlags | ClearInterrupts | SetInterrupts | SwapGs | Serialize | SetAccess | ClearAccess)
            || matches!(self.plan, ReadBase | WriteBase)
    }
}

/// The instructions that the host executes: by the CPUID features that they need.
#[derive(Clone)]
pub struct HostInstructions {
    features: Box<[bool]>,
    /// It does what Intel's processors do where the manual leaves it open.
    is_intel: bool,
}

impl HostInstructions {
    /// Those of this host; x87 and MMX instructions where it `has_x87` as the guest is to see it: the address of the last
    /// operand is kept where an exception is reported, and only there.
    pub fn detect(has_x87: bool) -> Self {
        let mut features = vec![false; CpuidFeature::values().len()];
        let mut set = |feature: CpuidFeature, is_there: bool| features[feature as usize] = is_there;
        use CpuidFeature::*;
        for feature in [INTEL8086, INTEL186, INTEL286, INTEL386, INTEL486, X64, MULTIBYTENOP, CMOV, CX8, SSE, SSE2, CLFSH] {
            set(feature, true);
        }
        for feature in [FPU, FPU287, FPU387, MMX] {
            set(feature, has_x87);
        }
        set(CMPXCHG16B, is_x86_feature_detected!("cmpxchg16b"));
        set(SSE3, is_x86_feature_detected!("sse3"));
        set(SSSE3, is_x86_feature_detected!("ssse3"));
        set(SSE4_1, is_x86_feature_detected!("sse4.1"));
        set(SSE4_2, is_x86_feature_detected!("sse4.2"));
        set(POPCNT, is_x86_feature_detected!("popcnt"));
        set(LZCNT, is_x86_feature_detected!("lzcnt"));
        set(BMI1, is_x86_feature_detected!("bmi1"));
        set(BMI2, is_x86_feature_detected!("bmi2"));
        set(MOVBE, is_x86_feature_detected!("movbe"));
        set(ADX, is_x86_feature_detected!("adx"));
        set(AES, is_x86_feature_detected!("aes"));
        set(PCLMULQDQ, is_x86_feature_detected!("pclmulqdq"));
        set(SHA, is_x86_feature_detected!("sha"));
        set(AVX, is_x86_feature_detected!("avx"));
        set(AVX2, is_x86_feature_detected!("avx2"));
        set(FMA, is_x86_feature_detected!("fma"));
        set(F16C, is_x86_feature_detected!("f16c"));
        set(VAES, is_x86_feature_detected!("vaes"));
        set(VPCLMULQDQ, is_x86_feature_detected!("vpclmulqdq"));
        Self { features: features.into(), is_intel: is_intel() }
    }

    /// Whether our own code may use BMI2.
    pub(super) fn has_bmi2(&self) -> bool {
        self.features[CpuidFeature::BMI2 as usize]
    }

    fn execute(&self, insn: &Instruction) -> bool {
        let has_features = insn.cpuid_features().iter().all(|feature| self.features[*feature as usize]);
        has_features && (self.is_intel || !is_vendors_own(insn))
    }
}

/// Whether processors of other vendors than Intel do something else: they choose among several NaNs in another order, and
/// find operands in memory wherever these lie.
fn is_vendors_own(insn: &Instruction) -> bool {
    let is_hash = insn.cpuid_features().contains(&CpuidFeature::SHA);
    let has_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
    is_hash && has_memory || matches!(insn.mnemonic(), Mnemonic::Dppd | Mnemonic::Dpps | Mnemonic::Vdpps | Mnemonic::Vdppd)
}

/// What is done with an instruction.
pub(super) fn of(
    infos: &mut InstructionInfoFactory,
    host: &HostInstructions,
    insn: &Instruction,
    lowered: &Insn,
    mode: Mode,
) -> Step {
    let info = infos.info(insn);
    let access = [info.op0_access(), info.op1_access(), info.op2_access(), info.op3_access(), info.op4_access()];
    let mut step = Step {
        plan: Plan::Interpret,
        effect: Effect::None,
        memory: None,
        may_fault: false,
        touches_x87: touches_x87(insn),
        access,
        written: written(info),
        borrowed: borrowed(insn),
    };
    step.plan = plan(host, insn, lowered, mode, info, &mut step);
    step
}

fn written(info: &InstructionInfo) -> u16 {
    let is_written = |access| !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
    let registers = info.used_registers().iter().filter(|used| used.register().is_gpr() && is_written(used.access()));
    registers.fold(0, |all, used| all | 1 << used.register().full_register().number())
}

fn borrowed(insn: &Instruction) -> u32 {
    let named = (0..insn.op_count()).filter(|n| insn.op_kind(*n) == OpKind::Register).filter_map(|n| number(insn.op_register(n)));
    named.filter(|n| home(*n) == Home::Memory).fold(0u16, |all, n| all | 1 << n).count_ones()
}

fn plan(
    host: &HostInstructions,
    insn: &Instruction,
    lowered: &Insn,
    mode: Mode,
    info: &InstructionInfo,
    step: &mut Step,
) -> Plan {
    if lowered.opcode != Opcode::of(insn.code()) {
        return Plan::InterpretLast; // it is refused in this mode
    }
    if !is_near(insn) {
        return Plan::InterpretLast;
    }
    let (slot, cpl) = (narrow::slot(mode), mode.cpl());
    let is_wide = |width: Width| width.bytes() == slot.into();
    let is_plain_stack = lowered.stack_segment.is_flat()
        && is_wide(lowered.stack_width)
        && is_wide(lowered.width)
        && insn.stack_pointer_increment().unsigned_abs() % slot == 0;
    let can_address = |insn: &Instruction| can_address(insn, lowered, mode);
    let has_wide_pointers = is_wide(lowered.address_width) && lowered.segment.is_flat() && mode.is_flat(SegmentIndex::Es);
    match insn.flow_control() {
        FlowControl::UnconditionalBranch if insn.is_jmp_short_or_near() => return Plan::Jump,
        FlowControl::ConditionalBranch if insn.is_jcc_short_or_near() => return Plan::Branch,
        FlowControl::ConditionalBranch if is_count_branch(insn, mode) => return Plan::CountBranch,
        FlowControl::Call if insn.is_call_near() && is_plain_stack => return Plan::Call,
        FlowControl::IndirectCall if insn.is_call_near_indirect() && is_plain_stack && can_address(insn) => {
            return Plan::CallIndirect;
        }
        FlowControl::IndirectBranch if insn.is_jmp_near_indirect() && is_wide(lowered.width) && can_address(insn) => {
            return Plan::JumpIndirect;
        }
        FlowControl::Return if insn.mnemonic() == Mnemonic::Ret && is_plain_stack => return Plan::Return,
        FlowControl::Next => {}
        FlowControl::Call if insn.mnemonic() == Mnemonic::Syscall && cpl == 3 && mode.is_64bit() => return Plan::SystemCall,
        FlowControl::Return if insn.code() == Code::Sysretq && cpl == 0 => return Plan::SystemReturn,
        _ => return Plan::InterpretLast,
    }
    if insn.is_string_instruction() && lowered.is_repeated() {
        return repeated(insn, has_wide_pointers);
    }
    match insn.mnemonic() {
        // Not left to the host: some of them are nothing on one vendor's processors only.
        Mnemonic::Nop
        | Mnemonic::Reservednop
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchwt1
        | Mnemonic::Endbr64
        | Mnemonic::Endbr32
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetchw => return Plan::Nothing,
        // Of no segment.
        Mnemonic::Lea if narrow::is_narrow(mode) => {
            return if lowered.address_width == Width::Dword { Plan::Address } else { Plan::Interpret };
        }
        Mnemonic::Lea => return if can_address(insn) { Plan::Address } else { Plan::Interpret },
        Mnemonic::Push if is_plain_stack && pushes_selector(insn) && narrow::is_narrow(mode) => return Plan::PushSelector,
        Mnemonic::Push if is_plain_stack && !pushes_selector(insn) && can_address(insn) => return Plan::Push,
        Mnemonic::Pop if is_plain_stack && insn.op0_kind() == OpKind::Register && insn.op0_register().is_gpr() => {
            return Plan::Pop;
        }
        // With a prefix it moves 16 bits of RBP.
        Mnemonic::Leave if is_plain_stack => return Plan::Leave,
        Mnemonic::Pushfq | Mnemonic::Pushfd if is_plain_stack => return Plan::PushFlags,
        Mnemonic::Popfq | Mnemonic::Popfd if is_plain_stack && cpl == 0 => return Plan::PopFlags,
        Mnemonic::Cli if cpl == 0 => return Plan::ClearInterrupts,
        Mnemonic::Sti if cpl == 0 => return Plan::SetInterrupts,
        Mnemonic::Swapgs => return Plan::SwapGs,
        Mnemonic::Serialize => return Plan::Serialize,
        Mnemonic::Stac if cpl == 0 => return Plan::SetAccess,
        Mnemonic::Clac if cpl == 0 => return Plan::ClearAccess,
        Mnemonic::Cld => return Plan::SetDirection(false),
        Mnemonic::Std => return Plan::SetDirection(true),
        Mnemonic::Pause => return Plan::Pause,
        Mnemonic::Rdtsc | Mnemonic::Rdtscp => return Plan::ReadTime,
        Mnemonic::Rdfsbase | Mnemonic::Rdgsbase => return Plan::ReadBase,
        Mnemonic::Wrfsbase | Mnemonic::Wrgsbase => return Plan::WriteBase,
        Mnemonic::Mov if matches!(insn.code(), Code::Mov_r64_cr | Code::Mov_r32_cr) && is_plain_control(insn.op1_register()) => {
            return Plan::ReadControl;
        }
        Mnemonic::Mov if reads_selector(insn) => return Plan::ReadSelector,
        _ => {}
    }
    if is_bit_string(insn)
        && is_wide(lowered.address_width)
        && can_address(insn)
        && (mode.is_64bit() || lowered.segment.is_flat())
    {
        step.effect = Effect::of(insn);
        return Plan::BitString;
    }
    if !is_reencodable(host, insn) || narrow::is_another(insn.mnemonic(), mode) {
        return Plan::Interpret;
    }
    let memory = info.used_memory();
    let explicit = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
    step.memory = match memory {
        [] => None,
        [one] if explicit => {
            let is_write =
                matches!(one.access(), OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite);
            Some(MemoryUse { size: insn.memory_size().size() as u32, is_write })
        }
        _ => return Plan::Interpret,
    };
    if explicit && (step.memory.is_none_or(|memory| memory.size == 0 || memory.size > 32) || !can_address(insn)) {
        return Plan::Interpret;
    }
    if needs_high_byte_with_rex(insn) && !(host.has_bmi2() && turned(insn).is_some()) {
        return Plan::Interpret;
    }
    step.effect = Effect::of(insn);
    step.may_fault = may_fault(insn, step.memory);
    Plan::Native
}

/// What is done with a repeated string instruction, whose pointers are as wide as addresses and lead through flat segments or
/// not.
fn repeated(insn: &Instruction, has_wide_pointers: bool) -> Plan {
    use Mnemonic::*;
    let plan = match insn.mnemonic() {
        Insb | Insw | Insd | Outsb | Outsw | Outsd => return Plan::InterpretLast,
        Movsb | Movsw | Movsd | Movsq => Plan::Move,
        Stosb | Stosw | Stosd | Stosq => Plan::Store,
        Cmpsb | Cmpsw | Cmpsd | Cmpsq | Scasb | Scasw | Scasd | Scasq => Plan::Compare,
        _ => Plan::Repeat,
    };
    if insn.has_segment_prefix() || !has_wide_pointers { Plan::Repeat } else { plan }
}

/// Whether the target of a direct branch can be written as a distance from the start of the page.
fn is_near(insn: &Instruction) -> bool {
    const MOST: u64 = i32::MAX as u64 - 0x2000;
    match insn.op0_kind() {
        OpKind::NearBranch64 => (insn.near_branch64() as i64).unsigned_abs() < MOST,
        OpKind::NearBranch32 => u64::from((insn.near_branch32() as i32).unsigned_abs()) < MOST,
        OpKind::NearBranch16 => false,
        _ => true,
    }
}

/// Whether the instruction reads or changes the x87 unit, MMX registers included.
fn touches_x87(insn: &Instruction) -> bool {
    use CpuidFeature::*;
    let is_unit = |register: Register| register.is_st() || register.is_mm();
    insn.is_save_restore_instruction()
        || insn
            .cpuid_features()
            .iter()
            .any(|feature| matches!(feature, FPU | FPU287 | FPU287XL_ONLY | FPU387 | FPU387SL_ONLY | MMX | FXSR))
        || (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && is_unit(insn.op_register(n)))
}

/// Whether the x87 unit remembers the instruction as its last: control and MMX instructions it does not.
pub(super) fn is_remembered(insn: &Instruction) -> bool {
    use CpuidFeature::{FPU, FPU287, FPU387};
    let is_of_unit = insn.cpuid_features().iter().any(|feature| matches!(feature, FPU | FPU287 | FPU387));
    is_of_unit
        && !matches!(
            insn.mnemonic(),
            Mnemonic::Fnstcw
                | Mnemonic::Fldcw
                | Mnemonic::Fnstsw
                | Mnemonic::Fnclex
                | Mnemonic::Fninit
                | Mnemonic::Fneni
                | Mnemonic::Fndisi
                | Mnemonic::Fnsetpm
        )
}

fn pushes_selector(insn: &Instruction) -> bool {
    insn.op0_kind() == OpKind::Register && insn.op0_register().is_segment_register()
}

/// Whether the instruction jumps by a count in RCX that is as wide as an address.
fn is_count_branch(insn: &Instruction, mode: Mode) -> bool {
    if narrow::is_narrow(mode) {
        return matches!(insn.code(), Code::Jecxz_rel8_32 | Code::Loop_rel8_32_ECX);
    }
    insn.mnemonic() == Mnemonic::Jrcxz
}

/// Whether the memory operand, where there is one, is made of general-purpose registers or RIP, and its segment asks for
/// nothing that translated code does not do.
fn can_address(insn: &Instruction, lowered: &Insn, mode: Mode) -> bool {
    if !(0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory) {
        return true;
    }
    if narrow::is_narrow(mode) {
        let is_simple = lowered.segment.is_flat() || matches!(lowered.segment.index(), SegmentIndex::Fs | SegmentIndex::Gs);
        return is_simple && lowered.address_width == Width::Dword;
    }
    let is_plain = |register: Register| register == Register::None || register.is_gpr64() || register.is_gpr32();
    // RIP with a 32-bit address size is too rare to be worth its code.
    (is_plain(insn.memory_base()) || insn.memory_base() == Register::RIP) && is_plain(insn.memory_index())
}

/// Whether the host, given the instruction with other registers and another address, does what the guest asked for.
fn is_reencodable(host: &HostInstructions, insn: &Instruction) -> bool {
    if !matches!(insn.encoding(), EncodingKind::Legacy | EncodingKind::VEX) || !host.execute(insn) {
        return false;
    }
    if insn.is_privileged() || insn.is_stack_instruction() || insn.is_save_restore_instruction() || insn.is_string_instruction() {
        return false;
    }
    if insn.is_vsib() {
        return false;
    }
    let is_plain_operand = |n| match insn.op_kind(n) {
        OpKind::Register => {
            let register = insn.op_register(n);
            register.is_gpr() || register.is_xmm() || register.is_ymm() || register.is_st() || register.is_mm()
        }
        OpKind::Memory
        | OpKind::Immediate8
        | OpKind::Immediate8_2nd
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => true,
        _ => false,
    };
    if !(0..insn.op_count()).all(is_plain_operand) {
        return false;
    }
    use Mnemonic::*;
    // What depends on more of the processor than its registers, or changes how it goes on.
    !matches!(
        insn.mnemonic(),
        Cpuid
            | Rdtsc
            | Rdtscp
            | Rdpmc
            | Rdpid
            | Rdrand
            | Rdseed
            | Xgetbv
            | In
            | Out
            | Cli
            | Sti
            | Cld
            | Std
            | Clac
            | Stac
            | Hlt
            | Pause
            | Sgdt
            | Sidt
            | Sldt
            | Str
            | Smsw
            | Lar
            | Lsl
            | Lfs
            | Lgs
            | Lss
            | Verr
            | Verw
            | Clflush
            | Clflushopt
            | Clwb
            | Monitor
            | Mwait
            | Serialize
            | Rdfsbase
            | Rdgsbase
            | Wrfsbase
            | Wrgsbase
            | Swapgs
            | Xlatb
            | Maskmovq
            | Maskmovdqu
            | Vmaskmovdqu
            | Ud0
            | Ud1
            | Ud2
            | Rsm
            | Xabort
            | Xbegin
            | Xend
            | Xtest
            | Bound
            | Into
            | Vzeroall
            | Ldmxcsr
            | Vldmxcsr
            | Wait
            | Fldenv
            | Fnstenv
            | Frstor
            | Fnsave
    ) && !is_bit_string(insn)
}

/// A control register that only a move to it changes, and page faults.
fn is_plain_control(register: Register) -> bool {
    matches!(register, Register::CR0 | Register::CR2 | Register::CR3 | Register::CR4)
}

/// MOV from a segment register to a general one.
fn reads_selector(insn: &Instruction) -> bool {
    insn.op1_kind() == OpKind::Register && insn.op1_register().is_segment_register() && insn.op0_kind() == OpKind::Register
}

/// A bit in memory whose number is in a register may lie anywhere.
fn is_bit_string(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
        && insn.op0_kind() == OpKind::Memory
        && insn.op1_kind() == OpKind::Register
}

/// AH to BH cannot be named beside R8 to R15, which the address and some operands become.
fn needs_high_byte_with_rex(insn: &Instruction) -> bool {
    let is_high = |n| {
        insn.op_kind(n) == OpKind::Register
            && matches!(insn.op_register(n), Register::AH | Register::CH | Register::DH | Register::BH)
    };
    let needs_rex = |n| match insn.op_kind(n) {
        OpKind::Memory => true,
        OpKind::Register => matches!(insn.op_register(n).full_register(), Register::RSP) || insn.op_register(n) == Register::SPL,
        _ => false,
    };
    (0..insn.op_count()).any(is_high) && (0..insn.op_count()).any(needs_rex)
}

/// Where AH to BH is the only register among the operands, beside memory that is not addressed by the register that it is part of:
/// the number of that, which can be turned around for as long as the instruction takes, so that the lowest byte is meant.
pub(super) fn turned(insn: &Instruction) -> Option<u8> {
    use Mnemonic::*;
    let is_plain = matches!(insn.mnemonic(), Mov | Add | Adc | Sub | Sbb | And | Or | Xor | Cmp | Test) && insn.op_count() == 2;
    let (register, memory) = match (insn.op0_kind(), insn.op1_kind()) {
        (OpKind::Register, kind) => (insn.op0_register(), kind),
        (kind, _) => (insn.op1_register(), kind),
    };
    let is_high = matches!(register, Register::AH | Register::CH | Register::DH | Register::BH);
    let whole = register.full_register();
    let is_address = [insn.memory_base(), insn.memory_index()].iter().any(|part| part.full_register() == whole);
    (is_plain && is_high && memory == OpKind::Memory && !is_address).then(|| whole.number() as u8)
}

fn may_fault(insn: &Instruction, memory: Option<MemoryUse>) -> bool {
    let is_vector = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_vector_register());
    is_vector || memory.is_some() || touches_x87(insn) || matches!(insn.mnemonic(), Mnemonic::Div | Mnemonic::Idiv)
}
