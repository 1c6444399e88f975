//! Own guests that check interrupts and timers, while one engine after the other takes them over.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    command_line::{folder, text},
    control::{Client, done, wait_for_socket},
    guest::{Guest, guests, is_emulated_host, kvm_kind},
};

/// The engines that a guest goes through, in turn, as they are asked for: all that this host has. Under hybrid it runs user mode
/// alone, whenever it can.
pub fn engines() -> Vec<&'static str> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return vec!["interp"];
    }
    let has_kvm = kvm_kind().is_some();
    if !has_kvm {
        println!("left out: kvm and hybrid, for there is no KVM here");
    }
    ["jit", "interp", KVM, HYBRID].into_iter().filter(|engine| has_kvm || ![KVM, HYBRID].contains(engine)).collect()
}

/// The same but for a KVM of software, which lets interrupts in late, as these guests see.
fn exact_engines() -> Vec<&'static str> {
    let mut engines = engines();
    if kvm_kind() == Some("software") {
        println!("left out: kvm, which is software here, and lets interrupts in late");
        engines.retain(|engine| *engine != KVM);
    }
    engines
}

const KVM: &str = "kvm";
const HYBRID: &str = "hybrid,user=always";

/// The engine's name, without what is asked of it.
pub fn name_of(engine: &str) -> &str {
    engine.split(',').next().unwrap_or(engine)
}

/// Numbers that look random, from a seed that is printed: SplitMix64.
pub struct Random(u64);

impl Random {
    /// From `DRAGOMAN_SWITCH_SEED`, or from the time.
    pub fn new(what: &str) -> Self {
        let given = std::env::var("DRAGOMAN_SWITCH_SEED").ok().and_then(|text| text.parse().ok());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or_else(now);
        println!("{what}: DRAGOMAN_SWITCH_SEED={seed}");
        Self(seed)
    }

    /// A number of microseconds in `range`.
    pub fn wait(&mut self, range: std::ops::Range<u64>) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_micros(range.start + (z ^ (z >> 31)) % (range.end - range.start))
    }
}

/// Gives the machine at `socket` to `engine`, which a machine with a control socket is made for.
pub fn switch(socket: &str, engine: &str) {
    let answer = done(socket, &["switch", engine]);
    assert!(answer.contains(&format!("\"engine\":\"{}\"", name_of(engine))), "{answer}");
}

/// How often each guest is run at least, and at most: a short one may be gone before a busy host lets us ask anything.
const TIMES: std::ops::Range<usize> = 5..300;
/// How often another engine is to have taken it over in all.
const ENOUGH: usize = 20;

/// Runs the guest `name`, which prints a line for each of `checks`, and switches all the time until it ends.
fn passes_while_engines_change(name: &str, checks: &str) {
    let Some(image) = guests(&format!("own/{name}.elf")).filter(|_| !is_emulated_host()) else { return };
    let (folder, mut random, mut switches) = (folder(name), Random::new(name), 0);
    let (mut times, engines) = (0, exact_engines());
    while times < TIMES.start || switches < ENOUGH && times < TIMES.end {
        switches += passes_once(&image.to_string_lossy(), &folder, checks, &engines, &mut random);
        times += 1;
    }
    println!("{name}: {switches} switches while it ran {times} times");
    assert!(switches >= ENOUGH, "the guest is always gone before anything happens to it");
    fs::remove_dir_all(folder).expect("ours");
}

fn passes_once(image: &str, folder: &Path, checks: &str, engines: &[&str], random: &mut Random) -> usize {
    let socket = folder.join("socket");
    let control = format!("unix:{}", socket.display());
    let mut guest = Guest::start(&[image, "--control", &control, "--paused", "--debug-exit", "--timeout", "120"]);
    wait_for_socket(&socket);
    let mut client = Client::new(&text(&socket));
    assert!(client.ask("{\"command\":\"resume\"}").contains("running"));
    let mut switches = 0;
    for n in 0.. {
        let engine = engines[n % engines.len()];
        let answer = client.ask(&format!("{{\"command\":\"switch\",\"engine\":\"{engine}\"}}"));
        match answer.as_str() {
            // The guest has come to its end.
            "" => break,
            answer if answer.contains("\"status\":{") => switches += 1,
            answer => panic!("{engine}: {answer}"),
        }
        std::thread::sleep(random.wait(0..3000));
    }
    let printed = guest.wait_for("\nend\n", Duration::from_secs(120));
    assert_eq!(guest.status(Duration::from_secs(60)), Some(1), "{printed}");
    let passed: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("ok   ")).collect();
    assert_eq!(passed, checks.lines().collect::<Vec<_>>(), "{printed}");
    switches
}

#[test]
fn the_local_apics_timer_keeps_its_time_while_engines_change() {
    passes_while_engines_change("local_apic_timer", include_str!("checks/local_apic_timer.txt"));
}

#[test]
fn the_local_apic_keeps_its_interrupts_while_engines_change() {
    passes_while_engines_change("local_apic", include_str!("checks/local_apic.txt"));
}

#[test]
fn the_event_timer_keeps_its_time_while_engines_change() {
    passes_while_engines_change("event_timer", include_str!("checks/event_timer.txt"));
}

#[test]
fn the_io_apic_keeps_its_levels_while_engines_change() {
    passes_while_engines_change("io_apic", include_str!("checks/io_apic.txt"));
}

#[test]
fn code_that_changes_runs_as_it_is_now_while_engines_change() {
    passes_while_engines_change("selfmod_random", include_str!("checks/selfmod_random.txt"));
}
