//! The WebSocket of one device: reads without waiting, writes what fits, closes in bounded time.
//!
//! Rules owned here: nothing is fed to the socket while a flush is pending, so the outbox is the only elastic buffer;
//! what waits is written as one piece, put together in a buffer that belongs to the thread, for the library's own never
//! shrinks; a closing socket says why, then is dropped after `CLOSING_MAX` whether the device answers or not.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use hub_core::limits::{CLOSING_MAX, MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX};
use hub_core::outbox::Outbox;
use hub_core::session::Event;
use hub_proto::close::CloseReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::edge::frame_meter::FrameMeter;
use crate::edge::tls_stream::TlsStream;

/// The read buffer a socket keeps while idle.
const READ_BUFFER_BYTES: usize = 128;
/// Bytes fed to the socket before it is flushed; with the message that passes it, what a thread's buffer holds.
const FEED_BYTES: usize = 16 * 1024;

thread_local! {
    /// Frames on their way from an outbox to a socket, for the time of one call.
    static FRAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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

/// A message to the device.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A frame of the device protocol.
    Text(String),
    /// One in two parts, of which the second is shared by all members of a group.
    Shared(String, Bytes),
    /// A ping with this payload.
    Ping([u8; 4]),
}

impl Outgoing {
    /// What kind of frame carries it, and its payload.
    fn parts(&self) -> (OpCode, [&[u8]; 2]) {
        match self {
            Self::Text(text) => (OpCode::Data(Data::Text), [text.as_bytes(), &[]]),
            Self::Shared(own, shared) => (OpCode::Data(Data::Text), [own.as_bytes(), shared]),
            Self::Ping(payload) => (OpCode::Control(Control::Ping), [payload, &[]]),
        }
    }
}

/// The socket and what waits for it.
pub(super) struct SocketIo {
    socket: WebSocketStream<FrameMeter<TlsStream>>,
    outbox: Outbox<Outgoing>,
    /// Said when the outbox is empty.
    farewell: Option<CloseFrame>,
    /// Taken from the outbox, and not by the socket yet.
    half_written: Vec<u8>,
    /// Messages taken from the outbox that nobody has counted.
    written: u32,
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
    pub(super) async fn new(stream: TlsStream, early: Vec<u8>) -> Self {
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
            farewell: None,
            half_written: Vec::new(),
            written: 0,
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

    /// Messages that went to the socket since this was asked.
    pub(super) fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.written) as usize
    }

    /// Queues a message. A full outbox closes the socket, for the reader is too slow.
    ///
    /// # Errors
    /// How many messages the device does not get therefore.
    pub(super) fn send(&mut self, message: Outgoing, now: Instant) -> Result<(), usize> {
        if self.closing.is_some() {
            return Ok(());
        }
        let (_, [own, shared]) = message.parts();
        let bytes = own.len() + shared.len();
        if self.outbox.push(message, bytes).is_ok() {
            return Ok(());
        }
        let lost = self.outbox.len() + 1;
        self.close(CloseReason::SlowConsumer, now);
        Err(lost)
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
        self.farewell = Some(frame);
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
            ready!(self.poll_half_written(context))?;
            // Pongs to the device's pings, and the answer to its close, are queued inside the library.
            ready!(Pin::new(&mut self.socket).poll_flush(context))?;
            let done = FRAMES.with_borrow_mut(|frames| {
                frames.clear();
                self.gather(frames)?;
                if frames.is_empty() {
                    return self.say_farewell();
                }
                let written = match self.stream().poll_write(context, frames) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => 0,
                };
                self.half_written.extend_from_slice(&frames[written..]);
                frames.shrink_to(FEED_BYTES);
                Ok(false)
            })?;
            if done {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Closes through the library, which has to know of it, after all that waited; true when that is done already.
    fn say_farewell(&mut self) -> Result<bool, WsError> {
        let Some(frame) = self.farewell.take() else {
            return Ok(true);
        };
        Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)))?;
        Ok(false)
    }

    /// Takes messages from the outbox, as the frames that carry them.
    fn gather(&mut self, frames: &mut Vec<u8>) -> Result<(), WsError> {
        while frames.len() < FEED_BYTES {
            let Some(message) = self.outbox.pop() else {
                break;
            };
            let (opcode, [own, shared]) = message.parts();
            let header = FrameHeader {
                opcode,
                ..FrameHeader::default()
            };
            header.format((own.len() + shared.len()) as u64, frames)?;
            self.written += u32::from(!matches!(message, Outgoing::Ping(_)));
            frames.extend_from_slice(own);
            frames.extend_from_slice(shared);
        }
        Ok(())
    }

    fn poll_half_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.half_written.is_empty() {
            let rest = std::mem::take(&mut self.half_written);
            match self.stream().poll_write(context, &rest) {
                Poll::Ready(Ok(written)) if written < rest.len() => {
                    self.half_written = rest[written..].to_vec();
                }
                Poll::Ready(written) => return Poll::Ready(written.map(drop)),
                Poll::Pending => {
                    self.half_written = rest;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn stream(&mut self) -> Pin<&mut FrameMeter<TlsStream>> {
        Pin::new(self.socket.get_mut())
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
