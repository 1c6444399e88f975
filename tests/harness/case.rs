//! One instruction with everything that it starts from, and everything that it leaves behind, in a form that an engine and
//! the host's processor both take. Plain data: a batch of cases lies in memory that two processes share.

use crate::{Mode, Registers, layout};

/// The longest code of a case, in bytes.
pub const CODE_ROOM: usize = 48;
/// How many bytes of memory the windows of a case have in all.
pub const MEMORY_ROOM: usize = 1152;
/// How many windows a case can have.
pub const WINDOWS: usize = 6;

/// A stretch of linear memory that a case sets and looks at. It lies in pages that the case's map makes writable or
/// readable; what is around it holds [`layout::BACKGROUND`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Window {
    /// Linear address of the first byte.
    pub at: u64,
    /// Length in bytes; 0 where the window is not used.
    pub length: u32,
    /// Where its bytes begin in the case's memory.
    pub from: u32,
}

/// One instruction, or a few, to be run.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Case {
    /// The registers at the start. RIP and CS say where `code` lies.
    pub registers: Registers,
    /// Linear address of the code.
    pub code_at: u64,
    /// The code; HLT surrounds it.
    pub code: [u8; CODE_ROOM],
    /// How many bytes of `code` count.
    pub code_length: u32,
    /// Which of the batch's page maps it runs under.
    pub map: u32,
    /// Which memory it sets.
    pub windows: [Window; WINDOWS],
    /// What the windows hold.
    pub memory: [u8; MEMORY_ROOM],
    /// The mode.
    pub mode: Mode,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum End {
    /// All instructions were executed.
    #[default]
    Done,
    /// An exception was raised.
    Fault {
        /// Its vector.
        vector: u8,
        /// Its error code; zero where it has none.
        error: u32,
        /// The address that a page fault leaves in CR2; zero for other exceptions.
        address: u64,
    },
    /// It did not come to an end.
    Hang,
    /// It took the process, or the machine, with it.
    Crash,
}

/// What a case left behind.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The registers at the end; RIP is where execution would go on, after a fault the faulting instruction's.
    pub registers: Registers,
    /// What the windows hold.
    pub memory: [u8; MEMORY_ROOM],
}

/// What user code may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Access {
    /// Nothing: it is not mapped.
    #[default]
    Absent,
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    Code,
    /// Everything.
    Everything,
    /// Nothing; ring 0 may read and write.
    Supervisor,
}

/// Which pages are mapped while a case runs; no others are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PageMap {
    pages: Vec<(u64, Access)>,
}

impl PageMap {
    /// No page at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps the page that `at` is in; where it is mapped already, whatever either allows is allowed.
    pub fn add(&mut self, at: u64, access: Access) {
        let page = at & !(layout::PAGE - 1);
        match self.pages.iter_mut().find(|(known, _)| *known == page) {
            Some((_, known)) => *known = known.or(access),
            None => self.pages.push((page, access)),
        }
    }

    /// Maps every page that `length` bytes from `at` touch.
    pub fn add_range(&mut self, at: u64, length: u64, access: Access) {
        let last = at.wrapping_add(length.max(1) - 1);
        self.add(at, access);
        let mut page = at & !(layout::PAGE - 1);
        while page != last & !(layout::PAGE - 1) {
            page = page.wrapping_add(layout::PAGE);
            self.add(page, access);
        }
    }

    /// The mapped pages, in the order they were added.
    pub fn pages(&self) -> &[(u64, Access)] {
        &self.pages
    }

    /// What may be done with the page that `at` is in.
    pub fn access(&self, at: u64) -> Access {
        let page = at & !(layout::PAGE - 1);
        self.pages.iter().find(|(known, _)| *known == page).map_or(Access::Absent, |(_, access)| *access)
    }
}

impl Access {
    /// Whether it may be written.
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::ReadWrite | Self::Everything | Self::Supervisor)
    }

    /// Whether it may be executed.
    pub const fn is_executable(self) -> bool {
        matches!(self, Self::Code | Self::Everything)
    }

    fn or(self, other: Self) -> Self {
        match (self.is_writable() || other.is_writable(), self.is_executable() || other.is_executable()) {
            (true, true) => Self::Everything,
            (true, false) => Self::ReadWrite,
            (false, true) => Self::Code,
            (false, false) if self == Self::Absent => other,
            (false, false) => Self::ReadOnly,
        }
    }
}

/// A case with the pages it needs.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The case.
    pub case: Case,
    /// The pages.
    pub map: PageMap,
}

impl Case {
    /// A case in `mode` that runs `code` at `code_at`, from the register pattern and without memory. CS is taken to be the
    /// mode's own.
    pub fn new(mode: Mode, code_at: u64, code: &[u8]) -> Self {
        let mut registers = Registers::pattern(mode);
        registers.rip = if mode.is_segmented() { code_at - layout::CODE } else { code_at };
        let mut case = Self {
            registers,
            code_at,
            code: [layout::HLT; CODE_ROOM],
            code_length: 0,
            map: 0,
            windows: [Window::default(); WINDOWS],
            memory: [0; MEMORY_ROOM],
            mode,
        };
        case.set_code(code);
        case
    }

    /// The code.
    pub fn code(&self) -> &[u8] {
        &self.code[..self.code_length as usize]
    }

    /// Replaces the code; at most [`CODE_ROOM`] bytes of it.
    pub fn set_code(&mut self, code: &[u8]) {
        let length = code.len().min(CODE_ROOM);
        self.code = [layout::HLT; CODE_ROOM];
        self.code[..length].copy_from_slice(&code[..length]);
        self.code_length = length as u32;
    }

    /// Adds a window that holds `bytes` at `at`. `None` where there is no room left.
    pub fn add_window(&mut self, at: u64, bytes: &[u8]) -> Option<usize> {
        let n = self.windows.iter().position(|window| window.length == 0)?;
        let from: u32 = self.windows.iter().map(|window| window.length).sum();
        let room = self.memory.get_mut(from as usize..from as usize + bytes.len())?;
        room.copy_from_slice(bytes);
        self.windows[n] = Window { at, length: bytes.len() as u32, from };
        Some(n)
    }

    /// The windows in use.
    pub fn windows(&self) -> impl Iterator<Item = Window> + use<> {
        self.windows.into_iter().filter(|window| window.length > 0)
    }

    /// The bytes that `window` of this case holds in `memory`.
    pub fn bytes_of(window: Window, memory: &[u8; MEMORY_ROOM]) -> &[u8] {
        &memory[window.from as usize..(window.from + window.length) as usize]
    }
}
