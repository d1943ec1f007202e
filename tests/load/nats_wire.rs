//! The client protocol of NATS as far as a subscriber and a publisher of one subject need it.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};

use crate::limits::NATS_BYTES_MAX;

/// What a client says first: no confirmations, nothing of its own back.
pub(crate) const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,\"lang\":\"rust\",\"version\":\"1\"}\r\n";
/// Subscribes to the one subject.
pub(crate) const SUBSCRIBE: &str = "SUB everyone 1\r\n";
/// Asks whether all that was said before has been taken.
pub(crate) const PING: &str = "PING\r\n";
/// Answers a ping.
pub(crate) const PONG: &str = "PONG\r\n";

/// Publishes to the one subject, and asks whether it was taken.
pub(crate) fn publish(payload: &str) -> String {
    let mut said = String::with_capacity(payload.len() + 64);
    // Writing into a String cannot fail.
    let _ = write!(
        said,
        "PUB everyone {}\r\n{payload}\r\n{PING}",
        payload.len()
    );
    said
}

/// One thing that a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Who it is and what it can.
    Info,
    /// It confirms something.
    Ok,
    /// It wants a sign of life.
    Ping,
    /// It has taken all that was said before the ping.
    Pong,
    /// Somebody published this.
    Message(Vec<u8>),
}

/// What a server says, cut where the network likes.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    /// Takes what has come.
    ///
    /// # Errors
    /// When more is waiting than one message can have.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.bytes.len() + bytes.len() > NATS_BYTES_MAX {
            bail!("NATS said more than {NATS_BYTES_MAX} bytes without an end");
        }
        self.bytes.extend(bytes);
        Ok(())
    }

    /// The next thing, if it is whole.
    ///
    /// # Errors
    /// The server's, and what is not its protocol.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Said>> {
        let Some(end) = self.bytes.windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default()).into_owned();
        let mut used = end + 2;
        let said = match line.split_ascii_whitespace().next() {
            Some("INFO") => Said::Info,
            Some("+OK") => Said::Ok,
            Some("PING") => Said::Ping,
            Some("PONG") => Said::Pong,
            Some("MSG") => {
                let length = line.split_ascii_whitespace().next_back();
                let length: usize = length
                    .and_then(|length| length.parse().ok())
                    .filter(|length| *length <= NATS_BYTES_MAX)
                    .with_context(|| format!("NATS said {line:?}"))?;
                let Some(payload) = self.bytes.get(used..used + length) else {
                    return Ok(None);
                };
                let payload = payload.to_vec();
                used += length + 2;
                if self.bytes.len() < used {
                    return Ok(None);
                }
                Said::Message(payload)
            }
            _ => bail!("NATS said {line:?}"),
        };
        self.bytes.drain(..used);
        Ok(Some(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_anywhere_is_read_whole() {
        let said = b"INFO {\"a\":1}\r\nPING\r\nMSG everyone 1 4\r\n\r\nhi\r\nPONG\r\n";
        for cut in 0..said.len() {
            let mut stream = Stream::default();
            let mut heard = Vec::new();
            for part in [&said[..cut], &said[cut..]] {
                stream.take(part).unwrap();
                while let Some(next) = stream.next().unwrap() {
                    heard.push(next);
                }
            }
            let message = Said::Message(b"\r\nhi".to_vec());
            assert_eq!(
                heard,
                [Said::Info, Said::Ping, message, Said::Pong],
                "{cut}"
            );
        }
    }

    #[test]
    fn refusals_and_floods_are_errors() {
        let mut stream = Stream::default();
        stream.take(b"-ERR 'Authorization Violation'\r\n").unwrap();
        assert!(stream.next().is_err());
        assert!(stream.take(&vec![0; NATS_BYTES_MAX]).is_err());
        let mut stream = Stream::default();
        stream.take(b"MSG everyone 1 99999999999\r\n").unwrap();
        assert!(stream.next().is_err());
    }

    #[test]
    fn a_publication_names_its_length() {
        assert_eq!(publish("hi"), "PUB everyone 2\r\nhi\r\nPING\r\n");
    }
}
