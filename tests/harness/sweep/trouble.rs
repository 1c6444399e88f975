//! What is in the way of an operand, and where the operand then is.
//! SDM: vol. 3 §4.7 (page-fault error codes), §5.3 (limits), vol. 1 §3.3.7.1 (canonical addresses).

use crate::{
    Mode,
    case::{Access, PageMap},
    layout::{CODE, DATA, PAGE, STACK},
};

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The page is not present.
    Absent,
    /// The page may only be read.
    ReadOnly,
    /// The page may only be read, which ring 0 need not heed while CR0.WP is clear.
    ReadOnlyUnheeded,
    /// The page is the supervisor's.
    Supervisor,
    /// The segment ends.
    Limit,
    /// The addresses are not canonical.
    NotCanonical,
}

/// Where an operand is beside the zone in which it cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Only its first byte is in the zone.
    FirstByte,
    /// Only its last byte is.
    LastByte,
    /// All of it is, at the beginning.
    Start,
    /// All of it is, at the end.
    End,
}

/// The addresses of the zone: its first, and the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
}

/// From a segment's base to the page before the zone.
const BEFORE: u64 = 0x8000;
/// The last segment of the local descriptor table that is a page long; its selector, for ring 3.
pub const SMALL_SEGMENT: u16 = 0x2f;
/// The pages that canonical addresses end and begin again with.
const LAST_PAGE: u64 = 0x7fff_ffff_f000;
const NEXT_PAGE: u64 = 0xffff_8000_0000_0000;

impl Trouble {
    /// All that can be in the way.
    pub const ALL: [Self; 6] =
        [Self::Absent, Self::ReadOnly, Self::ReadOnlyUnheeded, Self::Supervisor, Self::Limit, Self::NotCanonical];

    /// Whether it can be in the way in `mode` at `cpl`.
    pub fn exists(self, mode: Mode, cpl: u8) -> bool {
        match self {
            Self::None | Self::Absent | Self::ReadOnly => true,
            Self::ReadOnlyUnheeded | Self::Supervisor => mode != Mode::Prot16 || cpl == 3 && self == Self::Supervisor,
            Self::Limit => mode == Mode::Prot32 && cpl == 3,
            Self::NotCanonical => mode == Mode::Long64,
        }
    }

    /// The zone for an operand on the stack, or another.
    pub fn zone(self, is_stack: bool) -> Zone {
        let base = if is_stack { STACK } else { DATA } + BEFORE;
        match self {
            Self::Limit => Zone { from: DATA + PAGE, to: DATA + 2 * PAGE },
            Self::NotCanonical => Zone { from: LAST_PAGE + PAGE, to: NEXT_PAGE },
            Self::None | Self::Absent | Self::ReadOnly | Self::ReadOnlyUnheeded | Self::Supervisor => {
                Zone { from: base + PAGE, to: base + 2 * PAGE }
            }
        }
    }

    /// Whether it keeps an access from being made.
    pub fn refuses(self, is_write: bool, cpl: u8) -> bool {
        match self {
            Self::None | Self::ReadOnlyUnheeded if cpl == 0 => false,
            Self::None => false,
            Self::Absent | Self::Limit | Self::NotCanonical => true,
            Self::ReadOnly | Self::ReadOnlyUnheeded => is_write,
            Self::Supervisor => cpl == 3,
        }
    }

    /// Whether it is found out without looking at pages.
    pub fn is_of_segment(self) -> bool {
        matches!(self, Self::Limit | Self::NotCanonical)
    }

    /// Whether a page fault says that the page was there.
    pub fn is_present(self) -> bool {
        self != Self::Absent
    }

    /// The pages that there are.
    pub fn map(self) -> PageMap {
        let zone = match self {
            Self::None | Self::Limit | Self::NotCanonical => Access::ReadWrite,
            Self::Absent => Access::Absent,
            Self::ReadOnly | Self::ReadOnlyUnheeded => Access::ReadOnly,
            Self::Supervisor => Access::Supervisor,
        };
        let mut map = PageMap::new();
        map.add(CODE, Access::Code);
        map.add_range(DATA, 2 * PAGE, Access::ReadWrite);
        map.add(STACK, Access::ReadWrite);
        for base in [DATA + BEFORE, STACK + BEFORE] {
            map.add(base, Access::ReadWrite);
            map.add(base + 2 * PAGE, Access::ReadWrite);
            if zone != Access::Absent {
                map.add(base + PAGE, zone);
            }
        }
        if self == Self::NotCanonical {
            map.add(LAST_PAGE, Access::ReadWrite);
            map.add(NEXT_PAGE, Access::ReadWrite);
        }
        map
    }
}

impl Placement {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FirstByte, Self::LastByte, Self::Start, Self::End];

    /// Where an operand of `size` bytes is. `None` where that is no different from another placement.
    pub fn target(self, zone: Zone, size: u64) -> Option<u64> {
        match self {
            Self::FirstByte | Self::LastByte if size < 2 => None,
            Self::FirstByte => Some(zone.to - 1),
            Self::LastByte => Some(zone.from - (size - 1)),
            Self::Start => Some(zone.from),
            Self::End => Some(zone.to - size),
        }
    }
}

impl Zone {
    /// The first of `size` bytes at `at` that is in the zone.
    pub fn first(self, at: u64, size: u64) -> Option<u64> {
        let (into, length) = (at.wrapping_sub(self.from), self.to - self.from);
        if into < length {
            return Some(at);
        }
        // How far the zone begins behind the operand's first byte.
        (self.from.wrapping_sub(at) < size).then_some(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operand_is_placed_where_its_name_says() {
        let zone = Trouble::Absent.zone(false);
        let at = |placement: Placement| placement.target(zone, 8).expect("eight bytes can be placed anywhere");
        assert_eq!(zone.first(at(Placement::FirstByte), 8), Some(zone.to - 1));
        assert_eq!(zone.first(at(Placement::LastByte), 8), Some(zone.from));
        assert_eq!(zone.first(at(Placement::LastByte), 7), None);
        assert_eq!(zone.first(at(Placement::FirstByte) + 1, 8), None);
        assert_eq!(Placement::LastByte.target(zone, 1), None);
    }
}
