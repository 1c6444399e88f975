//! Why the program could not do what it was asked, as one sentence with cause and remedy, and the exit status for it.

use std::{fmt::Display, process::ExitCode};

use dragoman_accel::AccelError;

/// The exit statuses that scripts rely on. Of `run`, odd ones belong to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// All is well.
    Success = 0,
    /// `conform` found a difference.
    Differs = 1,
    /// Bad usage.
    Usage = 2,
    /// A file or a resource of the host cannot be used.
    Resource = 4,
    /// Triple fault.
    TripleFault = 6,
    /// The guest halted with interrupts off, and nothing can wake it.
    HaltedForever = 8,
    /// The guest asked for a reset under `--no-reboot`.
    ResetRefused = 10,
    /// The accelerator asked for cannot be used here.
    Accelerator = 12,
    /// An error of ours.
    Internal = 14,
    /// `--timeout` passed.
    TimedOut = 16,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// A failure: what to say, and how to exit.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    status: Status,
    message: String,
}

impl Failure {
    /// The command line asks for something that cannot be.
    pub fn usage(message: impl Display) -> Self {
        Self { status: Status::Usage, message: message.to_string() }
    }

    /// A file or a resource of the host cannot be used.
    pub fn resource(message: impl Display) -> Self {
        Self { status: Status::Resource, message: message.to_string() }
    }

    /// The accelerator cannot be used here.
    pub fn accelerator(message: impl Display) -> Self {
        Self { status: Status::Accelerator, message: message.to_string() }
    }

    /// Our own error.
    pub fn internal(message: impl Display) -> Self {
        let message = format!("internal error: {message}; please report this with the command line and the guest's last output");
        Self { status: Status::Internal, message }
    }

    /// The same failure, with what becomes of it.
    pub fn with(self, consequence: impl Display) -> Self {
        Self { message: format!("{}; {consequence}", self.message), ..self }
    }

    /// What is wrong, without what to do about it.
    pub fn cause(&self) -> String {
        self.message.split_once("; ").map_or(self.message.as_str(), |(cause, _)| cause).to_owned()
    }

    /// The exit status.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl From<AccelError> for Failure {
    fn from(error: AccelError) -> Self {
        match error {
            AccelError::Unavailable(..) | AccelError::Unusable(_) => Self::accelerator(error),
            AccelError::Internal(_) => Self::internal(error),
        }
    }
}
