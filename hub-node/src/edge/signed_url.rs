//! Signed links to firmware: who may fetch what, and until when, provable without a session or a certificate.
//!
//! Owns the format `/firmware/<uuid>?org=<id>&device=<id>&expires=<unix seconds>&sig=<base64url>`. The signature is
//! HMAC-SHA256 over all of it. The same device may use its link again until it expires, because downloads resume.
//! Nodes that serve each other's links share the cluster's secret, of which it is made.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use hub_core::limits::{DOWNLOAD_CLOCK_SKEW_MAX, DOWNLOAD_URL_TTL};
use hub_proto::id::{DeviceId, OrgId};
use sha2::Sha256;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// Path that links start with.
const PREFIX: &str = "/firmware/";
/// Stands in front of what is signed, so that the secret's signatures mean nothing elsewhere.
const PURPOSE: &str = "hub firmware link 1";
const SECRET_BYTES: usize = 32;

/// The node's key for links. Never shown.
#[derive(Clone)]
pub(crate) struct SigningSecret([u8; SECRET_BYTES]);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file holds something else.
    #[error(
        "the secret in the state directory is not {SECRET_BYTES} bytes; delete it, and open links end"
    )]
    Damaged,
    /// Others may read it.
    #[error("the secret in the state directory can be read by others; run chmod 600 on it")]
    Exposed,
    /// The file cannot be read or written.
    #[error("the secret in the state directory cannot be used")]
    Storage(#[from] io::Error),
}

impl SigningSecret {
    /// A secret that is known: the one derived from the cluster's.
    pub(crate) fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads the secret from `path`, or makes one there that only the hub's user may read. Blocks.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        match Self::load(path) {
            Err(SecretError::Storage(error)) if error.kind() == ErrorKind::NotFound => {
                Self::create(path)
            }
            other => other,
        }
    }

    fn load(path: &Path) -> Result<Self, SecretError> {
        let file = fs::File::open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(SecretError::Exposed);
        }
        let mut bytes = Vec::with_capacity(SECRET_BYTES + 1);
        file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        bytes.try_into().map(Self).map_err(|_| SecretError::Damaged)
    }

    fn create(path: &Path) -> Result<Self, SecretError> {
        let secret = Self(rand::random());
        // Written aside and renamed: a crash leaves a whole secret or none.
        let draft = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(&secret.0)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        Ok(secret)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// What a link allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Org that owns the firmware.
    pub(crate) org: OrgId,
    /// Device that may fetch it.
    pub(crate) device: DeviceId,
    /// The firmware.
    pub(crate) uuid: Uuid,
}

/// Why a link is not honoured. The client learns no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    /// Not a link to firmware at all.
    #[error("no such page")]
    NotALink,
    /// A part is missing, doubled or malformed, or the signature is not ours.
    #[error("the link is not valid")]
    Forged,
    /// Its time is over.
    #[error("the link has expired")]
    Expired,
}

/// Makes and checks links.
#[derive(Clone, Debug)]
pub(crate) struct LinkSigner {
    secret: SigningSecret,
    base: String,
}

impl LinkSigner {
    /// `base` is what devices reach this hub's device port by, e.g. `https://hub.example:4433`.
    pub(crate) fn new(secret: SigningSecret, base: &str) -> Self {
        Self {
            secret,
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// A link that is good from `now` for [`DOWNLOAD_URL_TTL`].
    pub(crate) fn sign(&self, grant: &Grant, now: SystemTime) -> String {
        let expires = unix(now).saturating_add(DOWNLOAD_URL_TTL.as_secs());
        let signature = URL_SAFE_NO_PAD.encode(self.mac(grant, expires).finalize().into_bytes());
        let Grant { org, device, uuid } = grant;
        format!(
            "{}{PREFIX}{uuid}?org={}&device={}&expires={expires}&sig={signature}",
            self.base, org.0, device.0
        )
    }

    /// What the link with this path and query allows at `now`.
    pub(crate) fn check(
        &self,
        path: &str,
        query: Option<&str>,
        now: SystemTime,
    ) -> Result<Grant, LinkError> {
        let name = path.strip_prefix(PREFIX).ok_or(LinkError::NotALink)?;
        let uuid = Uuid::try_parse(name).map_err(|_| LinkError::NotALink)?;
        let query = query.unwrap_or_default();
        let number = |key| one(query, key)?.parse::<i64>().ok();
        let (org, device) = (
            number("org").ok_or(LinkError::Forged)?,
            number("device").ok_or(LinkError::Forged)?,
        );
        let expires: u64 = one(query, "expires")
            .and_then(|text| text.parse().ok())
            .ok_or(LinkError::Forged)?;
        let signature = one(query, "sig")
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or(LinkError::Forged)?;
        let grant = Grant {
            org: OrgId(org),
            device: DeviceId(device),
            uuid,
        };
        // Compares in constant time. Before the clock is asked, so that a forger learns nothing from the answer.
        self.mac(&grant, expires)
            .verify_slice(&signature)
            .map_err(|_| LinkError::Forged)?;
        let now = unix(now);
        let latest = now.saturating_add((DOWNLOAD_URL_TTL + DOWNLOAD_CLOCK_SKEW_MAX).as_secs());
        if expires <= now || expires > latest {
            Err(LinkError::Expired)
        } else {
            Ok(grant)
        }
    }

    /// Fixed order and separators that occur in no part: no two grants sign the same text.
    fn mac(&self, grant: &Grant, expires: u64) -> Hmac<Sha256> {
        let Grant { org, device, uuid } = grant;
        let text = format!("{PURPOSE}\n{}\n{}\n{uuid}\n{expires}", org.0, device.0);
        // Any length is a valid HMAC key, and this one is 32 bytes.
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.secret.0)
            .expect("HMAC takes keys of any length");
        mac.chain_update(text)
    }
}

/// The value of a key that must come exactly once. Values of links need no decoding.
fn one<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}
