//! One socket of the floor: the TLS session and where the WebSocket stands, and nothing else.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

use super::frames::{self, Heard};
use crate::limits::FLOOR_HEAD_BYTES_MAX;

/// A device's connection.
pub(super) struct Socket {
    stream: TcpStream,
    tls: ServerConnection,
    open: bool,
    /// What came and is not whole yet: of the request's head, then of a frame. Empty while idle.
    rest: Vec<u8>,
}

impl Socket {
    /// A connection whose handshake is still to come.
    ///
    /// # Errors
    /// rustls' own.
    pub(super) fn new(stream: TcpStream, config: Arc<ServerConfig>) -> anyhow::Result<Self> {
        Ok(Self {
            stream,
            tls: ServerConnection::new(config)?,
            open: false,
            rest: Vec::new(),
        })
    }

    /// Reads what is there if there is something, and writes what waits. False when the device has left.
    ///
    /// # Errors
    /// When the connection fails, or the other side says what a device does not.
    pub(super) fn attend(&mut self, readable: bool) -> io::Result<bool> {
        let mut stays = true;
        while readable && stays {
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            let taken = self.tls.process_new_packets();
            let Ok(state) = taken else {
                // The alert tells the other side why.
                let _ = self.flush();
                return Ok(false);
            };
            stays = self.take(state.plaintext_bytes_to_read())?;
        }
        self.flush()?;
        Ok(stays)
    }

    /// Writes a frame, if the upgrade is done; whether it was.
    ///
    /// # Errors
    /// When the connection fails.
    pub(super) fn send(&mut self, frame: &[u8]) -> io::Result<bool> {
        if self.open {
            self.tls.writer().write_all(frame)?;
            self.flush()?;
        }
        Ok(self.open)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                // The poll says when it can be written again.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes this many decrypted bytes. False when the device says goodbye.
    fn take(&mut self, count: usize) -> io::Result<bool> {
        if count == 0 {
            return Ok(true);
        }
        let before = self.rest.len();
        self.rest.resize(before + count, 0);
        if let Some(room) = self.rest.get_mut(before..) {
            self.tls.reader().read_exact(room)?;
        }
        if self.rest.len() > FLOOR_HEAD_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        let stays = if self.open {
            self.frames()?
        } else {
            if let Some((answer, length)) = frames::upgrade(&self.rest)? {
                self.tls.writer().write_all(answer.as_bytes())?;
                self.rest.drain(..length);
                self.open = true;
            }
            true
        };
        if self.rest.is_empty() {
            // An idle socket keeps no buffer.
            self.rest = Vec::new();
        }
        Ok(stays)
    }

    fn frames(&mut self) -> io::Result<bool> {
        while let Some((heard, length)) = frames::hear(&self.rest)? {
            self.rest.drain(..length);
            match heard {
                Heard::Ping(pong) => self.tls.writer().write_all(&pong)?,
                Heard::Close(answer) => {
                    self.tls.writer().write_all(&answer)?;
                    self.tls.send_close_notify();
                    return Ok(false);
                }
                Heard::Other => {}
            }
        }
        Ok(true)
    }
}
