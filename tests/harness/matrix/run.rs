//! One run of the matrix: which engines, which oracles, which instructions.

use std::path::PathBuf;

use dragoman_accel::Accelerator;

use super::{Absence, Filter, Matrix, Subject, Tally, oracles::Oracle};
use crate::{
    engine::{EngineEntry, Judged, RigError},
    native::NativeError,
    row::RowFile,
};

/// The name of the host's own processor among the engines.
pub const HOST: &str = "host";

/// What is to be run.
pub struct Options {
    /// The engines.
    pub engines: Vec<&'static EngineEntry>,
    /// The host's own processor is to run the rows, too.
    pub host: bool,
    /// The oracles.
    pub oracles: Vec<&'static Oracle>,
    /// Which instructions.
    pub filter: Filter,
    /// What generated cases follow from.
    pub seed: u64,
    /// How many generated cases each encoding gets.
    pub cases: u64,
    /// Files of rows.
    pub rows: Vec<RowFile>,
    /// Files of captured tests.
    pub vectors: Vec<PathBuf>,
}

/// Whoever waits for the matrix.
pub trait Watch {
    /// `done` of `total` parts of an oracle's work are done.
    fn progress(&mut self, oracle: &str, done: usize, total: usize, matrix: &Matrix);

    /// Whether the run is to end now.
    fn is_stopped(&self) -> bool;
}

/// Why there is no matrix. Never an instruction's doing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It was stopped.
    #[error("stopped")]
    Stopped,
    /// A test stand.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The host's processor.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// A file of captured tests.
    #[error("the vectors {path} cannot be used: {reason}", path = path.display())]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A run under way.
pub struct Run<'a> {
    /// What is to be run.
    pub options: &'a Options,
    /// What has come of it.
    pub matrix: Matrix,
    watch: &'a mut dyn Watch,
    pub(super) oracle: &'static str,
}

/// An engine that is there.
pub struct Engine {
    /// Its name.
    pub name: &'static str,
    /// How it is judged.
    pub judged: Judged,
    /// The engine.
    pub accelerator: Box<dyn Accelerator>,
}

/// Runs everything that `options` names.
pub fn run(options: &Options, watch: &mut dyn Watch) -> Result<Matrix, RunError> {
    let mut run = Run { options, matrix: Matrix::default(), watch, oracle: "" };
    let mut engines = Vec::new();
    for entry in &options.engines {
        match (entry.make)() {
            Ok(accelerator) => engines.push(Engine { name: entry.name, judged: entry.judged, accelerator }),
            Err(reason) => run.matrix.absent.push(Absence { engine: Some(entry.name), oracle: None, reason }),
        }
    }
    // Those that are judged in steps come first.
    engines.sort_by_key(|engine| engine.judged);
    let (stepped, running) = engines.split_at(engines.partition_point(|engine| engine.judged == Judged::InSteps));
    for oracle in &options.oracles {
        run.oracle = oracle.name;
        if !oracle.judges_unstepped {
            running.iter().for_each(|engine| run.lacks_on(engine.name, "engines that use KVM are judged by rows alone"));
        }
        let judged = if oracle.judges_unstepped { &engines[..] } else { stepped };
        match oracle.run {
            Err(reason) => run.lacks(reason),
            Ok(judge) if !judged.is_empty() || options.host && oracle.judges_unstepped => judge(&mut run, judged)?,
            Ok(_) if options.host => run.lacks_on(HOST, "the host's processor is judged by rows alone"),
            Ok(_) => {}
        }
    }
    Ok(run.matrix)
}

impl Run<'_> {
    /// The line of `subject` on `engine`.
    pub(super) fn line(&mut self, subject: &Subject, engine: &'static str) -> &mut Tally {
        self.matrix.line(subject, engine, self.oracle)
    }

    /// The oracle, or a part of its work, cannot be had.
    pub(super) fn lacks(&mut self, reason: impl Into<String>) {
        self.matrix.absent.push(Absence { engine: None, oracle: Some(self.oracle), reason: reason.into() });
    }

    /// The oracle cannot judge `engine`.
    pub(super) fn lacks_on(&mut self, engine: &'static str, reason: impl Into<String>) {
        self.matrix.absent.push(Absence { engine: Some(engine), oracle: Some(self.oracle), reason: reason.into() });
    }

    /// `done` of `total` parts of the oracle's work are done. An error where the run is to end.
    pub(super) fn step(&mut self, done: usize, total: usize) -> Result<(), RunError> {
        if self.watch.is_stopped() {
            return Err(RunError::Stopped);
        }
        self.watch.progress(self.oracle, done, total, &self.matrix);
        Ok(())
    }
}
