//! Groups of accesses off one base: one probe for all of them.
//!
//! Rule of this file: a group's first instruction, its leader, finds the whole range that the group accesses, in one page. Where
//! the base is a register of the host's, the others add the distance from guest to host address that it left behind; where it is a
//! sum, they find the host address of the range's start there. A group is over where its base is written in
//! a way that is not known, and where the code could be left and come back: what the leader found is good for one way
//! through the block. Where a leader does not find its range, the block goes on in a copy of itself without groups, so no
//! access that may never be made faults, and each that does faults alone.

use dragoman_frontend::decode::Mode;
use dragoman_state::PAGE_SIZE;
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::{
    memory::displacement,
    narrow::is_narrow,
    plan::{Plan, Step},
    registers::{Home, home, number},
};

/// The longest range that one probe finds. A longer one crosses into another page more often.
pub(crate) const LONGEST: i64 = 512;
/// Groups whose distance is in memory, at once.
pub(super) const SLOTS: u8 = 4;
const RSP: u8 = 4;

/// What the displacements of a group's accesses are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A register of the guest's that is one of the host's.
    Register(u8),
    /// The base of a segment, if it is not zero, a register, and a register multiplied. The first register may be RIP.
    Sum { segment: Register, base: Register, index: Register, scale: u32 },
}

/// Where a group's distance from guest to host address is, or its host address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distance {
    /// In R14.
    Register,
    /// In this slot of [`Frame::distances`](crate::Frame::distances).
    Slot(u8),
}

/// Accesses off one base register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// What all of them add to.
    pub base: Base,
    /// Where the range begins: its distance from what the base holds at the leader.
    pub low: i32,
    /// How long it is.
    pub length: u32,
    /// Whether any of them writes.
    pub is_write: bool,
    pub distance: Distance,
    first: usize,
    last: usize,
    members: u32,
}

/// An instruction's part in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub group: Group,
    /// How far from the range's start its access begins.
    pub offset: i32,
    /// It finds the range for the others.
    pub is_leader: bool,
}

/// The groups of a block.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: Vec<Group>,
    /// For each instruction: its group, and where its access begins: its distance from what the base holds at the leader.
    of: Vec<Option<(usize, i64)>>,
}

impl Groups {
    /// Those of a block.
    pub fn of(steps: &[Step], originals: &[Instruction], mode: Mode, page_offset: u16) -> Self {
        let mut search = Search { found: Vec::new(), open: Vec::new(), branches: 0, is_narrow: is_narrow(mode), page_offset };
        let mut of = Vec::with_capacity(steps.len());
        for (n, (step, insn)) in steps.iter().zip(originals).enumerate() {
            of.push(search.step(n, step, insn));
        }
        let mut groups = Self { all: search.found, of };
        groups.settle();
        groups
    }

    /// The part of instruction `n`.
    pub fn member(&self, n: usize) -> Option<Member> {
        let (group, start) = self.of.get(n).copied().flatten()?;
        let group = self.all[group];
        Some(Member { group, offset: (start - i64::from(group.low)) as i32, is_leader: group.first == n })
    }

    /// How many accesses need no probe of their own.
    pub fn saved_probes(&self) -> usize {
        self.all.iter().map(|group| group.members.saturating_sub(1) as usize).sum()
    }

    /// Whether some group's distance is needed after instruction `n`, which was found before.
    pub fn is_open_after(&self, n: usize) -> bool {
        self.all.iter().any(|group| group.members > 1 && group.first <= n && n < group.last)
    }

    /// Whether R14 holds something at instruction `n`, or after it.
    pub fn has_register_at(&self, n: usize) -> bool {
        self.all
            .iter()
            .any(|group| group.members > 1 && group.distance == Distance::Register && group.first <= n && n <= group.last)
    }

    /// Decides where each group's distance is: the largest come first. One without others, or without a place, is none.
    fn settle(&mut self) {
        let mut order: Vec<usize> = (0..self.all.len()).filter(|n| self.all[*n].members > 1).collect();
        order.sort_by_key(|n| std::cmp::Reverse(self.all[*n].members));
        let register = std::iter::once(Distance::Register);
        let places: Vec<Distance> = register.chain((0..SLOTS).map(Distance::Slot)).collect();
        let mut settled: Vec<Group> = Vec::new();
        for n in order {
            let group = self.all[n];
            let is_free = |place: &&Distance| {
                settled.iter().all(|other| other.distance != **place || other.last < group.first || group.last < other.first)
            };
            // An address is used as often in a slot, and R14 is worth more to others.
            let is_sum = matches!(group.base, Base::Sum { .. });
            match places.iter().skip(is_sum.into()).find(is_free) {
                Some(place) => {
                    self.all[n].distance = *place;
                    settled.push(self.all[n]);
                }
                None => self.all[n].members = 0,
            }
        }
        for of in &mut self.of {
            *of = of.filter(|(n, _)| self.all[*n].members > 1);
        }
    }
}

/// A group that may have more members.
struct Open {
    group: usize,
    /// How far the base has moved since the leader.
    moved: i64,
    /// How many ways out of the block lie before the leader.
    branches: u32,
}

struct Search {
    found: Vec<Group>,
    open: Vec<Open>,
    branches: u32,
    /// The code is 32-bit code.
    is_narrow: bool,
    page_offset: u16,
}

/// An access off a base.
struct Access {
    base: Base,
    offset: i64,
    size: u32,
    is_write: bool,
}

impl Search {
    fn step(&mut self, n: usize, step: &Step, insn: &Instruction) -> Option<(usize, i64)> {
        if !keeps_distances(step, insn) {
            self.open.clear();
        }
        let group = self.access(step, insn).map(|access| self.join(n, &access));
        self.open.retain_mut(|open| {
            let by = match self.found[open.group].base {
                Base::Register(base) => moved(step, insn, base, self.is_narrow),
                Base::Sum { base, index, scale, .. } => {
                    moved_by(step, insn, base, 1).and_then(|by| by.checked_add(moved_by(step, insn, index, scale)?))
                }
            };
            open.moved = by.and_then(|by| open.moved.checked_add(by)).unwrap_or(i64::MAX);
            open.moved.unsigned_abs() < 1 << 30
        });
        if step.plan == Plan::Branch {
            self.branches += 1;
        }
        group
    }

    /// Adds an access to the group of its base; to a new one where it does not fit. The group, and where it begins.
    fn join(&mut self, n: usize, access: &Access) -> (usize, i64) {
        if let Some(open) = self.open.iter().find(|open| self.found[open.group].base == access.base) {
            let group = &mut self.found[open.group];
            let start = open.moved + access.offset;
            let low = start.min(group.low.into());
            let high = (start + i64::from(access.size)).max(i64::from(group.low) + i64::from(group.length));
            // A page that can only be read must not be asked for in order to write where that may never happen.
            let can_be = group.is_write || !access.is_write || open.branches == self.branches;
            let is_near = low >= i32::MIN.into() && high <= i32::MAX.into();
            if can_be && is_near && high - low <= LONGEST && is_in_page(access.base, low, high) {
                group.low = low as i32;
                group.length = (high - low) as u32;
                group.is_write |= access.is_write;
                group.last = n;
                group.members += 1;
                return (open.group, start);
            }
        }
        self.open.retain(|open| self.found[open.group].base != access.base);
        let group = Group {
            base: access.base,
            low: access.offset as i32,
            length: access.size,
            is_write: access.is_write,
            distance: Distance::Register,
            first: n,
            last: n,
            members: 1,
        };
        self.found.push(group);
        self.open.push(Open { group: self.found.len() - 1, moved: 0, branches: self.branches });
        (self.found.len() - 1, access.offset)
    }
}

/// Whether the range may be in one page: where it is known beforehand that it is not, its leader would never find it. Segments
/// that are accessed without a register mostly begin with a page.
fn is_in_page(base: Base, low: i64, high: i64) -> bool {
    match base {
        Base::Sum { base: Register::None | Register::RIP, index: Register::None, .. } => {
            low.div_euclid(PAGE_SIZE as i64) == (high - 1).div_euclid(PAGE_SIZE as i64)
        }
        _ => true,
    }
}

/// Whether what leaders found is still there after `step`.
fn keeps_distances(step: &Step, insn: &Instruction) -> bool {
    use Plan::*;
    let pushes_memory = step.plan == Push && insn.op0_kind() == OpKind::Memory;
    matches!(step.plan, Nothing | Native | Address | Push | Pop | Call | Return | Branch | Jump)
        && !pushes_memory
        && !step.touches_x87
        && step.borrowed < if step.memory.is_some() { 2 } else { 3 }
}

impl Search {
    /// The access of `insn`, where it is of a kind that groups have.
    fn access(&self, step: &Step, insn: &Instruction) -> Option<Access> {
        let slot = slot(self.is_narrow);
        let stack = |offset, is_write| Some(Access { base: Base::Register(RSP), offset, size: slot as u32, is_write });
        match step.plan {
            Plan::Push if insn.op0_kind() != OpKind::Memory => stack(-slot, true),
            Plan::Call => stack(-slot, true),
            Plan::Pop | Plan::Return => stack(0, false),
            Plan::Native => {
                let memory = step.memory.filter(|_| step.borrowed < 2 && !step.touches_x87)?;
                let (base, offset) = self.base(insn)?;
                Some(Access { base, offset, size: memory.size, is_write: memory.is_write })
            }
            _ => None,
        }
    }

    /// What the memory operand of `insn` is off, and how far.
    fn base(&self, insn: &Instruction) -> Option<(Base, i64)> {
        let (base, index) = (insn.memory_base(), insn.memory_index());
        let offset = displacement(insn, self.is_narrow);
        let segment = match insn.memory_segment() {
            segment @ (Register::FS | Register::GS) => segment,
            _ => Register::None,
        };
        if index == Register::None && segment == Register::None && is_address(base, self.is_narrow) {
            if let Some(n) = number(base).filter(|n| matches!(home(*n), Home::Host(_))) {
                return Some((Base::Register(n), offset));
            }
        }
        // Sums that begin again at 4 GiB, and segments that may have bounds, are found one by one.
        if self.is_narrow {
            return None;
        }
        // MOV of the accumulator to or from an address of 64 bits takes no base in its place.
        let is_far = matches!(
            insn.code(),
            Code::Mov_AL_moffs8
                | Code::Mov_AX_moffs16
                | Code::Mov_EAX_moffs32
                | Code::Mov_RAX_moffs64
                | Code::Mov_moffs8_AL
                | Code::Mov_moffs16_AX
                | Code::Mov_moffs32_EAX
                | Code::Mov_moffs64_RAX
        );
        let is_wide = |register: Register| register == Register::None || register.is_gpr64();
        let is_absolute = base == Register::None && index == Register::None;
        if is_far || !(is_wide(base) || base == Register::RIP) || !is_wide(index) || is_absolute && insn.memory_displ_size() != 8
        {
            return None;
        }
        let offset = if base == Register::RIP { offset.checked_add(self.page_offset.into())? } else { offset };
        i32::try_from(offset).ok()?;
        Some((Base::Sum { segment, base, index, scale: insn.memory_index_scale() }, offset))
    }
}

/// How many bytes a slot of the stack has.
fn slot(is_narrow: bool) -> i64 {
    if is_narrow { 4 } else { 8 }
}

/// Whether `register` is as wide as an address.
fn is_address(register: Register, is_narrow: bool) -> bool {
    if is_narrow { register.is_gpr32() } else { register.is_gpr64() }
}

/// By how much `insn` moves `scale` times `register`, where that is known, in 64-bit code.
fn moved_by(step: &Step, insn: &Instruction, register: Register, scale: u32) -> Option<i64> {
    number(register).map_or(Some(0), |n| moved(step, insn, n, false)?.checked_mul(scale.into()))
}

/// By how much `insn` moves `base`, where that is known.
fn moved(step: &Step, insn: &Instruction, base: u8, is_narrow: bool) -> Option<i64> {
    if step.written & 1 << base == 0 {
        return Some(0);
    }
    match step.plan {
        Plan::Push | Plan::Call if base == RSP => return Some(-slot(is_narrow)),
        Plan::Pop if base == RSP && number(insn.op0_register()) != Some(RSP) => return Some(slot(is_narrow)),
        Plan::Address | Plan::Native => {}
        _ => return None,
    }
    let is_base = insn.op0_kind() == OpKind::Register
        && is_address(insn.op0_register(), is_narrow)
        && number(insn.op0_register()) == Some(base);
    if !is_base {
        return None;
    }
    let is_immediate = insn.op_count() == 2 && !matches!(insn.op1_kind(), OpKind::Register | OpKind::Memory);
    let immediate = || {
        let immediate = insn.immediate(1) as i64;
        if is_narrow { i64::from(immediate as i32) } else { immediate }
    };
    match insn.mnemonic() {
        Mnemonic::Add if is_immediate => Some(immediate()),
        Mnemonic::Sub if is_immediate => Some(immediate().wrapping_neg()),
        Mnemonic::Inc => Some(1),
        Mnemonic::Dec => Some(-1),
        Mnemonic::Lea if insn.memory_base() == insn.op0_register() && insn.memory_index() == Register::None => {
            Some(displacement(insn, is_narrow))
        }
        _ => None,
    }
}
