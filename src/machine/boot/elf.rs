//! ELF images: segments, entry point, and the note that says a kernel can be started the PVH way.

use dragoman_state::GuestPhys;
use object::{
    Endianness,
    elf::{ELFCLASS64, EM_386, EM_X86_64, FileHeader32, FileHeader64, PT_LOAD, PT_NOTE},
    read::elf::{FileHeader, ProgramHeader},
};

use super::{BootError, Target};

/// A segment to be loaded.
struct Segment {
    at: GuestPhys,
    file: std::ops::Range<usize>,
    size: u64,
}

/// An ELF file for x86 that has been checked.
pub struct Elf {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    /// Where it wants to be entered: a physical address.
    pub entry: u64,
    /// It is for 64-bit mode.
    pub is_64bit: bool,
    /// Where it wants to be entered the PVH way, where it can be.
    pub pvh_entry: Option<GuestPhys>,
}

/// The type of the note that holds a PVH entry point, of owner "Xen".
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

impl Elf {
    /// Checks `bytes`, which begin as an ELF file does.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BootError> {
        match bytes.get(4) {
            Some(&ELFCLASS64) => Self::parse_as::<FileHeader64<Endianness>>(bytes, EM_X86_64, true),
            Some(_) => Self::parse_as::<FileHeader32<Endianness>>(bytes, EM_386, false),
            None => Err(BootError::Truncated("its ELF header is not complete")),
        }
    }

    fn parse_as<H: FileHeader<Endian = Endianness>>(bytes: Vec<u8>, machine: u16, is_64bit: bool) -> Result<Self, BootError> {
        let data = &bytes[..];
        let header = H::parse(data).map_err(|_| BootError::Truncated("its ELF header is not complete"))?;
        let endian = header.endian().map_err(|_| BootError::Damaged("its byte order is none there is"))?;
        if endian != Endianness::Little || header.e_machine(endian) != machine {
            return Err(BootError::WrongMachine("only ELF files for x86 and x86-64 can be started"));
        }
        let headers =
            header.program_headers(endian, data).map_err(|_| BootError::Truncated("its program headers are missing"))?;
        let (mut segments, mut pvh_entry) = (Vec::new(), None);
        for program in headers {
            match program.p_type(endian) {
                PT_LOAD => segments.push(segment(program, endian, data)?),
                PT_NOTE => pvh_entry = pvh_entry.or(pvh_note(program, endian, data)),
                _ => {}
            }
        }
        if segments.is_empty() {
            return Err(BootError::Damaged("it has nothing to load"));
        }
        let entry = header.e_entry(endian).into();
        Ok(Self { entry, is_64bit, pvh_entry, segments, bytes })
    }

    /// Puts the segments into memory. Returns the end of the highest.
    pub fn load(&self, target: &Target) -> Result<u64, BootError> {
        let mut end = 0;
        for segment in &self.segments {
            let last = segment.at.0.checked_add(segment.size).ok_or(BootError::Damaged("a segment ends beyond all addresses"))?;
            if !target.ram.is_ram(segment.at, segment.size) {
                return Err(BootError::TooLarge { needed: last.div_ceil(1 << 20) });
            }
            target.write(segment.at, &self.bytes[segment.file.clone()])?;
            // Memory is zero at power-on and may not be after a reset.
            let tail = segment.file.len() as u64;
            target.write(GuestPhys(segment.at.0 + tail), &vec![0; (segment.size - tail) as usize])?;
            end = end.max(last);
        }
        Ok(end)
    }
}

fn segment<P: ProgramHeader<Endian = Endianness>>(program: &P, endian: Endianness, data: &[u8]) -> Result<Segment, BootError> {
    let (offset, length): (u64, u64) = (program.p_offset(endian).into(), program.p_filesz(endian).into());
    let size: u64 = program.p_memsz(endian).into();
    let end = offset.checked_add(length).filter(|end| *end <= data.len() as u64);
    let end = end.ok_or(BootError::Truncated("a segment lies behind the end of the file"))?;
    if length > size {
        return Err(BootError::Damaged("a segment is larger in the file than in memory"));
    }
    Ok(Segment { at: GuestPhys(program.p_paddr(endian).into()), file: offset as usize..end as usize, size })
}

fn pvh_note<P: ProgramHeader<Endian = Endianness>>(program: &P, endian: Endianness, data: &[u8]) -> Option<GuestPhys> {
    let mut notes = program.notes(endian, data).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"Xen" && note.n_type(endian) == XEN_ELFNOTE_PHYS32_ENTRY {
            let entry = super::u32_at(note.desc(), 0)?;
            return Some(GuestPhys(entry.into()));
        }
    }
    None
}
