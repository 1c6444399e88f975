//! Building a machine, running it, and the loop that deals with everything outside its processor.

use std::{
    sync::{
        Arc, OnceLock,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    time::{Duration, Instant},
};

use dragoman_accel::{Accelerator, Created, ExitReason, Pending, StopToken, VcpuContext, World};
use dragoman_devices::{Clock, LineInputs, LineSink, memory::GuestRam};
use dragoman_frontend::post_mortem::End;
use dragoman_state::{VcpuId, VmInstant};

use super::{
    Config, Engine, Outcome, SerialSpec,
    board::{Board, Parts},
    boot::BootFiles,
    clock::HostClock,
    console::Console,
    crash,
    events::{Bell, Event, PowerRequest, PowerSwitch},
    ledger::Ledger,
    processor::Processor,
    report::Report,
    terminal::{Escapes, KEYS, Key, RawTerminal},
};
use crate::{
    control::{Asked, Server},
    failure::{Failure, Status},
};

/// Builds the machine that `config` describes and runs it to its end.
pub fn run(config: Config) -> Result<Outcome, Failure> {
    let files = BootFiles::read(&config)?;
    let ram = files.memory(config.memory)?;
    let mut machine = Machine::build(config, files, Arc::new(ram))?;
    let started = Instant::now();
    let outcome = machine.run_to_end();
    machine.report(started.elapsed());
    outcome
}

/// A machine: what it is made of, and where it is.
pub struct Machine {
    pub config: Config,
    files: BootFiles,
    pub ram: Arc<GuestRam>,
    pub clock: Arc<HostClock>,
    bell: Arc<Bell>,
    pub board: Arc<Board>,
    /// What every engine's processor is given.
    pub context: VcpuContext,
    pub processor: Processor,
    /// The engine that has the processor, and since when.
    pub accelerator: Arc<dyn Accelerator>,
    pub engine: Engine,
    pub since: VmInstant,
    /// What engines did that had it before.
    pub ledger: Ledger,
    /// How often another engine took it over.
    pub switches: u64,
    pub is_paused: bool,
    /// Seconds of pauses that the clock on the wall was told of.
    pub wall_seconds: u64,
    events: (Sender<Event>, Receiver<Event>),
    input: Input,
    /// Kept open to the end: dropping one takes its socket's name away.
    _consoles: (Console, Option<Console>),
    _control: Option<Server>,
}

/// What the user or a peer typed and the guest has not taken yet.
struct Input {
    waiting: Vec<u8>,
    escapes: Option<Escapes>,
    tell_reader: Option<SyncSender<()>>,
}

/// Tells the main loop when the serial port can take bytes.
struct RoomBell(Sender<Event>);

impl LineSink for RoomBell {
    fn with_inputs(&self, apply: &mut dyn FnMut(&mut dyn LineInputs)) {
        struct Room<'a>(&'a Sender<Event>);
        impl LineInputs for Room<'_> {
            fn set_input(&mut self, _pin: u32, high: bool) {
                if high {
                    let _ = self.0.send(Event::Room);
                }
            }
        }
        apply(&mut Room(&self.0));
    }
}

/// Why the processor stopped for good, or that the machine goes on after a reset.
pub enum Next {
    End(Outcome),
    /// The guest died; there is a report to be made.
    Death(End),
    Restart,
    GoOn,
}

impl Machine {
    fn build(mut config: Config, files: BootFiles, ram: Arc<GuestRam>) -> Result<Self, Failure> {
        let events = mpsc::channel();
        let bell = Arc::new(Bell::new(events.0.clone()));
        let stop = StopToken::new();
        let power = Arc::new(PowerSwitch { events: events.0.clone(), stop: stop.clone(), processor: OnceLock::new() });
        let mut console = Console::open(&config.serial, Some(events.0.clone()))?;
        let mut debugcon = config.debugcon.as_ref().map(|spec| Console::open(spec, None)).transpose()?;
        let clock = Arc::new(HostClock::start());
        let parts = Parts {
            ram: ram.clone(),
            clock: clock.clone(),
            alarm: bell.clone(),
            power: power.clone(),
            processors: 1,
            serial: console.take_sink(),
            serial_room: Arc::new(RoomBell(events.0.clone())),
            debugcon: debugcon.as_mut().map(Console::take_sink),
            debug_exit: config.debug_exit,
            testdev: config.testdev,
        };
        let board =
            Board::new(parts).map_err(|error| Failure::usage(format!("{error}: choose another port for --debug-exit")))?;
        let board = Arc::new(board);
        let context = VcpuContext {
            bus: board.clone(),
            ram: ram.clone(),
            clock: clock.clone(),
            alarm: bell.clone(),
            model: config.cpu.clone(),
            world: World::new(),
        };
        let (accelerator, (vcpu, handle)) = plug_in(&mut config, &context)?;
        board.plug(vec![handle.clone()]);
        let _ = power.processor.set(handle.clone());
        let processor = Processor::new(vcpu, handle, stop, events.0.clone())?;
        let control = config.control.as_deref().map(|path| Server::start(path, events.0.clone())).transpose()?;
        let escapes = (config.serial == SerialSpec::Stdio).then(Escapes::default);
        let input = Input { waiting: Vec::new(), escapes, tell_reader: console.input.take() };
        Ok(Self {
            accelerator,
            engine: config.engine,
            config,
            files,
            ram,
            clock,
            bell,
            board,
            context,
            processor,
            since: VmInstant::ZERO,
            ledger: Ledger::default(),
            switches: 0,
            is_paused: false,
            wall_seconds: 0,
            events,
            input,
            _consoles: (console, debugcon),
            _control: control,
        })
    }

    /// Runs the guest, through all its resets, to its end.
    fn run_to_end(&mut self) -> Result<Outcome, Failure> {
        watch_signals(self.events.0.clone())?;
        let terminal = if self.config.serial == SerialSpec::Stdio { RawTerminal::enter() } else { None };
        if terminal.is_none() {
            self.input.escapes = None;
        }
        if self.config.paused {
            self.pause();
        }
        let deadline = self.config.timeout.map(|timeout| Instant::now() + timeout);
        self.power_on()?;
        if let Some(why) = &self.config.why {
            eprintln!("dragoman: {} runs this guest: {why}", self.engine.name());
        }
        if let Some(cut) = &self.config.cut {
            eprintln!("dragoman: {cut}");
        }
        loop {
            if !self.is_paused {
                self.processor.start()?;
            }
            let next = self.until_something_ends(deadline);
            let rested = self.processor.rest();
            let next = next?;
            // Whatever it did at the end that is not reported yet comes too late.
            rested?;
            match next {
                Next::End(outcome) => return Ok(outcome),
                Next::Death(end) => {
                    drop(terminal);
                    crash::report(self.processor.vcpu()?.as_mut(), &self.config.cpu, &self.ram, &end)?;
                    return Ok(match end {
                        End::TripleFault(_) => Outcome::TripleFault,
                        End::Halted => Outcome::HaltedForever,
                    });
                }
                Next::Restart | Next::GoOn => {
                    self.board.reset();
                    self.power_on()?;
                }
            }
        }
    }

    /// Puts the guest into memory and the processor at its beginning.
    fn power_on(&mut self) -> Result<(), Failure> {
        let mut state = self.files.place(&self.ram, self.board.tables(), &self.config.cpu)?;
        let (engine, hertz) = (self.engine.for_time(self.config.control.is_some()), self.config.cpu.tsc_hertz());
        state.tsc_offset = engine.accelerator().time_stamp_at_power_on(self.clock.now(), hertz);
        Ok(self.processor.vcpu()?.load(&state)?)
    }

    /// Deals with events until the guest, the user or the time limit ends this life of the machine.
    fn until_something_ends(&mut self, deadline: Option<Instant>) -> Result<Next, Failure> {
        loop {
            let event = match self.events.1.try_recv() {
                Ok(event) => Some(event),
                Err(_) => self.wait(deadline),
            };
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Next::End(Outcome::TimedOut));
            }
            match event.map_or(Ok(Next::GoOn), |event| self.handle_event(event))? {
                Next::GoOn => {}
                next => return Ok(next),
            }
            if self.is_paused {
                continue;
            }
            self.board.bus().advance(self.clock.now());
            let handle = self.processor.handle();
            if handle.deadline() <= self.clock.now() {
                handle.raise(Pending::Deadline);
            }
        }
    }

    /// Waits for an event, or until something is due.
    fn wait(&self, deadline: Option<Instant>) -> Option<Event> {
        // While guest time stands nothing of the guest's becomes due.
        let due = || match self.is_paused {
            true => VmInstant::NEVER,
            false => self.board.bus().next_deadline().min(self.processor.handle().deadline()),
        };
        let mut until = due();
        loop {
            self.bell.set(until);
            // What was due earlier before the bell was set did not ring it.
            match due() {
                earlier if earlier < until => until = earlier,
                _ => break,
            }
        }
        let to_deadline = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let to_due = (until != VmInstant::NEVER).then(|| self.clock.until(until));
        let event = match to_deadline.into_iter().chain(to_due).min() {
            Some(limit) => self.events.1.recv_timeout(limit),
            None => self.events.1.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        self.bell.set(VmInstant::ZERO);
        event.ok()
    }

    fn handle_event(&mut self, event: Event) -> Result<Next, Failure> {
        Ok(match event {
            Event::Wake => Next::GoOn,
            Event::Room => {
                self.pass_input_on();
                Next::GoOn
            }
            Event::Input(bytes) => self.take_input(bytes),
            Event::Signal(signal) => Next::End(Outcome::Signal(signal)),
            Event::Power(PowerRequest::Off) => Next::End(Outcome::PoweredOff),
            Event::Power(PowerRequest::DebugExit(value)) => Next::End(Outcome::DebugExit(value)),
            Event::Power(PowerRequest::Reset) if self.config.no_reboot => Next::End(Outcome::ResetRefused),
            Event::Power(PowerRequest::Reset) => Next::Restart,
            Event::Asked(asked) => self.obey(asked)?,
            Event::ProcessorStopped(start) if self.processor.runs_since(start) => match self.processor.rest() {
                Ok(Some(reason)) => self.processor_ended(reason),
                // A request that stopped the processor is in the queue before this.
                Ok(None) => Next::GoOn,
                Err(failure) => self.replace_engine(failure)?,
            },
            // Whoever had it stopped knows.
            Event::ProcessorStopped(_) => Next::GoOn,
        })
    }

    /// An engine that we chose turns out not to work once the guest runs: the guest does not pay for it, and the next engine runs
    /// it on. Its state was had back, or this fails.
    fn replace_engine(&mut self, failure: Failure) -> Result<Next, Failure> {
        let next = self.config.why.take().and_then(|_| self.engine.next());
        let Some(next) = next.filter(|_| failure.status() == Status::Accelerator) else { return Err(failure) };
        self.give_to(next)?;
        eprintln!("dragoman: {}: {} runs this guest on", failure.cause(), next.name());
        self.processor.start()?;
        Ok(Next::GoOn)
    }

    /// Puts a request back into the queue.
    pub fn ask_again(&self, asked: Asked) {
        // The queue's other end is here, too.
        let _ = self.events.0.send(Event::Asked(asked));
    }

    /// What comes of a processor that cannot go on.
    pub fn processor_ended(&self, reason: ExitReason) -> Next {
        match reason {
            ExitReason::Stopped | ExitReason::StepDone => Next::GoOn,
            ExitReason::HaltedForever => Next::Death(End::Halted),
            ExitReason::TripleFault(_) if self.config.resets_on_triple_fault => Next::Restart,
            ExitReason::TripleFault(fault) => Next::Death(End::TripleFault(fault.0)),
        }
    }

    /// Sorts out what is for us in what was typed; the rest waits for the guest.
    fn take_input(&mut self, bytes: Vec<u8>) -> Next {
        let (rest, key) = match &mut self.input.escapes {
            Some(escapes) => escapes.filter(&bytes),
            None => (bytes, None),
        };
        self.input.waiting.extend(rest);
        match key {
            Some(Key::Quit) => return Next::End(Outcome::Quit),
            Some(Key::Help) => eprint!("\r\n{}\r\n", KEYS.replace('\n', "\r\n")),
            None => {}
        }
        self.pass_input_on();
        Next::GoOn
    }

    /// Gives the serial port what it takes, and lets the reader go on when nothing waits any more; on a terminal also when the
    /// guest takes nothing, for our keys may come. A machine that is paused takes nothing.
    pub fn pass_input_on(&mut self) {
        const TYPED_AHEAD: usize = 64 << 10;
        if !self.input.waiting.is_empty() && !self.is_paused {
            let taken = self.board.type_bytes(&self.input.waiting);
            self.input.waiting.drain(..taken);
        }
        let is_read_on = self.input.escapes.is_some() && self.input.waiting.len() < TYPED_AHEAD;
        if self.input.waiting.is_empty() || is_read_on {
            if let Some(reader) = &self.input.tell_reader {
                // It is full where the reader was told already.
                let _ = reader.try_send(());
            }
        }
    }

    fn report(&mut self, elapsed: Duration) {
        if !self.config.stats && self.config.stats_json.is_none() {
            return;
        }
        let report = Report { engine: self.accelerator.name(), ledger: self.accounts(), switches: self.switches, elapsed };
        if self.config.stats {
            eprint!("{report}");
        }
        if let Some(path) = &self.config.stats_json {
            if let Err(error) = std::fs::write(path, report.to_json()) {
                eprintln!("dragoman: the statistics file {} cannot be written: {error}", path.display());
            }
        }
    }
}

/// The engine that `config` asks for, with a processor; another where the choice was left to us and that one fails.
fn plug_in(config: &mut Config, context: &VcpuContext) -> Result<(Arc<dyn Accelerator>, Created), Failure> {
    loop {
        let accelerator = config.engine.accelerator();
        let failure: Failure = match accelerator.create_vcpu(VcpuId(0), context.clone()) {
            Ok(created) => return Ok((accelerator, created)),
            Err(error) => error.into(),
        };
        match (&config.why, config.engine.next()) {
            (Some(_), Some(next)) => (config.why, config.engine) = (Some(failure.cause()), next),
            _ => return Err(failure),
        }
    }
}

/// Has the signals that end a process reported instead, so that the terminal can be restored first.
fn watch_signals(events: Sender<Event>) -> Result<(), Failure> {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        iterator::Signals,
    };
    let refused = |error: std::io::Error| Failure::resource(format!("signals cannot be watched: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(refused)?;
    let body = move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(body).map_err(refused)?;
    Ok(())
}
