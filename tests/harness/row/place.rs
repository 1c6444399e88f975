//! What the names in a row mean: the parts of a processor's state, each readable and writable as a number.

use dragoman_state::{
    Activity, ApicBase, Attributes, Cr0, Cr4, Dr6, Dr7, Efer, F80, Gpr, InterruptShadow, Msrs, Mxcsr, RFlags, Segment,
    SegmentIndex, StatusWord, VcpuState, Xcr0,
};

use super::{Value, names};

/// Which bits of a general-purpose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All 64.
    Qword,
    /// The low 32.
    Dword,
    /// The low 16.
    Word,
    /// The low 8.
    Byte,
    /// Bits 8 to 15.
    HighByte,
}

/// Which part of a segment register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The visible selector. Given in a row, the hidden parts follow from the tables.
    Selector,
    /// Base.
    Base,
    /// Limit, in bytes.
    Limit,
    /// Access rights.
    Attributes,
}

/// A segment register of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentName {
    /// ES to GS.
    Data(SegmentIndex),
    /// The local descriptor table's.
    Ldtr,
    /// The task register.
    Tr,
}

/// A model-specific register, or something like one, that is a plain number in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub enum Model {
    Star,
    Lstar,
    Cstar,
    Fmask,
    KernelGsBase,
    TscAux,
    TscAdjust,
    SysenterCs,
    SysenterEsp,
    SysenterEip,
    Pat,
    MiscEnable,
    DebugCtl,
    SpecCtrl,
    ApicBase,
    MtrrDefType,
}

/// A part of a processor's state that a row can name, memory and ports apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub enum Place {
    Gpr(u8, Part),
    Rip,
    Flag(RFlags),
    Rflags,
    Segment(SegmentName, Field),
    GdtrBase,
    GdtrLimit,
    IdtrBase,
    IdtrLimit,
    Cr0(u64),
    Cr2,
    Cr3,
    Cr4(u64),
    Cr8,
    Breakpoint(u8),
    Dr6,
    Dr7,
    Efer(u64),
    Xcr0,
    Pkru,
    Model(Model),
    Mxcsr,
    Fcw,
    Fsw(u16),
    Ftw,
    Fip,
    Fdp,
    Fop,
    Fcs,
    Fds,
    St(u8),
    Mm(u8),
    Xmm(u8),
    Ymm(u8),
    Activity,
    Shadow,
}

/// `value` shifted down to where `mask` begins.
fn field_of(value: u64, mask: u64) -> u64 {
    (value & mask) >> mask.trailing_zeros()
}

/// `old` with `value` in the bits of `mask`.
fn with_field(old: u64, mask: u64, value: u64) -> u64 {
    old & !mask | value << mask.trailing_zeros() & mask
}

impl Place {
    /// The place that rows call `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        names::parse(name)
    }

    /// Every place, each once: whole registers, single flags and fields.
    pub fn all() -> impl Iterator<Item = Self> {
        names::all()
    }

    /// How many bits it has.
    pub fn bits(self) -> u32 {
        match self {
            Self::Gpr(_, Part::Qword) => 64,
            Self::Gpr(_, Part::Dword) => 32,
            Self::Gpr(_, Part::Word) => 16,
            Self::Gpr(_, Part::Byte | Part::HighByte) => 8,
            Self::Flag(flag) => flag.bits().count_ones(),
            Self::Cr0(mask) | Self::Cr4(mask) | Self::Efer(mask) => mask.count_ones(),
            Self::Fsw(mask) => mask.count_ones(),
            Self::Segment(_, Field::Selector)
            | Self::GdtrLimit
            | Self::IdtrLimit
            | Self::Fcw
            | Self::Fop
            | Self::Fcs
            | Self::Fds => 16,
            Self::Segment(_, Field::Limit | Field::Attributes) | Self::Mxcsr | Self::Pkru => 32,
            Self::Ftw => 8,
            Self::St(_) => 80,
            Self::Xmm(_) => 128,
            Self::Ymm(_) => 256,
            Self::Activity | Self::Shadow | Self::Cr8 => 8,
            Self::Rip
            | Self::Rflags
            | Self::Segment(_, Field::Base)
            | Self::GdtrBase
            | Self::IdtrBase
            | Self::Cr2
            | Self::Cr3
            | Self::Breakpoint(_)
            | Self::Dr6
            | Self::Dr7
            | Self::Xcr0
            | Self::Model(_)
            | Self::Fip
            | Self::Fdp
            | Self::Mm(_) => 64,
        }
    }

    /// Whether its values are written as plain hexadecimal digits, all of them.
    pub const fn is_hexadecimal(self) -> bool {
        matches!(self, Self::St(_) | Self::Mm(_) | Self::Xmm(_) | Self::Ymm(_))
    }

    /// Whether user code sees it, so that the host's processor can be given it and asked for it.
    pub const fn is_user_visible(self) -> bool {
        match self {
            Self::Gpr(..)
            | Self::Rip
            | Self::Flag(_)
            | Self::Rflags
            | Self::Segment(SegmentName::Data(_), Field::Selector)
            | Self::Segment(SegmentName::Data(SegmentIndex::Fs | SegmentIndex::Gs), Field::Base)
            | Self::Mxcsr
            | Self::Fcw
            | Self::Fsw(_)
            | Self::Ftw
            | Self::Fip
            | Self::Fdp
            | Self::Fop
            | Self::St(_)
            | Self::Mm(_)
            | Self::Xmm(_)
            | Self::Ymm(_) => true,
            Self::Segment(..)
            | Self::GdtrBase
            | Self::GdtrLimit
            | Self::IdtrBase
            | Self::IdtrLimit
            | Self::Cr0(_)
            | Self::Cr2
            | Self::Cr3
            | Self::Cr4(_)
            | Self::Cr8
            | Self::Breakpoint(_)
            | Self::Dr6
            | Self::Dr7
            | Self::Efer(_)
            | Self::Xcr0
            | Self::Pkru
            | Self::Model(_)
            | Self::Fcs
            | Self::Fds
            | Self::Activity
            | Self::Shadow => false,
        }
    }

    /// What comes first when several places are set: a stack register needs the top of the stack, a tag takes precedence
    /// over what naming a register implies, a base over what a selector implies.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Segment(_, Field::Selector) | Self::Rflags => 0,
            Self::St(_) | Self::Mm(_) => 2,
            Self::Ftw => 3,
            _ => 1,
        }
    }

    /// What it holds.
    pub fn get(self, state: &VcpuState) -> Value {
        match self {
            Self::St(n) => {
                let F80 { significand, sign_exponent } = state.x87.registers[(state.x87.top() + usize::from(n)) % 8];
                Value([significand, sign_exponent.into(), 0, 0, 0, 0, 0, 0])
            }
            Self::Xmm(n) | Self::Ymm(n) => Value(state.vectors.registers[usize::from(n)]).truncated(self.bits()),
            _ => Value::from(self.get_small(state)),
        }
    }

    fn get_small(self, state: &VcpuState) -> u64 {
        match self {
            Self::Gpr(n, part) => {
                let whole = state.gpr[Gpr(n)];
                match part {
                    Part::Qword => whole,
                    Part::Dword => whole & 0xffff_ffff,
                    Part::Word => whole & 0xffff,
                    Part::Byte => whole & 0xff,
                    Part::HighByte => whole >> 8 & 0xff,
                }
            }
            Self::Rip => state.rip,
            Self::Flag(flag) => field_of(state.rflags.bits(), flag.bits()),
            Self::Rflags => state.rflags.bits(),
            Self::Segment(name, field) => {
                let segment = segment_of(state, name);
                match field {
                    Field::Selector => segment.selector.into(),
                    Field::Base => segment.base,
                    Field::Limit => segment.limit.into(),
                    Field::Attributes => segment.attributes.0.into(),
                }
            }
            Self::GdtrBase => state.gdtr.base,
            Self::GdtrLimit => state.gdtr.limit.into(),
            Self::IdtrBase => state.idtr.base,
            Self::IdtrLimit => state.idtr.limit.into(),
            Self::Cr0(mask) => field_of(state.cr0.bits(), mask),
            Self::Cr2 => state.cr2,
            Self::Cr3 => state.cr3,
            Self::Cr4(mask) => field_of(state.cr4.bits(), mask),
            Self::Cr8 => u64::from(state.lapic.task_priority >> 4),
            Self::Breakpoint(n) => state.breakpoints[usize::from(n)],
            Self::Dr6 => state.dr6.bits(),
            Self::Dr7 => state.dr7.bits(),
            Self::Efer(mask) => field_of(state.efer.bits(), mask),
            Self::Xcr0 => state.xcr0.bits(),
            Self::Pkru => state.pkru.into(),
            Self::Model(register) => model(&mut state.msrs.clone(), register, |slot| *slot),
            Self::Mxcsr => state.vectors.mxcsr.bits().into(),
            Self::Fcw => state.x87.control.into(),
            Self::Fsw(mask) => field_of(state.x87.status.bits().into(), mask.into()),
            Self::Ftw => state.x87.valid.into(),
            Self::Fip => state.x87.instruction_pointer,
            Self::Fdp => state.x87.data_pointer,
            Self::Fop => state.x87.opcode.into(),
            Self::Fcs => state.x87.instruction_selector.into(),
            Self::Fds => state.x87.data_selector.into(),
            Self::Mm(n) => state.x87.mmx(n),
            Self::Activity => state.events.activity as u64,
            Self::Shadow => state.events.shadow as u64,
            Self::St(_) | Self::Xmm(_) | Self::Ymm(_) => 0,
        }
    }

    /// Makes it hold `value`. A selector is set alone; its hidden parts are the caller's.
    pub fn set(self, state: &mut VcpuState, value: Value) {
        let low = value.low();
        match self {
            Self::Gpr(n, part) => {
                let slot = &mut state.gpr[Gpr(n)];
                *slot = match part {
                    Part::Qword => low,
                    Part::Dword => *slot & !0xffff_ffff | low,
                    Part::Word => *slot & !0xffff | low,
                    Part::Byte => *slot & !0xff | low,
                    Part::HighByte => *slot & !0xff00 | low << 8,
                };
            }
            Self::Rip => state.rip = low,
            Self::Flag(flag) => {
                state.rflags = RFlags::from_bits_retain(with_field(state.rflags.bits(), flag.bits(), low));
            }
            Self::Rflags => state.rflags = RFlags::from_bits_retain(low),
            Self::Segment(name, field) => {
                let segment = segment_slot(state, name);
                match field {
                    Field::Selector => segment.selector = low as u16,
                    Field::Base => segment.base = low,
                    Field::Limit => segment.limit = low as u32,
                    Field::Attributes => segment.attributes = Attributes(low as u32),
                }
            }
            Self::GdtrBase => state.gdtr.base = low,
            Self::GdtrLimit => state.gdtr.limit = low as u16,
            Self::IdtrBase => state.idtr.base = low,
            Self::IdtrLimit => state.idtr.limit = low as u16,
            Self::Cr0(mask) => state.cr0 = Cr0::from_bits_retain(with_field(state.cr0.bits(), mask, low)),
            Self::Cr2 => state.cr2 = low,
            Self::Cr3 => state.cr3 = low,
            Self::Cr4(mask) => state.cr4 = Cr4::from_bits_retain(with_field(state.cr4.bits(), mask, low)),
            Self::Cr8 => state.lapic.task_priority = (low as u8) << 4,
            Self::Breakpoint(n) => state.breakpoints[usize::from(n)] = low,
            Self::Dr6 => state.dr6 = Dr6::from_bits_retain(low),
            Self::Dr7 => state.dr7 = Dr7::from_bits_retain(low),
            Self::Efer(mask) => state.efer = Efer::from_bits_retain(with_field(state.efer.bits(), mask, low)),
            Self::Xcr0 => state.xcr0 = Xcr0::from_bits_retain(low),
            Self::Pkru => state.pkru = low as u32,
            Self::Model(register) => model(&mut state.msrs, register, |slot| *slot = low),
            Self::Mxcsr => state.vectors.mxcsr = Mxcsr::from_bits_retain(low as u32),
            Self::Fcw => state.x87.control = low as u16,
            Self::Fsw(mask) => {
                let bits = with_field(state.x87.status.bits().into(), mask.into(), low) as u16;
                state.x87.status = StatusWord::from_bits_retain(bits);
            }
            Self::Ftw => state.x87.valid = low as u8,
            Self::Fip => state.x87.instruction_pointer = low,
            Self::Fdp => state.x87.data_pointer = low,
            Self::Fop => state.x87.opcode = low as u16,
            Self::Fcs => state.x87.instruction_selector = low as u16,
            Self::Fds => state.x87.data_selector = low as u16,
            Self::St(n) => {
                let top = state.x87.top();
                state.x87.registers[(top + usize::from(n)) % 8] = F80 { significand: low, sign_exponent: value.0[1] as u16 };
            }
            Self::Mm(n) => state.x87.set_mmx(n, low),
            Self::Xmm(n) => state.vectors.registers[usize::from(n)][..2].copy_from_slice(&value.0[..2]),
            Self::Ymm(n) => state.vectors.registers[usize::from(n)][..4].copy_from_slice(&value.0[..4]),
            Self::Activity => state.events.activity = activity(low),
            Self::Shadow => state.events.shadow = shadow(low),
        }
    }
}

fn activity(number: u64) -> Activity {
    match number {
        1 => Activity::Halted,
        2 => Activity::WaitForSipi,
        3 => Activity::Shutdown,
        _ => Activity::Running,
    }
}

fn shadow(number: u64) -> InterruptShadow {
    match number {
        1 => InterruptShadow::Sti,
        2 => InterruptShadow::MovSs,
        _ => InterruptShadow::None,
    }
}

/// The register that `name` names.
pub fn segment_of(state: &VcpuState, name: SegmentName) -> &Segment {
    match name {
        SegmentName::Data(index) => state.segment(index),
        SegmentName::Ldtr => &state.ldtr,
        SegmentName::Tr => &state.tr,
    }
}

/// The register that `name` names, to be changed.
pub fn segment_slot(state: &mut VcpuState, name: SegmentName) -> &mut Segment {
    match name {
        SegmentName::Data(index) => state.segment_mut(index),
        SegmentName::Ldtr => &mut state.ldtr,
        SegmentName::Tr => &mut state.tr,
    }
}

/// Gives `work` the slot of `register`.
fn model<R>(msrs: &mut Msrs, register: Model, work: impl FnOnce(&mut u64) -> R) -> R {
    let slot = match register {
        Model::Star => &mut msrs.star,
        Model::Lstar => &mut msrs.lstar,
        Model::Cstar => &mut msrs.cstar,
        Model::Fmask => &mut msrs.fmask,
        Model::KernelGsBase => &mut msrs.kernel_gs_base,
        Model::TscAux => &mut msrs.tsc_aux,
        Model::TscAdjust => &mut msrs.tsc_adjust,
        Model::SysenterCs => &mut msrs.sysenter_cs,
        Model::SysenterEsp => &mut msrs.sysenter_esp,
        Model::SysenterEip => &mut msrs.sysenter_eip,
        Model::Pat => &mut msrs.pat,
        Model::MiscEnable => &mut msrs.misc_enable,
        Model::DebugCtl => &mut msrs.debugctl,
        Model::SpecCtrl => &mut msrs.spec_ctrl,
        Model::MtrrDefType => &mut msrs.mtrr_default_type,
        Model::ApicBase => {
            let mut bits = msrs.apic_base.bits();
            let result = work(&mut bits);
            msrs.apic_base = ApicBase::from_bits_retain(bits);
            return result;
        }
    };
    work(slot)
}
