//! How a run ended.

/// How a run ended, where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest switched the machine off.
    PoweredOff,
    /// The user did, by Ctrl-A x.
    Quit,
    /// The guest wrote this to the debug-exit port.
    DebugExit(u32),
    /// A double fault could not be delivered.
    TripleFault,
    /// The guest halted with interrupts off, and nothing can wake it.
    HaltedForever,
    /// The guest asked for a reset that `--no-reboot` forbids.
    ResetRefused,
    /// `--timeout` passed.
    TimedOut,
    /// This signal came.
    Signal(i32),
}
