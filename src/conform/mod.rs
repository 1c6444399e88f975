//! `dragoman conform`: what instructions do, by every oracle, on every engine, as a matrix.

mod files;
mod json;
mod list;
mod progress;
mod text;

use std::{
    io::{ErrorKind, Write, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use harness::{
    engine::ENGINES,
    matrix::{self, Filter, HOST, ORACLES, Options, Oracle, RunError},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    cli::ConformArguments,
    failure::{Failure, Status},
};
use progress::Progress;

/// How a run ended that did not fail.
pub enum Verdict {
    /// Nothing differs that is not on a written list.
    Agrees,
    /// Something does.
    Differs,
    /// This signal ended it.
    Signal(i32),
}

/// Does what `arguments` ask for.
pub fn run(arguments: &ConformArguments) -> Result<Verdict, Failure> {
    if arguments.list {
        say(&if arguments.json { list::json()? } else { list::text() })?;
        return Ok(Verdict::Agrees);
    }
    let options = options(arguments)?;
    let signal = watch_signals()?;
    let mut progress = Progress::start(signal.clone());
    let result = matrix::run(&options, &mut progress);
    progress.end();
    let matrix = match result {
        Ok(matrix) => matrix,
        Err(RunError::Stopped) => return Ok(Verdict::Signal(signal.load(Ordering::Relaxed) as i32)),
        Err(error @ RunError::Vectors { .. }) => return Err(Failure::resource(error)),
        Err(error @ RunError::Native(_)) => return Err(Failure::resource(error)),
        Err(error @ RunError::Rig(_)) => return Err(Failure::internal(error)),
    };
    say(&if arguments.json { json::document(&options, &matrix)? } else { text::document(&matrix) })?;
    Ok(if matrix.total().fail == 0 { Verdict::Agrees } else { Verdict::Differs })
}

/// Prints `text`. Whoever reads it may stop before its end.
fn say(text: &str) -> Result<(), Failure> {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::resource(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// What is to be run. Without a choice, everything.
fn options(arguments: &ConformArguments) -> Result<Options, Failure> {
    let (mut engines, mut host) = (Vec::new(), arguments.engine.is_empty());
    for name in &arguments.engine {
        match ENGINES.iter().find(|entry| entry.name == name) {
            Some(entry) => engines.push(entry),
            None if name == HOST => host = true,
            None => {
                return Err(Failure::usage(format!(
                    "no engine is called {name}; `dragoman conform --list` lists those there are"
                )));
            }
        }
    }
    let mut oracles = Vec::new();
    for name in &arguments.oracle {
        let unknown = || Failure::usage(format!("no oracle is called {name}; `dragoman conform --list` lists those there are"));
        oracles.push(Oracle::find(name).ok_or_else(unknown)?);
    }
    if arguments.engine.is_empty() {
        engines = ENGINES.iter().collect();
    }
    if oracles.is_empty() {
        oracles = ORACLES.iter().collect();
    }
    let filter = Filter::parse(arguments.filter.as_deref().unwrap_or_default());
    if let Some(word) = filter.idle_word() {
        return Err(Failure::usage(format!(
            "no instruction is called {word}, and no class: write mnemonics, or classes, which `dragoman conform --list` names"
        )));
    }
    let mut rows = files::own_rows(&arguments.rows)?;
    if oracles.iter().any(|oracle| ["rows", "kvm"].contains(&oracle.name)) {
        rows.extend(files::built_in_rows()?);
    }
    Ok(Options {
        engines,
        host,
        oracles,
        filter,
        seed: arguments.seed,
        cases: arguments.cases,
        rows,
        vectors: files::vectors(arguments.vectors.as_deref())?,
    })
}

/// The number of the signal that asks for the end, zero as long as none does. A second one ends the program at once.
fn watch_signals() -> Result<Arc<AtomicUsize>, Failure> {
    let number = Arc::new(AtomicUsize::new(0));
    let second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let refused = |error| Failure::resource(format!("signals cannot be watched: {error}"));
        signal_hook::flag::register_conditional_default(signal, second.clone()).map_err(refused)?;
        signal_hook::flag::register(signal, second.clone()).map_err(refused)?;
        signal_hook::flag::register_usize(signal, number.clone(), signal as usize).map_err(refused)?;
    }
    Ok(number)
}

impl From<Verdict> for Status {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Agrees => Self::Success,
            Verdict::Differs => Self::Differs,
            Verdict::Signal(_) => Self::Internal,
        }
    }
}
