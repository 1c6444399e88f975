//! Debian's own kernel, unmodified, from power-on to its shell and to power-off.

use std::{
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::guest::{Guest, PROMPT, guests, is_emulated_host};

const BOOT: Duration = Duration::from_secs(300);
/// How long a command may take.
pub const COMMAND: Duration = Duration::from_secs(600);

/// Boots the guest called `name` to its shell.
pub fn boot(name: &str) -> Option<Guest> {
    boot_on("auto", name)
}

/// The same by the engine called `engine`.
pub fn boot_on(engine: &str, name: &str) -> Option<Guest> {
    boot_with(&["--accel", engine], name)
}

/// The same with `options`.
pub fn boot_with(options: &[&str], name: &str) -> Option<Guest> {
    if is_emulated_host() {
        return None;
    }
    let folder = guests(name)?;
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let append = std::fs::read_to_string(folder.join("append")).expect("made with the kernel");
    let (kernel, initrd) = (file("vmlinuz"), file("initrd.cpio"));
    let image = [&kernel, "--initrd", &initrd, "--append", append.trim()];
    let mut guest = Guest::start(&[options, &image].concat());
    guest.wait_for(PROMPT, BOOT);
    Some(guest)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What the host's own tools print for a shell command.
fn on_host(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).stderr(Stdio::inherit()).output().expect("there is a shell");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// Lines of a kernel's log that would say something went wrong.
pub fn complaints(log: &str) -> Vec<&str> {
    const BAD: [&str; 14] = [
        "WARNING:",
        "BUG:",
        "Oops",
        "oops",
        "Call Trace",
        "rcu_preempt detected stall",
        "rcu: INFO",
        "soft lockup",
        "hard LOCKUP",
        "clocksource: timekeeping watchdog",
        "Marking clocksource",
        "unstable",
        "[Firmware Bug]",
        "ACPI Error",
    ];
    log.lines().filter(|line| BAD.iter().any(|bad| line.contains(bad))).collect()
}

#[test]
fn a_script_types_commands_and_reads_the_right_answers() {
    script("interp", "debian-cloud-amd64", "x86_64");
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn the_translator_gives_the_same_answers() {
    script("jit", "debian-cloud-amd64", "x86_64");
}

/// A kernel, and what it runs, translate many times as much code as there is room for.
#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn the_translator_gives_the_same_answers_with_little_room_for_code() {
    script("jit,tb-size=1M", "debian-cloud-amd64", "x86_64");
}

#[test]
#[ignore = "full tier: the kernel takes half a minute to boot"]
fn the_generic_kernel_gives_the_same_answers() {
    script("interp", "debian-amd64", "x86_64");
}

#[test]
#[ignore = "full tier: with the generic kernel above"]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn the_generic_kernel_gives_the_same_answers_by_the_translator() {
    script("jit", "debian-amd64", "x86_64");
}

#[test]
#[ignore = "full tier: its packages are not among those of the quick one"]
fn a_32_bit_kernel_gives_the_same_answers() {
    script("interp", "debian-686-pae", "i686");
}

#[test]
#[ignore = "full tier: with the 32-bit kernel above"]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn a_32_bit_kernel_gives_the_same_answers_by_the_translator() {
    script("jit", "debian-686-pae", "i686");
}

/// Types commands at the prompt of the guest called `name`, run by `engine`, whose kernel is for `machine`, and reads the
/// answers.
fn script(engine: &str, name: &str, machine: &str) {
    let Some(mut guest) = boot_on(engine, name) else { return };
    // What the kernel says of a busy host is not to be taken for an answer.
    guest.ask("dmesg -n 1", COMMAND);
    let uname = guest.ask("uname -srm", COMMAND);
    assert!(uname.starts_with("Linux 6.") && uname.ends_with(machine), "{uname}");
    let processor = guest.ask("cat /proc/cpuinfo", COMMAND);
    assert!(processor.contains("model name\t: Dragoman x86-64-v3 processor"), "{processor}");
    assert!(processor.contains("cpu MHz\t\t: 1000.000"), "{processor}");

    const SUM: &str = "yes 'a line of text' | head -c 16777216 | sha256sum";
    assert_eq!(guest.ask(SUM, COMMAND), on_host(SUM));
    let forks = guest.ask("for i in $(seq 100); do /bin/true; done; echo $i", COMMAND);
    assert_eq!(forks, "100");
    let before = now();
    let date: u64 = guest.ask("date +%s", COMMAND).parse().expect("a number");
    assert!((before.saturating_sub(2)..=now() + 2).contains(&date), "{date} is not within two seconds of {before}");
    let ping = guest.ask("ping -c 2 127.0.0.1", COMMAND);
    assert!(ping.contains("2 packets transmitted, 2 packets received, 0% packet loss"), "{ping}");
    assert_eq!(guest.ask("cat /sys/devices/system/clocksource/clocksource0/current_clocksource", COMMAND), "tsc");

    let log = guest.ask("dmesg", COMMAND);
    assert_eq!(complaints(&log), Vec::<&str>::new());
    guest.type_line("poweroff");
    guest.wait_for("reboot: Power down", COMMAND);
    assert_eq!(guest.status(COMMAND), Some(0));
}

#[test]
fn a_reset_starts_the_machine_again_in_the_same_process() {
    let Some(mut guest) = boot("debian-cloud-amd64") else { return };
    guest.type_line("reboot -f");
    guest.wait_for("Linux version 6.", BOOT);
    guest.wait_for(PROMPT, BOOT);
    guest.type_line("poweroff -f");
    assert_eq!(guest.status(COMMAND), Some(0));
}

/// Processor time that a process has used, in seconds.
#[cfg(target_os = "linux")]
fn processor_time(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    let after_name = stat.rsplit(')').next().expect("its name is in parentheses");
    let ticks = |n: usize| after_name.split_whitespace().nth(n).and_then(|field| field.parse::<f64>().ok()).expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

#[test]
#[cfg(target_os = "linux")]
fn idle_at_the_shell_it_uses_at_most_two_percent_of_a_core() {
    const WATCHED: u64 = 30;
    let Some(guest) = boot("debian-cloud-amd64") else { return };
    // Once at the prompt the kernel still has a little to do.
    std::thread::sleep(Duration::from_secs(5));
    let before = processor_time(guest.id());
    std::thread::sleep(Duration::from_secs(WATCHED));
    let share = (processor_time(guest.id()) - before) / WATCHED as f64;
    println!("idle: {:.2} % of a core", share * 100.0);
    assert!(share <= 0.02, "{share}");
}
