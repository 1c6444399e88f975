//! Stopping all processors but one: for a locked access that crosses a cache line, for marking a page as code while
//! others may be writing it, for starting to log writes.
//!
//! Rule of this file: a processor is *in* the world while it may touch guest memory. Whoever wants the world alone leaves
//! it, waits until nobody is in it, and keeps others from entering. Nothing here is on a path that is taken often.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::{Inbox, SafepointWork, VcpuHandle};

#[derive(Default)]
struct Presence {
    inside: usize,
    is_closed: bool,
}

/// The processors of one machine.
#[derive(Default)]
pub struct World {
    members: RwLock<Vec<Weak<Inbox>>>,
    presence: Mutex<Presence>,
    changed: Condvar,
}

impl World {
    /// A world without processors.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a processor.
    pub(crate) fn join(&self, member: &Arc<Inbox>) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.retain(|known| known.strong_count() > 0);
        members.push(Arc::downgrade(member));
    }

    /// Whether there is only one processor, so that nobody can come between two accesses of its.
    pub(crate) fn is_single(&self) -> bool {
        self.members.read().unwrap_or_else(PoisonError::into_inner).len() < 2
    }

    fn lock(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, Presence>) -> MutexGuard<'a, Presence> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling processor is about to touch guest memory; waits while somebody has the world alone.
    pub(crate) fn enter(&self) {
        let mut presence = self.lock();
        while presence.is_closed {
            presence = self.wait(presence);
        }
        presence.inside += 1;
    }

    /// The calling processor will not touch guest memory until it enters again.
    pub(crate) fn leave(&self) {
        self.lock().inside -= 1;
        self.changed.notify_all();
    }

    /// Has every processor do `work` before it executes another instruction.
    pub(crate) fn tell(&self, work: SafepointWork) {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.iter().filter_map(Weak::upgrade).for_each(|member| member.at_safepoint(work));
    }

    /// Runs `work` while no other processor is in the world. The caller is in it.
    pub fn alone<R>(&self, work: impl FnOnce() -> R) -> R {
        self.leave();
        let result = self.closed(work);
        self.enter();
        result
    }

    /// Runs `work` while no processor is in the world. The caller is not in it.
    pub fn closed<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut presence = self.lock();
        while presence.is_closed {
            presence = self.wait(presence);
        }
        presence.is_closed = true;
        drop(presence);
        for member in self.members.read().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            member.call_to_safepoint();
        }
        let mut presence = self.lock();
        while presence.inside > 0 {
            presence = self.wait(presence);
        }
        drop(presence);
        let opener = Opener(self);
        let result = work();
        drop(opener);
        result
    }
}

/// Opens the world again, however the work ends.
struct Opener<'a>(&'a World);

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        self.0.lock().is_closed = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    #[test]
    fn work_in_a_closed_world_never_meets_another_processor() {
        let world = World::new();
        let inboxes: Vec<_> = (0..4).map(|_| Arc::new(Inbox::default())).collect();
        inboxes.iter().for_each(|inbox| world.join(inbox));
        let (inside, alone, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for inbox in &inboxes {
                let (world, inside, alone, stop) = (&world, &inside, &alone, &stop);
                scope.spawn(move || {
                    world.enter();
                    for round in 0u64.. {
                        inside.fetch_add(1, Ordering::SeqCst);
                        std::hint::spin_loop();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        if inbox.take().contains(crate::inbox::Signals::SAFEPOINT) {
                            world.leave();
                            world.enter();
                        }
                        if round % 64 == 0 {
                            world.alone(|| {
                                assert_eq!(inside.load(Ordering::SeqCst), 0);
                                alone.fetch_add(1, Ordering::SeqCst);
                            });
                        }
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    world.leave();
                });
            }
            while alone.load(Ordering::SeqCst) < 2000 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
