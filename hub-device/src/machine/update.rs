//! Firmware offers, progress and the restart that ends an update.
//!
//! Owns: an offer of what runs, or of what is being installed, changes nothing; a newer offer replaces an older download;
//! a failed firmware is tried again only after a growing pause; progress goes out at most twice a second; a restart waits
//! a moment for outstanding replies.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Downgrades, Effect, Machine, link::Link, note};
use crate::{
    limits::{PROGRESS_INTERVAL, REBOOT_GRACE, UPDATE_RETRY_BASE, UPDATE_RETRY_CAP},
    offer::{Offer, OfferError},
};

/// What the update task is doing, for progress reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The file is on its way; it is checked and written as it comes.
    Downloading,
    /// The file is whole; the updater finishes.
    Updating,
}

impl Stage {
    /// The protocol's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Downloading => "downloading",
            Self::Updating => "updating",
        }
    }
}

/// What the update task says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateEvent {
    /// The first bytes were taken.
    Started,
    /// Percent done, 0 to 100.
    Progress {
        /// Percent.
        percent: u8,
        /// Stage.
        stage: Stage,
    },
    /// It is verified and will run after a restart.
    Installed,
    /// It will not be installed.
    Failed {
        /// Why, for the operator.
        reason: String,
    },
}

/// Where updates stand.
#[derive(Debug, Default)]
pub(super) struct Updating {
    active: Option<Active>,
    /// A failed firmware: its uuid, failures in a row, and when it may be tried again.
    failed: Option<(String, u32, Duration)>,
    /// An offer that waits for that time.
    deferred: Option<(Duration, Box<Offer>)>,
    progress_after: Duration,
}

#[derive(Debug)]
struct Active {
    offer: Box<Offer>,
    installed: bool,
    /// Progress that waits for its turn.
    unsent: Option<(u8, Stage)>,
}

impl Updating {
    /// Uuid being downloaded or installed.
    pub(super) fn uuid(&self) -> Option<&str> {
        self.active
            .as_ref()
            .map(|active| active.offer.uuid.as_str())
    }

    fn about(&self) -> Value {
        self.active.as_ref().map_or_else(
            || json!({}),
            |active| about(&active.offer.id, &active.offer.uuid),
        )
    }
}

/// A restart that is about to happen.
#[derive(Debug)]
pub(super) struct RebootPlan {
    /// It waits for replies no longer than this.
    not_after: Duration,
}

impl Machine {
    pub(super) fn on_offer(&mut self, payload: &Value, now: Duration, effects: &mut Vec<Effect>) {
        let offer = match Offer::parse(payload) {
            Ok(offer) => offer,
            Err(error @ OfferError::NoFirmware) => {
                return self.report_errors(&json!({}), &error.to_string(), effects);
            }
            Err(error @ (OfferError::BadUrl | OfferError::BadDigest | OfferError::TooLarge)) => {
                let text = |key| payload.get(key).and_then(Value::as_str).unwrap_or_default();
                let about = about(text("id"), text("uuid"));
                return self.report_failure(&about, &error.to_string(), effects);
            }
        };
        if self.reboot.is_some()
            || self
                .updating
                .active
                .as_ref()
                .is_some_and(|active| active.installed)
        {
            return note(
                effects,
                &offer.uuid,
                "offer during a restart: the next join brings it again",
            );
        }
        if self
            .firmware
            .as_ref()
            .is_some_and(|firmware| firmware.uuid == offer.uuid)
        {
            self.updating.deferred = None;
            // The target is what runs: a download of something else is no longer wanted.
            return self.cancel_update(effects);
        }
        if self.updating.uuid() == Some(&offer.uuid) {
            return note(effects, &offer.uuid, "offer of what is being installed");
        }
        let running = self
            .firmware
            .as_ref()
            .map_or("", |firmware| firmware.version.as_str());
        if self.downgrades == Downgrades::Refuse
            && hub_proto::version::is_older(&offer.version, running)
        {
            let mut payload = with_status(&about(&offer.id, &offer.uuid), "ignored");
            if let Some(object) = payload.as_object_mut() {
                object.insert("reason".to_owned(), json!("older than what runs"));
            }
            return self.push_device("status_update", payload, effects);
        }
        match &self.updating.failed {
            Some((uuid, _, again)) if *uuid == offer.uuid && *again > now => {
                self.updating.deferred = Some((*again, Box::new(offer)));
            }
            Some(_) | None => self.begin(Box::new(offer), effects),
        }
    }

    pub(super) fn on_update(
        &mut self,
        event: UpdateEvent,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let about = self.updating.about();
        let Some(active) = &mut self.updating.active else {
            return;
        };
        match event {
            UpdateEvent::Started => self.push_status("started", &about, effects),
            UpdateEvent::Progress { percent, stage } => {
                active.unsent = Some((percent.min(100), stage))
            }
            UpdateEvent::Installed => {
                active.installed = true;
                active.unsent = None;
                self.updating.failed = None;
                let payload = with_status(&about, "completed");
                self.keep_report("status_update", payload, effects);
                self.plan_reboot(now, effects);
            }
            UpdateEvent::Failed { reason } => {
                let uuid = active.offer.uuid.clone();
                let failures = match &self.updating.failed {
                    Some((failed, count, _)) if *failed == uuid => count.saturating_add(1),
                    Some(_) | None => 0,
                };
                let pause = self
                    .jitter
                    .pause(UPDATE_RETRY_BASE, UPDATE_RETRY_CAP, failures);
                self.updating.failed = Some((uuid, failures, now + pause));
                self.updating.active = None;
                self.report_failure(&about, &reason, effects);
            }
        }
    }

    pub(super) fn plan_reboot(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self
            .updating
            .active
            .as_ref()
            .is_some_and(|active| !active.installed)
        {
            self.cancel_update(effects);
        }
        if self.reboot.is_none() {
            // The join after the restart brings the target again.
            self.updating.deferred = None;
            self.reboot = Some(RebootPlan {
                not_after: now + REBOOT_GRACE,
            });
        }
    }

    /// A restart on anything but what was installed means that the device fell back: the firmware failed.
    pub(super) fn after_restart(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let updating = std::mem::take(&mut self.updating);
        let Some(active) = updating.active.filter(|active| active.installed) else {
            return;
        };
        let running = self
            .firmware
            .as_ref()
            .map(|firmware| firmware.uuid.as_str());
        if running == Some(active.offer.uuid.as_str()) {
            return;
        }
        let about = about(&active.offer.id, &active.offer.uuid);
        self.updating.failed = Some((active.offer.uuid, 0, now + UPDATE_RETRY_CAP));
        self.report_failure(&about, "the device restarted on other firmware", effects);
    }

    pub(super) fn settle_update(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self
            .updating
            .deferred
            .as_ref()
            .is_some_and(|(at, _)| *at <= now)
            && let Some((_, offer)) = self.updating.deferred.take()
        {
            self.begin(offer, effects);
        }
        if self.updating.progress_after > now {
            return;
        }
        let unsent = self
            .updating
            .active
            .as_mut()
            .and_then(|active| active.unsent.take());
        if let Some((percent, stage)) = unsent {
            self.updating.progress_after = now + PROGRESS_INTERVAL;
            let mut payload = self.updating.about();
            if let Some(object) = payload.as_object_mut() {
                object.insert("value".to_owned(), json!(percent));
                object.insert("stage".to_owned(), json!(stage.as_str()));
            }
            self.push_device("fwup_progress", payload, effects);
        }
    }

    /// Restarts once nothing is outstanding, or the grace is over, or there is no channel to wait on.
    pub(super) fn settle_reboot(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(plan) = &self.reboot else { return };
        let settled = self.running_command.is_none()
            && (self.ledger.reports().next().is_none() || !self.is_online());
        if self.is_down() || !(settled || plan.not_after <= now) {
            return;
        }
        self.push_device("rebooting", json!({}), effects);
        self.go_down(effects);
        effects.push(Effect::Reboot);
    }

    pub(super) fn update_deadline(&self) -> Option<Duration> {
        let progress = self
            .updating
            .active
            .as_ref()
            .and_then(|active| active.unsent.map(|_| self.updating.progress_after));
        let deferred = self.updating.deferred.as_ref().map(|(at, _)| *at);
        let reboot = self
            .reboot
            .as_ref()
            .filter(|_| !self.is_down())
            .map(|plan| plan.not_after);
        [progress, deferred, reboot].into_iter().flatten().min()
    }

    /// Whether the device is not running at all.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.link, Link::Rebooting | Link::Idle)
    }

    fn begin(&mut self, offer: Box<Offer>, effects: &mut Vec<Effect>) {
        self.cancel_update(effects);
        self.updating.deferred = None;
        self.updating.active = Some(Active {
            offer: offer.clone(),
            installed: false,
            unsent: None,
        });
        let about = self.updating.about();
        self.push_status("received", &about, effects);
        effects.push(Effect::StartUpdate(offer));
    }

    fn cancel_update(&mut self, effects: &mut Vec<Effect>) {
        if self.updating.active.take().is_some() {
            effects.push(Effect::CancelUpdate);
        }
    }

    fn push_status(&mut self, status: &str, about: &Value, effects: &mut Vec<Effect>) {
        self.push_device("status_update", with_status(about, status), effects);
    }

    fn report_failure(&mut self, about: &Value, reason: &str, effects: &mut Vec<Effect>) {
        let mut payload = with_status(about, "failed");
        if let Some(object) = payload.as_object_mut() {
            object.insert("reason".to_owned(), json!(reason));
        }
        self.keep_report("status_update", payload, effects);
        self.report_errors(about, reason, effects);
    }

    fn report_errors(&mut self, about: &Value, reason: &str, effects: &mut Vec<Effect>) {
        let mut payload = about.clone();
        if let Some(object) = payload.as_object_mut() {
            object.insert("errors".to_owned(), json!([reason]));
        }
        self.keep_report("firmware_update_error", payload, effects);
    }
}

/// Which offer a report is about; a hub that gave no id gets none back.
fn about(id: &str, uuid: &str) -> Value {
    let known = [("id", id), ("uuid", uuid)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    known
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn with_status(about: &Value, status: &str) -> Value {
    let mut payload = about.clone();
    if let Some(object) = payload.as_object_mut() {
        object.insert("status".to_owned(), json!(status));
    }
    payload
}
