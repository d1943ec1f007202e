//! The device protocol as far as a simulated device needs it: second serializer, written and read without a tree.

use std::borrow::Cow;
use std::fmt::Write as _;

use hub_proto::id::CommandId;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The ref of the join of the device channel, and its join ref.
pub(crate) const DEVICE_REF: &str = "1";
/// The same of the group channel.
pub(crate) const GROUP_REF: &str = "2";
/// The ref of every heartbeat; a device waits for none of their answers.
pub(crate) const HEARTBEAT_REF: &str = "h";

/// One message of the hub: join ref, ref, topic, event, payload.
#[derive(Debug, Deserialize)]
pub(crate) struct Heard<'a>(
    #[serde(borrow)] pub(crate) Option<Cow<'a, str>>,
    #[serde(borrow)] pub(crate) Option<Cow<'a, str>>,
    #[serde(borrow)] pub(crate) Cow<'a, str>,
    #[serde(borrow)] pub(crate) Cow<'a, str>,
    #[serde(borrow)] pub(crate) &'a RawValue,
);

/// The payload of a reply.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply<'a> {
    #[serde(borrow)]
    pub(crate) status: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) response: &'a RawValue,
}

/// What every command has in its payload.
#[derive(Debug, Deserialize)]
pub(crate) struct CommandHead {
    pub(crate) id: CommandId,
}

impl<'a> Heard<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// When it is none of the second serializer's.
    pub(crate) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The payload, when this is the reply to `reference`.
    pub(crate) fn reply_to(&self, reference: &str) -> Option<Reply<'a>> {
        let mine = self.3 == "phx_reply" && self.1.as_deref() == Some(reference);
        mine.then(|| serde_json::from_str(self.4.get()).ok())
            .flatten()
    }
}

/// Joins the device channel as a device would that acknowledges commands and takes part in groups.
pub(crate) fn join_device(firmware: &str) -> String {
    let payload = serde_json::json!({
        "nerves_fw_uuid": firmware,
        "nerves_fw_version": "1.0.0",
        "nerves_fw_product": "load",
        "nerves_fw_platform": "generic",
        "nerves_fw_architecture": "generic",
        "capabilities": ["ack", "groups"],
    });
    format!("[\"{DEVICE_REF}\",\"{DEVICE_REF}\",\"device:{firmware}\",\"phx_join\",{payload}]")
}

/// Joins a group's channel.
pub(crate) fn join_group(topic: &str) -> String {
    format!("[\"{GROUP_REF}\",\"{GROUP_REF}\",\"{topic}\",\"phx_join\",{{}}]")
}

/// Says that the device lives.
pub(crate) fn heartbeat() -> String {
    format!("[null,\"{HEARTBEAT_REF}\",\"phoenix\",\"heartbeat\",{{}}]")
}

/// Acknowledges a command on the channel it came on.
pub(crate) fn ack(reference: u32, join_ref: &str, topic: &str, id: CommandId) -> String {
    let mut text = String::with_capacity(128);
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "[\"{join_ref}\",\"{reference}\",\"{topic}\",\"command_ack\",{{\"id\":\"{id}\"}}]"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_told_by_its_ref() {
        let text = r#"["1","7","device","phx_reply",{"status":"ok","response":{"groups":[]}}]"#;
        let heard = Heard::read(text).unwrap();
        assert_eq!(heard.reply_to("7").unwrap().status, "ok");
        assert!(heard.reply_to("1").is_none());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        for text in [
            join_device("x"),
            join_group("group:a:b:c"),
            heartbeat(),
            ack(9, GROUP_REF, "group:a:b:c", id),
        ] {
            Heard::read(&text).unwrap();
        }
        let text = ack(9, GROUP_REF, "t", id);
        let head: CommandHead = serde_json::from_str(Heard::read(&text).unwrap().4.get()).unwrap();
        assert_eq!(head.id, id);
    }
}
