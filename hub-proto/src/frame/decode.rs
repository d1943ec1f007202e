//! Reading frames: bounds first, then the walk over the whole text, then the five parts.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::parts::{Form, Parts};
use super::{Frame, FrameError, Origin, Payload, Ref, Serializer};
use crate::json::{self, JsonFault};
use crate::limits::{EVENT_BYTES_MAX, FRAME_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::topic;

impl Serializer {
    /// Reads a text message.
    ///
    /// # Errors
    /// What is wrong with it; see [`FrameError::readable_ref`] for what can still be done about it.
    pub fn decode_text(&self, text: &str) -> Result<Frame, FrameError> {
        if text.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes: text.len() });
        }
        let checked = json::check_text(text);
        let (parts, outcome) = Parts::read(text);
        if let Err(fault) = checked.and(outcome.map_err(|_| JsonFault::Syntax)) {
            return Err(FrameError::Json {
                fault,
                origin: origin(&parts),
            });
        }
        let shape = |what| FrameError::Shape {
            what,
            origin: origin(&parts),
        };
        match (self, parts.form) {
            (Self::V2, Form::Array(5)) | (Self::V1, Form::Object) => {}
            (Self::V2, Form::Array(_)) => return Err(shape("a frame has five items")),
            (Self::V2, Form::Object | Form::Other) => {
                return Err(shape("a frame of vsn 2 is an array"));
            }
            (Self::V1, Form::Array(_) | Form::Other) => {
                return Err(shape("a frame of vsn 1 is an object"));
            }
        }
        frame(&parts)
    }

    /// Reads a binary message: the text of a frame, which some clients send so, or (V2 only) a binary push.
    ///
    /// # Errors
    /// As [`Serializer::decode_text`]; [`FrameError::NotJson`] for every other binary message.
    pub fn decode_binary(&self, bytes: &Bytes) -> Result<Frame, FrameError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes: bytes.len() });
        }
        match bytes
            .iter()
            .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        {
            Some(b'[' | b'{') => match std::str::from_utf8(bytes) {
                Ok(text) => self.decode_text(text),
                Err(_) => Err(FrameError::Json {
                    fault: JsonFault::NotUtf8,
                    origin: None,
                }),
            },
            Some(0) if *self == Self::V2 && bytes.first() == Some(&0) => binary_push(bytes),
            Some(_) | None => Err(FrameError::NotJson),
        }
    }
}

/// Who a broken frame came from, as far as it can be told.
fn origin(parts: &Parts<'_>) -> Option<Box<Origin>> {
    let reference = parts
        .reference
        .and_then(|raw| Ref::read(raw).ok().flatten())?;
    let join_ref = parts.join_ref.and_then(|raw| Ref::read(raw).ok().flatten());
    let topic = parts
        .topic
        .and_then(|raw| text(raw, TOPIC_BYTES_MAX).ok())
        .unwrap_or_else(|| topic::PHOENIX.into());
    Some(Box::new(Origin {
        join_ref,
        reference,
        topic,
    }))
}

fn frame(parts: &Parts<'_>) -> Result<Frame, FrameError> {
    let shape = |what| FrameError::Shape {
        what,
        origin: origin(parts),
    };
    let reference = |raw: Option<&RawValue>| raw.map_or(Ok(None), Ref::read);
    let bad_ref = |_| shape("ref and join_ref are strings of at most 64 bytes, integers or null");
    let join_ref = reference(parts.join_ref).map_err(bad_ref)?;
    let reference = reference(parts.reference).map_err(bad_ref)?;
    let name = |raw: Option<&RawValue>, max, missing, control| {
        let name = raw.ok_or(BadText::NotText).and_then(|raw| text(raw, max));
        name.map_err(|bad| match bad {
            BadText::NotText => shape(missing),
            BadText::Control => FrameError::Value {
                what: control,
                origin: origin(parts),
            },
        })
    };
    let topic = name(
        parts.topic,
        TOPIC_BYTES_MAX,
        "topic is a text of at most 256 bytes",
        "topic has a control character",
    )?;
    let event = name(
        parts.event,
        EVENT_BYTES_MAX,
        "event is a text of at most 128 bytes",
        "event has a control character",
    )?;
    let payload = match parts.payload {
        None => Payload::Null,
        Some(raw) if raw.get() == "null" => Payload::Null,
        Some(raw) if raw.get().starts_with('{') => Payload::Json(raw.to_owned()),
        Some(_) => return Err(shape("payload is an object or null")),
    };
    Ok(Frame {
        join_ref,
        reference,
        topic,
        event,
        payload,
    })
}

enum BadText {
    /// Not a string, or too long.
    NotText,
    /// A string with a control character.
    Control,
}

/// A short string without control characters: topics and events reach logs, metrics and other people's screens.
fn text(raw: &RawValue, max: usize) -> Result<Box<str>, BadText> {
    let raw = raw.get();
    if !raw.starts_with('"') || raw.len() > 6 * max + 2 {
        return Err(BadText::NotText);
    }
    let text: Box<str> = serde_json::from_str(raw).map_err(|_| BadText::NotText)?;
    match text.len() <= max {
        true if text.chars().any(char::is_control) => Err(BadText::Control),
        true => Ok(text),
        false => Err(BadText::NotText),
    }
}

/// `0, |join_ref|, |ref|, |topic|, |event|`, the four texts, then the payload.
fn binary_push(bytes: &Bytes) -> Result<Frame, FrameError> {
    let [_, join_ref, reference, topic, event] =
        *bytes.first_chunk::<5>().ok_or(FrameError::NotJson)?;
    let mut at = 5;
    let mut take = |length: u8| {
        let piece = bytes
            .get(at..at + usize::from(length))
            .ok_or(FrameError::NotJson)?;
        at += piece.len();
        std::str::from_utf8(piece).map_err(|_| FrameError::NotJson)
    };
    let (join_ref, reference, topic, event) = (
        take(join_ref)?,
        take(reference)?,
        take(topic)?,
        take(event)?,
    );
    // The format cannot say null: clients write an empty text for it.
    let read = |text: &str| {
        if text.is_empty() {
            Ok(None)
        } else {
            Ref::text(text).map(Some)
        }
    };
    let bad_ref = |_| FrameError::Shape {
        what: "ref and join_ref have at most 64 bytes",
        origin: None,
    };
    let join_ref = read(join_ref).map_err(bad_ref)?;
    let reference = read(reference).map_err(bad_ref)?;
    let origin = || {
        let reference = reference.clone()?;
        Some(Box::new(Origin {
            join_ref: join_ref.clone(),
            reference,
            topic: topic.into(),
        }))
    };
    if event.len() > EVENT_BYTES_MAX {
        return Err(FrameError::Shape {
            what: "event is a text of at most 128 bytes",
            origin: origin(),
        });
    }
    if topic.chars().chain(event.chars()).any(char::is_control) {
        return Err(FrameError::Value {
            what: "topic or event has a control character",
            origin: origin(),
        });
    }
    let (topic, event) = (topic.into(), event.into());
    Ok(Frame {
        join_ref,
        reference,
        topic,
        event,
        payload: Payload::Binary(bytes.slice(at..)),
    })
}
