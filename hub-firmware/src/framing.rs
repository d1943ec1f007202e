//! The framing in which fwup is fed and answers (`fwup --framing`): a 4-byte big-endian length before everything.
//!
//! Towards fwup: chunks of any size, and an empty one as the end. From fwup: two letters of kind, a two-byte code,
//! and text. Decoding is total: junk is an error, never a panic, and never more memory than one message.

use crate::limits::UPDATER_MESSAGE_BYTES_MAX;

/// Tells fwup that the firmware is complete.
pub const END: [u8; 4] = [0; 4];

/// Bytes of kind and code in a message.
const HEAD_BYTES: usize = 4;

/// Largest chunk for which a header is made, in bytes. Smaller than the format allows: fwup buffers a chunk.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Splits `bytes` into frames for fwup: each header must be written, then its chunk. An empty input gives none,
/// because an empty frame would end the stream.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    bytes
        .chunks(CHUNK_BYTES_MAX)
        .map(|chunk| (header(chunk), chunk))
}

fn header(chunk: &[u8]) -> [u8; 4] {
    // `chunks` bounds the length far below 32 bits.
    u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// A message from fwup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Percent done, 0 to 100.
    Progress(u8),
    /// The task is complete.
    Success(String),
    /// The task failed; fwup exits.
    Failure {
        /// Code, 0 in all known versions.
        code: u16,
        /// fwup's words.
        text: String,
    },
    /// Something worth knowing.
    Warning {
        /// Code, 0 in all known versions.
        code: u16,
        /// fwup's words.
        text: String,
    },
    /// A kind that newer versions may have; to be ignored.
    Unknown([u8; 2]),
}

/// Output that is not fwup's. The decoder is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Too short for kind and code, or longer than any message.
    #[error(
        "the updater sent a message of {bytes} bytes; start it with --framing and keep other programs off its output"
    )]
    Length {
        /// Length that it announced.
        bytes: u32,
    },
    /// A percentage above 100.
    #[error("the updater reports {percent} percent")]
    Percent {
        /// What it reported.
        percent: u16,
    },
    /// The output ended inside a message.
    #[error("the updater stopped in the middle of a message")]
    Cut,
}

/// Collects messages from fwup's output, in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    broken: Option<FramingError>,
}

impl Decoder {
    /// A decoder at the start of the output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes output; gives the messages that it completes, in order, up to the first fault.
    pub fn push(&mut self, mut output: &[u8]) -> Result<Vec<Message>, FramingError> {
        let mut messages = Vec::new();
        loop {
            if let Some(fault) = self.broken {
                // Good messages before the fault go first; the next call tells the fault.
                return if messages.is_empty() {
                    Err(fault)
                } else {
                    Ok(messages)
                };
            }
            match self.take(&mut output) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return Ok(messages),
                Err(fault) => self.broken = Some(fault),
            }
        }
    }

    /// The end of the output: tells a fault that was held back, or a message that was cut.
    pub fn finish(self) -> Result<(), FramingError> {
        match self.broken {
            Some(fault) => Err(fault),
            None if self.held.is_empty() => Ok(()),
            None => Err(FramingError::Cut),
        }
    }

    fn take(&mut self, output: &mut &[u8]) -> Result<Option<Message>, FramingError> {
        if !self.fill(4, output) {
            return Ok(None);
        }
        let announced =
            u32::from_be_bytes([self.held[0], self.held[1], self.held[2], self.held[3]]);
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if !(HEAD_BYTES..=UPDATER_MESSAGE_BYTES_MAX).contains(&length) {
            return Err(FramingError::Length { bytes: announced });
        }
        if !self.fill(4 + length, output) {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.held);
        message(&frame[4..]).map(Some)
    }

    /// Moves bytes until `bytes` are held.
    fn fill(&mut self, bytes: usize, output: &mut &[u8]) -> bool {
        let take = bytes.saturating_sub(self.held.len()).min(output.len());
        let (now, later) = output.split_at(take);
        self.held.extend_from_slice(now);
        *output = later;
        self.held.len() >= bytes
    }
}

fn message(body: &[u8]) -> Result<Message, FramingError> {
    let (kind, code) = ([body[0], body[1]], u16::from_be_bytes([body[2], body[3]]));
    let text = || {
        String::from_utf8_lossy(&body[HEAD_BYTES..])
            .trim_end()
            .to_owned()
    };
    Ok(match &kind {
        b"PR" => match u8::try_from(code) {
            Ok(percent) if percent <= 100 => Message::Progress(percent),
            _ => return Err(FramingError::Percent { percent: code }),
        },
        b"OK" => Message::Success(text()),
        b"ER" => Message::Failure { code, text: text() },
        b"WN" => Message::Warning { code, text: text() },
        _ => Message::Unknown(kind),
    })
}

#[cfg(test)]
mod tests;
