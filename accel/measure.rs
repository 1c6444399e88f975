//! How fast an engine runs a loop of its own, in ring 0 and in ring 3: a guest of a few instructions, for some milliseconds.
//!
//! The loop loads, adds, stores, counts and branches. In memory is the sum by which the run is judged.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use dragoman_frontend::model::CpuModel;

use crate::{
    AccelError, Accelerator, ExitReason, StopToken,
    tiny::{DATA, TinyGuest},
};

/// Instructions a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// In ring 0.
    pub kernel: f64,
    /// In ring 3.
    pub user: f64,
}

/// `mov rax, [rbx]`, `add rax, rcx`, `mov [rbx], rax`, `dec rcx`, `jnz` to the first; `ud2`.
const LOOP: [u8; 17] = [0x48, 0x8b, 0x03, 0x48, 0x01, 0xc8, 0x48, 0x89, 0x03, 0x48, 0xff, 0xc9, 0x75, 0xf2, 0x0f, 0x0b, 0x90];
const INSTRUCTIONS: u64 = 5;
/// How many turns the first run takes, and by how much each is longer than the one before.
const FIRST: u64 = 1000;
const LONGER: u64 = 8;
/// A run of so long tells enough.
const ENOUGH: Duration = Duration::from_millis(3);

/// Measures `engine`, as a `model`, for as long as `limit` for each ring at most.
pub fn measure(engine: &dyn Accelerator, model: &CpuModel, limit: Duration) -> Result<Speed, AccelError> {
    Ok(Speed { kernel: measure_ring(engine, model, 0, limit)?, user: measure_ring(engine, model, 3, limit)? })
}

fn measure_ring(engine: &dyn Accelerator, model: &CpuModel, ring: u8, limit: Duration) -> Result<f64, AccelError> {
    let mut guest = TinyGuest::new(engine, model, &LOOP)?;
    let handle = guest.handle.clone();
    let (stop, deadline) = (StopToken::new(), Instant::now() + limit);
    let (over, is_over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let (stop, handle) = (&stop, &handle);
        scope.spawn(move || {
            // It ends by the sender's end.
            if is_over.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                stop.stop();
                handle.kick();
            }
        });
        let _until_here = over;
        let mut turns = FIRST;
        // What an engine does once is no part of its speed, where there is time to run again.
        let mut first = None;
        loop {
            guest.set_data(0)?;
            let began = Instant::now();
            let reason = guest.run(ring, [0, turns, 0, DATA.0], stop)?;
            let elapsed = began.elapsed();
            let sum = guest.data()?;
            if reason == ExitReason::Stopped {
                // As far as it came: what is added last is small.
                let done = turns_done(turns, sum);
                let rate = (done * INSTRUCTIONS) as f64 / elapsed.as_secs_f64();
                return Ok(rate.max(first.unwrap_or_default()));
            }
            if sum != turns * (turns + 1) / 2 {
                let what = format!("a loop of {turns} turns ended with {reason:?} and the sum {sum}");
                return Err(AccelError::Unavailable("right arithmetic", what));
            }
            let rate = (turns * INSTRUCTIONS) as f64 / elapsed.as_secs_f64();
            if first.is_none() && Instant::now() + elapsed < deadline {
                first = Some(rate);
                continue;
            }
            if elapsed >= ENOUGH || Instant::now() + elapsed * LONGER as u32 > deadline {
                return Ok(rate);
            }
            turns *= LONGER;
        }
    })
}

/// How many of `turns` turns, which count down, make `sum`.
fn turns_done(turns: u64, sum: u64) -> u64 {
    let rest = (turns * (turns + 1) / 2).saturating_sub(sum);
    turns - ((2.0 * rest as f64).sqrt() as u64).min(turns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::Interpreter;

    #[test]
    fn the_interpreter_is_measured_in_both_rings() {
        let speed = measure(&Interpreter, &CpuModel::newest_up_to(1), Duration::from_secs(20)).expect("it runs anything");
        assert!(speed.kernel > 1e3 && speed.user > 1e3, "{speed:?}");
    }

    #[test]
    fn a_run_that_was_stopped_tells_how_far_it_came() {
        let sum_of_first = |done: u64, turns: u64| (turns - done + 1..=turns).sum::<u64>();
        for done in [0, 1, 500, 999, 1000] {
            assert!(turns_done(1000, sum_of_first(done, 1000)).abs_diff(done) <= 1, "{done}");
        }
    }
}
