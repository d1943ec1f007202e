//! Walks through a ZIP archive from its first byte to its last, holding one record at a time.
//!
//! Readers of ZIP disagree when the directory at the end contradicts the headers in front of the data. This one
//! takes the entries as they come, then demands that the directory says exactly the same, in the same order,
//! and that nothing lies before, between or behind: what was checked is what any other reader will find.
//! Knows nothing of firmware.

mod body;
mod record;

use std::collections::BTreeSet;

use crate::error::FirmwareError;
use crate::limits::Limits;
use crate::path;
use body::Body;
use record::{
    CENTRAL_BYTES, CENTRAL_MARK, Central, DESCRIPTOR_BYTES, END_BYTES, END_MARK, End, LOCAL_BYTES,
    LOCAL_MARK, Local, Method, Sums,
};

/// Entries beside the resources: signature and `meta.conf`.
const OTHER_ENTRIES: usize = 2;

/// What the walk comes upon.
#[derive(Debug)]
pub(crate) enum Item {
    /// An entry starts; its name is safe and new.
    Entry(String),
    /// Content of the entry, inflated, at most [`crate::limits::CHUNK_BYTES_MAX`] bytes.
    Data(Vec<u8>),
    /// The entry is complete, and its checksum and sizes are right.
    EntryEnd,
    /// The archive is complete and consistent.
    End,
}

#[derive(Debug)]
enum State {
    Mark,
    Local,
    LocalName(Local),
    Body(Box<Body>),
    Descriptor(Box<Body>),
    Central,
    CentralName(Central),
    End,
    Complete,
}

/// An entry that went by, to be compared with the directory.
#[derive(Debug)]
struct Seen {
    name: String,
    offset: u64,
    method: Method,
    sums: Sums,
}

/// The walk through one archive.
#[derive(Debug)]
pub(crate) struct Scanner {
    limits: Limits,
    state: State,
    /// Bytes of an incomplete record.
    held: Vec<u8>,
    /// Bytes taken from all input so far.
    offset: u64,
    /// Where the current record started.
    mark_offset: u64,
    unpacked: u64,
    seen: Vec<Seen>,
    names: BTreeSet<String>,
    listed: usize,
    directory_offset: Option<u64>,
}

impl Scanner {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Mark,
            held: Vec::new(),
            offset: 0,
            mark_offset: 0,
            unpacked: 0,
            seen: Vec::new(),
            names: BTreeSet::new(),
            listed: 0,
            directory_offset: None,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Takes bytes from the front of `input` until something is found; `None` when more input is needed.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Item>, FirmwareError> {
        loop {
            if let State::Body(body) = &mut self.state {
                let before = input.len();
                let data = body.next(input)?;
                self.offset += (before - input.len()) as u64;
                let ended = body.is_complete();
                if data.is_empty() && !ended {
                    // An inflater may take bytes without giving any; only an empty input means that more is needed.
                    if input.is_empty() {
                        return Ok(None);
                    }
                    continue;
                }
                self.grow(data.len())?;
                if ended && let Some(item) = self.leave_body()? {
                    debug_assert!(data.is_empty(), "a body reports its end alone");
                    return Ok(Some(item));
                }
                if !data.is_empty() {
                    return Ok(Some(Item::Data(data)));
                }
                continue;
            }
            if self.is_complete() {
                return if input.is_empty() {
                    Ok(None)
                } else {
                    Err(FirmwareError::Trailing)
                };
            }
            let Some(record) = self.record(input) else {
                return Ok(None);
            };
            if let Some(item) = self.take(&record)? {
                return Ok(Some(item));
            }
        }
    }

    /// Bytes of the record that the current state waits for.
    fn need(&self) -> usize {
        match &self.state {
            State::Mark => LOCAL_MARK.len(),
            State::Local => LOCAL_BYTES,
            State::LocalName(local) => local.name_bytes + local.extra_bytes,
            State::Descriptor(_) => DESCRIPTOR_BYTES,
            State::Central => CENTRAL_BYTES,
            State::CentralName(central) => central.name_bytes + central.skip_bytes,
            State::End => END_BYTES,
            State::Body(_) | State::Complete => 0,
        }
    }

    fn record(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let take = (self.need() - self.held.len()).min(input.len());
        let (now, later) = input.split_at(take);
        *input = later;
        self.offset += take as u64;
        self.held.extend_from_slice(now);
        (self.held.len() == self.need()).then(|| std::mem::take(&mut self.held))
    }

    fn take(&mut self, record: &[u8]) -> Result<Option<Item>, FirmwareError> {
        match std::mem::replace(&mut self.state, State::Mark) {
            State::Mark => self.mark(record)?,
            State::Local => self.state = State::LocalName(Local::read(record)?),
            State::LocalName(local) => {
                return self.enter(local, &record[..local.name_bytes]).map(Some);
            }
            State::Descriptor(body) => {
                return self.seal(&body, record::descriptor(record)?).map(Some);
            }
            State::Central => self.state = State::CentralName(Central::read(record)?),
            State::CentralName(central) => self.compare(central, &record[..central.name_bytes])?,
            State::End => return self.end(End::read(record)?).map(Some),
            State::Body(_) | State::Complete => {}
        }
        Ok(None)
    }

    fn mark(&mut self, record: &[u8]) -> Result<(), FirmwareError> {
        self.mark_offset = self.offset - record.len() as u64;
        let in_directory = self.directory_offset.is_some();
        self.state = if record == LOCAL_MARK && !in_directory {
            State::Local
        } else if record == CENTRAL_MARK && !self.seen.is_empty() {
            self.directory_offset.get_or_insert(self.mark_offset);
            State::Central
        } else if record == END_MARK && in_directory {
            State::End
        } else if self.mark_offset == 0 {
            return Err(FirmwareError::NotFirmware);
        } else {
            return Err(FirmwareError::Damaged {
                what: "a record does not start where it must",
            });
        };
        Ok(())
    }

    fn enter(&mut self, local: Local, name: &[u8]) -> Result<Item, FirmwareError> {
        let name = path::check(name)?.to_owned();
        let limit = self.limits.resources_max + OTHER_ENTRIES;
        if self.seen.len() >= limit {
            return Err(FirmwareError::TooLarge {
                limit: limit as u64,
                unit: "entries",
            });
        }
        if !self.names.insert(name.clone()) {
            return Err(FirmwareError::Duplicate { name });
        }
        let (method, sums) = (local.method, local.sums);
        self.seen.push(Seen {
            name: name.clone(),
            offset: self.mark_offset,
            method,
            sums,
        });
        self.state = State::Body(Box::new(Body::new(&local)?));
        Ok(Item::Entry(name))
    }

    fn grow(&mut self, by: usize) -> Result<(), FirmwareError> {
        self.unpacked += by as u64;
        let limit = self.limits.unpacked_bytes_max;
        if self.unpacked > limit {
            return Err(FirmwareError::TooLarge {
                limit,
                unit: "bytes of content",
            });
        }
        let ratio = self.limits.ratio_max;
        let allowed = self
            .limits
            .ratio_floor_bytes
            .saturating_add(self.offset.saturating_mul(ratio));
        if self.unpacked > allowed {
            Err(FirmwareError::Bomb { ratio })
        } else {
            Ok(())
        }
    }

    fn leave_body(&mut self) -> Result<Option<Item>, FirmwareError> {
        match std::mem::replace(&mut self.state, State::Mark) {
            State::Body(body) if body.has_descriptor() => {
                self.state = State::Descriptor(body);
                Ok(None)
            }
            State::Body(body) => self.seal(&body, body.promised()).map(Some),
            other @ (State::Mark
            | State::Local
            | State::LocalName(_)
            | State::Descriptor(_)
            | State::Central
            | State::CentralName(_)
            | State::End
            | State::Complete) => {
                self.state = other;
                Ok(None)
            }
        }
    }

    /// Compares what came with what was announced.
    fn seal(&mut self, body: &Body, sums: Sums) -> Result<Item, FirmwareError> {
        if body.measured() != Some(sums) {
            return Err(FirmwareError::Damaged {
                what: "an entry has another checksum or size than announced",
            });
        }
        if let Some(seen) = self.seen.last_mut() {
            seen.sums = sums;
        }
        self.state = State::Mark;
        Ok(Item::EntryEnd)
    }

    fn compare(&mut self, central: Central, name: &[u8]) -> Result<(), FirmwareError> {
        let same = self.seen.get(self.listed).is_some_and(|seen| {
            seen.name.as_bytes() == name
                && seen.offset == u64::from(central.offset)
                && seen.method == central.method
                && seen.sums == central.sums
        });
        if !same {
            return Err(FirmwareError::Damaged {
                what: "its directory lists other entries than it holds",
            });
        }
        self.listed += 1;
        self.state = State::Mark;
        Ok(())
    }

    fn end(&mut self, end: End) -> Result<Item, FirmwareError> {
        let start = self.directory_offset.unwrap_or(self.mark_offset);
        let expected = End {
            entries: self.seen.len() as u64,
            directory_bytes: self.mark_offset - start,
            directory_offset: start,
        };
        if end != expected || self.listed != self.seen.len() {
            return Err(FirmwareError::Damaged {
                what: "its end record does not fit its directory",
            });
        }
        self.state = State::Complete;
        Ok(Item::End)
    }
}
