//! From WebSocket messages to events of the session.

use hub_core::session::{Address, Event, Inbound};
use hub_proto::close::CloseReason;
use hub_proto::event::DeviceEvent;
use hub_proto::frame::{Frame, FrameError, Serializer};
use tokio_tungstenite::tungstenite::Message;

/// Decodes a data message; control frames are dealt with where they are read.
pub(super) fn decode(serializer: Serializer, message: &Message) -> Result<Event, CloseReason> {
    let frame = match message {
        Message::Text(text) => serializer.decode_text(text),
        Message::Binary(bytes) => serializer.decode_binary(bytes),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
            return Err(CloseReason::ProtocolError);
        }
    };
    match frame {
        Ok(frame) => Ok(Event::Frame(inbound(frame))),
        Err(error) => match error.close() {
            Some(reason) => Err(reason),
            None => Ok(Event::Malformed {
                to: origin(&error),
                code: error.code(),
            }),
        },
    }
}

fn inbound(frame: Frame) -> Inbound {
    let event = DeviceEvent::parse(&frame.event, &frame.payload);
    Inbound {
        from: Address {
            join_ref: frame.join_ref,
            reference: frame.reference,
            topic: frame.topic,
        },
        event,
    }
}

fn origin(error: &FrameError) -> Option<Address> {
    error
        .readable_ref()
        .map(|(join_ref, reference, topic)| Address {
            join_ref: join_ref.clone(),
            reference: Some(reference.clone()),
            topic: topic.into(),
        })
}
