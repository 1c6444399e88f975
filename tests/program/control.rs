//! The control socket: what `dragoman ctl` and programs of others ask, and what a machine makes of clients that are none.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    command_line::{folder, image, text},
    guest::{Guest, kvm_kind, refused, run},
};

const SOON: Duration = Duration::from_secs(60);

/// JMP $
const SPIN: [u8; 2] = [0xeb, 0xfe];
/// STI; HLT; JMP $-1: asleep for good, as far as it knows.
const SLEEP: [u8; 4] = [0xfb, 0xf4, 0xeb, 0xfd];

/// A number in JSON that we wrote, by its name: the first of that name.
pub fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {json}"));
    let digits: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || ".-e".contains(*c)).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} is no number in {json}"))
}

/// What the machine answers through `dragoman ctl`, as JSON, and the status that it ends with.
pub fn ctl(socket: &str, command: &[&str]) -> (String, Option<i32>) {
    let output = run(&[&["ctl", socket], command, &["--json"]].concat());
    assert!(output.stderr.is_empty() || output.stdout.is_empty(), "{output:?}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

/// The same, where it must be done.
pub fn done(socket: &str, command: &[&str]) -> String {
    let (json, status) = ctl(socket, command);
    assert_eq!(status, Some(0), "{command:?}: {json}");
    json
}

/// Waits until something is at `path`.
pub fn wait_for_socket(path: &Path) {
    let end = Instant::now() + SOON;
    while UnixStream::connect(path).is_err() {
        assert!(Instant::now() < end, "nobody listens at {}", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A guest of `code` with a control socket, which listens.
fn controlled(folder: &Path, code: &[u8], options: &[&str]) -> (Guest, String) {
    let socket = folder.join("socket");
    let guest = image(folder, "guest", code);
    let control = format!("unix:{}", socket.display());
    let guest = Guest::start(&[&[&guest, "--control", &control], options].concat());
    wait_for_socket(&socket);
    (guest, text(&socket))
}

/// A client of our own.
pub struct Client(BufReader<UnixStream>);

impl Client {
    /// One of the machine at `socket`.
    pub fn new(socket: &str) -> Self {
        let stream = UnixStream::connect(socket).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("it is open");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("it is open");
    }

    /// The next line; nothing where there is none any more.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers in time");
        line
    }

    /// What `request` is answered with; nothing where the machine is no more.
    pub fn ask(&mut self, request: &str) -> String {
        let mut line = String::new();
        let asked = self.0.get_mut().write_all(format!("{request}\n").as_bytes());
        // Whoever ends while it is asked may leave the question unread.
        match asked.and_then(|()| self.0.read_line(&mut line)) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => panic!("{error}"),
            _ => line,
        }
    }
}

#[test]
fn a_machine_says_how_it_is_stands_still_goes_on_and_ends() {
    let folder = folder("control");
    let (guest, socket) = controlled(&folder, &SPIN, &["--accel", "interp"]);
    let mode = fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for nobody else");
    let status = done(&socket, &["status"]);
    assert!(status.starts_with("{\"version\":1,\"status\":{"), "{status}");
    assert!(status.contains("\"state\":\"running\"") && status.contains("\"engine\":\"interp\""), "{status}");
    let before = number(&status, "instructions");
    std::thread::sleep(Duration::from_millis(20));
    assert!(number(&done(&socket, &["status"]), "instructions") > before, "it runs");

    for _ in 0..2 {
        assert!(done(&socket, &["pause"]).contains("\"state\":\"paused\""), "as often as one likes");
    }
    let paused = done(&socket, &["status"]);
    std::thread::sleep(Duration::from_millis(100));
    let still = done(&socket, &["status"]);
    for name in ["instructions", "guest_seconds", "seconds"] {
        assert_eq!(number(&paused, name), number(&still, name), "{name}");
    }
    assert!(number(&still, "host_seconds") >= number(&paused, "host_seconds") + 0.1);
    for _ in 0..2 {
        assert!(done(&socket, &["resume"]).contains("\"state\":\"running\""));
    }
    std::thread::sleep(Duration::from_millis(20));
    let resumed = done(&socket, &["status"]);
    assert!(number(&resumed, "instructions") > number(&still, "instructions"), "it goes on");
    let (guest_time, host_time) = (number(&resumed, "guest_seconds"), number(&resumed, "host_seconds"));
    assert!(guest_time > number(&still, "guest_seconds") && guest_time + 0.1 <= host_time, "{resumed}");

    let said = run(&["ctl", &socket, "quit"]);
    assert_eq!(said.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("ended at "), "the answer is there though the process is not");
    assert_eq!(guest.status(SOON), Some(0));
    assert!(!Path::new(&socket).exists(), "its name goes with it");
    refused(&["ctl", &socket, "status"], 4, &[&socket, "cannot be reached", "--control"]);
    // One that nobody listens at, and one that a process left behind.
    fs::write(&socket, "").expect("a file can be written");
    refused(&["ctl", &socket, "status"], 4, &[&socket, "cannot be reached"]);
    fs::remove_file(&socket).expect("ours");
    drop(UnixListener::bind(&socket).expect("a socket can be made"));
    let (guest, socket) = controlled(&folder, &SLEEP, &[]);
    assert!(run(&["ctl", &socket, "status"]).stdout.starts_with(b"state         running\n"));
    refused(&["run", &text(&folder.join("guest")), "--control", &format!("unix:{socket}")], 4, &["in use", "another path"]);
    done(&socket, &["quit"]);
    assert_eq!(guest.status(SOON), Some(0));
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn an_engine_that_cannot_be_had_is_refused_and_the_guest_goes_on() {
    let folder = folder("refused");
    let (guest, socket) = controlled(&folder, &SPIN, &["--accel", "interp"]);
    let before = number(&done(&socket, &["status"]), "instructions");
    let (json, status) = ctl(&socket, &["switch", "warp"]);
    assert_eq!(status, Some(2), "{json}");
    assert!(json.contains("no accelerator is called warp") && json.contains("goes on with interp"), "{json}");
    refused(&["ctl", &socket, "switch", "jit,tb-size=64K"], 2, &["tb-size=64K", "goes on with interp"]);
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        refused(&["ctl", &socket, "switch", "jit"], 12, &["x86-64 hosts"]);
    }
    std::thread::sleep(Duration::from_millis(20));
    let after = done(&socket, &["status"]);
    assert!(number(&after, "instructions") > before && number(&after, "switches") == 0.0, "{after}");
    done(&socket, &["quit"]);
    assert_eq!(guest.status(SOON), Some(0));
    fs::remove_dir_all(folder).expect("ours");
}

/// MOV AL, 0; OUT F4h, AL; JMP $
const EXIT: [u8; 6] = [0xb0, 0, 0xe6, 0xf4, 0xeb, 0xfe];

#[test]
fn a_machine_that_is_controlled_is_one_that_every_engine_can_have_unless_its_processor_was_asked_for() {
    let Some(kind) = kvm_kind() else { return };
    let folder = folder("models");
    let (exit, control) = (image(&folder, "exit", &EXIT), format!("unix:{}", folder.join("socket").display()));
    let said = |options: &[&str]| {
        let arguments = ["run", &exit, "--accel", "interp", "--debug-exit", "--timeout", "60"];
        let output = run(&[&arguments[..], options].concat());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(said(&[]), "");
    assert_eq!(said(&["--control", &control, "--cpu", "x86-64-v1"]), "");
    let cut = said(&["--control", &control]);
    let is_said = cut.contains("so that KVM can take the guest over") && cut.trim_end().lines().count() == 1;
    assert!(if kind == "software" { is_said } else { cut.is_empty() || is_said }, "{cut}");

    let (guest, socket) = controlled(&folder, &SPIN, &["--accel", "interp"]);
    for engine in ["kvm", "hybrid", "jit", "interp"] {
        assert!(done(&socket, &["switch", engine]).contains(&format!("\"engine\":\"{engine}\"")));
    }
    done(&socket, &["quit"]);
    assert_eq!(guest.status(SOON), Some(0));
    if !cut.is_empty() {
        let (guest, socket) = controlled(&folder, &SPIN, &["--accel", "interp", "--cpu", "x86-64-v3"]);
        refused(&["ctl", &socket, "switch", "hybrid"], 12, &["it lacks", "--cpu", "goes on with interp"]);
        done(&socket, &["quit"]);
        assert_eq!(guest.status(SOON), Some(0));
    }
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn clients_that_send_garbage_or_nothing_or_read_nothing_keep_nobody_away() {
    const HANGING: usize = 100;
    let folder = folder("clients");
    let (guest, socket) = controlled(&folder, &SLEEP, &[]);
    let mut talker = Client::new(&socket);
    for (line, says) in [
        ("hello", "write one line such as"),
        ("{\"command\":\"fly\"}", "status, pause, resume, quit and switch"),
        ("{\"command\":\"switch\"}", "needs an engine"),
        ("\u{0}\u{1}\u{2}", "no request"),
        ("{\"command\":\"status\",\"command\":\"quit\"}", "duplicate"),
    ] {
        let answer = talker.ask(line);
        assert!(answer.starts_with("{\"version\":1,\"error\":{") && answer.contains(says), "{answer}");
        assert_eq!(number(&answer, "status"), 2.0);
    }
    talker.send(b"\n  \r\n\xff\xfe\n");
    assert!(talker.line().contains("no request"), "an empty line is nothing, not even that");
    // Several at once on one connection, and a last one without an end of line.
    talker.send(b"{\"command\":\"status\"}\n{\"command\":\"status\"}\n{\"command\":\"pause\"}");
    talker.0.get_mut().shutdown(std::net::Shutdown::Write).expect("it is open");
    let answers: Vec<String> = (0..4).map(|_| talker.line()).collect();
    let has = |n: usize, state: &str| answers[n].contains(&format!("\"state\":\"{state}\""));
    assert!(has(0, "running") && has(1, "running") && has(2, "paused") && answers[3].is_empty(), "{answers:?}");

    let mut endless = Client::new(&socket);
    let line = vec![b'x'; 1 << 20];
    // It hangs up on us in the middle of it.
    let _ = endless.0.get_mut().write_all(&line);
    let mut rest = String::new();
    let _ = endless.0.read_to_string(&mut rest);
    assert!(rest.is_empty() || rest.contains("a request of more than"), "{rest}");

    let mut deaf = Client::new(&socket);
    let requests = b"{\"command\":\"status\"}\n".repeat(2000);
    let mut hanging: Vec<Client> = (0..HANGING).map(|_| Client::new(&socket)).collect();
    for client in hanging.iter_mut().step_by(2) {
        // Some are hung up on already.
        let _ = client.0.get_mut().write_all(b"{\"comm");
    }
    deaf.0.get_mut().set_write_timeout(Some(Duration::from_millis(500))).expect("it is open");
    let _ = deaf.0.get_mut().write_all(&requests);
    let start = Instant::now();
    for _ in 0..10 {
        assert!(done(&socket, &["status"]).contains("paused"));
    }
    assert!(start.elapsed() < SOON);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let socket = &socket;
            scope.spawn(move || {
                let mut client = Client::new(socket);
                for _ in 0..50 {
                    let answer = client.ask(["{\"command\":\"resume\"}", "{\"command\":\"pause\"}"][n % 2]);
                    assert!(answer.contains(["running", "paused"][n % 2]), "{answer}");
                }
            });
        }
    });
    done(&socket, &["quit"]);
    assert_eq!(guest.status(SOON), Some(0));
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn a_paused_machine_ends_by_its_time_limit_and_its_input_waits() {
    let folder = folder("paused");
    let (guest, socket) = controlled(&folder, &SPIN, &["--timeout", "1"]);
    done(&socket, &["pause"]);
    assert_eq!(guest.status(SOON), Some(16), "a limit is one of the host's time");

    // Echoes COM1's input until it reads 'q', then ends: MOV DX, 3FDh; IN AL, DX; TEST AL, 1; JZ; MOV DX, 3F8h; IN AL, DX;
    // OUT DX, AL; CMP AL, 'q'; JNE; MOV AL, 0; OUT F4h, AL; JMP $
    #[rustfmt::skip]
    let echo = [
        0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0x3c, b'q', 0x75, 0xeb,
        0xb0, 0, 0xe6, 0xf4, 0xeb, 0xfe,
    ];
    let (mut guest, socket) = controlled(&folder, &echo, &["--debug-exit"]);
    guest.type_line("one");
    guest.wait_for("one\n", SOON);
    done(&socket, &["pause"]);
    guest.type_line("two");
    std::thread::sleep(Duration::from_millis(50));
    done(&socket, &["status"]);
    guest.type_line("q");
    done(&socket, &["resume"]);
    assert_eq!(guest.wait_for("q", SOON), "two\n");
    assert_eq!(guest.status(SOON), Some(1));
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn a_signal_ends_a_paused_machine() {
    let folder = folder("signalled");
    let (guest, socket) = controlled(&folder, &SPIN, &[]);
    done(&socket, &["pause"]);
    let kill = std::process::Command::new("kill").args(["-TERM", &guest.id().to_string()]).status().expect("there is kill");
    assert!(kill.success());
    assert_eq!(guest.status(SOON), None, "by the signal");
    assert!(!Path::new(&socket).exists());
    fs::remove_dir_all(folder).expect("ours");
}

/// Both ends of a terminal: where its user is, and where a program finds it.
#[cfg(target_os = "linux")]
fn terminal() -> (fs::File, fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be had");
    grantpt(&user).and_then(|()| unlockpt(&user)).expect("it is ours");
    let name = ptsname(&user, Vec::new()).expect("it has a name").into_string().expect("a path");
    let program = fs::File::options().read(true).write(true).open(name).expect("it is there");
    (user.into(), program)
}

#[test]
#[cfg(target_os = "linux")]
fn the_keys_work_while_a_machine_is_paused_however_much_was_typed_before() {
    let folder = folder("keys");
    let socket = folder.join("socket");
    let guest = image(&folder, "guest", &SPIN);
    let (mut user, program) = terminal();
    let control = format!("unix:{}", socket.display());
    let mut child = crate::guest::dragoman()
        .args(["run", &guest, "--control", &control, "--paused"])
        .stdin(program)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the program can be started");
    wait_for_socket(&socket);
    assert!(done(&text(&socket), &["status"]).contains("\"guest_seconds\":0."), "it has not begun");
    for _ in 0..40 {
        // No more than a terminal keeps of what nobody has read yet.
        user.write_all(&[b'x'; 100]).expect("the program reads");
        std::thread::sleep(Duration::from_millis(5));
    }
    user.write_all(b"\x01x").expect("the program reads");
    let end = Instant::now() + SOON;
    let status = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().expect("it is our child");
                panic!("Ctrl-A x did not end it");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(status.code(), Some(0));
    fs::remove_dir_all(folder).expect("ours");
}
