//! Verifies firmware while it arrives: signature first, then every resource, without holding the file.
//!
//! Owns the entry rules of the format: `meta.conf.ed25519`, `meta.conf`, then the declared resources, each exactly
//! once. (Their order among themselves is free: the updater program takes any, and the signature binds each by
//! digest.) No resource byte is handed out before the signature has been verified. A resource's digest is only
//! known at its end: bytes handed out before [`Event::ResourceEnd`] are on trial, and the firmware is good only
//! when [`StreamVerifier::finish`] says so.

use blake2::Blake2b256;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::container::{Item, Scanner};
use crate::error::FirmwareError;
use crate::keys::PublicKey;
use crate::limits::{KEYS_MAX, Limits, META_BYTES_MAX, SIGNATURE_BYTES};
use crate::meta::{self, Metadata, Resource};
use crate::path;
use crate::verify::Firmware;

const SIGNATURE_ENTRY: &str = "meta.conf.ed25519";
const META_ENTRY: &str = "meta.conf";

/// What the verifier found in the bytes pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The signature is good, and this is what it covers.
    Authentic(Box<Announced>),
    /// A resource starts; the number is its place in [`Announced::resources`].
    ResourceStart(usize),
    /// The next bytes of that resource, at most [`crate::limits::CHUNK_BYTES_MAX`].
    Data(Vec<u8>),
    /// That resource is complete and its digest is the signed one.
    ResourceEnd(usize),
}

/// What is known of a firmware once its signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Identity of the firmware.
    pub uuid: Uuid,
    /// What the build says about it.
    pub metadata: Metadata,
    /// Place of the key that verified, in the list given.
    pub key: usize,
    /// Resources in the order of `meta.conf`.
    pub resources: Vec<Resource>,
}

enum Phase {
    Start,
    Signature(Vec<u8>),
    Signed([u8; SIGNATURE_BYTES]),
    Meta([u8; SIGNATURE_BYTES], Vec<u8>),
    Between(Box<Contents>),
    Resource(Box<Contents>, Current),
    Complete(Box<Contents>),
    Failed,
}

struct Contents {
    announced: Announced,
    arrived: Vec<bool>,
}

struct Current {
    index: usize,
    left: u64,
    digest: Blake2b256,
}

/// Verifier of one container. Bytes go in with [`Self::push`]; the verdict comes from [`Self::finish`].
pub struct StreamVerifier {
    scanner: Scanner,
    keys: Vec<PublicKey>,
    limits: Limits,
    sha256: Sha256,
    size: u64,
    phase: Phase,
}

impl StreamVerifier {
    /// Starts a check against `keys`, of which any may have signed.
    pub fn new(keys: &[PublicKey], limits: Limits) -> Result<Self, FirmwareError> {
        if keys.len() > KEYS_MAX {
            return Err(FirmwareError::TooManyKeys { given: keys.len() });
        }
        Ok(Self {
            scanner: Scanner::new(limits),
            keys: keys.to_vec(),
            limits,
            sha256: Sha256::new(),
            size: 0,
            phase: Phase::Start,
        })
    }

    /// Takes the next bytes of the file, in pieces of any size. The events must be taken to their end; dropping
    /// them earlier breaks the check off. After an `Err` the file is refused for good.
    pub fn push<'a>(&'a mut self, input: &'a [u8]) -> Events<'a> {
        self.size = self.size.saturating_add(input.len() as u64);
        self.sha256.update(input);
        Events {
            verifier: self,
            input,
            ended: false,
        }
    }

    /// True once the signature has been verified and as long as nothing was refused.
    pub fn is_authentic(&self) -> bool {
        matches!(
            self.phase,
            Phase::Between(_) | Phase::Resource(..) | Phase::Complete(_)
        )
    }

    /// Bytes pushed so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The verdict, after the last byte.
    pub fn finish(self) -> Result<Firmware, FirmwareError> {
        match self.phase {
            Phase::Complete(contents) if self.scanner.is_complete() => {
                let Announced {
                    uuid,
                    metadata,
                    key,
                    resources,
                } = contents.announced;
                let sha256 = self.sha256.finalize().into();
                Ok(Firmware {
                    uuid,
                    metadata,
                    key,
                    size: self.size,
                    sha256,
                    resources,
                })
            }
            Phase::Failed => Err(FirmwareError::Abandoned),
            Phase::Start if self.size == 0 => Err(FirmwareError::NotFirmware),
            Phase::Start
            | Phase::Signature(_)
            | Phase::Signed(_)
            | Phase::Meta(..)
            | Phase::Between(_)
            | Phase::Resource(..)
            | Phase::Complete(_) => Err(FirmwareError::Truncated { size: self.size }),
        }
    }

    fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, FirmwareError> {
        if matches!(self.phase, Phase::Failed) {
            return Err(FirmwareError::Abandoned);
        }
        let limit = self.limits.container_bytes_max;
        if self.size > limit {
            return Err(FirmwareError::TooLarge {
                limit,
                unit: "bytes",
            });
        }
        while let Some(item) = self.scanner.next(input)? {
            let phase = std::mem::replace(&mut self.phase, Phase::Failed);
            let (phase, event) = self.step(phase, item)?;
            self.phase = phase;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn step(&self, phase: Phase, item: Item) -> Result<(Phase, Option<Event>), FirmwareError> {
        match (phase, item) {
            (Phase::Start, Item::Entry(name)) => match name.as_str() {
                SIGNATURE_ENTRY => Ok((Phase::Signature(Vec::new()), None)),
                META_ENTRY => Err(FirmwareError::Unsigned),
                _ => Err(FirmwareError::Order {
                    expected: SIGNATURE_ENTRY,
                    found: name,
                }),
            },
            (Phase::Signature(mut bytes), Item::Data(data)) => {
                bytes.extend_from_slice(&data);
                if bytes.len() > SIGNATURE_BYTES {
                    return Err(FirmwareError::SignatureSize);
                }
                Ok((Phase::Signature(bytes), None))
            }
            (Phase::Signature(bytes), Item::EntryEnd) => {
                let signature = bytes.try_into().map_err(|_| FirmwareError::SignatureSize)?;
                Ok((Phase::Signed(signature), None))
            }
            (Phase::Signed(signature), Item::Entry(name)) if name == META_ENTRY => {
                Ok((Phase::Meta(signature, Vec::new()), None))
            }
            (Phase::Signed(_), Item::Entry(found)) => Err(FirmwareError::Order {
                expected: META_ENTRY,
                found,
            }),
            (Phase::Meta(signature, mut bytes), Item::Data(data)) => {
                bytes.extend_from_slice(&data);
                if bytes.len() > META_BYTES_MAX {
                    return Err(FirmwareError::MetaSize);
                }
                Ok((Phase::Meta(signature, bytes), None))
            }
            (Phase::Meta(signature, bytes), Item::EntryEnd) => self.open(&signature, &bytes),
            (Phase::Between(contents), Item::Entry(name)) => contents.enter(&name),
            (Phase::Resource(contents, current), Item::Data(data)) => contents.data(current, data),
            (Phase::Resource(contents, current), Item::EntryEnd) => contents.leave(current),
            (Phase::Between(contents), Item::End) => contents.complete(),
            // An archive that ends before `meta.conf` came; the scanner lets no other pair happen.
            (_, Item::Entry(_) | Item::Data(_) | Item::EntryEnd | Item::End) => {
                Err(FirmwareError::Order {
                    expected: META_ENTRY,
                    found: "the end of the archive".into(),
                })
            }
        }
    }

    /// Verifies the signature before the text is even parsed.
    fn open(
        &self,
        signature: &[u8; SIGNATURE_BYTES],
        text: &[u8],
    ) -> Result<(Phase, Option<Event>), FirmwareError> {
        let key = self
            .keys
            .iter()
            .position(|key| key.verifies(text, signature))
            .ok_or(FirmwareError::ForeignKey {
                tried: self.keys.len(),
            })?;
        let (metadata, resources) = meta::parse(text, &self.limits)?;
        let arrived = vec![false; resources.len()];
        let announced = Announced {
            uuid: meta::firmware_uuid(text),
            metadata,
            key,
            resources,
        };
        let event = Event::Authentic(Box::new(announced.clone()));
        Ok((
            Phase::Between(Box::new(Contents { announced, arrived })),
            Some(event),
        ))
    }
}

impl std::fmt::Debug for StreamVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamVerifier")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Contents {
    fn enter(self: Box<Self>, name: &str) -> Result<(Phase, Option<Event>), FirmwareError> {
        let declared = self
            .announced
            .resources
            .iter()
            .position(|resource| path::entry_of(&resource.name) == name);
        let Some(index) = declared else {
            return Err(FirmwareError::Undeclared {
                name: name.to_owned(),
            });
        };
        let current = Current {
            index,
            left: self.announced.resources[index].length,
            digest: Blake2b256::new(),
        };
        Ok((
            Phase::Resource(self, current),
            Some(Event::ResourceStart(index)),
        ))
    }

    fn data(
        self: Box<Self>,
        mut current: Current,
        data: Vec<u8>,
    ) -> Result<(Phase, Option<Event>), FirmwareError> {
        let Some(left) = current.left.checked_sub(data.len() as u64) else {
            return Err(self.wrong_length(&current));
        };
        current.left = left;
        current.digest.update(&data);
        Ok((Phase::Resource(self, current), Some(Event::Data(data))))
    }

    fn leave(
        mut self: Box<Self>,
        current: Current,
    ) -> Result<(Phase, Option<Event>), FirmwareError> {
        if current.left != 0 {
            return Err(self.wrong_length(&current));
        }
        let resource = &self.announced.resources[current.index];
        if current.digest.finalize()[..] != resource.blake2b_256 {
            return Err(FirmwareError::Digest {
                name: resource.name.clone(),
            });
        }
        self.arrived[current.index] = true;
        Ok((
            Phase::Between(self),
            Some(Event::ResourceEnd(current.index)),
        ))
    }

    fn complete(self: Box<Self>) -> Result<(Phase, Option<Event>), FirmwareError> {
        match self.arrived.iter().position(|arrived| !arrived) {
            Some(index) => Err(FirmwareError::Missing {
                name: self.announced.resources[index].name.clone(),
            }),
            None => Ok((Phase::Complete(self), None)),
        }
    }

    fn wrong_length(&self, current: &Current) -> FirmwareError {
        let resource = &self.announced.resources[current.index];
        FirmwareError::Length {
            name: resource.name.clone(),
            expected: resource.length,
        }
    }
}

/// The events of one push, made one at a time as they are taken: a small input may inflate to many.
#[derive(Debug)]
pub struct Events<'a> {
    verifier: &'a mut StreamVerifier,
    input: &'a [u8],
    ended: bool,
}

impl Iterator for Events<'_> {
    type Item = Result<Event, FirmwareError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.verifier.next(&mut self.input).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        if matches!(next, Some(Err(_))) {
            self.verifier.phase = Phase::Failed;
        }
        next
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        // Bytes nobody looked at would make a hole in what the signature covers.
        if !self.ended {
            self.verifier.phase = Phase::Failed;
        }
    }
}

#[cfg(test)]
mod abuse_tests;
#[cfg(test)]
mod tests;
