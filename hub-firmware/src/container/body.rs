//! The content of one archive entry: inflates it and measures it as it passes.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::record::{Local, Method, Sums};
use crate::error::FirmwareError;
use crate::limits::CHUNK_BYTES_MAX;

pub(super) struct Body {
    inflate: Option<Decompress>,
    descriptor: bool,
    promised: Sums,
    packed: u64,
    unpacked: u64,
    crc: Crc,
    complete: bool,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("packed", &self.packed)
            .field("unpacked", &self.unpacked)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(local: &Local) -> Result<Self, FirmwareError> {
        let inflate = match local.method {
            Method::Deflated => Some(Decompress::new(false)),
            // Stored data of unknown length has no end that one could recognise.
            Method::Stored if local.sums.packed != local.sums.unpacked => {
                return Err(FirmwareError::Damaged {
                    what: "a stored entry has two sizes",
                });
            }
            Method::Stored => None,
        };
        Ok(Self {
            inflate,
            descriptor: local.descriptor,
            promised: local.sums,
            packed: 0,
            unpacked: 0,
            crc: Crc::new(),
            complete: false,
        })
    }

    pub(super) fn has_descriptor(&self) -> bool {
        self.descriptor
    }

    pub(super) fn promised(&self) -> Sums {
        self.promised
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// What went by, unless it contradicts a size that the header promised ahead of a descriptor.
    pub(super) fn measured(&self) -> Option<Sums> {
        let sums = Sums {
            crc: self.crc.sum(),
            packed: u32::try_from(self.packed).ok()?,
            unpacked: u32::try_from(self.unpacked).ok()?,
        };
        let kept = |promise: u32, fact: u32| promise == 0 || promise == fact;
        (kept(self.promised.packed, sums.packed) && kept(self.promised.unpacked, sums.unpacked))
            .then_some(sums)
    }

    /// The next chunk of content. Empty when more input is needed, and when the end is reached: then it [`Self::is_complete`].
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Vec<u8>, FirmwareError> {
        let data = match &mut self.inflate {
            None => {
                let left = u64::from(self.promised.packed) - self.packed;
                let take = input
                    .len()
                    .min(CHUNK_BYTES_MAX)
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                let (now, later) = input.split_at(take);
                *input = later;
                self.packed += take as u64;
                self.complete = left == 0;
                now.to_vec()
            }
            Some(inflate) => {
                let known = self.promised.packed != 0 || !self.descriptor;
                let left = if known {
                    u64::from(self.promised.packed) - self.packed
                } else {
                    u64::MAX
                };
                let offered = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let mut data = vec![0; CHUNK_BYTES_MAX];
                let status = inflate
                    .decompress(&input[..offered], &mut data, FlushDecompress::None)
                    .map_err(|_| FirmwareError::Damaged {
                        what: "an entry does not inflate",
                    })?;
                let taken = usize::try_from(inflate.total_in() - self.packed).unwrap_or(offered);
                *input = &input[taken..];
                self.packed = inflate.total_in();
                data.truncate(usize::try_from(inflate.total_out() - self.unpacked).unwrap_or(0));
                let stuck = taken == 0 && data.is_empty();
                // The end is reported alone, by a further call, so that the last data is not lost with it.
                self.complete = status == Status::StreamEnd && data.is_empty();
                if stuck && !self.complete && (offered > 0 || left == 0) {
                    return Err(FirmwareError::Damaged {
                        what: "an entry does not inflate",
                    });
                }
                data
            }
        };
        self.unpacked += data.len() as u64;
        self.crc.update(&data);
        Ok(data)
    }
}
