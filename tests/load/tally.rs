//! What the devices of one worker have seen of the command that is under way.

use std::cell::RefCell;
use std::io::Write as _;

use hub_proto::id::CommandId;

use crate::orders::{Note, Span};

/// Counts, and tells the measuring process when all devices have the command or are done with it.
pub(crate) struct Tally {
    devices: u32,
    delivered: RefCell<Count>,
    acked: RefCell<Count>,
}

/// How many devices, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    span: Option<Span>,
    devices: u32,
}

impl Count {
    /// Counts one device; the span when it is the last one.
    fn add(&mut self, id: CommandId, at: u64, devices: u32) -> Option<Span> {
        let one = Span {
            id,
            first: at,
            last: at,
        };
        match self.span.filter(|span| span.id == id) {
            Some(span) => {
                self.span = Some(span.and(one));
                self.devices += 1;
            }
            None => {
                *self = Self {
                    span: Some(one),
                    devices: 1,
                };
            }
        }
        self.span.filter(|_| self.devices == devices)
    }
}

impl Tally {
    /// For a worker with so many devices.
    pub(crate) fn new(devices: u32) -> Self {
        Self {
            devices,
            delivered: RefCell::default(),
            acked: RefCell::default(),
        }
    }

    /// A device has the command.
    pub(crate) fn delivered(&self, id: CommandId, at: u64) {
        let whole = self.delivered.borrow_mut().add(id, at, self.devices);
        if let Some(span) = whole {
            tell(&Note::Delivered(span));
        }
    }

    /// A device's acknowledgement was answered.
    pub(crate) fn acked(&self, id: CommandId, at: u64) {
        let whole = self.acked.borrow_mut().add(id, at, self.devices);
        if let Some(span) = whole {
            tell(&Note::Acked(span));
        }
    }
}

/// Says something to the measuring process. When that is gone, so is the reader of our orders, which ends us.
pub(crate) fn tell(note: &Note) {
    if let Ok(mut line) = serde_json::to_vec(note) {
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_device_makes_it_whole() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let next = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
        let mut count = Count::default();
        assert_eq!(count.add(id, 5, 3), None);
        assert_eq!(count.add(id, 3, 3), None);
        let whole = count.add(id, 9, 3).unwrap();
        assert_eq!((whole.first, whole.last), (3, 9));
        assert_eq!(count.add(next, 20, 1).unwrap().first, 20);
    }
}
