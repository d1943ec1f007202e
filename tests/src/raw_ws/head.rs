//! The HTTP upgrade by hand: a request in which everything can be wrong, and the answer to it.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BytesMut};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Dialect;

/// Bytes of an answer's head that a test is ready to read.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer's body that a test is ready to read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// An upgrade request. The default is an honest one.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header lines in order; sent as they are.
    pub headers: Vec<(String, String)>,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self::to("/socket/websocket?vsn=2.0.0")
    }
}

impl Upgrade {
    /// An honest request for this path and query.
    #[must_use]
    pub fn to(target: &str) -> Self {
        let headers = [
            ("host", "localhost"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            // Any 16 bytes do; a fixed key makes a capture comparable.
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        Self {
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            body: Vec::new(),
        }
    }

    /// The same request with another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// The same request with one header line more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    /// The same request with this header replaced.
    #[must_use]
    pub fn replacing(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// The same request with a body, which an upgrade must not have.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            // Writing into a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The framing that the query asks for.
    pub(super) fn dialect(&self) -> Dialect {
        if self.target.contains("vsn=2") {
            Dialect::V2
        } else {
            Dialect::V1
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An HTTP answer; an error when it is the answer to an upgrade and not 101.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the upgrade was refused with {status}: {}", String::from_utf8_lossy(.body))]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// As many bytes as `content-length` announced.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this (lower case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// Takes a whole answer out of `buffer`, if there is one.
    pub(super) fn parse(buffer: &mut BytesMut) -> anyhow::Result<Option<Self>> {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            ensure!(buffer.len() <= HEAD_BYTES_MAX, "the head has no end");
            return Ok(None);
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let (line, rest) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|after| after.get(..3))
            .with_context(|| format!("not an HTTP/1.1 answer: {line:?}"))?
            .parse()?;
        let mut headers = Vec::new();
        for header in rest.split("\r\n").filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').context("a header without colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self {
            status,
            headers,
            body: Vec::new(),
        };
        let length: usize = answer.header("content-length").unwrap_or("0").parse()?;
        ensure!(length <= BODY_BYTES_MAX, "a body of {length} bytes");
        if buffer.len() < end + 4 + length {
            return Ok(None);
        }
        buffer.advance(end + 4);
        answer.body = buffer.split_to(length).to_vec();
        Ok(Some(answer))
    }

    /// Whether it accepts that upgrade.
    pub(super) fn accepted(self, request: &Upgrade) -> Result<Self, Self> {
        let key = request.header("sec-websocket-key").unwrap_or_default();
        let proof = derive_accept_key(key.as_bytes());
        let proven = self.header("sec-websocket-accept") == Some(&proof);
        if self.status == 101 && proven {
            Ok(self)
        } else {
            Err(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_it_is_whole() {
        let whole =
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nX-Reason: no\r\n\r\nhm rest";
        for cut in 0..whole.len() - b" rest".len() {
            let mut buffer = BytesMut::from(&whole[..cut]);
            assert!(Answer::parse(&mut buffer).unwrap().is_none(), "{cut}");
        }
        let mut buffer = BytesMut::from(&whole[..]);
        let answer = Answer::parse(&mut buffer).unwrap().unwrap();
        assert_eq!((answer.status, &answer.body[..]), (401, &b"hm"[..]));
        assert_eq!(answer.header("x-reason"), Some("no"));
        assert_eq!(&buffer[..], b" rest");
    }

    #[test]
    fn a_request_can_be_made_wrong() {
        let bytes = Upgrade::default()
            .method("POST")
            .replacing("sec-websocket-version", "8")
            .without("host")
            .to_bytes();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("POST /socket/websocket?vsn=2.0.0 HTTP/1.1\r\n"));
        assert!(text.contains("sec-websocket-version: 8\r\n") && !text.contains("host:"));
    }
}
