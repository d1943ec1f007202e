//! Phoenix Channels on top of the raw client: join, push, expect; in both framings.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{RawWs, Received};

/// Which framing the socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Objects of topic, event, payload and ref.
    V1,
    /// Arrays of join_ref, ref, topic, event and payload.
    V2,
}

impl Dialect {
    /// Writes one message; V1 has no room for the join ref.
    #[must_use]
    pub fn write(self, message: &Message) -> String {
        let Message {
            join_ref,
            reference,
            topic,
            event,
            payload,
        } = message;
        match self {
            Self::V1 => {
                json!({"topic": topic, "event": event, "payload": payload, "ref": reference})
            }
            Self::V2 => json!([join_ref, reference, topic, event, payload]),
        }
        .to_string()
    }

    /// Reads one message, strictly: exactly the keys or elements that the framing has.
    ///
    /// # Errors
    /// When it is anything else: some clients crash on one key more.
    pub fn read(self, text: &str) -> anyhow::Result<Message> {
        let value: Value = serde_json::from_str(text)?;
        let (join_ref, reference, topic, event, payload) = match (self, value) {
            (Self::V2, Value::Array(items)) => {
                let items: [Value; 5] = items
                    .try_into()
                    .map_err(|items: Vec<_>| anyhow::anyhow!("{} elements", items.len()))?;
                let [join_ref, reference, topic, event, payload] = items;
                (join_ref, reference, topic, event, payload)
            }
            (Self::V1, Value::Object(mut fields)) if fields.len() == 4 => {
                let mut field = |name| fields.remove(name).with_context(|| format!("no {name}"));
                let (reference, topic) = (field("ref")?, field("topic")?);
                (
                    Value::Null,
                    reference,
                    topic,
                    field("event")?,
                    field("payload")?,
                )
            }
            (_, other) => bail!("not a {self:?} message: {other}"),
        };
        let (Value::String(topic), Value::String(event)) = (topic, event) else {
            bail!("topic and event must be strings: {text}");
        };
        Ok(Message {
            join_ref,
            reference,
            topic,
            event,
            payload,
        })
    }
}

/// One channel message, refs with the JSON type they have on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The ref of the join it belongs to; always null in V1.
    pub join_ref: Value,
    /// Its own ref; null on pushes of the hub.
    pub reference: Value,
    /// The topic.
    pub topic: String,
    /// The event.
    pub event: String,
    /// The payload.
    pub payload: Value,
}

impl Message {
    /// The `status` of a reply.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.payload.get("status")?.as_str()
    }

    /// The `response` of a reply; null when there is none.
    #[must_use]
    pub fn response(&self) -> &Value {
        &self.payload["response"]
    }
}

impl RawWs {
    /// Sends one message as it is.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, message: &Message) -> anyhow::Result<()> {
        let text = self.dialect.write(message);
        self.send_text(&text).await
    }

    /// Joins a topic and waits for the reply, ok or error.
    ///
    /// # Errors
    /// When no reply comes within the time.
    pub async fn join(
        &mut self,
        topic: &str,
        payload: Value,
        within: Duration,
    ) -> anyhow::Result<Message> {
        let reference = Value::String(self.fresh_ref());
        self.send(&Message {
            join_ref: reference.clone(),
            reference: reference.clone(),
            topic: topic.to_owned(),
            event: "phx_join".to_owned(),
            payload,
        })
        .await?;
        self.expect_reply(topic, &reference, within).await
    }

    /// Pushes an event under a join ref and gives the ref it went with.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn push(
        &mut self,
        join_ref: &Value,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> anyhow::Result<Value> {
        let reference = Value::String(self.fresh_ref());
        self.send(&Message {
            join_ref: join_ref.clone(),
            reference: reference.clone(),
            topic: topic.to_owned(),
            event: event.to_owned(),
            payload,
        })
        .await?;
        Ok(reference)
    }

    /// Waits for the reply to this ref on this topic.
    ///
    /// # Errors
    /// When none comes within the time.
    pub async fn expect_reply(
        &mut self,
        topic: &str,
        reference: &Value,
        within: Duration,
    ) -> anyhow::Result<Message> {
        let what = format!("the reply to {reference} on {topic}");
        self.take_message(&what, within, |message| {
            message.event == "phx_reply"
                && message.topic == topic
                && message.reference == *reference
        })
        .await
    }

    /// Waits for a push of the hub with this event, on any topic; other messages stay untaken.
    ///
    /// # Errors
    /// When none comes within the time.
    pub async fn expect_push(&mut self, event: &str, within: Duration) -> anyhow::Result<Message> {
        let what = format!("a push of {event}");
        self.take_message(&what, within, |message| message.event == event)
            .await
    }

    /// Sends a heartbeat and gives every untaken message that came before its reply.
    ///
    /// A hub answers in order, so what it had to say before is in there: the way to see that something did
    /// *not* come, without waiting for nothing.
    ///
    /// # Errors
    /// When the heartbeat is not answered within the time.
    pub async fn before_heartbeat(&mut self, within: Duration) -> anyhow::Result<Vec<Message>> {
        let beat = self
            .push(&Value::Null, "phoenix", "heartbeat", json!({}))
            .await?;
        self.expect_reply("phoenix", &beat, within).await?;
        let dialect = self.dialect;
        let mut before = Vec::new();
        for (received, taken) in self.record.iter().zip(&mut self.taken) {
            if let (Received::Text(text), false) = (received, *taken) {
                before.push(dialect.read(text)?);
                *taken = true;
            }
        }
        Ok(before)
    }

    async fn take_message(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Message) -> bool,
    ) -> anyhow::Result<Message> {
        let dialect = self.dialect;
        let (_, message) = self
            .take(what, within, |received| {
                let Received::Text(text) = received else {
                    return None;
                };
                match dialect.read(text) {
                    Ok(message) => wanted(&message).then_some(Ok(message)),
                    // A message that breaks the framing is a finding whoever was waited for.
                    Err(error) => Some(Err(error.context(format!("from the hub: {text}")))),
                }
            })
            .await?;
        message
    }

    fn fresh_ref(&mut self) -> String {
        let reference = self.next_ref.to_string();
        self.next_ref += 1;
        reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_framings_read_what_they_wrote() {
        let mut message = Message {
            join_ref: json!("1"),
            reference: json!(2),
            topic: "device".to_owned(),
            event: "e".to_owned(),
            payload: json!({"k": null}),
        };
        let text = Dialect::V2.write(&message);
        assert_eq!(Dialect::V2.read(&text).unwrap(), message);
        let text = Dialect::V1.write(&message);
        message.join_ref = Value::Null;
        assert_eq!(Dialect::V1.read(&text).unwrap(), message);
    }

    #[test]
    fn one_key_more_is_refused() {
        let text = r#"{"topic":"t","event":"e","payload":{},"ref":null,"join_ref":null}"#;
        assert!(Dialect::V1.read(text).is_err());
        assert!(Dialect::V2.read("[null,null,\"t\",\"e\",{},0]").is_err());
    }
}
