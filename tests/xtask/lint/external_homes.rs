//! Each big library has one home, so that the day it is replaced, one folder changes.
//!
//! Rule: what is named here is used in its home only. Opcode and register names of iced-x86 are vocabulary and may travel.

use super::{Finding, is_below, rust, rust_source};
use crate::tree::File;

/// A library, or a part of one, and where it may be used.
struct Home {
    /// The library's name in code.
    library: &'static str,
    /// Which of its items are bound; all when there are none here.
    items: &'static [&'static str],
    folders: &'static [&'static str],
}

#[rustfmt::skip] // a table
const HOMES: &[Home] = &[
    Home { library: "iced_x86",     items: &["Decoder", "DecoderOptions"],
           folders: &["frontend/decode", "tests"] },
    Home { library: "iced_x86",     items: &["Encoder", "BlockEncoder"],
           folders: &["jit/rewrite", "tests"] },
    Home { library: "iced_x86",     items: &["Formatter", "NasmFormatter", "IntelFormatter", "GasFormatter", "MasmFormatter"],
           folders: &["frontend/decode", "tests"] },
    Home { library: "iced_x86",     items: &[], folders: &["frontend", "jit", "tests"] },
    Home { library: "dynasmrt",     items: &[], folders: &["jit", "accel/translate/tests", "tests"] },
    Home { library: "dynasm",       items: &[], folders: &["jit", "accel/translate/tests", "tests"] },
    Home { library: "kvm_ioctls",   items: &[], folders: &["accel/kvm", "tests"] },
    Home { library: "kvm_bindings", items: &[], folders: &["accel/kvm", "tests"] },
    Home { library: "memmap2",      items: &[], folders: &["accel/mmu", "jit/run", "tests"] },
    Home { library: "gdbstub",      items: &[], folders: &["src"] },
    Home { library: "clap",         items: &[], folders: &["src", "tests/xtask"] },
];

pub fn findings(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in rust(files) {
        let code = rust_source::parts(text).code;
        for home in HOMES {
            if home.folders.iter().any(|folder| is_below(&file.path, folder)) {
                continue;
            }
            let folders = home.folders.join(", ");
            if home.items.is_empty() {
                let say = |line| Finding::new(file, line, format!("{} may be used in {folders} only", home.library));
                found.extend(rust_source::lines_with_word(&code, home.library).take(1).map(say));
            } else if rust_source::lines_with_word(&code, home.library).next().is_some() {
                for item in home.items {
                    let say = |line| Finding::new(file, line, format!("{}::{item} may be used in {folders} only", home.library));
                    found.extend(rust_source::lines_with_word(&code, item).take(1).map(say));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn a_library_away_from_home_is_found() {
        assert_eq!(findings(&[file("devices/bus.rs", "use clap::Parser;\n")]).len(), 1);
        assert_eq!(findings(&[file("accel/engine.rs", "use kvm_ioctls::Kvm;\n")]).len(), 1);
        assert_eq!(findings(&[file("src/main.rs", "use clap::Parser;\n")]), []);
        assert_eq!(findings(&[file("accel/kvm/mod.rs", "use kvm_ioctls::Kvm;\n")]), []);
    }

    #[test]
    fn opcode_names_travel_within_the_front_end_but_the_decoder_does_not() {
        assert_eq!(findings(&[file("frontend/semantics/table.rs", "use iced_x86::Code;\n")]), []);
        assert_eq!(findings(&[file("frontend/decode/block.rs", "use iced_x86::Decoder;\n")]), []);
        assert_eq!(findings(&[file("frontend/semantics/table.rs", "use iced_x86::{Code, Decoder};\n")]).len(), 1);
        assert_eq!(findings(&[file("accel/lib.rs", "use iced_x86::Code;\n")]).len(), 1);
    }

    #[test]
    fn a_decoder_of_our_own_is_no_breach() {
        assert_eq!(findings(&[file("accel/interpret/mod.rs", "use dragoman_frontend::decode::Decoder;\n")]), []);
    }
}
