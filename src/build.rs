//! Puts the rows of `tests/insn` into the program: their texts one after another, compressed, and a list of their names and
//! lengths. `conform/files.rs` includes both.

use std::{env, error::Error, fmt::Write as _, fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("tests/insn");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rows") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut list = String::from("&[\n");
    let mut texts = GzEncoder::new(Vec::new(), Compression::best());
    for path in &paths {
        let (name, text) = (path.file_name().unwrap_or_default().to_string_lossy(), fs::read_to_string(path)?);
        writeln!(list, "    ({name:?}, {}),", text.len())?;
        texts.write_all(text.as_bytes())?;
    }
    list += "]\n";
    let output = env::var("OUT_DIR")?;
    fs::write(Path::new(&output).join("rows.rs"), list)?;
    fs::write(Path::new(&output).join("rows.gz"), texts.finish()?)?;
    Ok(())
}
