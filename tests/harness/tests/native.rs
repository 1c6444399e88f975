//! Generated cases on every engine and on the host's processor.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dragoman_frontend::model::CpuModel;
use harness::{
    Mode,
    case::{Case, End},
    engine::{Rig, engines},
    generate::{Form, Generated, Generator, codes, differences, native_codes},
    native::{NativeError, Oracle},
    record,
    row::RowFile,
};
use iced_x86::{Code, EncodingKind};

/// How long the quick tier compares; `DRAGOMAN_NATIVE_SECONDS` says otherwise.
const SECONDS: u64 = 60;
/// How many compared cases every encoding has at least; `DRAGOMAN_NATIVE_CASES` says otherwise.
const LEAST: u64 = 1;
/// So many times as many may be made, because not all come to an end on the host.
const PATIENCE: u64 = 20;
/// How many cases are made of one encoding before it is the next one's turn.
const CASES: usize = 24;
/// Whose processors the model is one of.
const VENDOR: &str = "GenuineIntel";
/// In how many encodings of a hundred another vendor's processor may differ.
const OTHER_VENDOR_PERCENT: usize = 10;
/// How many failures are spelled out.
const SHOWN: usize = 40;

#[test]
fn every_engine_does_what_the_host_does() {
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error @ NativeError::Unavailable(_)) => {
            println!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let number = |name: &str, otherwise: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let seconds = number("DRAGOMAN_NATIVE_SECONDS", SECONDS);
    let seed = number("DRAGOMAN_NATIVE_SEED", 1);
    let wanted = number("DRAGOMAN_NATIVE_CASES", LEAST);
    let filter = std::env::var("DRAGOMAN_NATIVE_FILTER").unwrap_or_default().to_ascii_lowercase();
    let model = CpuModel::most();
    let forms: Vec<_> = native_codes(&model, oracle.host())
        .into_iter()
        .filter(|code| filter.is_empty() || format!("{:?}", code.mnemonic()).to_ascii_lowercase() == filter)
        .map(|code| (code, Form::of(code)))
        .collect();
    let absent = codes(&model).into_iter().filter(|code| !oracle.host().has_code(*code)).map(|code| format!("{code:?}"));
    let absent: Vec<_> = absent.collect();
    if !absent.is_empty() {
        println!("skipped, because the host has no such instruction: {}", absent.join(", "));
    }
    let engines = engines();
    let mut rigs: Vec<_> = engines.iter().map(|engine| Rig::new(&**engine, model.clone()).expect("the engine works")).collect();
    let mut generator = Generator::new(seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut failures: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let (mut cases, mut endless, mut rounds) = (0_u64, 0, 0);
    let mut unmade = Vec::new();
    let mut compared = BTreeMap::new();
    let least = |compared: &BTreeMap<Code, u64>| compared.values().copied().min().unwrap_or(0);
    while rounds == 0 || Instant::now() < until || least(&compared) < wanted && rounds * CASES as u64 <= wanted * PATIENCE {
        for mode in [Mode::Long64, Mode::Comp32, Mode::Comp16] {
            if let Some(reason) = oracle.lacks(mode) {
                if rounds == 0 {
                    println!("skipped in {mode}: {reason}");
                }
                continue;
            }
            for group in forms.chunks(64) {
                let mut list = Vec::new();
                for (code, form) in group.iter().filter(|(_, form)| form.exists_in(mode)) {
                    let before = list.len();
                    for _ in 0..CASES / 6 {
                        generator.make(form, mode, 6, &mut list);
                    }
                    if list.len() == before && rounds == 0 {
                        unmade.push(format!("{code:?} in {mode}"));
                    }
                }
                list.sort_by_key(|generated: &Generated| generated.case.map);
                let plain: Vec<Case> = list.iter().map(|generated| generated.case).collect();
                let outcomes = oracle.run(generator.maps(), &plain).expect("the host runs it");
                for (rig, engine) in rigs.iter_mut().zip(&engines) {
                    for (generated, native) in list.iter().zip(&outcomes) {
                        rig.prepare(mode, &generator.maps()[generated.case.map as usize]);
                        let got = rig.run_case(&generated.case).expect("the engine works");
                        cases += 1;
                        compared.entry(generated.code).or_insert(0);
                        match differences(generated, native, &got, oracle.host()) {
                            Err(_) => endless += 1,
                            Ok(found) => {
                                *compared.entry(generated.code).or_default() += 1;
                                if found.is_empty() {
                                    continue;
                                }
                                let refused = if generated.insn.is_invalid() { ", made invalid" } else { "" };
                                let key = format!("{:?}{refused}", generated.code);
                                let entry = failures.entry(key).or_insert_with(|| (0, String::new()));
                                entry.0 += 1;
                                if entry.0 == 1 {
                                    let found: Vec<_> = found.iter().map(|one| format!("    {one}")).collect();
                                    entry.1 = format!("{}: {}\n{}", engine.name(), describe(generated), found.join("\n"));
                                }
                            }
                        }
                    }
                }
            }
        }
        rounds += 1;
    }
    println!(
        "{} on {}: {cases} cases of {} encodings in {rounds} rounds from seed {seed}, {endless} without an end on the host",
        oracle.host().name,
        oracle.host().vendor,
        forms.len()
    );
    if std::env::var("RARE").is_ok() {
        let mut v: Vec<_> = compared.iter().collect();
        v.sort_by_key(|x| x.1);
        println!("{:?}", &v[..40.min(v.len())]);
    }
    let rarest = compared.iter().min_by_key(|(_, count)| **count).map(|(code, count)| format!("{count} of {code:?}"));
    println!("compared cases of an encoding: {} at least", rarest.unwrap_or_default());
    assert!(least(&compared) >= wanted, "of each encoding {wanted} cases were to be compared");
    if !unmade.is_empty() {
        println!("{} encodings could not be made: {}", unmade.len(), unmade.join(", "));
    }
    let total: usize = failures.values().map(|(count, _)| count).sum();
    let shown: Vec<_> =
        failures.iter().take(SHOWN).map(|(code, (count, text))| format!("{code}: {count} cases\n  {text}")).collect();
    let verdict = format!("{total} cases of {} encodings differ:\n{}", failures.len(), shown.join("\n"));
    // The engines are of the model's vendor. What another vendor's processor does otherwise is told, and is no mistake as
    // long as it is little.
    let is_kin = oracle.host().vendor == VENDOR;
    let allowed = if is_kin { 0 } else { forms.len() * OTHER_VENDOR_PERCENT / 100 };
    assert!(failures.len() <= allowed, "{verdict}");
    if !failures.is_empty() {
        println!("the host is not {VENDOR}'s; {verdict}");
    }
}

#[test]
fn what_is_generated_comes_to_an_end_on_the_host_and_what_is_made_invalid_does_not() {
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    // All that the host has, whether or not Dragoman does.
    let model = CpuModel::most().with_features(oracle.host().features);
    let mut generator = Generator::new(1);
    let (mut never, mut accepted, mut refused) = (Vec::new(), Vec::new(), 0);
    for code in native_codes(&model, oracle.host()).into_iter().filter(|code| code.encoding() == EncodingKind::VEX) {
        let form = Form::of(code);
        for mode in [Mode::Long64, Mode::Comp32, Mode::Comp16].into_iter().filter(|mode| form.exists_in(*mode)) {
            if oracle.lacks(mode).is_some() {
                continue;
            }
            let mut list = Vec::new();
            (0..24).for_each(|_| generator.make(&form, mode, 2, &mut list));
            let plain: Vec<Case> = list.iter().map(|generated| generated.case).collect();
            let outcomes = oracle.run(generator.maps(), &plain).expect("the host runs it");
            let mut has_ended = false;
            for (generated, outcome) in list.iter().zip(&outcomes) {
                let is_undefined = matches!(outcome.end, End::Fault { vector: 6, .. });
                if generated.insn.is_invalid() {
                    refused += 1;
                    if !is_undefined {
                        accepted.push(format!("{code:?}: {}\n    {:?}", describe(generated), outcome.end));
                    }
                } else if is_undefined {
                    never.push(format!("{code:?}: {}\n    {:?}", describe(generated), outcome.end));
                } else {
                    has_ended |= outcome.end == End::Done;
                }
            }
            if !has_ended {
                never.push(format!("{code:?} in {mode}"));
            }
        }
    }
    println!("{refused} cases that were made invalid");
    accepted.truncate(SHOWN);
    assert!(accepted.is_empty(), "the host takes what is no instruction:\n{}", accepted.join("\n"));
    assert!(never.is_empty(), "{} are no instructions, or never come to an end:\n{}", never.len(), never.join("\n"));
}

#[test]
fn recorded_rows_are_what_the_host_does() {
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let (mut wrong, mut rows) = (Vec::new(), 0);
    let here = format!("host {}", oracle.host().name);
    for path in RowFile::list(&RowFile::folder()).expect("tests/insn is there") {
        let file = RowFile::read(&path).expect("rows");
        rows += file.rows().filter(|(_, row)| row.source == here).count();
        let differing = record::check(&file, &mut oracle).expect("the host runs them");
        wrong.extend(differing.into_iter().map(|(line, now)| format!("{}:{line}: {now}", file.name)));
    }
    if rows == 0 {
        println!("skipped: no row was recorded on this kind of processor, {}", oracle.host().name);
    }
    assert!(wrong.is_empty(), "{} rows are not what the host does now:\n{}", wrong.len(), wrong.join("\n"));
}

fn describe(generated: &Generated) -> String {
    let case = &generated.case;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let text = dragoman_frontend::decode::disassemble(case.code(), case.mode.code_size(), case.registers.rip);
    let gpr: Vec<_> = case.registers.gpr[..case.mode.register_count()].iter().map(|value| format!("{value:x}")).collect();
    let mut all = format!(
        "{} | {} | {text}\n    start {} rflags {:x} mxcsr {:x} fcw {:x} fsw {:x} ftw {:x} map {}",
        case.mode,
        hex(case.code()),
        gpr.join(" "),
        case.registers.rflags,
        case.registers.mxcsr,
        case.registers.x87.control,
        case.registers.x87.status.bits(),
        case.registers.x87.valid,
        case.map
    );
    for n in (0..case.mode.register_count()).filter(|n| is_shown(&text, *n)) {
        let [a, b, c, d] = case.registers.vectors[n];
        all.push_str(&format!("\n    start ymm{n} {d:016x}_{c:016x}_{b:016x}_{a:016x}"));
    }
    if text.starts_with('f') || (0..8).any(|n| text.contains(&format!(" mm{n}")) || text.contains(&format!(",mm{n}"))) {
        for n in 0..8 {
            let register = case.registers.x87.registers[n];
            all.push_str(&format!("\n    start physical {n} {:04x}_{:016x}", register.sign_exponent, register.significand));
        }
    }
    for window in case.windows() {
        all.push_str(&format!("\n    start memory {:#x}: {}", window.at, hex(Case::bytes_of(window, &case.memory))));
    }
    all
}

/// Whether a vector register of that number is in `text`; XMM0 may be implied.
fn is_shown(text: &str, number: usize) -> bool {
    number == 0 && text.contains("xmm")
        || text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
            let digits = word.strip_prefix("xmm").or_else(|| word.strip_prefix("ymm"));
            digits.and_then(|digits| digits.parse().ok()) == Some(number)
        })
}
