//! Linux with a program that checks its own results and its clock, while one engine after the other takes the machine over.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    command_line::{folder, text},
    control::{done, number, wait_for_socket},
    guest::{Guest, guests},
    linux::{COMMAND, boot_with, complaints},
    switches::{Random, engines, name_of, switch},
};

const GUEST: &str = "debian-witness-amd64";
const SWITCHES: usize = 50;
/// How far the guest's clock may be from where the host's time has taken it.
const OFF: f64 = 0.1;

/// What the program comes to on this host, where it can run it.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn on_host(folder: &std::path::Path) -> Option<String> {
    let program = guests(GUEST)?.join("root/witness/witness");
    let output = std::process::Command::new(program).arg("3").current_dir(folder).output().expect("it runs here");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let checksum = line.trim().strip_prefix("witness: end 3 0 ");
    Some(checksum.unwrap_or_else(|| panic!("the host itself fails: {line}")).into())
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn on_host(_: &std::path::Path) -> Option<String> {
    println!("the host runs no programs for x86-64 Linux");
    None
}

/// How far the guest's clock is before the time since `start`, in seconds: as the quickest of some answers says.
fn offset(guest: &mut Guest, start: Instant) -> f64 {
    const ASKED: usize = 15;
    let ask = |_| {
        let before = start.elapsed();
        guest.type_line("c");
        guest.wait_for("witness: clock ", COMMAND);
        let after = start.elapsed();
        let line = guest.wait_for("\n", COMMAND);
        let nanoseconds: u64 = line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
        (after - before, nanoseconds as f64 / 1e9 - (before + after).as_secs_f64() / 2.0)
    };
    (0..ASKED).map(ask).min_by_key(|(took, _)| *took).map_or(0.0, |(_, offset)| offset)
}

/// A pause that the guest's clocks do not see, but for the one on the wall.
fn stands_still(guest: &mut Guest, socket: &str) {
    const PAUSE: Duration = Duration::from_secs(5);
    let seconds = |guest: &mut Guest, file: &str| {
        let text = guest.ask(&format!("cat {file}"), COMMAND);
        text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).expect("a number")
    };
    // Seconds since the start, and since 1970 by the clock on the wall.
    let look =
        |guest: &mut Guest| (seconds(guest, "/proc/uptime"), seconds(guest, "/sys/class/rtc/rtc0/since_epoch"), Instant::now());
    let (guest_time, wall, host) = look(guest);
    done(socket, &["pause"]);
    std::thread::sleep(PAUSE);
    done(socket, &["resume"]);
    let (guest_later, wall_later, host_later) = look(guest);
    let (guest_passed, wall_passed) = (guest_later - guest_time, wall_later - wall);
    let passed = (host_later - host).as_secs_f64();
    println!("{passed:.3} s passed, {guest_passed:.3} s for the guest, {wall_passed:.0} s on the wall");
    assert!((passed - PAUSE.as_secs_f64() - guest_passed).abs() < 0.5, "guest time stood");
    assert!((passed - wall_passed).abs() <= 2.0, "the clock on the wall did not");
}

#[test]
fn fifty_changes_of_engine_are_seen_neither_in_results_nor_in_the_log_nor_on_the_clock() {
    let folder = folder("witness");
    let (socket, stats) = (folder.join("socket"), folder.join("stats"));
    let control = format!("unix:{}", socket.display());
    let Some(mut guest) = boot_with(&["--control", &control, "--stats-json", &text(&stats)], GUEST) else { return };
    wait_for_socket(&socket);
    let (socket, mut random) = (text(&socket), Random::new("the witness"));
    let engines = engines();
    guest.ask("dmesg -n 1", COMMAND);
    guest.type_line("cd /tmp && /witness/witness");
    guest.wait_for("witness: ready", COMMAND);

    let start = Instant::now();
    let before = offset(&mut guest, start);
    for turn in 0..SWITCHES {
        let engine = engines[turn % engines.len()];
        switch(&socket, engine);
        // Where it is slow the guest need not be long.
        std::thread::sleep(random.wait(if engine == "interp" { 1_000..150_000 } else { 1_000..300_000 }));
    }
    let after = offset(&mut guest, start);
    println!(
        "{SWITCHES} switches through {engines:?} in {:.1} s, the clock off by {:.6} s",
        start.elapsed().as_secs_f64(),
        after - before
    );
    assert!((after - before).abs() <= OFF, "the clock went from {before} to {after} s before the host's time");

    guest.type_line("q");
    guest.wait_for("witness: end ", COMMAND);
    let end = guest.wait_for("\n", COMMAND);
    let words: Vec<&str> = end.split_whitespace().collect();
    println!("rounds, failures, checksum: {words:?}");
    let [rounds, failures, checksum] = words[..] else { panic!("{end}") };
    assert_eq!(failures, "0", "what failed, a bit each, in {rounds} rounds");
    assert!(rounds.parse::<u64>().expect("a number") >= 10, "only {rounds} rounds show little");
    if let Some(expected) = on_host(&folder) {
        assert_eq!(checksum, expected, "the guest's result, and the host's");
    }
    guest.wait_for(crate::guest::PROMPT, COMMAND);
    let log = guest.ask("dmesg", COMMAND);
    assert_eq!(complaints(&log), Vec::<&str>::new());
    assert_eq!(guest.ask("cat /sys/devices/system/clocksource/clocksource0/current_clocksource", COMMAND), "tsc");
    stands_still(&mut guest, &socket);
    let status = done(&socket, &["status"]);
    guest.type_line("poweroff");
    guest.wait_for("reboot: Power down", COMMAND);
    assert_eq!(guest.status(COMMAND), Some(0));

    // The engine that it began with may have been the first to be asked for, and the only one that there is.
    let counted = number(&status, "switches") as usize;
    assert!(engines.len() == 1 || counted == SWITCHES || counted + 1 == SWITCHES, "{status}");
    let stats = fs::read_to_string(stats).expect("written at the end");
    for engine in engines.into_iter().map(name_of) {
        assert!(stats.contains(&format!("{{\"engine\": \"{engine}\", \"seconds\": ")), "{engine} ran, too: {stats}");
    }
    fs::remove_dir_all(folder).expect("ours");
}
