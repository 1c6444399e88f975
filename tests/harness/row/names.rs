//! The names of places, as the manual and the Netwide Assembler write them, in lower case.

use dragoman_state::{Cr0, Cr4, Efer, RFlags, SegmentIndex, StatusWord};

use super::place::{Field, Model, Part, Place, SegmentName};

const LEGACY: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

#[rustfmt::skip] // a table
const FLAGS: &[(&str, RFlags)] = &[
    ("cf", RFlags::CF), ("pf", RFlags::PF), ("af", RFlags::AF), ("zf", RFlags::ZF), ("sf", RFlags::SF), ("tf", RFlags::TF),
    ("if", RFlags::IF), ("df", RFlags::DF), ("of", RFlags::OF), ("iopl", RFlags::IOPL), ("nt", RFlags::NT),
    ("rf", RFlags::RF), ("vm", RFlags::VM), ("ac", RFlags::AC), ("vif", RFlags::VIF), ("vip", RFlags::VIP),
    ("id", RFlags::ID),
];

#[rustfmt::skip] // a table
const PLAIN: &[(&str, Place)] = &[
    ("rip", Place::Rip), ("eip", Place::Rip), ("ip", Place::Rip), ("rflags", Place::Rflags),
    ("gdtr.base", Place::GdtrBase), ("gdtr.limit", Place::GdtrLimit),
    ("idtr.base", Place::IdtrBase), ("idtr.limit", Place::IdtrLimit),
    ("cr0", Place::Cr0(u64::MAX)), ("cr2", Place::Cr2), ("cr3", Place::Cr3), ("cr4", Place::Cr4(u64::MAX)), ("cr8", Place::Cr8),
    ("dr0", Place::Breakpoint(0)), ("dr1", Place::Breakpoint(1)), ("dr2", Place::Breakpoint(2)), ("dr3", Place::Breakpoint(3)),
    ("dr6", Place::Dr6), ("dr7", Place::Dr7), ("efer", Place::Efer(u64::MAX)), ("xcr0", Place::Xcr0), ("pkru", Place::Pkru),
    ("mxcsr", Place::Mxcsr), ("fcw", Place::Fcw), ("fsw", Place::Fsw(u16::MAX)), ("ftw", Place::Ftw),
    ("fip", Place::Fip), ("fdp", Place::Fdp), ("fop", Place::Fop), ("fcs", Place::Fcs), ("fds", Place::Fds),
    ("c0", Place::Fsw(StatusWord::C0.bits())), ("c1", Place::Fsw(StatusWord::C1.bits())),
    ("c2", Place::Fsw(StatusWord::C2.bits())), ("c3", Place::Fsw(StatusWord::C3.bits())),
    ("top", Place::Fsw(StatusWord::TOP.bits())),
    ("activity", Place::Activity), ("shadow", Place::Shadow),
];

#[rustfmt::skip] // a table
const MODEL: &[(&str, Model)] = &[
    ("star", Model::Star), ("lstar", Model::Lstar), ("cstar", Model::Cstar), ("fmask", Model::Fmask),
    ("kernel_gs_base", Model::KernelGsBase), ("tsc_aux", Model::TscAux), ("tsc_adjust", Model::TscAdjust),
    ("sysenter_cs", Model::SysenterCs), ("sysenter_esp", Model::SysenterEsp), ("sysenter_eip", Model::SysenterEip),
    ("pat", Model::Pat), ("misc_enable", Model::MiscEnable), ("debugctl", Model::DebugCtl), ("spec_ctrl", Model::SpecCtrl),
    ("apic_base", Model::ApicBase), ("mtrr_def_type", Model::MtrrDefType),
];

/// The place that rows call `name`.
pub fn parse(name: &str) -> Option<Place> {
    let listed = PLAIN.iter().find(|(known, _)| *known == name).map(|(_, place)| *place);
    listed
        .or_else(|| FLAGS.iter().find(|(known, _)| *known == name).map(|(_, flag)| Place::Flag(*flag)))
        .or_else(|| MODEL.iter().find(|(known, _)| *known == name).map(|(_, model)| Place::Model(*model)))
        .or_else(|| gpr(name))
        .or_else(|| numbered(name))
        .or_else(|| segment(name))
        .or_else(|| control_bit(name))
}

/// Every place, each once.
pub fn all() -> impl Iterator<Item = Place> {
    let data = SegmentIndex::ALL.into_iter().map(SegmentName::Data);
    let segments = data.chain([SegmentName::Ldtr, SegmentName::Tr]).flat_map(|register| {
        [Field::Selector, Field::Base, Field::Limit, Field::Attributes].map(|field| Place::Segment(register, field))
    });
    let is_whole = |place: &Place| !matches!(place, Place::Rflags);
    let plain = PLAIN.iter().map(|(_, place)| *place).filter(is_whole).scan(Vec::new(), |seen: &mut Vec<Place>, place| {
        let is_new = !seen.contains(&place);
        seen.push(place);
        Some(is_new.then_some(place))
    });
    (0..16)
        .map(|n| Place::Gpr(n, Part::Qword))
        .chain(plain.flatten())
        .chain(FLAGS.iter().map(|(_, flag)| Place::Flag(*flag)))
        .chain(segments)
        .chain(MODEL.iter().map(|(_, model)| Place::Model(*model)))
        .chain((0..8).map(Place::St))
        .chain((0..32).map(Place::Ymm))
}

fn gpr(name: &str) -> Option<Place> {
    if let Some(n) = ["ah", "ch", "dh", "bh"].iter().position(|known| *known == name) {
        return Some(Place::Gpr(n as u8, Part::HighByte));
    }
    for (n, word) in LEGACY.into_iter().enumerate() {
        // AL to BL come from AX to BX, SPL to DIL from SP to DI.
        let byte = if n < 4 { format!("{}l", &word[..1]) } else { format!("{word}l") };
        let names =
            [(format!("r{word}"), Part::Qword), (format!("e{word}"), Part::Dword), (word.into(), Part::Word), (byte, Part::Byte)];
        if let Some((_, part)) = names.into_iter().find(|(known, _)| known == name) {
            return Some(Place::Gpr(n as u8, part));
        }
    }
    let rest = name.strip_prefix('r')?;
    let digits = rest.trim_end_matches(['d', 'w', 'b']);
    let part = match &rest[digits.len()..] {
        "" => Part::Qword,
        "d" => Part::Dword,
        "w" => Part::Word,
        "b" => Part::Byte,
        _ => return None,
    };
    let n: u8 = digits.parse().ok()?;
    (8..16).contains(&n).then_some(Place::Gpr(n, part))
}

fn numbered(name: &str) -> Option<Place> {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let n: u8 = digits.parse().ok()?;
    match &name[..name.len() - digits.len()] {
        "st" if n < 8 => Some(Place::St(n)),
        "mm" if n < 8 => Some(Place::Mm(n)),
        "xmm" if n < 32 => Some(Place::Xmm(n)),
        "ymm" if n < 32 => Some(Place::Ymm(n)),
        _ => None,
    }
}

fn segment(name: &str) -> Option<Place> {
    let (register, field) = match name.split_once('.') {
        None => (name, Field::Selector),
        Some((register, "base")) => (register, Field::Base),
        Some((register, "limit")) => (register, Field::Limit),
        Some((register, "attr")) => (register, Field::Attributes),
        Some(_) => return None,
    };
    let register = match register {
        "ldtr" => SegmentName::Ldtr,
        "tr" => SegmentName::Tr,
        _ => SegmentName::Data(SegmentIndex::ALL[SEGMENTS.iter().position(|known| *known == register)?]),
    };
    Some(Place::Segment(register, field))
}

/// A bit of a control register by the manual's name: `cr0.ts`, `cr4.osfxsr`, `efer.nxe`.
fn control_bit(name: &str) -> Option<Place> {
    let (register, bit) = name.split_once('.')?;
    let bit = bit.to_ascii_uppercase();
    match register {
        "cr0" => Cr0::from_name(&bit).map(|bit| Place::Cr0(bit.bits())),
        "cr4" => Cr4::from_name(&bit).map(|bit| Place::Cr4(bit.bits())),
        "efer" => Efer::from_name(&bit).map(|bit| Place::Efer(bit.bits())),
        _ => None,
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Gpr(n, part) => write_gpr(f, n, part),
            Self::Flag(flag) => write!(f, "{}", FLAGS.iter().find(|(_, known)| *known == flag).map_or("flag", |(name, _)| name)),
            Self::Segment(register, field) => {
                let name = match register {
                    SegmentName::Data(index) => SEGMENTS[index as usize],
                    SegmentName::Ldtr => "ldtr",
                    SegmentName::Tr => "tr",
                };
                let field = match field {
                    Field::Selector => "",
                    Field::Base => ".base",
                    Field::Limit => ".limit",
                    Field::Attributes => ".attr",
                };
                write!(f, "{name}{field}")
            }
            Self::Model(model) => {
                write!(f, "{}", MODEL.iter().find(|(_, known)| *known == model).map_or("msr", |(name, _)| name))
            }
            Self::St(n) => write!(f, "st{n}"),
            Self::Mm(n) => write!(f, "mm{n}"),
            Self::Xmm(n) => write!(f, "xmm{n}"),
            Self::Ymm(n) => write!(f, "ymm{n}"),
            Self::Cr0(mask) if mask != u64::MAX => write_bit(f, "cr0", Cr0::from_bits_retain(mask).iter_names().next()),
            Self::Cr4(mask) if mask != u64::MAX => write_bit(f, "cr4", Cr4::from_bits_retain(mask).iter_names().next()),
            Self::Efer(mask) if mask != u64::MAX => write_bit(f, "efer", Efer::from_bits_retain(mask).iter_names().next()),
            place => write!(f, "{}", PLAIN.iter().find(|(_, known)| *known == place).map_or("?", |(name, _)| name)),
        }
    }
}

fn write_bit<T>(f: &mut std::fmt::Formatter<'_>, register: &str, bit: Option<(&str, T)>) -> std::fmt::Result {
    write!(f, "{register}.{}", bit.map_or_else(String::new, |(name, _)| name.to_ascii_lowercase()))
}

fn write_gpr(f: &mut std::fmt::Formatter<'_>, n: u8, part: Part) -> std::fmt::Result {
    let Some(word) = LEGACY.get(usize::from(n)) else {
        let suffix = match part {
            Part::Qword => "",
            Part::Dword => "d",
            Part::Word => "w",
            Part::Byte | Part::HighByte => "b",
        };
        return write!(f, "r{n}{suffix}");
    };
    match part {
        Part::Qword => write!(f, "r{word}"),
        Part::Dword => write!(f, "e{word}"),
        Part::Word => write!(f, "{word}"),
        Part::Byte if n < 4 => write!(f, "{}l", &word[..1]),
        Part::Byte => write!(f, "{word}l"),
        Part::HighByte => write!(f, "{}h", &word[..1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_a_place_that_prints_as_it() {
        for name in [
            "rax",
            "eax",
            "ax",
            "al",
            "ah",
            "sp",
            "spl",
            "dil",
            "r8",
            "r15d",
            "r9w",
            "r10b",
            "rip",
            "cf",
            "of",
            "iopl",
            "es",
            "fs.base",
            "cs.attr",
            "ldtr.limit",
            "tr",
            "gdtr.base",
            "cr0",
            "cr0.ts",
            "cr4.osfxsr",
            "efer.nxe",
            "efer",
            "dr0",
            "dr7",
            "st7",
            "mm0",
            "xmm15",
            "ymm3",
            "mxcsr",
            "fsw",
            "c1",
            "top",
            "star",
            "kernel_gs_base",
            "shadow",
        ] {
            let place = parse(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(place.to_string(), name);
        }
        for bad in ["r7", "r16", "st8", "cr5", "cr0.xx", "ds.size", "", "m", "xmm", "q1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
