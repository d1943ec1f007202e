//! Writing frames.
//!
//! A V1 object has exactly `topic`, `event`, `payload` and `ref`, since a further key breaks a client of that age.
//! A push never has a `ref`, since clients take a message with one for a reply.

use bytes::Bytes;
use serde::Serialize;

use super::{Frame, Payload, Ref, ReplyStatus, Serializer};

/// Event of every reply.
const REPLY: &str = "phx_reply";

impl Serializer {
    /// A whole frame as text. A binary payload has no text and becomes null: see [`Serializer::encode_binary`].
    #[must_use]
    pub fn encode(&self, frame: &Frame) -> String {
        let payload = match &frame.payload {
            Payload::Json(raw) => raw.get(),
            Payload::Null | Payload::Binary(_) => "null",
        };
        self.write(
            frame.join_ref.as_ref(),
            frame.reference.as_ref(),
            &frame.topic,
            &frame.event,
            payload,
        )
    }

    /// A frame with a binary payload as the binary push that a client sends. `None` when the serializer, a part
    /// longer than 255 bytes or another payload does not allow it. An integer reference becomes text.
    #[must_use]
    pub fn encode_binary(&self, frame: &Frame) -> Option<Bytes> {
        let (Self::V2, Payload::Binary(payload)) = (self, &frame.payload) else {
            return None;
        };
        let text =
            |reference: &Option<Ref>| reference.as_ref().map(Ref::to_string).unwrap_or_default();
        let (join_ref, reference) = (text(&frame.join_ref), text(&frame.reference));
        let parts = [&*join_ref, &*reference, &*frame.topic, &*frame.event];
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(5 + length + payload.len());
        out.push(0);
        for part in parts {
            out.push(u8::try_from(part.len()).ok()?);
        }
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(payload);
        Some(Bytes::from(out))
    }

    /// The reply to a message, echoing both of its references as they came. The response to a heartbeat must be
    /// the empty object. A response that cannot be JSON becomes `{}`.
    pub fn reply(
        &self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: &str,
        status: ReplyStatus,
        response: &impl Serialize,
    ) -> String {
        let mut payload = String::with_capacity(64);
        payload.push_str("{\"status\":\"");
        payload.push_str(status.as_str());
        payload.push_str("\",\"response\":");
        payload.push_str(&json(response));
        payload.push('}');
        self.write(join_ref, reference, topic, REPLY, &payload)
    }

    /// A push to one subscriber, under the `join_ref` of its join. A payload that cannot be JSON becomes `{}`.
    pub fn push(
        &self,
        join_ref: Option<&Ref>,
        topic: &str,
        event: &str,
        payload: &impl Serialize,
    ) -> String {
        self.write(join_ref, None, topic, event, &json(payload))
    }

    /// Tells a client that its channel crashed and must be joined again: `phx_error`, whose `ref` equals its
    /// `join_ref`, or the client does not notice.
    #[must_use]
    pub fn channel_error(&self, join_ref: Option<&Ref>, topic: &str, reason: &str) -> String {
        let mut payload = String::from("{\"reason\":");
        push_json_text(&mut payload, reason);
        payload.push('}');
        self.write(join_ref, join_ref, topic, "phx_error", &payload)
    }

    /// Tells a client that the channel it left, or joined anew, is closed: `phx_close`. Never send it to a device
    /// that did not leave: it stays connected and does not join again.
    #[must_use]
    pub fn channel_close(&self, join_ref: Option<&Ref>, topic: &str) -> String {
        self.write(join_ref, join_ref, topic, "phx_close", "{}")
    }

    /// The frame of these parts, `payload` being JSON text.
    pub(crate) fn write(
        &self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: &str,
        event: &str,
        payload: &str,
    ) -> String {
        let mut out = String::with_capacity(payload.len() + topic.len() + event.len() + 64);
        match self {
            Self::V2 => {
                out.push('[');
                write_reference(&mut out, join_ref);
                out.push(',');
                write_reference(&mut out, reference);
                out.push(',');
                push_json_text(&mut out, topic);
                out.push(',');
                push_json_text(&mut out, event);
                out.push(',');
                out.push_str(payload);
                out.push(']');
            }
            Self::V1 => {
                out.push_str("{\"topic\":");
                push_json_text(&mut out, topic);
                out.push_str(",\"event\":");
                push_json_text(&mut out, event);
                out.push_str(",\"payload\":");
                out.push_str(payload);
                out.push_str(",\"ref\":");
                write_reference(&mut out, reference);
                out.push('}');
            }
        }
        out
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

/// A reference as JSON.
pub(crate) fn write_reference(out: &mut String, reference: Option<&Ref>) {
    match reference {
        None => out.push_str("null"),
        Some(Ref::Int(number)) => out.push_str(&number.to_string()),
        Some(Ref::Text(text)) => push_json_text(out, text),
    }
}

/// A text as a JSON string.
pub(crate) fn push_json_text(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&json(&text));
    }
}
