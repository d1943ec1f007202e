//! One WebSocket frame, written without judgement and read with it (RFC 6455 §5).

use anyhow::{bail, ensure};
use bytes::{Buf as _, BytesMut};

/// Bytes of one frame that a test is ready to receive: far over anything a hub may send.
const FRAME_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a frame says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next part of a fragmented message.
    Continuation,
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// The start or answer of the closing handshake.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer to it.
    Pong,
    /// One that the standard reserves; the low four bits count.
    Reserved(u8),
}

impl Opcode {
    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
            Self::Reserved(bits) => bits & 0x0f,
        }
    }

    fn from_bits(bits: u8) -> Self {
        match bits & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => Self::Reserved(other),
        }
    }
}

/// A frame; every field may be set to what the standard forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Last frame of its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 being 4.
    pub reserved: u8,
    /// What it says it is.
    pub opcode: Opcode,
    /// The mask; clients must have one.
    pub mask: Option<[u8; 4]>,
    /// The length to announce instead of the true one.
    pub announced: Option<u64>,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// An honest client frame.
    #[must_use]
    pub fn new(opcode: Opcode, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            fin: true,
            reserved: 0,
            opcode,
            mask: Some([0x37, 0xfa, 0x21, 0x3d]),
            announced: None,
            payload: payload.into(),
        }
    }

    /// An honest text frame.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(Opcode::Text, text)
    }

    /// An honest close frame.
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Self::new(Opcode::Close, payload)
    }

    /// The same frame as one that more fragments follow.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The same frame without a mask, which a client must not send.
    #[must_use]
    pub fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    /// The same frame with these reserved bits (RSV1 is 4, RSV2 is 2, RSV3 is 1).
    #[must_use]
    pub fn reserved(mut self, bits: u8) -> Self {
        self.reserved = bits & 7;
        self
    }

    /// The same frame announcing another length than it has.
    #[must_use]
    pub fn announcing(mut self, length: u64) -> Self {
        self.announced = Some(length);
        self
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + 14);
        bytes.push(u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode.bits());
        let masked = u8::from(self.mask.is_some()) << 7;
        let length = self.announced.unwrap_or(self.payload.len() as u64);
        if let Ok(short) = u8::try_from(length)
            && short < 126
        {
            bytes.push(masked | short);
        } else if let Ok(medium) = u16::try_from(length) {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        } else {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        let mask = self.mask.unwrap_or_default();
        bytes.extend(self.mask.into_iter().flatten());
        let keyed = self.payload.iter().zip(mask.iter().cycle());
        bytes.extend(keyed.map(|(byte, key)| byte ^ key));
        bytes
    }

    /// Takes one whole frame of the hub out of `buffer`, if there is one.
    ///
    /// # Errors
    /// When it breaks what the standard demands of a server: a mask, reserved bits or opcodes, a long or
    /// fragmented control frame.
    pub fn parse_from_hub(buffer: &mut BytesMut) -> anyhow::Result<Option<Self>> {
        let [first, second, rest @ ..] = &buffer[..] else {
            return Ok(None);
        };
        let (first, second) = (*first, *second);
        let (length, head) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 2),
        };
        ensure!(second & 0x80 == 0, "the hub masked a frame");
        ensure!(first & 0x70 == 0, "the hub set reserved bits");
        ensure!(
            length <= FRAME_BYTES_MAX,
            "the hub announced {length} bytes"
        );
        let opcode = Opcode::from_bits(first);
        let fin = first & 0x80 != 0;
        match opcode {
            Opcode::Reserved(bits) => bail!("the hub used reserved opcode {bits}"),
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                ensure!(fin, "the hub fragmented a control frame");
                ensure!(
                    length <= 125,
                    "the hub sent a control frame of {length} bytes"
                );
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        let length = usize::try_from(length)?;
        if buffer.len() < head + length {
            return Ok(None);
        }
        buffer.advance(head);
        let payload = buffer.split_to(length).to_vec();
        Ok(Some(Self {
            fin,
            reserved: 0,
            opcode,
            mask: None,
            announced: None,
            payload,
        }))
    }

    /// Code and reason of a close frame; 1005 stands for none, as in the standard.
    ///
    /// # Errors
    /// When the payload is one byte long or the reason is not UTF-8.
    pub fn close_parts(&self) -> anyhow::Result<(u16, String)> {
        match &self.payload[..] {
            [] => Ok((1005, String::new())),
            [_] => bail!("a close frame of one byte"),
            [high, low, reason @ ..] => Ok((
                u16::from_be_bytes([*high, *low]),
                String::from_utf8(reason.to_vec())?,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> anyhow::Result<Option<Frame>> {
        Frame::parse_from_hub(&mut BytesMut::from(bytes))
    }

    #[test]
    fn an_unmasked_frame_reads_back_at_every_length_form() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let frame = Frame::new(Opcode::Binary, vec![7; length]).unmasked();
            let bytes = frame.to_bytes();
            assert_eq!(read(&bytes).unwrap(), Some(frame), "{length}");
            assert_eq!(read(&bytes[..bytes.len() - 1]).unwrap(), None, "{length}");
        }
    }

    #[test]
    fn the_example_of_the_standard_is_written_the_same() {
        // RFC 6455 §5.7: a masked "Hello".
        let bytes = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(Frame::text("Hello").to_bytes(), bytes);
    }

    #[test]
    fn a_hub_that_breaks_the_standard_is_told_so() {
        let ping = Frame::new(Opcode::Ping, "x").unmasked();
        assert!(read(&ping.to_bytes()).is_ok());
        assert!(read(&ping.clone().unfinished().to_bytes()).is_err());
        assert!(read(&ping.clone().reserved(4).to_bytes()).is_err());
        assert!(read(&Frame::text("masked").to_bytes()).is_err());
        assert!(read(&Frame::new(Opcode::Reserved(3), "").unmasked().to_bytes()).is_err());
        assert!(read(&Frame::new(Opcode::Pong, [0; 126]).unmasked().to_bytes()).is_err());
    }
}
