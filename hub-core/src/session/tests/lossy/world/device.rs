//! The device of a lossy world: it follows the groups it is told of, acknowledges each command and does it once.

use super::*;

impl World {
    /// The device says something; the node reads it when it may.
    pub(super) fn say(&mut self, event: Event) {
        self.after(self.wire_ms, Later::FromDevice(Box::new(event)));
    }

    pub(super) fn read(&mut self) {
        while self.now() >= self.paused {
            let Some(event) = self.from_device.pop_front() else {
                return;
            };
            self.tell(event);
        }
        if !self.from_device.is_empty() {
            let wait = self.paused - self.now();
            let wait = u64::try_from(wait.as_millis()).unwrap() + 1;
            self.after(wait, Later::Read);
        }
    }

    /// What a device does that follows the groups it is told of.
    pub(super) fn device_hears(&mut self, effect: Effect) {
        match effect {
            Effect::Reply {
                answer: Answer::Groups(groups),
                ..
            } => self.follow(!groups.is_empty()),
            Effect::Reply {
                to,
                answer: Answer::Error { .. },
            } if *to.topic == *GROUP_TOPIC && to.join_ref == self.join_ref() => {
                self.group_ref = None;
            }
            Effect::Push { on, push } => match push {
                Push::Join { .. } => self.follow(true),
                Push::Leave { .. } => self.follow(false),
                Push::Command(command) => self.receive(command.id, &on.topic, on.join_ref.as_ref()),
                _ => {}
            },
            Effect::Tail { join_ref, entry } => {
                if let fanout::News::Command { command, .. } = &entry.news {
                    self.receive(command.id, GROUP_TOPIC, join_ref.as_ref());
                }
            }
            _ => {}
        }
    }

    fn join_ref(&self) -> Option<Ref> {
        self.group_ref
            .and_then(|number| text(Some(&number.to_string())))
    }

    fn follow(&mut self, follow: bool) {
        if follow == self.group_ref.is_some() {
            return;
        }
        let event = if follow {
            self.next_ref += 1;
            self.group_ref = Some(self.next_ref);
            DeviceEvent::Join(Box::new(params(ACK)))
        } else {
            DeviceEvent::Leave
        };
        let reference = self.group_ref.unwrap().to_string();
        self.say(frame(
            GROUP_TOPIC,
            Some(&reference),
            Some(&reference),
            event,
        ));
        if !follow {
            self.group_ref = None;
        }
    }

    fn receive(&mut self, id: CommandId, topic: &str, join_ref: Option<&Ref>) {
        if topic == GROUP_TOPIC && join_ref != self.join_ref().as_ref() {
            // of a join that is no more
            return;
        }
        if !self.received.contains(&id) {
            self.received.push(id);
            self.after(WORK_MS, Later::Done(id));
        }
        let event = DeviceEvent::CommandAck(CommandAck { id, trace: None });
        self.say(frame(TOPIC, Some("1"), None, event));
    }
}
