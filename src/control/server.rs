//! The machine's end of the control socket: a thread that accepts, and one for each client.
//!
//! Rule of this file: clients are strangers. One that sends no request, or what is none, or reads nothing, costs a thread
//! and a line's memory at most, and keeps nobody else away.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread::Builder,
    time::Duration,
};

use super::{Reply, Request};
use crate::{
    failure::Failure,
    machine::{Access, Event, SocketName, listen},
};

/// How long a request may be.
const LINE: u64 = 64 << 10;
/// How many clients there can be. One more takes the place of the one that has asked nothing for longest.
const CLIENTS: usize = 32;
/// How long a client may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    answer: SyncSender<Reply>,
    delivered: Receiver<()>,
}

impl Asked {
    /// Gives the answer. It is on its way when this returns; to know that it arrived, see [`Asked::answer_and_wait`].
    pub fn answer(self, reply: Reply) {
        let _ = self.answer.send(reply);
    }

    /// Gives the answer, and waits until it was written, or the client is given up.
    pub fn answer_and_wait(self, reply: Reply) {
        if self.answer.send(reply).is_ok() {
            let _ = self.delivered.recv_timeout(PATIENCE);
        }
    }
}

/// Listens for as long as it is kept. Its end waits a moment for answers that were given and not written yet: the process may be
/// about to end.
pub struct Server {
    _name: SocketName,
    open: Arc<AtomicUsize>,
}

impl Drop for Server {
    fn drop(&mut self) {
        const LOOKS: u32 = 500;
        for _ in 0..LOOKS {
            if self.open.load(Ordering::Acquire) == 0 {
                break;
            }
            std::thread::sleep(PATIENCE / LOOKS / 5);
        }
    }
}

/// A request that has not been answered yet.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Server {
    /// Listens at `path`; what clients ask is sent to `events`.
    pub fn start(path: &Path, events: Sender<Event>) -> Result<Self, Failure> {
        let (listener, name) = listen(path, Access::Owner)?;
        let open = Arc::<AtomicUsize>::default();
        let count = open.clone();
        let thread = Builder::new().name("control".into()).spawn(move || accept(&listener, &events, &count));
        thread.map_err(|error| Failure::resource(format!("no thread can be had for the control socket: {error}")))?;
        Ok(Self { _name: name, open })
    }
}

/// The clients that there are, the one that has asked nothing for longest first.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<Vec<(u64, UnixStream)>>>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, UnixStream)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, number: u64, stream: UnixStream) {
        let mut clients = self.lock();
        if clients.len() == CLIENTS {
            // Its thread finds out, and takes it off the list; the place is this one's at once.
            let _ = clients.remove(0).1.shutdown(Shutdown::Both);
        }
        clients.push((number, stream));
    }

    fn has_asked(&self, number: u64) {
        let mut clients = self.lock();
        if let Some(at) = clients.iter().position(|(known, _)| *known == number) {
            clients[at..].rotate_left(1);
        }
    }

    fn remove(&self, number: u64) {
        self.lock().retain(|(known, _)| *known != number);
    }
}

fn accept(listener: &UnixListener, events: &Sender<Event>, open: &Arc<AtomicUsize>) {
    let clients = Clients::default();
    for (number, stream) in (0..).zip(listener.incoming()) {
        let copy = stream.and_then(|stream| {
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok((stream.try_clone()?, stream))
        });
        let Ok((copy, stream)) = copy else {
            // The process has no more descriptors: that passes, or it does not.
            std::thread::sleep(PATIENCE / 50);
            continue;
        };
        clients.add(number, copy);
        let (known, events, open) = (clients.clone(), events.clone(), open.clone());
        let body = move || {
            serve(&stream, &events, &open, || known.has_asked(number));
            known.remove(number);
            let _ = stream.shutdown(Shutdown::Both);
        };
        if Builder::new().name("control client".into()).spawn(body).is_err() {
            clients.remove(number);
        }
    }
}

/// Answers a client until it goes, or the machine does.
fn serve(mut stream: &UnixStream, events: &Sender<Event>, open: &AtomicUsize, has_asked: impl Fn()) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE + 1).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        if line.len() as u64 > LINE {
            let failure = Failure::usage(format!("a request of more than {LINE} bytes is none; send one a line"));
            let _ = stream.write_all(Reply::from(Err(failure)).to_line().as_bytes());
            return;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        has_asked();
        let _open = Open::new(open);
        let (tell, delivered) = mpsc::channel();
        let reply = match Request::parse(&line) {
            Err(failure) => Reply::from(Err(failure)),
            Ok(request) => {
                let (answer, reply) = mpsc::sync_channel(1);
                if events.send(Event::Asked(Asked { request, answer, delivered })).is_err() {
                    return;
                }
                // The machine ended otherwise.
                let Ok(reply) = reply.recv() else { return };
                reply
            }
        };
        if stream.write_all(reply.to_line().as_bytes()).is_err() {
            return;
        }
        let _ = tell.send(());
    }
}
