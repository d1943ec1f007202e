//! When sockets want to be stepped: one wheel for all of them instead of a timer each.
//!
//! Rules owned here: a socket is told at most `SWEEP_EVERY` and one sweep after its deadline; moving a deadline away, as every frame of a
//! device does, costs a store, and no visit before the one that is planned; a socket that is gone is forgotten at its visit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use hub_core::limits::SWEEP_EVERY;

/// Slots of the wheel: a turn is longer than a session's usual deadlines, so that few visits find that it is not time yet.
const SLOTS: usize = 256;
/// No deadline, or no visit.
const NEVER: u64 = u64::MAX;

/// Something with deadlines: a socket's handle.
pub(super) trait Timed {
    /// Its part of the wheel.
    fn armed(&self) -> &Armed;
}

/// What a socket's handle holds of this, in slots since the node's start. Sequentially consistent: whoever of a sweep and an actor comes
/// second sees what the first one did.
#[derive(Debug)]
pub(super) struct Armed {
    deadline: AtomicU64,
    /// The planned visit, which is not after the deadline.
    visit: AtomicU64,
}

impl Default for Armed {
    fn default() -> Self {
        Self {
            deadline: AtomicU64::new(NEVER),
            visit: AtomicU64::new(NEVER),
        }
    }
}

/// When, and whom; void when that socket's planned visit is another one by then.
type Visit<T> = (u64, Weak<T>);

/// The wheel.
#[derive(Debug)]
pub(super) struct Deadlines<T> {
    started: Instant,
    slots: Box<[Mutex<Vec<Visit<T>>>]>,
    /// The first slot that the next sweep looks at.
    next: AtomicU64,
}

impl<T: Timed> Deadlines<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(0),
        }
    }

    /// Notes when a socket wants to be stepped.
    pub(super) fn arm(&self, handle: &Arc<T>, deadline: Option<Instant>) {
        let deadline = deadline.map_or(NEVER, |at| self.slots_until(at));
        handle.armed().deadline.store(deadline, Ordering::SeqCst);
        if deadline < handle.armed().visit.load(Ordering::SeqCst) {
            self.plan(handle, deadline);
        }
    }

    /// Calls `tell` for each whose deadline has passed, once for each time it was armed. To be called by one task.
    pub(super) fn sweep(&self, now: Instant, mut tell: impl FnMut(&T)) {
        let last = self.slots_passed(now);
        let first = self.next.load(Ordering::SeqCst);
        // Before the slots are emptied: what is planned from here on is for the next sweep.
        self.next
            .store(last.saturating_add(1).max(first), Ordering::SeqCst);
        let turn = first.saturating_add(SLOTS as u64 - 1);
        for slot in first..=last.min(turn) {
            for (at, handle) in self.take_due(slot, last) {
                let handle = handle.upgrade();
                if let Some(handle) = handle.filter(|handle| self.is_due(handle, at, last)) {
                    tell(&handle);
                }
            }
        }
    }

    /// Takes the visits out of a slot, but for those of a later turn.
    fn take_due(&self, slot: u64, last: u64) -> Vec<Visit<T>> {
        let mut visits = self.slot(slot);
        let (due, later) = visits.drain(..).partition(|(at, _)| *at <= last);
        *visits = later;
        due
    }

    /// Whether this visit finds a deadline that has passed. One that is yet to come gets a visit of its own.
    fn is_due(&self, handle: &Arc<T>, planned: u64, now: u64) -> bool {
        let Armed { deadline, visit } = handle.armed();
        if swap(visit, planned).is_err() {
            return false;
        }
        let due = deadline.load(Ordering::SeqCst);
        if due != NEVER && due > now {
            self.plan(handle, due);
        }
        // One that was moved meanwhile has planned its visit itself.
        due <= now && swap(deadline, due).is_ok()
    }

    fn plan(&self, handle: &Arc<T>, at: u64) {
        let mut at = at;
        loop {
            let mut visits = self.slot(at);
            // Seen under the lock of the slot, so a sweep that goes past it has not been here yet.
            let next = self.next.load(Ordering::SeqCst);
            if at >= next {
                handle.armed().visit.store(at, Ordering::SeqCst);
                visits.push((at, Arc::downgrade(handle)));
                return;
            }
            at = next;
        }
    }

    fn slot(&self, at: u64) -> MutexGuard<'_, Vec<Visit<T>>> {
        let index = usize::try_from(at % SLOTS as u64).unwrap_or_default();
        // A panic elsewhere cannot leave a list half changed.
        self.slots[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The first slot that is over at a moment.
    fn slots_until(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos().div_ceil(SWEEP_EVERY.as_nanos())).unwrap_or(NEVER - 1)
    }

    /// The last slot that is over at a moment.
    fn slots_passed(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos() / SWEEP_EVERY.as_nanos()).unwrap_or(NEVER - 1)
    }
}

/// Takes a value out, unless it changed.
fn swap(value: &AtomicU64, expected: u64) -> Result<u64, u64> {
    value.compare_exchange(expected, NEVER, Ordering::SeqCst, Ordering::SeqCst)
}

#[cfg(test)]
mod tests;
