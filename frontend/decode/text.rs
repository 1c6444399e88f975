//! Instructions as text, in the Netwide Assembler's syntax: for rows, traces and reports.

use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};

use super::CodeSize;

/// The first instruction in `bytes`, which lie at `ip`, as text; "(bad)" where there is none.
pub fn disassemble(bytes: &[u8], size: CodeSize, ip: u64) -> String {
    let insn = Decoder::with_ip(size.bits(), bytes, ip, DecoderOptions::NONE).decode();
    let mut text = String::new();
    NasmFormatter::new().format(&insn, &mut text);
    text
}
