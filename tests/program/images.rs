//! Every kind of image that can be started, made here byte by byte: what it finds in memory and registers when it begins.
//!
//! Each guest compares one thing with what the kind's document promises, and writes whether it holds to the debug-exit
//! port: status 3 is yes, 1 is no.

use std::{fs, path::PathBuf};

use crate::guest::run;

/// Ends the run with what the flags say of equality: SETE AL; OUT F4h, AL; JMP $.
const REPORT: [u8; 7] = [0x0f, 0x94, 0xc0, 0xe6, 0xf4, 0xeb, 0xfe];

fn code(bytes: &[u8]) -> Vec<u8> {
    [bytes, &REPORT].concat()
}

/// A file of ours, taken away at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("dragoman-{}-{name}", std::process::id()));
        fs::write(&path, bytes).expect("a file can be written");
        Self(path)
    }

    fn text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Starts `image` and expects its guest to say yes.
fn says_yes(name: &str, image: &[u8], more: &[&str]) {
    let file = File::new(name, image);
    let path = file.text();
    let arguments = [&["run", &path, "--debug-exit", "--timeout", "30"], more].concat();
    let output = run(&arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{name}: {message}");
}

const BASE: u32 = 0x20_0000;

/// A 64-bit ELF file that loads `code` at `BASE` and begins there; with a PVH note where `pvh`.
fn elf64(code: &[u8], pvh: bool) -> Vec<u8> {
    const HEADER: u64 = 64;
    const PROGRAM: u64 = 56;
    let mut note = Vec::new();
    for field in [4u32, 4, 18] {
        note.extend(field.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(BASE.to_le_bytes());
    let start = HEADER + 2 * PROGRAM;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for field in [u64::from(BASE), HEADER, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, if pvh { 2 } else { 1 }, 0, 0, 0, 0, 0, 0, 0]);
    let mut program = |kind: u32, offset: u64, size: u64| {
        file.extend(kind.to_le_bytes());
        file.extend(7u32.to_le_bytes());
        for field in [offset, BASE.into(), BASE.into(), size, size, 4] {
            file.extend(field.to_le_bytes());
        }
    };
    program(1, start, code.len() as u64);
    program(4, start + code.len() as u64, note.len() as u64);
    file.extend(code);
    file.extend(note);
    file
}

/// A bzImage of boot protocol 2.15 whose kernel is `code`, at offset `entry` from where it is loaded.
fn bzimage(code: &[u8], is_64bit: bool) -> Vec<u8> {
    let mut file = vec![0u8; 1024];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]); // one sector of set-up code
    put(0x1f4, &64u32.to_le_bytes()); // sixteen-byte paragraphs of kernel
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x66]);
    put(0x202, b"HdrS");
    put(0x206, &0x20fu16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x236, &u16::from(is_64bit).to_le_bytes());
    put(0x238, &2047u32.to_le_bytes());
    put(0x258, &0x100_0000u64.to_le_bytes());
    put(0x260, &0x10_0000u32.to_le_bytes());
    let mut kernel = vec![0x90; 1024];
    let entry = if is_64bit { 0x200 } else { 0 };
    kernel[entry..entry + code.len()].copy_from_slice(code);
    file.extend(kernel);
    file
}

#[test]
fn a_pvh_kernel_finds_its_start_information() {
    // CMP DWORD [EBX], 336EC578h
    says_yes("pvh", &elf64(&code(&[0x81, 0x3b, 0x78, 0xc5, 0x6e, 0x33]), true), &[]);
    // MOV EAX, [EBX+18h]; CMP DWORD [EAX], "dear"
    let line = code(&[0x8b, 0x43, 0x18, 0x81, 0x38, b'd', b'e', b'a', b'r']);
    says_yes("pvh-line", &elf64(&line, true), &["--append", "dear kernel"]);
    // MOV EAX, [EBX+20h]; CMP DWORD [EAX], "RSD "
    says_yes("pvh-rsdp", &elf64(&code(&[0x8b, 0x43, 0x20, 0x81, 0x38, b'R', b'S', b'D', b' ']), true), &[]);
}

#[test]
fn a_pvh_kernel_finds_its_module() {
    let disk = File::new("module", b"disk");
    // MOV EAX, [EBX+10h]; MOV EAX, [EAX]; CMP DWORD [EAX], "disk"
    let module = code(&[0x8b, 0x43, 0x10, 0x8b, 0x00, 0x81, 0x38, b'd', b'i', b's', b'k']);
    says_yes("pvh-module", &elf64(&module, true), &["--initrd", &disk.text()]);
}

#[test]
fn a_64_bit_kernel_begins_in_64_bit_mode_with_its_parameters_in_rsi() {
    // MOV EAX, [RSI+202h]; CMP RAX, "HdrS", which only 64-bit code has
    let parameters = code(&[0x8b, 0x86, 0x02, 0x02, 0x00, 0x00, 0x48, 0x3d, b'H', b'd', b'r', b'S']);
    says_yes("elf64", &elf64(&parameters, false), &[]);
}

#[test]
fn a_bzimage_begins_at_its_64_bit_entry_and_finds_disk_line_and_memory_map() {
    let disk = File::new("disk", b"disk");
    // MOV EAX, [RSI+218h]; CMP DWORD [RAX], "disk"
    let ramdisk = code(&[0x8b, 0x86, 0x18, 0x02, 0x00, 0x00, 0x81, 0x38, b'd', b'i', b's', b'k']);
    says_yes("bz-disk", &bzimage(&ramdisk, true), &["--initrd", &disk.text()]);
    // MOV EAX, [RSI+228h]; CMP DWORD [RAX], "quie"
    let line = code(&[0x8b, 0x86, 0x28, 0x02, 0x00, 0x00, 0x81, 0x38, b'q', b'u', b'i', b'e']);
    says_yes("bz-line", &bzimage(&line, true), &["--append", "quiet"]);
    // CMP DWORD [RSI+2D0h+8], 9FC00h: conventional memory up to the extended BIOS data area
    let map = code(&[0x81, 0xbe, 0xd8, 0x02, 0x00, 0x00, 0x00, 0xfc, 0x09, 0x00]);
    says_yes("bz-map", &bzimage(&map, true), &[]);
    // MOV EAX, [RSI+70h]; CMP DWORD [RAX], "RSD "
    says_yes("bz-rsdp", &bzimage(&code(&[0x8b, 0x46, 0x70, 0x81, 0x38, b'R', b'S', b'D', b' ']), true), &[]);
}

#[test]
fn a_32_bit_bzimage_begins_in_protected_mode() {
    // CMP DWORD [ESI+202h], "HdrS"
    let parameters = code(&[0x81, 0xbe, 0x02, 0x02, 0x00, 0x00, b'H', b'd', b'r', b'S']);
    says_yes("bz32", &bzimage(&parameters, false), &[]);
    // MOV EAX, CR0; AND EAX, 80000001h; CMP EAX, 1: protection on, paging off
    let mode = code(&[0x0f, 0x20, 0xc0, 0x25, 0x01, 0x00, 0x00, 0x80, 0x83, 0xf8, 0x01]);
    says_yes("bz32-mode", &bzimage(&mode, false), &[]);
}

#[test]
fn memory_above_4_gib_is_there() {
    // The last range of the memory map begins above 4 GiB:
    // MOVZX EAX, BYTE [RSI+1E8h]; IMUL EAX, EAX, 20; CMP DWORD [RSI+RAX+2D0h-20+4], 1
    let last =
        code(&[0x0f, 0xb6, 0x86, 0xe8, 0x01, 0x00, 0x00, 0x6b, 0xc0, 0x14, 0x83, 0xbc, 0x06, 0xc0, 0x02, 0x00, 0x00, 0x01]);
    says_yes("high", &bzimage(&last, true), &["--memory", "5G"]);
    says_yes("higher", &bzimage(&last, true), &["--memory", "64G"]);
}

#[test]
fn a_rom_starts_at_the_reset_vector_shows_twice_and_keeps_its_bytes() {
    let mut rom = vec![0xf4; 0x2_0000];
    // CLI; MOV BYTE CS:[0], 55h; CMP BYTE CS:[0], FAh: in the second window, which begins with the last 64 KiB
    let code = code(&[0xfa, 0x2e, 0xc6, 0x06, 0x00, 0x00, 0x55, 0x2e, 0x80, 0x3e, 0x00, 0x00, 0xfa]);
    rom[0x1_0000..0x1_0000 + code.len()].copy_from_slice(&code);
    // JMP F000:0000
    rom[0x1_fff0..0x1_fff5].copy_from_slice(&[0xea, 0x00, 0x00, 0x00, 0xf0]);
    let file = File::new("rom", &rom);
    let output = run(&["run", "--bios", &file.text(), "--debug-exit", "--timeout", "30"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));

    let odd = File::new("odd-rom", &rom[1..]);
    let output = run(&["run", "--bios", &odd.text()]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("must be a multiple of 4 KiB"), "{message}");
}

#[test]
fn the_test_device_is_there_where_it_is_asked_for() {
    // MOV EAX, 12345678h; OUT E0h, EAX; IN AL, EAh; CMP AL, 34h
    let latch = code(&[0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, 0x66, 0xe7, 0xe0, 0xe4, 0xea, 0x3c, 0x34]);
    says_yes("testdev", &latch, &["--flat", "0x7c00", "--testdev"]);
    // MOV AX, 1234h; MOV DX, 200Eh; OUT DX, AL; MOV AL, 0Ah; OUT A0h, AL; IN AL, A0h; AND AL, 40h; CMP AL, 40h: request 14
    let line = [0xb8, 0x34, 0x12, 0xba, 0x0e, 0x20, 0xee, 0xb0, 0x0a, 0xe6, 0xa0, 0xe4, 0xa0, 0x24, 0x40, 0x3c, 0x40];
    says_yes("testdev-line", &code(&line), &["--flat", "0x7c00", "--testdev"]);
    // without it: CMP AL, FFh
    let nobody = code(&[0xe4, 0xe0, 0x3c, 0xff]);
    says_yes("no-testdev", &nobody, &["--flat", "0x7c00"]);
}
