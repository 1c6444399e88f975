//! What a rewriter is given, and what it gives back: a block's code, and what must be known of it.

use std::num::NonZero;

use dragoman_frontend::decode::{Insn, Mode};
use dragoman_state::GuestPhys;

use super::FlagHome;

/// One of the decoder's own instructions.
pub type Original = iced_x86::Instruction;

/// What is to be translated.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The instructions, at least one.
    pub insns: &'a [Insn],
    /// The same in the decoder's form.
    pub originals: &'a [Original],
    /// Where in its page the first byte lies. The last byte lies in the same page, but for [`Source::tail`].
    pub page_offset: u16,
    /// Which of [`Layout::tables`](crate::Layout::tables) the code accesses memory through.
    pub view: usize,
    /// The mode that the code runs in.
    pub mode: Mode,
    /// Whether one probe may find what several instructions access.
    pub is_grouped: bool,
    /// The page that the only instruction ends in, where that is another than it begins in.
    pub tail: Option<GuestPhys>,
}

/// What is done at a place where translated code is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteKind {
    /// The instruction is executed elsewhere.
    Interpret,
    /// The instruction, a repeated one, is executed elsewhere until it is done.
    Repeat,
    /// The guest's x87 unit is to be brought into the host's. Where that cannot be, the instruction is executed elsewhere.
    LoadX87,
    /// The code goes on at this offset in the same page, in a block that is to be found; the exit can then be linked.
    Link {
        /// Offset from the page's first byte; beyond the page where RIP left it.
        target: i32,
        /// Which of the block's exits it is.
        exit: u8,
        /// Whether accesses are grouped in the block that it goes to.
        is_grouped: bool,
    },
    /// The code goes on at the RIP in [`Frame::target`](crate::Frame::target), behind a call in the page of that RIP; the
    /// exit can then be linked.
    Return {
        /// Which of the block's exits it is.
        exit: u8,
    },
    /// Somebody wants attention; the code goes on at this offset.
    Attend {
        /// As above.
        target: i32,
    },
    /// What lies behind the page is not known to be what the instruction at this offset was translated from: it is executed
    /// elsewhere, from what is there now.
    Tail {
        /// As above.
        target: i32,
    },
    /// The code goes on in another page, at the RIP in [`Frame::target`](crate::Frame::target), in a block that is to be found;
    /// the exit can then be linked.
    Far {
        /// Which of the block's exits it is.
        exit: u8,
        /// As in [`SiteKind::Jump`]; `None` where the code ran into its end.
        moved: Option<i8>,
    },
    /// The code goes on at the RIP in [`Frame::target`](crate::Frame::target), in a block that is to be found.
    Jump {
        /// What the instruction, a jump, has added to RSP: to be taken back where the target turns out to be none, and the
        /// instruction is executed again to say so.
        moved: i32,
    },
    /// The same, and the instruction is done whatever is there.
    RunOn,
}

impl SiteKind {
    /// What an instruction that jumps elsewhere has added to RSP.
    pub fn moved(self) -> Option<i32> {
        match self {
            Self::Far { moved, .. } => moved.map(i32::from),
            Self::Jump { moved } => Some(moved),
            _ => None,
        }
    }
}

/// A place where translated code is left.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// What is done there.
    pub kind: SiteKind,
    /// The number of the instruction in its block.
    pub insn: u8,
    /// Where the flags are.
    pub flags: FlagHome,
    /// Whether the instruction reads or changes the x87 unit.
    pub touches_x87: bool,
    /// What the unit remembers of the block.
    pub pointer: Pointer,
    /// Where the next instruction's code begins, from the start of the block's, where the block goes on.
    pub resume: Option<NonZero<u32>>,
}

/// What the x87 unit remembers of a block's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pointer {
    /// Nothing that [`Frame::x87_pointer`](crate::Frame::x87_pointer) does not say.
    #[default]
    Known,
    /// That it forgot.
    Nothing,
    /// The instruction with this number.
    Insn(u8),
}

impl Site {
    /// In place of a site's number: the host refused an instruction.
    pub const FAULTED: u32 = u32::MAX;
    /// The same: the instruction was executed, and code did not go on.
    pub const EXECUTED: u32 = u32::MAX - 1;
    /// How many bits of a site's number tell a block's sites apart.
    pub const BITS: u32 = 8;
}

/// A way out of a block that is a jump of its own.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// Where the jump's 32-bit displacement lies, a multiple of four.
    pub patch: u32,
    /// Where it leads until it is linked: the code of its site.
    pub stub: u32,
    /// Which of a block's ways in it takes.
    pub way: Way,
    /// Where it leads to another page: how many bytes before `patch` the code holds, as 32 bits, where in the
    /// [`JumpCache`](crate::JumpCache) the home is of the target's page. Zero until it is linked, and zero here otherwise.
    pub home: u8,
    /// Where the flags are in the host's, and whoever takes over is told on this way how they follow from registers: from
    /// which, a bit for each. None otherwise.
    pub told: u16,
}

/// A way into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With the flags in the host's.
    HostFlags,
    /// With the flags in memory.
    SavedFlags,
    /// With the flags where whoever takes over was told; from which registers they must not follow, a bit for each, was looked
    /// at already.
    Told(u16),
    /// With the flags in memory, RIP in R10, and [`Frame::page`](crate::Frame::page) still another's.
    Jump,
}

/// One of the guest's instructions as the host executes it, which may refuse it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Where the flags are: exactly, where an instruction of this kind can be refused; where it never should be, as far as anybody
    /// sees them before they are replaced.
    pub flags: FlagHome,
    /// Where it begins.
    start: u16,
    /// The number of the guest instruction.
    pub insn: u8,
    /// What the x87 unit remembers of the block: nothing that is not known, that it forgot, or an instruction.
    pointer: u8,
}

impl Row {
    /// The row for the code at `start`. `None` where that is further from the block's start than any code of a block is.
    pub fn new(start: u32, insn: u8, flags: FlagHome, pointer: Pointer) -> Option<Self> {
        let pointer = match pointer {
            Pointer::Known => 0,
            Pointer::Nothing => 1,
            Pointer::Insn(n) => n.checked_add(2)?,
        };
        Some(Self { flags, start: start.try_into().ok()?, insn, pointer })
    }

    /// Where it begins.
    pub fn start(&self) -> u32 {
        self.start.into()
    }

    /// What the x87 unit remembers of the block.
    pub fn pointer(&self) -> Pointer {
        match self.pointer {
            0 => Pointer::Known,
            1 => Pointer::Nothing,
            n => Pointer::Insn(n - 2),
        }
    }
}

/// Translated code and what must be known of it. Places are offsets from the start of the code.
#[derive(Debug, Default)]
pub struct Translation {
    /// The code.
    pub code: Vec<u8>,
    /// The way in with the flags in the host's.
    pub with_host_flags: u32,
    /// The way in with the flags in memory.
    pub with_saved_flags: u32,
    /// The way in after an indirect jump: RIP in R10, the flags in memory.
    pub from_jump: u32,
    /// The way in with the flags in neither place, where whoever takes over was told how they follow from registers; none of
    /// them may be among those that have a bit here.
    pub with_recipe: Option<(u32, u16)>,
    /// The places where it is left.
    pub sites: Vec<Site>,
    /// Where the code holds a site's number as 32 bits, without that of its block.
    pub site_numbers: Vec<u32>,
    /// The ways out that can be linked.
    pub exits: Vec<Exit>,
    /// The guest's instructions that the host executes, by rising [`Row::start`].
    pub rows: Vec<Row>,
    /// Where the stretches of instructions end that the code counts as executed at their start, rising; none where it does
    /// not count.
    pub counted: Vec<u8>,
    /// As in [`Source::tail`].
    pub tail: Option<GuestPhys>,
}
