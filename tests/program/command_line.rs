//! The command line as a contract: for each wrong one its message and its exit status, and the streams of the right ones.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::guest::{Guest, dragoman, guests, is_emulated_host, refused, run};

/// A folder of our own, made anew.
pub fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("dragoman-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder can be made");
    path
}

pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn wrong_command_lines_are_refused_with_what_is_wrong() {
    #[rustfmt::skip] // a table
    let table: &[(&[&str], &[&str])] = &[
        (&["walk"],                                             &["walk"]),
        (&["run"],                                              &["image"]),
        (&["run", "x", "y"],                                    &["'y'"]),
        (&["run", "x", "--display", "sdl"],                     &["--display"]),
        (&["run", "x", "--gdb"],                                &["--gdb"]),
        (&["run", "x", "--memory", "lots"],                     &["--memory", "lots", "512M"]),
        (&["run", "x", "--memory", "1.5G"],                     &["1.5G"]),
        (&["run", "x", "--memory", "99999999999G"],             &["99999999999G", "more memory"]),
        (&["run", "x", "--smp", "0"],                           &["--smp"]),
        (&["run", "x", "--smp", "4"],                           &["only one", "--smp"]),
        (&["run", "x", "--cpu", "i9"],                          &["i9", "--cpu help"]),
        (&["run", "x", "--cpu", "x86-64-v1,+warp"],             &["warp", "--cpu help"]),
        (&["run", "x", "--cpu", "x86-64-v1,+flush-l1d"],        &["flush-l1d", "not implemented"]),
        (&["run", "x", "--cpu", "x86-64-v1,nx"],                &["+nx or -nx"]),
        (&["run", "x", "--accel", "warp"],                      &["warp", "--accel help"]),
        (&["run", "x", "--accel", "interp,tb-size=4M"],         &["interp", "tb-size"]),
        (&["run", "x", "--accel", "jit,tb-count=4"],            &["tb-count", "tb-size=SIZE"]),
        (&["run", "x", "--accel", "auto,prefer=jit"],           &["prefer=jit", "prefer=kvm"]),
        (&["run", "x", "--accel", "kvm,prefer=kvm"],            &["kvm", "prefer=kvm"]),
        (&["run", "x", "--accel", "jit,tb-size=big"],           &["big", "512M"]),
        (&["run", "x", "--accel", "jit,tb-size=64K"],           &["64K", "1M to 1G"]),
        (&["run", "x", "--accel", "jit,tb-size=2G"],            &["2G", "1M to 1G"]),
        (&["run", "x", "--serial", "com1"],                     &["com1", "unix:PATH"]),
        (&["run", "x", "--serial", "file:"],                    &["names no file"]),
        (&["run", "x", "--debugcon", "stdio"],                  &["cannot both be stdio"]),
        (&["run", "x", "--control", "/tmp/x"],                  &["/tmp/x", "unix:PATH"]),
        (&["run", "x", "--control", "unix:"],                   &["unix:PATH"]),
        (&["run", "x", "--paused"],                             &["--control"]),
        (&["ctl", "x"],                                         &["subcommand"]),
        (&["ctl", "x", "fly"],                                  &["fly"]),
        (&["ctl", "x", "switch"],                               &["ENGINE"]),
        (&["run", "x", "--debug-exit=99999"],                   &["99999", "0xffff"]),
        (&["run", "x", "--timeout", "soon"],                    &["soon", "seconds"]),
        (&["run", "x", "--timeout", "0"],                       &["above zero"]),
        (&["run", "x", "--flat", "0x10000"],                    &["0x10000", "0xffff"]),
        (&["run", "x", "--flat", "0", "--append", "quiet"],     &["--flat", "--append"]),
        (&["run", "x", "--on-triple-fault", "cry"],             &["cry", "stop, reset"]),
    ];
    for (arguments, says) in table {
        refused(arguments, 2, says);
    }
}

#[test]
fn accelerators_that_are_not_built_have_a_status_of_their_own() {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        refused(&["run", "x", "--accel", "jit"], 12, &["x86-64 hosts", "--accel interp"]);
        refused(&["run", "x", "--accel", "kvm"], 12, &["x86-64 hosts", "this host is"]);
    }
}

#[test]
fn files_that_cannot_be_used_are_refused_with_why() {
    let folder = folder("files");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a file can be written");
        text(&path)
    };
    let says = |path: &str, says: &[&str]| {
        let named: Vec<&str> = [path].into_iter().chain(says.iter().copied()).collect();
        refused(&["run", path], 4, &named);
    };
    says(&text(&folder.join("missing")), &["image", "No such file"]);
    says(&text(&folder), &["image", "directory"]);
    says(&file("empty", b""), &["no image that can be started"]);
    let long = file("long", &[0x90; 0xa_0000]);
    refused(&["run", &long, "--flat", "0x7c00"], 4, &[&long, "beyond 0xa0000", "smaller image"]);
    refused(&["run", &file("nothing at all", b""), "--flat", "0x7c00"], 4, &["it is empty"]);
    says(&file("text", b"this is no kernel\n"), &["no image that can be started"]);
    says(&file("elf", b"\x7fELF"), &["ends before its end"]);
    says(&file("elf2", b"\x7fELF\x02\x01\x01"), &["ends before its end", "copy the file again"]);
    let mut header = vec![0u8; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16..20].copy_from_slice(&[2, 0, 183, 0]); // executable, AArch64
    header[52..56].copy_from_slice(&[64, 0, 56, 0]);
    says(&file("arm", &header), &["for another processor"]);
    header[18] = 62;
    says(&file("nothing", &header), &["nothing to load"]);
    header[32] = 64;
    header[56] = 1;
    says(&file("headers", &header), &["ends before its end", "program headers"]);
    let mut sector = vec![0u8; 1024];
    sector[0x1fe..0x206].copy_from_slice(b"\x55\xaa\x00\x00HdrS");
    says(&file("bzimage", &sector), &["Linux kernel older than"]);
    let bad_multiboot = [0x1bad_b002u32, 0x1_0000, 0u32.wrapping_sub(0x1bad_b002 + 0x1_0000), 8, 16, 0, 0, 0];
    let bytes: Vec<u8> = bad_multiboot.iter().flat_map(|field| field.to_le_bytes()).collect();
    says(&file("multiboot", &bytes), &["contradict each other"]);

    let image = guests("own/hello.elf").map(|path| text(&path));
    if let Some(image) = &image {
        let missing = text(&folder.join("missing"));
        refused(&["run", image, "--initrd", &missing], 4, &["initial RAM disk", &missing]);
        refused(&["run", image, "--serial", &format!("file:{missing}/x")], 4, &["serial output file", "cannot be written"]);
        refused(&["run", image, "--serial", &format!("unix:{missing}/x")], 4, &["socket", "cannot be made"]);
        let large = file("large", &vec![0; 3 << 20]);
        refused(&["run", image, "--memory", "3", "--initrd", &large], 4, &[image, "does not fit", "--memory"]);
        refused(&["run", image, "--memory", "1"], 2, &["--memory", "2 MiB"]);
        refused(&["run", image, "--memory", "4097k"], 2, &["--memory", "multiple of 4 KiB"]);
        refused(&["run", image, "--memory", "2T"], 2, &["--memory", "1 TiB"]);
        refused(&["run", image, "--debug-exit=0x3f8"], 2, &["0x3f8", "--debug-exit"]);
        let whole = fs::read(image).expect("a guest");
        says(&file("cut.elf", &whole[..whole.len() / 2]), &["ends before its end"]);
    }
    if let Some(kernel) = guests("debian-cloud-amd64/vmlinuz") {
        refused(&["run", &text(&kernel), "--memory", "16"], 4, &["does not fit", "--memory"]);
        let whole = fs::read(&kernel).expect("a guest");
        says(&file("cut.bz", &whole[..whole.len() / 2]), &["ends before its end", "kernel is not complete"]);
    }
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn help_teaches_and_goes_to_standard_output() {
    for (arguments, says) in [
        (&["--help"][..], "Examples:"),
        (&["run", "--help"], "Exit status:"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["run", "--cpu", "help"], "x86-64-v1"),
        (&["run", "--accel", "help"], "interp"),
        (&["ctl", "--help"], "dragoman ctl /tmp/guest switch interp"),
        (&["completions", "bash"], "dragoman__subcmd__ctl__subcmd__switch"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(says), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
}

/// A multiboot image of `code`, 32-bit, at 1 MiB.
pub fn image(folder: &Path, name: &str, code: &[u8]) -> String {
    const FLAGS: u32 = 0x1_0000;
    const BASE: u32 = 0x10_0000;
    let fields = [0x1bad_b002, FLAGS, 0u32.wrapping_sub(0x1bad_b002 + FLAGS), BASE, BASE, 0, 0, BASE + 32];
    let mut bytes: Vec<u8> = fields.iter().flat_map(|field: &u32| field.to_le_bytes()).collect();
    bytes.extend_from_slice(code);
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a file can be written");
    text(&path)
}

#[test]
fn the_exit_status_says_how_the_guest_ended() {
    let folder = folder("status");
    let exit = image(&folder, "exit", &[0xb0, 0x14, 0xe6, 0xf4, 0xeb, 0xfe]); // MOV AL, 20; OUT F4h, AL; JMP $
    let output = run(&["run", &exit, "--debug-exit"]);
    assert_eq!(output.status.code(), Some(41));
    let elsewhere = image(&folder, "elsewhere", &[0xb0, 0x80, 0xe6, 0x99, 0xeb, 0xfe]);
    assert_eq!(run(&["run", &elsewhere, "--debug-exit=0x99"]).status.code(), Some(1), "(2 * 80h + 1) mod 256");
    let halt = image(&folder, "halt", &[0xfa, 0xf4]); // CLI; HLT
    assert_eq!(run(&["run", &halt]).status.code(), Some(8));
    let triple = image(&folder, "triple", &[0x0f, 0x0b]); // UD2, with no interrupt descriptors
    assert_eq!(run(&["run", &triple]).status.code(), Some(6));
    let reset = image(&folder, "reset", &[0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe]); // MOV AL, FEh; OUT 64h, AL; JMP $
    assert_eq!(run(&["run", &reset, "--no-reboot"]).status.code(), Some(10));
    let spin = image(&folder, "spin", &[0xeb, 0xfe]); // JMP $
    assert_eq!(run(&["run", &spin, "--timeout", "0.2"]).status.code(), Some(16));
    assert_eq!(run(&["run", &triple, "--on-triple-fault", "reset", "--timeout", "0.2"]).status.code(), Some(16));
    assert_eq!(run(&["run", &reset, "--timeout", "0.2"]).status.code(), Some(16), "it starts again and again");
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn bytes_go_where_they_are_told_and_nowhere_else() {
    let folder = folder("bytes");
    let (serial, debug) = (folder.join("serial"), folder.join("debug"));
    // Writes 'S' to COM1, 'D' to port E9h, and ends.
    let code = [0x66, 0xba, 0xf8, 0x03, 0xb0, b'S', 0xee, 0xb0, b'D', 0xe6, 0xe9, 0xb0, 0, 0xe6, 0xf4, 0xeb, 0xfe];
    let guest = image(&folder, "guest", &code);
    fs::write(&serial, "old contents").expect("a file can be written");
    let [to_serial, to_debug] = [&serial, &debug].map(|path| format!("file:{}", path.display()));
    let output = run(&["run", &guest, "--debug-exit", "--serial", &to_serial, "--debugcon", &to_debug]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("dragoman: ") && said.contains("runs this guest: ") && said.lines().count() == 1, "{said}");
    let output = run(&["run", &guest, "--debug-exit", "--accel", "interp", "--serial", &to_serial, "--debugcon", &to_debug]);
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!((fs::read(&serial).expect("written"), fs::read(&debug).expect("written")), (b"S".to_vec(), b"D".to_vec()));
    let output = run(&["run", &guest, "--debug-exit"]);
    assert_eq!(output.stdout, b"S", "port E9h is off unless it is asked for");
    assert!(run(&["run", &guest, "--debug-exit", "--serial", "none"]).stdout.is_empty());
    let (json, mut counts) = (folder.join("stats"), Vec::new());
    for engine in ["interp", if HAS_TRANSLATOR { "jit" } else { "interp" }] {
        let output = run(&["run", &guest, "--debug-exit", "--accel", engine, "--stats", "--stats-json", &text(&json)]);
        assert_eq!(output.stdout, b"S");
        assert!(String::from_utf8_lossy(&output.stderr).contains("instructions"));
        let counters = fs::read_to_string(&json).expect("written");
        assert!(counters.starts_with(&format!("{{\"version\": 1, \"engine\": \"{engine}\"")), "{counters}");
        assert_eq!(counters.contains("\"blocks\": "), engine == "jit", "{counters}");
        let count = counters
            .split_once("\"instructions\": ")
            .and_then(|(_, rest)| rest.split_once(','))
            .map(|(count, _)| count.to_string());
        counts.push(count.filter(|count| count != "null").expect("instructions are counted where somebody asks"));
    }
    assert_eq!(counts[0], counts[1], "both count the same instructions");
    fs::remove_dir_all(folder).expect("ours");
}

/// Hosts that code is translated for.
const HAS_TRANSLATOR: bool = cfg!(all(target_arch = "x86_64", target_os = "linux"));

/// Echoes COM1's input until it reads 'q', then ends.
#[rustfmt::skip]
const ECHO: [u8; 29] = [
    0x66, 0xba, 0xfd, 0x03,             // MOV DX, 3FDh
    0xec, 0xa8, 0x01, 0x74, 0xfb,       // wait: IN AL, DX; TEST AL, 1; JZ wait
    0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, // MOV DX, 3F8h; IN AL, DX; OUT DX, AL
    0x3c, b'q', 0x75, 0xeb,             // CMP AL, 'q'; JNE start
    0xb0, 0, 0xe6, 0xf4,                // MOV AL, 0; OUT F4h, AL
    0xeb, 0xfe, 0x90, 0x90, 0x90, 0x90,
];

#[test]
fn a_guest_reads_what_is_typed_however_much_it_is() {
    let folder = folder("echo");
    let echo = image(&folder, "echo", &ECHO);
    let mut guest = Guest::start(&[&echo, "--debug-exit", "--timeout", "60"]);
    let line = "0123456789".repeat(2000);
    guest.type_line(&line);
    guest.type_line("q");
    let printed = guest.wait_for("q", Duration::from_secs(60));
    assert_eq!(printed, format!("{line}\n"));
    assert_eq!(guest.status(Duration::from_secs(10)), Some(1));
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn a_socket_takes_one_client_after_the_other() {
    let folder = folder("socket");
    let (echo, socket) = (image(&folder, "echo", &ECHO), folder.join("console"));
    let mut child = dragoman()
        .args(["run", &echo, "--debug-exit", "--timeout", "60", "--serial", &format!("unix:{}", socket.display())])
        .stdin(Stdio::null())
        .spawn()
        .expect("the program can be started");
    for word in [&b"first"[..], b"second q"] {
        let mut stream = connect(&socket);
        stream.write_all(word).expect("connected");
        let mut echoed = vec![0; word.len()];
        stream.read_exact(&mut echoed).expect("connected");
        assert_eq!(echoed, word);
    }
    assert_eq!(child.wait().expect("ours").code(), Some(1));
    assert!(!socket.exists(), "the socket's name goes with the machine");
    fs::remove_dir_all(folder).expect("ours");
}

fn connect(socket: &Path) -> UnixStream {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
                return stream;
            }
            Err(error) if Instant::now() > end => panic!("no socket: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[test]
fn a_signal_ends_the_program_by_that_signal() {
    let folder = folder("signal");
    let spin = image(&folder, "spin", &[0xeb, 0xfe]);
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let mut child =
            dragoman().args(["run", &spin, "--timeout", "30"]).stdin(Stdio::null()).spawn().expect("the program can be started");
        // Until it listens to signals; an emulated host takes its time.
        std::thread::sleep(Duration::from_millis(if is_emulated_host() { 3000 } else { 300 }));
        Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().expect("there is kill");
        assert_eq!(child.wait().expect("ours").signal(), Some(number));
    }
    fs::remove_dir_all(folder).expect("ours");
}
