//! Which update a report is about.
//!
//! Rule owned here: a report that names another offer than that of the target in effect is acknowledged, so that the
//! device stops repeating it, and changes nothing. Reports without an offer, as older devices send them, are taken as they come.

use hub_proto::event::{DeviceEvent, UpdateStatus};
use hub_proto::push::FirmwareUpdate;

use super::Session;
use super::effect::{Address, Answer, Effect, Note};
use crate::target;

impl Session {
    /// Whether this is a report about an update that is no longer, or never was, the one wanted.
    pub(super) fn is_about_another_update(&self, event: &DeviceEvent) -> bool {
        let (Some(reported), Some(level)) = (event.offer(), &self.level) else {
            return false;
        };
        target::effective(level).is_some_and(|(source, target)| {
            let device = self.identity.device;
            reported != FirmwareUpdate::id_of(device, source.channel(device), target.revision)
        })
    }

    /// Acknowledges a report about another update. One that failed still makes room for an offer of the wanted one.
    pub(super) fn other_update(
        &mut self,
        from: Address,
        event: &DeviceEvent,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Note(Note::Ignored("another_update")));
        if self.may_answer() && from.reference.is_some() {
            out.push(Effect::Reply {
                to: from,
                answer: Answer::Ok,
            });
        }
        if matches!(event, DeviceEvent::StatusUpdate(report) if report.status == UpdateStatus::Failed)
        {
            self.offer_again(out);
        }
    }

    /// The next offer has a fresh URL; how soon it may come, the store's count of offers says.
    pub(super) fn offer_again(&mut self, out: &mut Vec<Effect>) {
        self.offered = None;
        self.downloading = None;
        self.reconcile(out);
    }
}
