//! One message to many members: everything but the member's own `join_ref` is encoded once.
//!
//! A client drops a push whose `join_ref` is not its own, so a broadcast cannot be one text for all: it is a small
//! first item for each and a tail shared by all. V1 has no `join_ref`, so there the whole text is shared.

use bytes::Bytes;

use crate::frame::{Ref, Serializer, push_json_text, write_reference};

/// A push without its receiver. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// From after the `join_ref` to the end.
    v2: Bytes,
    /// All of it.
    v1: Bytes,
}

impl Tail {
    /// Encodes a push for both serializers. `payload` is JSON text.
    #[must_use]
    pub fn new(topic: &str, event: &str, payload: &str) -> Self {
        let mut v2 = String::with_capacity(topic.len() + event.len() + payload.len() + 16);
        v2.push_str(",null,");
        push_json_text(&mut v2, topic);
        v2.push(',');
        push_json_text(&mut v2, event);
        v2.push(',');
        v2.push_str(payload);
        v2.push(']');
        let v1 = Serializer::V1.write(None, None, topic, event, payload);
        Self {
            v2: Bytes::from(v2),
            v1: Bytes::from(v1),
        }
    }

    /// The frame for one member in two parts, its own beginning and what all share; together always UTF-8. One small allocation
    /// with V2, none with V1.
    #[must_use]
    pub fn parts(&self, serializer: Serializer, join_ref: Option<&Ref>) -> (String, Bytes) {
        match serializer {
            Serializer::V1 => (String::new(), self.v1.clone()),
            Serializer::V2 => {
                let mut prefix = String::with_capacity(16);
                prefix.push('[');
                write_reference(&mut prefix, join_ref);
                (prefix, self.v2.clone())
            }
        }
    }

    /// The frame for one member; always UTF-8.
    #[must_use]
    pub fn frame(&self, serializer: Serializer, join_ref: Option<&Ref>) -> Bytes {
        let (prefix, shared) = self.parts(serializer, join_ref);
        if prefix.is_empty() {
            return shared;
        }
        Bytes::from([prefix.as_bytes(), &shared].concat())
    }

    /// Bytes of a member's frame, give or take its `join_ref`: what an outbox counts before there is a frame.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v1.len().max(self.v2.len())
    }
}
