//! Stopping all processors but one: for a locked access that crosses a cache line, for marking a page as code while
//! others may be writing it, for starting to log writes.
//!
//! Rule of this file: a processor is *in* the world while it may touch guest memory. Whoever wants the world alone leaves
//! it, waits until nobody is in it, and keeps others from entering. Nothing here is on a path that is taken often.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use dragoman_devices::memory::PageTracker;
use dragoman_state::VcpuId;

use crate::{Inbox, SafepointWork, VcpuHandle};

#[derive(Default)]
struct Presence {
    inside: usize,
    is_closed: bool,
}

/// The processors of one machine. What others told a processor stays here when another engine takes it over.
#[derive(Default)]
pub struct World {
    members: RwLock<Vec<(VcpuId, Arc<Inbox>)>>,
    presence: Mutex<Presence>,
    changed: Condvar,
}

impl World {
    /// A world without processors.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The inbox of processor `id`, made when an engine first has it: every engine that runs the processor reads the same
    /// one, so nothing that was said is lost between two. It hears of code that is overwritten from `tracker`.
    pub(crate) fn join(&self, id: VcpuId, tracker: &PageTracker) -> Arc<Inbox> {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, inbox)) = members.iter().find(|(known, _)| *known == id) {
            return inbox.clone();
        }
        let inbox = Arc::<Inbox>::default();
        tracker.add_listener(inbox.clone());
        members.push((id, inbox.clone()));
        inbox
    }

    fn for_each(&self, tell: impl FnMut(&Arc<Inbox>)) {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.iter().map(|(_, inbox)| inbox).for_each(tell);
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
        self.for_each(|member| member.at_safepoint(work));
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
        self.for_each(|member| member.call_to_safepoint());
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

    use dragoman_devices::memory::{GuestRam, SMALLEST};

    use super::*;

    #[test]
    fn work_in_a_closed_world_never_meets_another_processor() {
        let world = World::new();
        let ram = GuestRam::new(SMALLEST).expect("small");
        let inboxes: Vec<_> = (0..4).map(|n| world.join(VcpuId(n), ram.tracker())).collect();
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

    #[test]
    fn a_processor_that_another_engine_takes_over_keeps_its_inbox() {
        let (world, ram) = (World::new(), GuestRam::new(SMALLEST).expect("small"));
        let (first, other) = (world.join(VcpuId(0), ram.tracker()), world.join(VcpuId(1), ram.tracker()));
        first.kick();
        let again = world.join(VcpuId(0), ram.tracker());
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other) && again.has_any());
        assert_eq!(world.members.read().expect("not poisoned").len(), 2);
    }
}
