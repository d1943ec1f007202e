//! The WebSocket of one device: reads without waiting, writes what fits, closes in bounded time.
//!
//! Rules owned here: nothing is fed to the socket while a flush is pending, so the outbox is the only elastic buffer;
//! a closing socket says why, then is dropped after `CLOSING_MAX` whether the device answers or not.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_util::{Sink, Stream};
use hub_core::limits::{CLOSING_MAX, MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX};
use hub_core::outbox::Outbox;
use hub_core::session::Event;
use hub_proto::close::CloseReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::edge::frame_meter::FrameMeter;

/// The stream below a device's WebSocket.
pub(crate) type DeviceStream = TlsStream<TcpStream>;

/// The read buffer a socket keeps while idle.
const READ_BUFFER_BYTES: usize = 1024;
/// Bytes fed to the socket before it is flushed.
const FEED_BYTES: usize = 16 * 1024;

/// What a read brings.
pub(super) enum Incoming {
    /// Nothing now; the waker will say when.
    Nothing,
    /// A data message.
    Message(Message),
    /// A control frame, as the session sees it.
    Event(Event),
    /// The device broke the protocol or is gone: close for this reason.
    Fault(CloseReason),
}

/// The socket and what waits for it.
pub(super) struct SocketIo {
    socket: WebSocketStream<FrameMeter<DeviceStream>>,
    outbox: Outbox<Message>,
    flushing: bool,
    paused_until: Option<Instant>,
    closing: Option<Closing>,
}

#[derive(Clone, Copy, Debug)]
struct Closing {
    by: Instant,
    /// The close frame is on its way; only the peer's end is awaited.
    said: bool,
    /// The peer is gone already.
    gone: bool,
}

impl SocketIo {
    pub(super) async fn new(stream: DeviceStream, early: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(OUTBOX_BYTES_MAX)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let mut stream = FrameMeter::new(stream);
        stream.see(&early);
        let socket =
            WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
        Self {
            socket,
            outbox: Outbox::default(),
            flushing: false,
            paused_until: None,
            closing: None,
        }
    }

    /// Reads one frame, unless reading is paused or the socket is closing.
    pub(super) fn read(&mut self, waker: &Waker, now: Instant) -> Incoming {
        if self.closing.is_some() || self.paused_until.is_some_and(|until| until > now) {
            return Incoming::Nothing;
        }
        self.paused_until = None;
        match Pin::new(&mut self.socket).poll_next(&mut Context::from_waker(waker)) {
            Poll::Pending => Incoming::Nothing,
            Poll::Ready(Some(Ok(Message::Ping(_)))) => Incoming::Event(Event::Pinged),
            Poll::Ready(Some(Ok(Message::Pong(payload)))) => {
                let number = <[u8; 4]>::try_from(&payload[..])
                    .ok()
                    .map(u32::from_be_bytes);
                Incoming::Event(Event::Ponged(number))
            }
            Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                self.answer_close(now);
                Incoming::Fault(reason_of_close(frame.as_ref()))
            }
            Poll::Ready(Some(Ok(
                message @ (Message::Text(_) | Message::Binary(_) | Message::Frame(_)),
            ))) => Incoming::Message(message),
            Poll::Ready(Some(Err(error))) => self.fault(&error),
            Poll::Ready(None) => self.gone(),
        }
    }

    fn fault(&mut self, error: &WsError) -> Incoming {
        let reason = match error {
            WsError::Capacity(
                CapacityError::MessageTooLong { .. } | CapacityError::TooManyHeaders,
            ) => CloseReason::MessageTooBig,
            WsError::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => {
                return self.gone();
            }
            WsError::Protocol(_) => CloseReason::ProtocolError,
            WsError::Utf8(_) => CloseReason::InvalidUtf8,
            WsError::Io(_) if self.socket.get_ref().too_many_fragments() => {
                CloseReason::PolicyViolation
            }
            WsError::Io(_)
            | WsError::ConnectionClosed
            | WsError::AlreadyClosed
            | WsError::Tls(_)
            | WsError::WriteBufferFull(_)
            | WsError::AttackAttempt
            | WsError::Url(_)
            | WsError::Http(_)
            | WsError::HttpFormat(_) => return self.gone(),
        };
        Incoming::Fault(reason)
    }

    /// The device closed, and the library has its answer ready: nothing but that may follow.
    fn answer_close(&mut self, now: Instant) {
        self.outbox = Outbox::default();
        self.closing = Some(Closing {
            by: now + CLOSING_MAX,
            said: false,
            gone: false,
        });
    }

    fn gone(&mut self) -> Incoming {
        self.closing = Some(Closing {
            by: Instant::now(),
            said: true,
            gone: true,
        });
        Incoming::Fault(CloseReason::GoingAway)
    }

    /// Queues a message; a full outbox closes the socket, for the reader is too slow.
    pub(super) fn send(&mut self, message: Message, now: Instant) -> bool {
        if self.closing.is_some() {
            return true;
        }
        let bytes = message.len();
        if self.outbox.push(message, bytes).is_ok() {
            return true;
        }
        self.close(CloseReason::SlowConsumer, now);
        false
    }

    /// Reads nothing before `until`.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |at| at.max(until)));
    }

    /// Says goodbye after what is queued, and gives it `CLOSING_MAX`.
    pub(super) fn close(&mut self, reason: CloseReason, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(Closing {
            by: now + CLOSING_MAX,
            said: false,
            gone: false,
        });
        if matches!(reason, CloseReason::SlowConsumer) {
            // It will not read what is queued either; what it lacks is delivered after its next join.
            self.outbox = Outbox::default();
        }
        let frame = CloseFrame {
            code: reason.code().into(),
            reason: reason.reason().into(),
        };
        let bytes = frame.reason.len();
        let _ = self.outbox.push(Message::Close(Some(frame)), bytes);
    }

    /// When something here is due: the end of a pause, or of patience.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.closing.map(|closing| closing.by).or(self.paused_until)
    }

    /// Whether the closing phase has lasted long enough.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.closing.is_some_and(|closing| closing.by <= now)
    }

    /// Writes what the socket takes; true when the socket is over.
    pub(super) fn flush(&mut self, waker: &Waker, now: Instant) -> bool {
        if self.is_overdue(now) {
            return true;
        }
        let mut context = Context::from_waker(waker);
        let Poll::Ready(written) = self.poll_write(&mut context) else {
            return false;
        };
        let Some(closing) = &mut self.closing else {
            return written.is_err();
        };
        if written.is_err() || closing.gone {
            return true;
        }
        closing.said = true;
        self.poll_end(&mut context)
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        loop {
            let mut socket = Pin::new(&mut self.socket);
            if self.flushing {
                std::task::ready!(socket.as_mut().poll_flush(context))?;
                self.flushing = false;
            }
            let mut fed = 0;
            while fed < FEED_BYTES {
                let Some(message) = self.outbox.pop() else {
                    break;
                };
                fed += message.len().max(1);
                socket.as_mut().start_send(message)?;
            }
            if fed == 0 {
                // Pongs to the device's pings are queued inside and want a flush of their own.
                return socket.poll_flush(context);
            }
            self.flushing = true;
        }
    }

    /// Shuts the stream down and waits for the peer's end; what still arrives is thrown away.
    fn poll_end(&mut self, context: &mut Context<'_>) -> bool {
        let stream = self.socket.get_mut();
        if matches!(
            Pin::new(&mut *stream).poll_shutdown(context),
            Poll::Ready(Err(_))
        ) {
            return true;
        }
        let mut scratch = [0_u8; 512];
        for _ in 0..super::FRAMES_PER_TURN {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Ok(()) | Err(_)) => return true,
            }
        }
        context.waker().wake_by_ref();
        false
    }
}

/// Why a socket ends that the device closed. The library echoes a code that may be sent and answers any other with 1002
/// (RFC 6455 §7.4).
fn reason_of_close(frame: Option<&CloseFrame>) -> CloseReason {
    match frame {
        Some(frame) if !frame.code.is_allowed() => CloseReason::ProtocolError,
        Some(_) | None => CloseReason::Normal,
    }
}
