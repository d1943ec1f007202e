//! The WebSocket protocol as far as the floor needs it, by hand: the answer to an upgrade, small masked frames in, one text frame out.

use std::io::{self, ErrorKind};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};

/// What RFC 6455 has a server append to a client's key.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Headers of a request at most.
const HEADERS_MAX: usize = 32;
/// The longest payload that a frame's second byte can name.
const SHORT_MAX: usize = 125;
/// Bytes of a client's frame before its payload: two, and the mask.
const MASKED_HEAD: usize = 6;

/// A frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A ping, with the frame that answers it.
    Ping(Vec<u8>),
    /// Goodbye, with the frame that answers it.
    Close(Vec<u8>),
    /// Anything else, which the floor does not care about.
    Other,
}

/// The answer to a request for an upgrade and the length of its head, when the head is whole.
///
/// # Errors
/// When it is no such request.
pub(super) fn upgrade(bytes: &[u8]) -> io::Result<Option<(String, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(io::Error::other)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let key = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"))
        .ok_or(ErrorKind::InvalidData)?;
    let mut hash = Sha1::new();
    hash.update(key.value);
    hash.update(KEY_SUFFIX);
    let accept = BASE64_STANDARD.encode(hash.finalize());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Ok(Some((answer, length)))
}

/// A whole text message of a server, which masks nothing.
pub(super) fn text(text: &str) -> Vec<u8> {
    frame(0x1, text.as_bytes())
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if usize::from(length) <= SHORT_MAX => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// The first frame of a client and its length, when it is whole.
///
/// # Errors
/// When it is not masked, or longer than anything that a device of the floor says.
pub(super) fn hear(bytes: &[u8]) -> io::Result<Option<(Heard, usize)>> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    let payload = usize::from(second & 0x7f);
    if second & 0x80 == 0 || payload > SHORT_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let length = MASKED_HEAD + payload;
    let (Some(mask), Some(masked)) = (bytes.get(2..MASKED_HEAD), bytes.get(MASKED_HEAD..length))
    else {
        return Ok(None);
    };
    let clear = || -> Vec<u8> {
        let pairs = masked.iter().zip(mask.iter().cycle());
        pairs.map(|(byte, mask)| byte ^ mask).collect()
    };
    let heard = match first & 0x0f {
        0x8 => Heard::Close(frame(0x8, &clear())),
        0x9 => Heard::Ping(frame(0xa, &clear())),
        _ => Heard::Other,
    };
    Ok(Some((heard, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upgrade_is_answered_as_the_rfc_does_it() {
        let request = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (answer, length) = upgrade(request.as_bytes()).unwrap().unwrap();
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_eq!(length, request.len());
        assert!(upgrade(&request.as_bytes()[..40]).unwrap().is_none());
        assert!(upgrade(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }

    #[test]
    fn a_text_frame_names_its_length() {
        assert_eq!(text("hi"), [0x81, 2, b'h', b'i']);
        let long = text(&"x".repeat(256));
        assert_eq!(long[..4], [0x81, 126, 1, 0]);
        assert_eq!(long.len(), 260);
        assert_eq!(text(&"x".repeat(70_000))[1], 127);
    }

    #[test]
    fn a_ping_is_answered_with_what_it_holds() {
        let ping = [0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        let (heard, length) = hear(&ping).unwrap().unwrap();
        assert_eq!(heard, Heard::Ping(vec![0x8a, 2, b'h', b'i']));
        assert_eq!(length, ping.len());
        assert!(hear(&ping[..7]).unwrap().is_none());
        let close = [0x88, 0x80, 0, 0, 0, 0];
        assert_eq!(
            hear(&close).unwrap().unwrap().0,
            Heard::Close(vec![0x88, 0])
        );
        assert!(hear(&[0x81, 0x01, b'a']).is_err());
    }
}
