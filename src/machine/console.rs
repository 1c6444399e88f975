//! The host's end of a serial line: where the guest's bytes go, and where its input comes from.
//!
//! Rule of this file: output is written at once and never waited for; what cannot be written now stays with the chip.
//! Input is read by a thread that goes on only when the guest has taken what it read.

use std::{
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread::Builder,
};

use dragoman_devices::backend::ByteSink;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    net::SendFlags,
    pty::OpenptFlags,
};

use super::{
    SerialSpec,
    events::Event,
    socket::{self, Access, SocketName},
};
use crate::failure::Failure;

/// One serial line's host end.
pub struct Console {
    sink: Box<dyn ByteSink>,
    /// What the reading thread waits for between pieces; `None` where there is no input.
    pub input: Option<SyncSender<()>>,
    /// A socket's name, to be taken away at the end.
    _socket: Option<SocketName>,
}

impl Console {
    /// Opens what `spec` names. Input is sent to `events`, where it is given.
    pub fn open(spec: &SerialSpec, events: Option<Sender<Event>>) -> Result<Self, Failure> {
        match spec {
            SerialSpec::None => Ok(Self { sink: Box::new(Nowhere), input: None, _socket: None }),
            SerialSpec::File(path) => Self::file(path),
            SerialSpec::Stdio => {
                let sink = Descriptor { fd: duplicate(rustix::stdio::stdout())?, when_full: WhenFull::Keep };
                let input = events.map(|events| read_on_thread(std::io::stdin(), events)).transpose()?;
                Ok(Self { sink: Box::new(sink), input, _socket: None })
            }
            SerialSpec::Pty => Self::pty(events),
            SerialSpec::Unix(path) => Self::unix(path, events),
        }
    }

    /// Where output goes; once. What is left forgets what it is given.
    pub fn take_sink(&mut self) -> Box<dyn ByteSink> {
        std::mem::replace(&mut self.sink, Box::new(Nowhere))
    }

    fn file(path: &Path) -> Result<Self, Failure> {
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666)).map_err(|error| {
            Failure::resource(format!("the serial output file {} cannot be written: {error}", path.display()))
        })?;
        let sink = Descriptor { fd, when_full: WhenFull::Keep };
        Ok(Self { sink: Box::new(sink), input: None, _socket: None })
    }

    fn pty(events: Option<Sender<Event>>) -> Result<Self, Failure> {
        let refused = |error: Errno| Failure::resource(format!("no pseudo-terminal can be had: {error}"));
        let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(refused)?;
        rustix::pty::grantpt(&ours).map_err(refused)?;
        rustix::pty::unlockpt(&ours).map_err(refused)?;
        let name = rustix::pty::ptsname(&ours, Vec::new()).map_err(refused)?;
        // Held open, so that reading our side does not fail while nobody else has the other.
        let theirs = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).map_err(refused)?;
        let mut raw = rustix::termios::tcgetattr(&theirs).map_err(refused)?;
        raw.make_raw();
        rustix::termios::tcsetattr(&theirs, rustix::termios::OptionalActions::Now, &raw).map_err(refused)?;
        eprintln!("dragoman: the serial port is at {}", name.to_string_lossy());
        let sink = Descriptor { fd: duplicate(&ours)?, when_full: WhenFull::Drop };
        let input = events.map(|events| read_on_thread(Pty { ours: File::from(ours), _theirs: theirs }, events)).transpose()?;
        Ok(Self { sink: Box::new(sink), input, _socket: None })
    }

    fn unix(path: &Path, events: Option<Sender<Event>>) -> Result<Self, Failure> {
        let (listener, name) = socket::listen(path, Access::Usual)?;
        let client: Arc<Mutex<Option<UnixStream>>> = Arc::default();
        let input = accept_on_thread(listener, client.clone(), events)?;
        Ok(Self { sink: Box::new(Client(client)), input: Some(input), _socket: Some(name) })
    }
}

fn duplicate(fd: impl AsFd) -> Result<OwnedFd, Failure> {
    fd.as_fd().try_clone_to_owned().map_err(|error| Failure::resource(format!("standard output cannot be used: {error}")))
}

/// Takes everything and forgets it.
struct Nowhere;

impl ByteSink for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

/// What becomes of bytes that cannot be written now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    /// The chip keeps them.
    Keep,
    /// They are lost: nobody may be there to read them.
    Drop,
}

/// A file descriptor that may block, written only where it will not.
struct Descriptor {
    fd: OwnedFd,
    when_full: WhenFull,
}

impl ByteSink for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> usize {
        // A terminal or pipe that says it is writable takes at least this much without waiting.
        const AT_ONCE: usize = 128;
        let mut written = 0;
        while written < bytes.len() {
            let mut fds = [PollFd::new(&self.fd, PollFlags::OUT)];
            let is_writable = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0);
            if !is_writable {
                break;
            }
            let piece = &bytes[written..bytes.len().min(written + AT_ONCE)];
            match rustix::io::write(&self.fd, piece) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Whoever read is gone: there is nowhere to write to any more.
                Err(_) => return bytes.len(),
            }
        }
        if self.when_full == WhenFull::Drop { bytes.len() } else { written }
    }
}

/// Whoever is connected to a socket; nobody, at first.
struct Client(Arc<Mutex<Option<UnixStream>>>);

impl ByteSink for Client {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = client.as_ref() else { return bytes.len() };
        match rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                *client = None;
                bytes.len()
            }
        }
    }
}

/// Our side of a pseudo-terminal.
struct Pty {
    ours: File,
    _theirs: OwnedFd,
}

impl Read for Pty {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.ours.read(buffer)
    }
}

/// How many bytes are read before the guest must have taken them.
const PIECE: usize = 512;

/// Sends what `source` gives to `events`, a piece at a time, until its end or the machine's. Returns whether the machine
/// is still there.
fn pump(source: &mut impl Read, events: &Sender<Event>, taken: &Receiver<()>) -> bool {
    let mut buffer = [0; PIECE];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => {
                if events.send(Event::Input(buffer[..count].to_vec())).is_err() || taken.recv().is_err() {
                    return false;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = Builder::new().name("serial input".into()).spawn(body);
    thread.map(|_| ()).map_err(|error| Failure::resource(format!("no thread can be had for serial input: {error}")))
}

fn read_on_thread(mut source: impl Read + Send + 'static, events: Sender<Event>) -> Result<SyncSender<()>, Failure> {
    let (tell, taken) = mpsc::sync_channel(1);
    spawn(move || {
        pump(&mut source, &events, &taken);
    })?;
    Ok(tell)
}

fn accept_on_thread(
    listener: UnixListener,
    client: Arc<Mutex<Option<UnixStream>>>,
    events: Option<Sender<Event>>,
) -> Result<SyncSender<()>, Failure> {
    let (tell, taken) = mpsc::sync_channel(1);
    spawn(move || {
        for stream in listener.incoming().flatten() {
            let (Ok(writer), mut reader) = (stream.try_clone(), stream) else { continue };
            *client.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
            let goes_on = match &events {
                Some(events) => pump(&mut reader, events, &taken),
                None => std::io::copy(&mut reader, &mut std::io::sink()).is_ok(),
            };
            *client.lock().unwrap_or_else(PoisonError::into_inner) = None;
            if !goes_on {
                return;
            }
        }
    })?;
    Ok(tell)
}
