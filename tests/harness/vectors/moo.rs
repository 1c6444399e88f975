//! Files of captured tests in the MOO format, version 1: little-endian chunks of a tag, a length and that many bytes, some
//! of which hold chunks again. `tests/vectors/README.md` describes it.
//!
//! Rule of this file: a file is not trusted. Whatever its bytes are, reading it ends in tests or in an error that says
//! where, and takes memory in proportion to the file.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;

/// How many registers a test has.
pub const REGISTERS: usize = 14;
/// Their names, in the order of the format.
pub const NAMES: [&str; REGISTERS] = ["ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags"];
/// The number of CX.
pub const CX: usize = 2;
/// The number of SS.
pub const SS: usize = 5;
/// The number of SP.
pub const SP: usize = 8;
/// The number of SI.
pub const SI: usize = 10;
/// The number of DI.
pub const DI: usize = 11;
/// The number of IP.
pub const IP: usize = 12;
/// The number of FLAGS.
pub const FLAGS: usize = 13;

/// The first address that real mode cannot reach.
pub const MEMORY_END: u32 = 0x11_0000;
/// The tag of the header.
const MAGIC: [u8; 4] = *b"MOO ";
/// How large an unpacked file can be.
const SIZE_LIMIT: u64 = 64 << 20;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MooError {
    /// The file itself, or its compression.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is larger than any file of tests.
    #[error("it unpacks to more than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// It does not begin with the header of a version that is known.
    #[error("it does not begin as a MOO file of version 1 does")]
    NotMoo,
    /// It says something that cannot be, at this offset.
    #[error("at offset {at:#x}: {what}")]
    Bad {
        /// Offset into the unpacked file.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Registers: those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Words(pub [Option<u16>; REGISTERS]);

/// Registers and memory at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The registers; at the end, those that changed.
    pub registers: Words,
    /// Bytes of memory, each with its address; at the end, those that changed.
    pub memory: Vec<(u32, u8)>,
}

/// One captured test.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Test {
    /// Its number in the file.
    pub index: u32,
    /// The instruction as text.
    pub name: String,
    /// The code: one instruction, and the HLT after it.
    pub code: Vec<u8>,
    /// What it starts from: all registers, and all memory that is touched.
    pub start: Snapshot,
    /// What changed.
    pub end: Snapshot,
    /// For each register that has one, the bits that are defined at the end.
    pub defined: Words,
    /// The vector of the exception, or of the interrupt, that it ended in. Where its flags were pushed, the format says by
    /// the bus: at odd addresses one too low. The stack pointer at the end says it exactly.
    pub exception: Option<u8>,
}

impl Test {
    /// Register `n` at the start.
    pub fn at_start(&self, n: usize) -> u16 {
        self.start.registers.0[n].unwrap_or(0)
    }

    /// Register `n` at the end.
    pub fn at_end(&self, n: usize) -> u16 {
        self.end.registers.0[n].unwrap_or(self.at_start(n))
    }

    /// The bits of register `n` that are defined at the end.
    pub fn defined_bits(&self, n: usize) -> u16 {
        self.defined.0[n].unwrap_or(u16::MAX)
    }
}

/// What a test starts from, in one line.
impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:02x?}", self.index, self.name, self.code)?;
        for (n, name) in NAMES.iter().enumerate() {
            write!(f, " {name}={:#x}", self.at_start(n))?;
        }
        Ok(())
    }
}

/// The files below `folder`, sorted by name.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".MOO.gz") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads the compressed file at `path`.
pub fn read(path: &Path) -> Result<Vec<Test>, MooError> {
    unpack(File::open(path)?)
}

/// Reads a compressed file.
pub fn unpack(packed: impl Read) -> Result<Vec<Test>, MooError> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(MooError::TooLarge);
    }
    parse(&bytes)
}

/// Reads an unpacked file.
pub fn parse(bytes: &[u8]) -> Result<Vec<Test>, MooError> {
    let mut file = Bytes { left: bytes, at: 0 };
    let Ok(Some((MAGIC, mut header))) = file.chunk() else { return Err(MooError::NotMoo) };
    if header.u8()? != 1 {
        return Err(MooError::NotMoo);
    }
    header.take(3)?;
    let count = header.u32()?;
    let mut tests = Vec::new();
    let mut defined = Words::default();
    while let Some((tag, mut chunk)) = file.chunk()? {
        match &tag {
            b"RMSK" => defined = chunk.words()?,
            b"TEST" => tests.push(test(&mut chunk, defined)?),
            _ => {}
        }
    }
    if tests.len() as u64 != u64::from(count) {
        return Err(file.bad("the header tells another number of tests"));
    }
    Ok(tests)
}

/// A test; `defined` is what the file says of all its tests.
fn test(chunk: &mut Bytes<'_>, defined: Words) -> Result<Test, MooError> {
    let mut test = Test { index: chunk.u32()?, defined, ..Test::default() };
    let (mut has_start, mut has_end) = (false, false);
    while let Some((tag, mut inner)) = chunk.chunk()? {
        match &tag {
            b"NAME" => test.name = String::from_utf8_lossy(inner.counted()?).into_owned(),
            b"BYTS" => test.code = inner.counted()?.to_vec(),
            b"INIT" => {
                has_start = true;
                snapshot(&mut inner, &mut test.start, &mut Words::default())?;
                if test.start.registers.0.contains(&None) {
                    return Err(inner.bad("a test starts without one of its registers"));
                }
            }
            b"FINA" => {
                has_end = true;
                snapshot(&mut inner, &mut test.end, &mut test.defined)?;
            }
            b"EXCP" => test.exception = Some(inner.u8()?),
            _ => {}
        }
    }
    if !has_start || !has_end || test.code.is_empty() {
        return Err(chunk.bad("a test without code, start or end"));
    }
    Ok(test)
}

fn snapshot(chunk: &mut Bytes<'_>, to: &mut Snapshot, defined: &mut Words) -> Result<(), MooError> {
    while let Some((tag, mut inner)) = chunk.chunk()? {
        match &tag {
            b"REGS" => to.registers = inner.words()?,
            b"RMSK" => *defined = inner.words()?,
            b"RAM " => {
                for _ in 0..inner.u32()? {
                    to.memory.push((inner.address()?, inner.u8()?));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Bytes that have not been read yet.
struct Bytes<'a> {
    left: &'a [u8],
    /// Offset of the first of them in the file.
    at: usize,
}

impl<'a> Bytes<'a> {
    fn bad(&self, what: &'static str) -> MooError {
        MooError::Bad { at: self.at, what }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], MooError> {
        let Some((taken, left)) = self.left.split_at_checked(length) else { return Err(self.bad("it ends too early")) };
        self.left = left;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MooError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, MooError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, MooError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, MooError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn address(&mut self) -> Result<u32, MooError> {
        let address = self.u32()?;
        if address < MEMORY_END { Ok(address) } else { Err(self.bad("an address that real mode does not have")) }
    }

    /// A length and that many bytes.
    fn counted(&mut self) -> Result<&'a [u8], MooError> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// The next chunk: its tag, and what it holds.
    fn chunk(&mut self) -> Result<Option<([u8; 4], Bytes<'a>)>, MooError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let tag = self.array()?;
        let length = self.u32()?;
        let at = self.at;
        Ok(Some((tag, Bytes { left: self.take(length as usize)?, at })))
    }

    fn words(&mut self) -> Result<Words, MooError> {
        let present = self.u16()?;
        if present >> REGISTERS != 0 {
            return Err(self.bad("a register that the processor does not have"));
        }
        let mut words = Words::default();
        for (n, word) in words.0.iter_mut().enumerate() {
            if present >> n & 1 != 0 {
                *word = Some(self.u16()?);
            }
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn chunk(tag: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let inside = parts.concat();
        [&tag[..], &(inside.len() as u32).to_le_bytes(), &inside].concat()
    }

    fn all_registers() -> Vec<u8> {
        let words = (0..REGISTERS as u16).flat_map(|n| (0x100 + n).to_le_bytes());
        [0xff, 0x3f].into_iter().chain(words).collect()
    }

    fn file(registers: &[u8], memory: &[u8]) -> Vec<u8> {
        let header = chunk(b"MOO ", &[&[1, 1, 0, 0], &1u32.to_le_bytes(), b"C286"]);
        let start = chunk(b"INIT", &[&chunk(b"REGS", &[registers]), &chunk(b"RAM ", &[memory])]);
        let end = chunk(b"FINA", &[&chunk(b"REGS", &[&[0, 0x20, 2, 0]]), &chunk(b"RAM ", &[&[0; 4]])]);
        let code = chunk(b"BYTS", &[&2u32.to_le_bytes(), &[0x90, 0xf4]]);
        let name = chunk(b"NAME", &[&3u32.to_le_bytes(), b"nop"]);
        let exception = chunk(b"EXCP", &[&[13], &0x1234u32.to_le_bytes()]);
        let test = chunk(b"TEST", &[&7u32.to_le_bytes(), &name, &code, &start, &end, &exception]);
        let masks = chunk(b"RMSK", &[&[0, 0x20, 0xff, 0x0f]]);
        [header, chunk(b"META", &[b"any"]), masks, test].concat()
    }

    fn memory(address: u32) -> Vec<u8> {
        [&1u32.to_le_bytes()[..], &address.to_le_bytes(), &[0xab]].concat()
    }

    #[test]
    fn a_test_is_read() {
        let tests = parse(&file(&all_registers(), &memory(0x10_ffef))).expect("it is well-formed");
        let [test] = &tests[..] else { panic!("one test") };
        assert_eq!((test.index, &test.name[..], &test.code[..]), (7, "nop", &[0x90, 0xf4][..]));
        assert_eq!(test.start.registers.0[FLAGS], Some(0x10d));
        assert_eq!(test.start.memory, [(0x10_ffef, 0xab)]);
        assert_eq!((test.end.registers.0[IP], test.end.registers.0[FLAGS]), (None, Some(2)));
        assert_eq!((test.defined_bits(FLAGS), test.defined_bits(IP)), (0xfff, 0xffff));
        assert_eq!(test.exception, Some(13));
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() {
        let whole = file(&all_registers(), &memory(0));
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&whole).expect("a vector takes everything");
        let packed = packed.finish().expect("a vector takes everything");
        assert_eq!(unpack(&packed[..]).expect("it is whole").len(), 1);
        for length in 0..packed.len() {
            assert!(unpack(&packed[..length]).is_err(), "{length} packed bytes");
        }
    }

    #[test]
    fn no_byte_that_is_changed_brings_the_reader_down() {
        let whole = file(&all_registers(), &memory(0));
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = parse(&changed);
            }
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let error = |bytes: &[u8]| parse(bytes).expect_err("it is wrong").to_string();
        assert!(error(b"RIFF\0\0\0\0").contains("begin"));
        assert!(error(&file(&[0, 0], &memory(0))).contains("without one of its registers"));
        assert!(error(&file(&[0, 0x40, 0, 0], &memory(0))).contains("register that the processor does not have"));
        assert!(error(&file(&all_registers(), &memory(MEMORY_END))).contains("address"));
        assert!(error(&file(&all_registers(), &u32::MAX.to_le_bytes())).contains("too early"));
        let twice = [file(&all_registers(), &memory(0)), chunk(b"TEST", &[&[0; 4]])].concat();
        assert!(error(&twice).contains("without code"));
    }
}
