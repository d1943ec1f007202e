//! Which sockets this node holds, and how to reach them.
//!
//! Rule owned here: a socket's mailbox holds at most one wake-up, whatever the fan-out: senders leave what they have in the bounded inbox
//! and wake the actor only when it is not awake already. What does not fit is dropped and read from the store instead.

mod deadlines;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use hub_core::fanout::Entry;
use hub_core::limits::INBOX_ENTRIES_MAX;
use hub_proto::cluster::HintBody;
use hub_proto::id::{CaId, ConnGen, DeviceId, OrgId, Seq};
use ractor::ActorRef;

use crate::actors::device_socket::Message;
use crate::identity::revocations::Issued;
use deadlines::{Armed, Deadlines, Timed};

/// Number of a socket on this node, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Something left for a socket's actor.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A group's channel moved.
    Entry(Arc<Entry>),
    /// The device's own channel moved.
    Hint { seq: Seq, body: Option<HintBody> },
}

/// The way to one socket's actor.
#[derive(Debug)]
pub(crate) struct SocketHandle {
    pub(crate) id: ConnectionId,
    pub(crate) device: DeviceId,
    pub(crate) org: OrgId,
    pub(crate) authority: Option<CaId>,
    /// Its certificate, where there are revocation lists.
    pub(crate) issued: Option<Arc<Issued>>,
    actor: ActorRef<Message>,
    inbox: Mutex<Inbox>,
    awake: AtomicBool,
    armed: Armed,
    /// The generation of this socket's last join; 0 before the first.
    generation: AtomicI64,
    /// It speaks for its device with that generation.
    joined: AtomicBool,
}

#[derive(Debug, Default)]
struct Inbox {
    queue: VecDeque<Delivery>,
    /// How many were dropped.
    lagged: u32,
}

impl SocketHandle {
    pub(crate) fn new(
        id: ConnectionId,
        device: DeviceId,
        org: OrgId,
        authority: Option<CaId>,
        issued: Option<Arc<Issued>>,
        actor: ActorRef<Message>,
    ) -> Self {
        Self {
            id,
            device,
            org,
            authority,
            issued,
            actor,
            inbox: Mutex::default(),
            awake: AtomicBool::new(false),
            armed: Armed::default(),
            generation: AtomicI64::new(0),
            joined: AtomicBool::new(false),
        }
    }

    /// Leaves something and wakes the actor if it sleeps.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if inbox.queue.len() < INBOX_ENTRIES_MAX {
                inbox.queue.push_back(delivery);
            } else {
                inbox.lagged = inbox.lagged.saturating_add(1);
            }
        }
        self.wake_actor();
    }

    /// Takes what was left, and how many were dropped.
    pub(crate) fn take(&self) -> (VecDeque<Delivery>, u32) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        (
            std::mem::take(&mut inbox.queue),
            std::mem::take(&mut inbox.lagged),
        )
    }

    /// Sends a message that is rare enough not to need the inbox. A socket that is gone needs none.
    pub(crate) fn tell(&self, message: Message) {
        let _ = self.actor.cast(message);
    }

    pub(crate) fn wake_actor(&self) {
        if !self.awake.swap(true, Ordering::AcqRel) {
            self.tell(Message::Wake);
        }
    }

    /// To be called before the actor looks for work, so that what comes meanwhile wakes it again.
    pub(crate) fn sleep(&self) {
        self.awake.store(false, Ordering::Release);
    }

    pub(crate) fn set_generation(&self, generation: ConnGen) {
        self.generation.store(generation.0, Ordering::SeqCst);
        self.joined.store(true, Ordering::Release);
    }

    /// The socket gave its join up itself.
    pub(crate) fn set_detached(&self) {
        self.joined.store(false, Ordering::Release);
    }

    /// The generation this socket speaks with.
    fn held(&self) -> Option<ConnGen> {
        let joined = self.joined.load(Ordering::Acquire);
        joined.then(|| ConnGen(self.generation.load(Ordering::SeqCst)))
    }
}

impl Timed for SocketHandle {
    fn armed(&self) -> &Armed {
        &self.armed
    }
}

/// The socket's own waker: I/O readiness is one more reason to wake the actor.
impl Wake for SocketHandle {
    fn wake(self: Arc<Self>) {
        self.wake_actor();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_actor();
    }
}

/// All sockets of one node.
#[derive(Debug)]
pub(crate) struct Sockets {
    deadlines: Deadlines<SocketHandle>,
    next: AtomicU64,
    by_device: DashMap<DeviceId, Vec<Arc<SocketHandle>>>,
    count: AtomicU64,
}

impl Sockets {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            deadlines: Deadlines::new(now),
            next: AtomicU64::new(1),
            by_device: DashMap::new(),
            count: AtomicU64::new(0),
        }
    }

    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Sockets held right now.
    pub(crate) fn len(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn insert(&self, handle: Arc<SocketHandle>) {
        self.by_device
            .entry(handle.device)
            .or_default()
            .push(handle);
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove(&self, handle: &SocketHandle) {
        let mut removed = false;
        self.by_device.remove_if_mut(&handle.device, |_, sockets| {
            let before = sockets.len();
            sockets.retain(|s| s.id != handle.id);
            removed = sockets.len() < before;
            sockets.is_empty()
        });
        if removed {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Hands news of a device's own channel to its sockets here.
    pub(crate) fn hint(&self, device: DeviceId, seq: Seq, body: Option<HintBody>) {
        for socket in self.of(device) {
            socket.deliver(Delivery::Hint {
                seq,
                body: body.clone(),
            });
        }
    }

    /// Tells all sockets of a device but the one of the newest join that they are over. To be called after
    /// [`SocketHandle::set_generation`]; answers to two joins may reach their actors in either order, and the later of the two
    /// calls sees both generations, so the caller itself may be the older one.
    pub(crate) fn supersede(&self, device: DeviceId) {
        let sockets = self.of(device);
        let joined = |socket: &SocketHandle| socket.generation.load(Ordering::SeqCst);
        let newest = sockets.iter().map(|socket| joined(socket)).max();
        let by = ConnGen(newest.unwrap_or_default());
        for socket in &sockets {
            if (1..by.0).contains(&joined(socket)) {
                socket.tell(Message::Superseded { by });
            }
        }
    }

    /// Hands on what the store or another node says of a device: joins older than `generation` are over, and the peer of
    /// that very join is asked whether it is there.
    pub(crate) fn notice(&self, device: DeviceId, generation: ConnGen) {
        for socket in self.of(device) {
            match socket.held() {
                Some(held) if held == generation => socket.tell(Message::Challenged(generation)),
                Some(held) if held < generation => {
                    socket.tell(Message::Superseded { by: generation });
                }
                Some(_) | None => {}
            }
        }
    }

    /// Whether the socket of this join is here.
    pub(crate) fn holds(&self, device: DeviceId, generation: ConnGen) -> bool {
        self.of(device)
            .iter()
            .any(|socket| socket.held() == Some(generation))
    }

    /// Whether any socket of a device is here, joined or not.
    pub(crate) fn knows(&self, device: DeviceId) -> bool {
        self.by_device.contains_key(&device)
    }

    /// Every joined socket's device and generation.
    pub(crate) fn joined(&self) -> Vec<(DeviceId, ConnGen)> {
        let mut joined = Vec::new();
        self.for_each(|socket| {
            joined.extend(socket.held().map(|held| (socket.device, held)));
        });
        joined
    }

    fn of(&self, device: DeviceId) -> Vec<Arc<SocketHandle>> {
        self.by_device
            .get(&device)
            .map(|sockets| sockets.clone())
            .unwrap_or_default()
    }

    /// Calls `f` for every socket.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Arc<SocketHandle>)) {
        for sockets in &self.by_device {
            sockets.iter().for_each(&mut f);
        }
    }

    /// Notes when a socket wants to be stepped.
    pub(crate) fn arm(&self, handle: &Arc<SocketHandle>, deadline: Option<Instant>) {
        self.deadlines.arm(handle, deadline);
    }

    /// Wakes every socket whose deadline has passed.
    pub(crate) fn sweep(&self, now: Instant) {
        self.deadlines
            .sweep(now, |socket| socket.tell(Message::Deadline));
    }
}

/// Sweeps until the node stops.
pub(crate) async fn sweep_forever(sockets: Arc<Sockets>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sockets.sweep(Instant::now());
    }
}
