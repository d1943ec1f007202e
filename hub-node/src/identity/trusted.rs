//! Identities whose sockets ended a short while ago, for when the database is away: their holders may connect again, and wait
//! for it with a socket instead of knocking all the time.
//!
//! Rules owned here: any news of a device or its org forgets it; nobody is trusted longer than `TRUST_MAX` after the socket
//! ended. A join needs the database anyway, so nobody gets a channel by this.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hub_core::limits::{TRUST_MAX, TRUSTED_MAX};
use hub_proto::id::{DeviceId, OrgId};

use crate::store::records::Identity;

/// Known good identities.
#[derive(Debug, Default)]
pub(super) struct Trusted(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_certificate: HashMap<[u8; 32], (Instant, Arc<Identity>)>,
    by_device: HashMap<DeviceId, [u8; 32]>,
}

impl Trusted {
    /// Remembers whose socket ended. When there are too many, nobody new is.
    pub(super) fn remember(&self, identity: Arc<Identity>, now: Instant) {
        let mut inner = self.lock();
        if inner.by_certificate.len() >= TRUSTED_MAX {
            inner.retain(|at, _| now.saturating_duration_since(at) < TRUST_MAX);
        }
        if inner.by_certificate.len() < TRUSTED_MAX {
            let certificate = identity.certificate;
            if let Some(old) = inner.by_device.insert(identity.device, certificate) {
                inner.by_certificate.remove(&old);
            }
            inner.by_certificate.insert(certificate, (now, identity));
        }
    }

    /// Forgets a device.
    pub(super) fn forget_device(&self, device: DeviceId) {
        let mut inner = self.lock();
        if let Some(certificate) = inner.by_device.remove(&device) {
            inner.by_certificate.remove(&certificate);
        }
    }

    /// Forgets the devices of an org.
    pub(super) fn forget_org(&self, org: OrgId) {
        self.lock().retain(|_, identity| identity.org != org);
    }

    /// What was known of a certificate when its socket ended.
    pub(super) fn of(&self, certificate: &[u8; 32], now: Instant) -> Option<Arc<Identity>> {
        let inner = self.lock();
        let (at, identity) = inner.by_certificate.get(certificate)?;
        (now.saturating_duration_since(*at) < TRUST_MAX).then(|| identity.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst a device that is not trusted.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn retain(&mut self, keep: impl Fn(Instant, &Identity) -> bool) {
        self.by_certificate
            .retain(|_, (at, identity)| keep(*at, identity));
        let kept = &self.by_certificate;
        self.by_device
            .retain(|_, certificate| kept.contains_key(certificate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(device: i64, org: i64) -> Arc<Identity> {
        let mut certificate = [0; 32];
        certificate[..8].copy_from_slice(&device.to_be_bytes());
        Arc::new(Identity {
            org: OrgId(org),
            org_name: "acme".parse().unwrap(),
            product: hub_proto::id::ProductId(1),
            product_name: "sensor".parse().unwrap(),
            device: DeviceId(device),
            device_name: "d".parse().unwrap(),
            certificate,
            authority: None,
            refusal: None,
            not_before: hub_proto::time::Timestamp(0),
            not_after: hub_proto::time::Timestamp(0),
        })
    }

    #[test]
    fn news_and_age_end_trust() {
        let (trusted, now) = (Trusted::default(), Instant::now());
        for (device, org) in [(1, 1), (2, 1), (3, 2)] {
            trusted.remember(identity(device, org), now);
        }
        let knows = |device| trusted.of(&identity(device, 0).certificate, now).is_some();
        assert!(knows(1) && knows(2) && knows(3));
        trusted.forget_device(DeviceId(1));
        assert!(!knows(1) && knows(2));
        trusted.forget_org(OrgId(1));
        assert!(!knows(2) && knows(3));
        let late = now + TRUST_MAX;
        assert!(trusted.of(&identity(3, 0).certificate, late).is_none());
    }

    #[test]
    fn it_never_grows_past_its_bound() {
        let (trusted, now) = (Trusted::default(), Instant::now());
        for device in 0..=i64::try_from(TRUSTED_MAX).unwrap() {
            trusted.remember(identity(device, 1), now);
        }
        let inner = trusted.lock();
        assert_eq!(inner.by_certificate.len(), TRUSTED_MAX);
        assert_eq!(inner.by_device.len(), TRUSTED_MAX);
    }
}
