//! Where the guest's arithmetic flags are, and how they get from the host's to memory and back.
//!
//! Rule of this file: the flags are exact at every place where code can be left. A probe overwrites the host's, so before
//! the first one they are saved, unless they follow from registers ([`Recipe`]); an instruction that reads flags, or writes
//! some of them and keeps others, has them back first. What nobody can see before it is overwritten is kept nowhere.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Code, Instruction, Mnemonic, OpKind, RflagsBits};

use super::{
    Recipe, Work,
    plan::{Plan, Step},
};

/// Where the guest's flags are, to whoever takes over from translated code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlagHome {
    /// In the host's flags.
    #[default]
    Host,
    /// In [`Frame::flags`](crate::Frame::flags).
    Memory,
    /// In both places.
    Both,
    /// In neither: they follow from the guest's registers.
    Recipe(Recipe),
    /// Where [`Frame::recipe`](crate::Frame::recipe) says: they follow from registers, or are in memory where that is zero.
    Told,
}

/// What is known of the guest's flags at a place of the code under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    /// The host's are the guest's.
    pub host: bool,
    /// Those in memory are.
    pub memory: bool,
    /// They follow from registers.
    pub recipe: Option<Recipe>,
    /// Whoever takes over finds them, and only they: those in memory are not to be read.
    pub is_told: bool,
}

impl Flags {
    pub const HOST: Self = Self { host: true, memory: false, recipe: None, is_told: false };
    pub const MEMORY: Self = Self { host: false, memory: true, recipe: None, is_told: false };
    pub const BOTH: Self = Self { host: true, memory: true, recipe: None, is_told: false };
    pub const TOLD: Self = Self { is_told: true, ..Self::MEMORY };

    /// Where whoever takes over here finds them.
    pub fn home(self) -> FlagHome {
        match self {
            Self { is_told: true, .. } => FlagHome::Told,
            Self { host: true, memory: true, .. } => FlagHome::Both,
            Self { memory: true, .. } => FlagHome::Memory,
            Self { host: false, recipe: Some(recipe), .. } => FlagHome::Recipe(recipe),
            Self { .. } => FlagHome::Host,
        }
    }
}

/// What an instruction does to the arithmetic flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// It reads some, and writes none.
    Reads,
    /// It writes all, whatever they were.
    Replaces,
    /// It reads and then writes all.
    Combines,
    /// It writes all but CF.
    KeepsCarry,
    /// It writes some and keeps others, or may keep all.
    Changes,
    /// The same, and it reads some.
    ReadsAndChanges,
}

impl Effect {
    /// What `insn` does when a host executes it.
    pub fn of(insn: &Instruction) -> Self {
        const ALL: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::PF | RflagsBits::CF;
        let reads = insn.rflags_read() & ALL != 0;
        let writes = insn.rflags_modified() & ALL;
        match (reads, writes) {
            (false, 0) => Self::None,
            (true, 0) => Self::Reads,
            _ if matches!(insn.mnemonic(), Mnemonic::Inc | Mnemonic::Dec) => Self::KeepsCarry,
            (false, ALL) if !may_keep(insn) => Self::Replaces,
            (true, ALL) if !may_keep(insn) => Self::Combines,
            (false, _) => Self::Changes,
            (true, _) => Self::ReadsAndChanges,
        }
    }

    /// Whether it can be told from the flags afterwards, or from what the instruction does, what they were before, given
    /// whether somebody sees the flags afterwards.
    pub fn needs_earlier(self, is_seen_later: bool) -> bool {
        match self {
            Self::None | Self::KeepsCarry | Self::Changes => is_seen_later,
            Self::Replaces => false,
            Self::Reads | Self::Combines | Self::ReadsAndChanges => true,
        }
    }

    /// Whether the host's flags must be the guest's when it is executed.
    fn is_keeping(self) -> bool {
        !matches!(self, Self::None | Self::Replaces)
    }
}

/// Whether a host may leave flags as they were though the manual calls them changed or undefined.
fn may_keep(insn: &Instruction) -> bool {
    match insn.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Shld | Mnemonic::Shrd => {
            let last = insn.op_count() - 1;
            insn.op_kind(last) != OpKind::Immediate8 && !is_by_one(insn) || is_by_one_maybe_zero(insn, last)
        }
        Mnemonic::Bsf | Mnemonic::Bsr | Mnemonic::Div | Mnemonic::Idiv => true,
        _ => false,
    }
}

fn is_by_one(insn: &Instruction) -> bool {
    use Code::*;
    matches!(
        insn.code(),
        Shl_rm8_1
            | Shl_rm16_1
            | Shl_rm32_1
            | Shl_rm64_1
            | Sal_rm8_1
            | Sal_rm16_1
            | Sal_rm32_1
            | Sal_rm64_1
            | Shr_rm8_1
            | Shr_rm16_1
            | Shr_rm32_1
            | Shr_rm64_1
            | Sar_rm8_1
            | Sar_rm16_1
            | Sar_rm32_1
            | Sar_rm64_1
    )
}

/// A count of zero, once masked, changes nothing.
fn is_by_one_maybe_zero(insn: &Instruction, last: u32) -> bool {
    insn.op_kind(last) == OpKind::Immediate8 && insn.immediate8() & 0x1f == 0
}

/// For each instruction, and for the end: whether the flags as they are before it can be seen, by it or by anybody later,
/// before they are replaced.
pub(super) fn seen(steps: &[Step]) -> Vec<bool> {
    let mut seen = vec![true; steps.len() + 1];
    for (n, step) in steps.iter().enumerate().rev() {
        let can_leave = step.may_be_left_at() || step.may_fault;
        seen[n] = can_leave || step.effect.needs_earlier(seen[n + 1]);
    }
    seen
}

/// Where a block of `steps` wants the flags at its start, in the host's or in memory: where the first instruction that
/// cares needs them.
pub(super) fn at_start(steps: &[Step]) -> Flags {
    for step in steps {
        match (step.plan, step.effect) {
            (Plan::Branch, _) => return Flags::HOST,
            (Plan::Native, effect) => {
                if step.memory.is_some() || step.touches_x87 {
                    return Flags::MEMORY;
                }
                match effect {
                    _ if effect.is_keeping() => return Flags::HOST,
                    _ if step.may_fault => return Flags::MEMORY,
                    Effect::Replaces => return Flags::HOST,
                    _ => {}
                }
            }
            (Plan::Nothing | Plan::Address, _) => {}
            _ => return Flags::MEMORY,
        }
    }
    Flags::MEMORY
}

/// Whether a block of `steps` can be entered without the flags in either place: nobody reads them before they are replaced,
/// and all that is needed is that whoever takes over is told how they follow from registers. Returns the registers from
/// which they must not follow, a bit for each, because they are written before. `seen` is as [`seen`] says.
pub(super) fn may_be_told(steps: &[Step], seen: &[bool]) -> Option<u16> {
    let (mut written, mut forbidden) = (0, 0);
    for (step, is_seen_later) in steps.iter().zip(&seen[1..]) {
        let can_be = match step.plan {
            Plan::Nothing | Plan::Address | Plan::Native | Plan::Push | Plan::Pop => !step.touches_x87,
            _ => false,
        };
        if !can_be {
            return None;
        }
        if step.memory.is_some() || step.may_fault || matches!(step.plan, Plan::Push | Plan::Pop) {
            forbidden |= written;
        }
        match step.effect {
            Effect::None => written |= step.written,
            effect if effect.needs_earlier(*is_seen_later) => return None,
            _ => return Some(forbidden),
        }
    }
    None
}

impl Work<'_> {
    /// Tells whoever takes over in the next block how the host's flags follow from registers, where that is known. Returns
    /// from which, a bit for each. No flag is lost.
    pub(super) fn tell_recipe(&mut self) -> u16 {
        let Some((recipe, number)) = self.flags.recipe.and_then(|recipe| Some((recipe, recipe.number()?))) else { return 0 };
        let at = self.layout.recipe();
        dynasm!(self.code ; .arch x64 ; gs mov DWORD [at], number as i32);
        recipe.registers()
    }

    /// Sees to it that the flags are in memory. R11 is lost, and no flag.
    pub(super) fn save_flags(&mut self) {
        if self.flags.memory {
            return;
        }
        self.regain_by_recipe();
        let flags = self.layout.flags();
        dynasm!(self.code ; .arch x64 ; mov r11, rax ; lahf ; seto al ; gs mov [flags], ax ; mov rax, r11);
        self.flags.memory = true;
    }

    /// What follows overwrites the host's flags; whoever takes over then is to know what they were. R11 is lost.
    pub(super) fn give_up_host_flags(&mut self) {
        if self.flags.recipe.is_none() {
            self.save_flags();
        }
        self.flags.host = false;
    }

    /// The same, and they must be in memory.
    pub(super) fn leave_flags_in_memory(&mut self) {
        self.save_flags();
        self.flags = Flags::MEMORY;
    }

    fn regain_by_recipe(&mut self) {
        if let (false, Some(recipe)) = (self.flags.host, self.flags.recipe) {
            self.recompute(recipe);
            self.flags.host = true;
        }
    }

    /// Sees to it that the flags are in the host's too. R11 is lost. What is loaded is as wide as what was stored: wider, it
    /// would have to wait until the store is done.
    pub(super) fn want_host_flags(&mut self) {
        self.regain_by_recipe();
        if !self.flags.host {
            let flags = self.layout.flags();
            dynasm!(self.code ; .arch x64 ; mov r11, rax ; gs movzx eax, WORD [flags] ; add al, 0x7f ; sahf ; mov rax, r11);
            self.flags.host = true;
        }
    }

    /// Whether [`Work::before`] loses R11.
    pub(super) fn loses_r11_before(&self, effect: Effect) -> bool {
        let is_seen = effect.needs_earlier(self.seen[self.number + 1]);
        effect.is_keeping() && is_seen && !self.flags.host
    }

    /// Prepares the host's flags for an instruction with `effect`, which follows at once. R11 is lost where
    /// [`Work::loses_r11_before`] says so.
    pub(super) fn before(&mut self, effect: Effect) {
        if !self.loses_r11_before(effect) {
            return;
        }
        if effect == Effect::KeepsCarry && self.flags.memory {
            // CF is bit 0 of AH.
            let flags = self.layout.flags();
            dynasm!(self.code ; .arch x64 ; gs bt WORD [flags], 8);
        } else {
            self.want_host_flags();
        }
    }

    /// Where the flags are after the instruction under way, which had `effect`.
    pub(super) fn after(&mut self, effect: Effect) {
        match effect {
            Effect::None | Effect::Reads => {}
            Effect::Replaces => self.flags = Flags { recipe: Recipe::after(self.original()), ..Flags::HOST },
            _ => self.flags = Flags::HOST,
        }
    }

    /// Before the instruction under way: what follows from registers that it writes alone is brought where it stays. R11 is
    /// lost.
    pub(super) fn before_writing(&mut self, step: &Step) {
        // Where the instruction is executed elsewhere, the flags are brought back from there.
        let is_elsewhere = matches!(step.plan, Plan::Interpret | Plan::InterpretLast | Plan::Repeat);
        let is_needed = !is_elsewhere
            && self.flags.recipe.is_some_and(|recipe| recipe.registers() & step.written != 0)
            && step.effect.needs_earlier(self.seen[self.number + 1]);
        if is_needed && (!self.flags.host || self.overwrites_host_flags(step)) {
            self.save_flags();
        }
    }

    /// Whether the code for the instruction under way overwrites the host's flags before it is done.
    fn overwrites_host_flags(&self, step: &Step) -> bool {
        match step.plan {
            Plan::Nothing | Plan::Address | Plan::Branch => false,
            Plan::Native if step.memory.is_none() => step.touches_x87,
            Plan::Native | Plan::Push | Plan::Pop | Plan::Call | Plan::Return => {
                self.groups.member(self.number).is_none_or(|member| member.is_leader)
            }
            _ => true,
        }
    }

    /// After it: what followed from them no longer does.
    pub(super) fn after_writing(&mut self, written: u16) {
        if self.flags.recipe.is_some_and(|recipe| recipe.registers() & written != 0) {
            self.flags.recipe = None;
        }
    }
}
