//! Reports about a firmware update: status, percent, errors.
//!
//! Each may carry the `id` of the offer it is about, so that a late report on an older offer is not taken for news
//! about the present one. Devices that predate offers send none.

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::EventError;
use super::fields::{Fields, texts};
use crate::limits::{
    CONNECTION_TYPES_MAX, DELAY_MINUTES_MAX, ERRORS_MAX, METADATA_BYTES_MAX, REASON_BYTES_MAX,
};

/// Where an update stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpdateStatus {
    /// The device has the offer.
    Received,
    /// It began.
    Started,
    /// It downloads (from progress reports).
    Downloading,
    /// It writes (from progress reports).
    Updating,
    /// Written; the next join shows whether it took.
    Completed,
    /// The device decided against it.
    Ignored,
    /// The device puts it off.
    Rescheduled,
    /// It failed.
    Failed,
    /// Words of an older device that mean none of these.
    Other,
}

impl UpdateStatus {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Started => "started",
            Self::Downloading => "downloading",
            Self::Updating => "updating",
            Self::Completed => "completed",
            Self::Ignored => "ignored",
            Self::Rescheduled => "rescheduled",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }

    /// What a device means by a text. Devices of every age send free text here, so no text is wrong.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "received" => Self::Received,
            "started" => Self::Started,
            "downloading" => Self::Downloading,
            "updating" => Self::Updating,
            "completed" => Self::Completed,
            "ignored" => Self::Ignored,
            "rescheduled" => Self::Rescheduled,
            "failed" => Self::Failed,
            free if free.contains("error") || free.contains("fail") => Self::Failed,
            _ => Self::Other,
        }
    }
}

impl Serialize for UpdateStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// `status_update`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusUpdate {
    /// What it means.
    pub status: UpdateStatus,
    /// Why it is ignored, put off or failed; the device's own status text when `status` could not hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// Minutes until the device wants to be asked again, when it puts the update off.
    #[serde(rename = "delay_for", skip_serializing_if = "Option::is_none")]
    pub delay_minutes: Option<u32>,
    /// The network interface it downloads by.
    #[serde(
        rename = "downloader_network_interface",
        skip_serializing_if = "Option::is_none"
    )]
    pub interface: Option<Box<str>>,
    /// Id of the offer this is about.
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    pub offer: Option<Uuid>,
}

impl StatusUpdate {
    /// A status without particulars.
    #[must_use]
    pub fn new(status: UpdateStatus, offer: Option<Uuid>) -> Self {
        Self {
            status,
            reason: None,
            delay_minutes: None,
            interface: None,
            offer,
        }
    }

    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, EventError> {
        let text = fields
            .cut_text("status", REASON_BYTES_MAX)?
            .ok_or_else(|| EventError::value("status", "a text"))?;
        let status = UpdateStatus::of(&text);
        let reason = fields.loose_text("reason", REASON_BYTES_MAX);
        let free = || (status.as_str() != &*text).then(|| text.clone());
        let minutes: Option<f64> = fields.typed("delay_for", "a number").unwrap_or_default();
        Ok(Self {
            status,
            reason: reason.or_else(free),
            delay_minutes: minutes.and_then(|minutes| whole(minutes, DELAY_MINUTES_MAX)),
            interface: fields.loose_text("downloader_network_interface", METADATA_BYTES_MAX),
            offer: fields.loose_uuid("id"),
        })
    }
}

/// A count from a JSON number: fractions are dropped, more than `max` is `max`, less than 0 is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is between 0 and max here"
)]
fn whole(number: f64, max: u32) -> Option<u32> {
    (number >= 0.0).then(|| number.min(f64::from(max)) as u32)
}

/// What the device is doing with a firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Fetching it.
    Downloading,
    /// Writing it.
    Updating,
}

/// `fwup_progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Progress {
    /// Percent, 0 to 100.
    pub value: u8,
    /// Of what; devices without stages mean the whole update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Id of the offer this is about.
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    pub offer: Option<Uuid>,
}

impl Progress {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, EventError> {
        let expected = "a number from 0 to 100";
        let value: Option<f64> = fields.typed("value", expected)?;
        let value = value
            .filter(|value| (0.0..=100.0).contains(value))
            .and_then(|value| whole(value, 100));
        let value = value
            .and_then(|value| u8::try_from(value).ok())
            .ok_or_else(|| EventError::value("value", expected))?;
        let stage = match fields.loose_text("stage", METADATA_BYTES_MAX).as_deref() {
            Some("downloading") => Some(Stage::Downloading),
            Some("updating") => Some(Stage::Updating),
            Some(_) | None => None,
        };
        Ok(Self {
            value,
            stage,
            offer: fields.loose_uuid("id"),
        })
    }

    /// The status this progress stands for: with no stage, 100 is the end of the update.
    #[must_use]
    pub fn status(self) -> UpdateStatus {
        match self.stage {
            Some(Stage::Downloading) => UpdateStatus::Downloading,
            Some(Stage::Updating) => UpdateStatus::Updating,
            None if self.value == 100 => UpdateStatus::Completed,
            None => UpdateStatus::Updating,
        }
    }
}

/// `firmware_update_error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateError {
    /// What went wrong, in the device's words.
    pub errors: Vec<Box<str>>,
    /// Id of the offer this is about.
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    pub offer: Option<Uuid>,
}

impl UpdateError {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, EventError> {
        let errors = texts(fields, "errors", ERRORS_MAX, REASON_BYTES_MAX)?;
        let errors = errors.ok_or_else(|| EventError::value("errors", "an array of texts"))?;
        Ok(Self {
            errors,
            offer: fields.loose_uuid("id"),
        })
    }
}

pub(super) fn connection_types(fields: &Fields<'_>) -> Result<Vec<Box<str>>, EventError> {
    Ok(texts(fields, "values", CONNECTION_TYPES_MAX, METADATA_BYTES_MAX)?.unwrap_or_default())
}

pub(super) fn network_interface(fields: &Fields<'_>) -> Result<Vec<Box<str>>, EventError> {
    Ok(fields
        .cut_text("interface", METADATA_BYTES_MAX)?
        .into_iter()
        .collect())
}
