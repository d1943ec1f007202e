//! The loop: one task for one device, idle most of the time.
//!
//! Owns the order of effects: what must be on disk is there before the next effect of the same step is carried out, and
//! frames leave in the order the machine gave them. Dials, downloads, commands and restarts run in tasks of their own, so
//! that this one stays small.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use hub_proto::{
    frame::{Frame, Payload, Ref, Serializer},
    id::CommandId,
};
use serde_json::{Value, value::to_raw_value};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use super::{Device, RunError, UpdateSender, explain, inbox::News, storage::Storage};
use crate::{
    commands::LogLines,
    config::Reboot,
    connect::Socket,
    firmware::Firmware,
    install::{self, Job},
    ledger::{Ledger, Record},
    limits::{CLOSE_TIMEOUT, REBOOT_COMMAND_WAIT, SEND_TIMEOUT, UPDATE_EVENTS_MAX},
    machine::{Effect, Event, Machine, Outgoing, UpdateEvent},
    offer::Offer,
    state::{DeviceState, Phase},
    updater::Updater,
};

struct Runner {
    device: Device,
    machine: Machine,
    storage: Storage,
    started: Instant,
    socket: Option<Box<Socket>>,
    news: mpsc::Receiver<News>,
    inbox: mpsc::Sender<News>,
    /// Tasks that must not outlive the loop.
    dial: Option<AbortHandle>,
    update: Option<AbortHandle>,
    command: Option<AbortHandle>,
    reboot: Option<AbortHandle>,
    generation: u64,
    dials: u64,
    logs: LogLines,
}

pub(super) async fn run(device: Device, stop: CancellationToken) -> Result<(), RunError> {
    let (mut storage, records) = Storage::open(device.config.state.as_deref()).await?;
    if let Some(path) = &device.config.effects_log {
        storage.log_effects(path).map_err(RunError::EffectsLog)?;
    }
    let firmware = device.config.updater.running().await?;
    let machine = Machine::new(
        Ledger::replay(records),
        firmware,
        device.config.downgrades,
        rand::random(),
    )
    .with_reconnect(device.config.reconnect);
    let (inbox, news) = mpsc::channel(UPDATE_EVENTS_MAX);
    let mut runner = Runner {
        device,
        machine,
        storage,
        started: Instant::now(),
        socket: None,
        news,
        inbox,
        dial: None,
        update: None,
        command: None,
        reboot: None,
        generation: 0,
        dials: 0,
        logs: LogLines::default(),
    };
    runner.feed(Event::Start).await;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = runner.next_event() => event,
        };
        if let Some(event) = event {
            runner.feed(event).await;
        }
    }
    runner.close_socket();
    runner
        .device
        .state
        .send_modify(|state| state.phase = Phase::Stopped);
    Ok(())
}

impl Runner {
    /// Waits for whatever happens next. Losing this future loses nothing.
    async fn next_event(&mut self) -> Option<Event> {
        let deadline = self.machine.deadline().map(|at| self.started + at);
        tokio::select! {
            message = next_message(self.socket.as_deref_mut()) => self.on_message(message),
            Some(news) = self.news.recv() => self.on_news(news),
            () = sleep_until(deadline.unwrap_or(self.started)), if deadline.is_some() => Some(Event::Tick),
        }
    }

    fn on_message(
        &mut self,
        message: Option<Result<Message, tungstenite::Error>>,
    ) -> Option<Event> {
        let frame = match message {
            Some(Ok(Message::Text(text))) => Serializer::V2.decode_text(text.as_str()),
            Some(Ok(Message::Binary(bytes))) => Serializer::V2.decode_binary(&bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
            Some(Ok(Message::Close(close))) => {
                let code = close.map(|close| u16::from(close.code));
                self.log(format!("the hub closed the connection, code {code:?}"));
                self.close_socket();
                return Some(Event::Closed { code });
            }
            Some(Err(error)) => {
                self.log(format!("connection lost: {}", explain(&error)));
                self.socket = None;
                return Some(Event::Closed { code: None });
            }
            None => {
                self.socket = None;
                return Some(Event::Closed { code: None });
            }
        };
        match frame {
            Ok(frame) => Some(Event::Frame(frame)),
            Err(error) => {
                self.log(format!("unreadable message from the hub: {}", error.code()));
                None
            }
        }
    }

    fn on_news(&mut self, news: News) -> Option<Event> {
        match news {
            // A restart came between: this socket is not wanted any more, and dropping it closes it.
            News::Dialed { generation, .. } if generation != self.dials => None,
            News::Dialed {
                dialed: Ok(socket), ..
            } => {
                self.socket = Some(socket);
                Some(Event::Opened)
            }
            News::Dialed {
                dialed: Err(error), ..
            } => {
                self.log(format!("cannot connect: {}", explain(&error)));
                Some(Event::OpenFailed {
                    retry_after: error.retry_after(),
                })
            }
            News::CommandEnded { id, name, outcome } => {
                self.log(format!("command {name} {id} ended: {:?}", outcome.status));
                self.device
                    .state
                    .send_modify(|state| state.add_executed(id, name, &outcome));
                Some(Event::CommandEnded { id, outcome })
            }
            News::Update { generation, .. } if generation != self.generation => None,
            News::Update { event, .. } => {
                self.show_update(&event);
                Some(Event::Update(event))
            }
            News::Booted { firmware } => {
                let firmware = (*firmware).unwrap_or_else(|error| {
                    self.log(format!("cannot tell what is installed: {error}"));
                    self.machine.firmware().cloned()
                });
                self.device.state.send_modify(|state| state.reboots += 1);
                self.log(format!("started on {}", name_of(firmware.as_ref())));
                Some(Event::Booted { firmware })
            }
        }
    }

    /// Gives the machine an event, carries out what it says, and what follows from that, until it is quiet.
    async fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut effects = Vec::new();
        loop {
            while let Some(event) = events.pop_front() {
                self.machine
                    .step(event, self.started.elapsed(), &mut effects);
                let mut records = Vec::new();
                for effect in effects.drain(..) {
                    if let Effect::Record(record) = effect {
                        records.push(record);
                        continue;
                    }
                    self.save(&mut records).await;
                    events.extend(self.carry_out(effect).await);
                }
                self.save(&mut records).await;
            }
            // At most one more round: after a failure there is no socket left to flush.
            match self.flush().await {
                Ok(()) => break,
                Err(event) => events.push_back(event),
            }
        }
        self.show();
    }

    /// Records that other effects wait for. A failure is logged there; a later rewrite makes up for it.
    async fn save(&mut self, records: &mut Vec<Record>) {
        if !records.is_empty() {
            self.storage
                .save(std::mem::take(records), || self.machine.snapshot())
                .await;
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Connect => self.connect(),
            Effect::Disconnect => self.close_socket(),
            Effect::Send(outgoing) => return self.send(outgoing).await,
            Effect::Persist { id, records } => {
                let saved = self.storage.save(records, || self.machine.snapshot()).await;
                return Some(Event::Persisted { id, saved });
            }
            Effect::Record(record) => self.save(&mut vec![record]).await,
            Effect::Run { id, name, args } => self.run_command(id, name, args).await,
            Effect::StartUpdate(offer) => self.start_update(*offer),
            Effect::CancelUpdate => self.cancel_update(),
            Effect::Reboot => self.reboot(),
            Effect::Note { subject, reason } => self.log(format!("{subject}: {reason}")),
        }
        None
    }

    fn connect(&mut self) {
        self.forget_dial();
        let generation = self.dials;
        let (dialer, inbox) = (self.device.dialer.clone(), self.inbox.clone());
        let task = tokio::spawn(async move {
            let dialed = dialer.dial().await.map(Box::new);
            let _ = inbox.send(News::Dialed { generation, dialed }).await;
        });
        self.dial = Some(task.abort_handle());
    }

    /// Makes sure that no earlier dial brings a socket.
    fn forget_dial(&mut self) {
        self.dials += 1;
        if let Some(task) = self.dial.take() {
            task.abort();
        }
    }

    async fn send(&mut self, outgoing: Outgoing) -> Option<Event> {
        let socket = self.socket.as_deref_mut()?;
        let text = Serializer::V2.encode(&frame_of(outgoing)?);
        match timeout(SEND_TIMEOUT, socket.feed(Message::text(text))).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => {
                self.socket = None;
                Some(Event::Closed { code: None })
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Event> {
        let Some(socket) = self.socket.as_deref_mut() else {
            return Ok(());
        };
        match timeout(SEND_TIMEOUT, socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                self.socket = None;
                Err(Event::Closed { code: None })
            }
        }
    }

    /// Says goodbye beside the loop and drops TCP when the hub does not answer in time.
    fn close_socket(&mut self) {
        let Some(mut socket) = self.socket.take() else {
            return;
        };
        tokio::spawn(async move {
            let goodbye = async {
                (*socket).close(None).await?;
                while socket.next().await.transpose()?.is_some() {}
                Ok::<_, tungstenite::Error>(())
            };
            // However it ends, the socket is dropped.
            let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
        });
    }

    async fn run_command(&mut self, id: CommandId, name: String, args: Value) {
        let noted = self.storage.note_effect(id).await;
        let (commands, logs, inbox) = (
            self.device.commands.clone(),
            self.logs.clone(),
            self.inbox.clone(),
        );
        self.log(format!("command {name} {id} starts"));
        let task = tokio::spawn(async move {
            let outcome = commands.run_if(noted, &name, args, &logs).await;
            let _ = inbox.send(News::CommandEnded { id, name, outcome }).await;
        });
        self.command = Some(task.abort_handle());
    }

    fn start_update(&mut self, offer: Offer) {
        self.cancel_update();
        self.log(format!("update to {} {} starts", offer.version, offer.uuid));
        self.device.state.send_modify(|state| {
            state.progress = Some(0);
            state.update_error = None;
        });
        let job = Job {
            offer,
            downloader: self.device.downloader.clone(),
            updater: self.device.config.updater.clone(),
            public_keys: self.device.config.public_keys.clone(),
            seed: rand::random(),
        };
        let sender = UpdateSender {
            generation: self.generation,
            inbox: self.inbox.clone(),
        };
        self.update = Some(tokio::spawn(install::run(job, sender)).abort_handle());
    }

    fn cancel_update(&mut self) {
        self.generation += 1;
        if let Some(task) = self.update.take() {
            task.abort();
        }
        self.device
            .state
            .send_if_modified(|state| state.progress.take().is_some());
    }

    fn reboot(&mut self) {
        self.forget_dial();
        self.log("restarting".to_owned());
        let (reboot, updater, inbox) = (
            self.device.config.reboot.clone(),
            self.device.config.updater.clone(),
            self.inbox.clone(),
        );
        let task = tokio::spawn(async move {
            restart(&reboot).await;
            let firmware = Box::new(installed(&updater).await);
            let _ = inbox.send(News::Booted { firmware }).await;
        });
        self.reboot = Some(task.abort_handle());
    }

    fn log(&self, line: String) {
        tracing::info!(device = name_of(self.machine.firmware()), "{line}");
        self.logs.add(format!(
            "{:.3} {line}",
            self.started.elapsed().as_secs_f64()
        ));
    }

    fn show_update(&self, event: &UpdateEvent) {
        self.device.state.send_modify(|state| match event {
            UpdateEvent::Started => {}
            UpdateEvent::Progress { percent, .. } => state.progress = Some(*percent),
            UpdateEvent::Installed => state.progress = Some(100),
            UpdateEvent::Failed { reason } => {
                state.progress = None;
                state.update_error = Some(reason.clone());
            }
        });
        if let UpdateEvent::Failed { reason } = event {
            self.log(format!("update failed: {reason}"));
        }
    }

    fn show(&self) {
        let machine = &self.machine;
        self.device
            .state
            .send_if_modified(|state| show(machine, state));
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        for task in [&self.dial, &self.update, &self.command, &self.reboot]
            .into_iter()
            .flatten()
        {
            task.abort();
        }
    }
}

/// Copies the machine's view; true if it changed.
fn show(machine: &Machine, state: &mut DeviceState) -> bool {
    let phase = if machine.is_rebooting() {
        Phase::Rebooting
    } else if machine.is_updating() {
        Phase::Updating
    } else if machine.is_online() {
        Phase::Online
    } else {
        Phase::Offline
    };
    let same = state.phase == phase
        && state.joins == machine.joins()
        && state.firmware.as_ref() == machine.firmware()
        && state
            .groups
            .iter()
            .map(String::as_str)
            .eq(machine.joined_groups());
    if same {
        return false;
    }
    if !matches!(phase, Phase::Updating | Phase::Rebooting) {
        state.progress = None;
    }
    state.phase = phase;
    state.joins = machine.joins();
    state.firmware = machine.firmware().cloned();
    state.groups = machine.joined_groups().map(str::to_owned).collect();
    true
}

async fn next_message(socket: Option<&mut Socket>) -> Option<Result<Message, tungstenite::Error>> {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

async fn restart(reboot: &Reboot) {
    match reboot {
        Reboot::Simulated(pause) => sleep(*pause).await,
        Reboot::Command(words) => {
            let Some((program, arguments)) = words.split_first() else {
                return;
            };
            match tokio::process::Command::new(program)
                .args(arguments)
                .status()
                .await
            {
                Ok(status) if status.success() => sleep(REBOOT_COMMAND_WAIT).await,
                Ok(status) => tracing::error!(%status, "reboot command failed"),
                Err(error) => {
                    tracing::error!(error = explain(&error), "cannot run the reboot command")
                }
            }
        }
    }
}

async fn installed(updater: &Updater) -> Result<Option<Firmware>, String> {
    updater.running().await.map_err(|error| explain(&error))
}

fn name_of(firmware: Option<&Firmware>) -> &str {
    firmware.map_or("nothing", |firmware| firmware.uuid.as_str())
}

fn frame_of(outgoing: Outgoing) -> Option<Frame> {
    let number = |reference: u64| Ref::text(&reference.to_string()).ok();
    Some(Frame {
        join_ref: outgoing.join_ref.and_then(number),
        reference: number(outgoing.reference),
        topic: outgoing.topic.into(),
        event: outgoing.event.as_ref().into(),
        payload: Payload::Json(to_raw_value(&outgoing.payload).ok()?),
    })
}
