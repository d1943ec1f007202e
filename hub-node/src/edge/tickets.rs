//! TLS session tickets that any node of a cluster can open, so that a herd of devices that comes back after a node's end resumes
//! instead of doing full handshakes.
//!
//! Rules owned here: keys are derived from the shared secret and the time, one for each `TICKET_KEY_LIFETIME`, so nodes agree
//! without talking; the key of now makes tickets, those of now, before and (clocks differ) next open them; a ticket older than the
//! last void is worth nothing. A ticket proves nothing about standing: who resumes is judged again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use hub_core::limits::TICKET_KEY_LIFETIME;
use rustls::server::ProducesTickets;

use crate::secret::ClusterSecret;

/// What stands in front of the sealed part: when the ticket was made, in microseconds since 1970.
const MADE_BYTES: usize = 8;

/// Makes and opens tickets.
#[derive(Debug)]
pub(super) struct Tickets {
    secret: ClusterSecret,
    /// No ticket from before this is opened; microseconds since 1970.
    void_before: AtomicU64,
}

impl Tickets {
    pub(super) fn new(secret: ClusterSecret) -> Arc<Self> {
        Arc::new(Self {
            secret,
            void_before: AtomicU64::new(0),
        })
    }

    /// From now on no ticket of before is opened.
    pub(super) fn void(&self) {
        self.void_before.fetch_max(now(), Ordering::AcqRel);
    }

    fn key(&self, slot: u64) -> Option<RandomizedNonceKey> {
        let key = self.secret.derive(&format!("hub tls ticket 1 {slot}"));
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
    }

    fn seal(&self, plain: &[u8], made: u64) -> Option<Vec<u8>> {
        let head = made.to_be_bytes();
        let mut sealed = plain.to_vec();
        let nonce = self
            .key(slot(made))?
            .seal_in_place_append_tag(Aad::from(head), &mut sealed)
            .ok()?;
        Some([&head[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (head, rest) = ticket.split_first_chunk::<MADE_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let made = u64::from_be_bytes(*head);
        let known = slot(made).abs_diff(slot(now)) <= 1;
        if !known || made <= self.void_before.load(Ordering::Acquire) {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::from(nonce);
        let key = self.key(slot(made))?;
        let plain = key
            .open_in_place(nonce, Aad::from(*head), &mut sealed)
            .ok()?;
        Some(plain.to_vec())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_KEY_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, now())
    }
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Which key a moment belongs to.
fn slot(micros: u64) -> u64 {
    micros / u64::try_from(TICKET_KEY_LIFETIME.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime() -> u64 {
        u64::try_from(TICKET_KEY_LIFETIME.as_micros()).unwrap()
    }

    #[test]
    fn nodes_with_one_secret_open_each_others_tickets_for_a_while() {
        let secret = ClusterSecret::random();
        let (one, two) = (Tickets::new(secret.clone()), Tickets::new(secret));
        let now = 10 * lifetime() + 5;
        let ticket = one.seal(b"session", now).unwrap();
        for later in [now, now + lifetime(), now - 6] {
            assert_eq!(two.open(&ticket, later).as_deref(), Some(&b"session"[..]));
        }
        assert_eq!(two.open(&ticket, now + 2 * lifetime()), None);
        let stranger = Tickets::new(ClusterSecret::random());
        assert_eq!(stranger.open(&ticket, now), None);
    }

    #[test]
    fn voided_and_forged_tickets_are_worth_nothing() {
        let tickets = Tickets::new(ClusterSecret::random());
        let ticket = tickets.seal(b"session", now()).unwrap();
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.decrypt(&forged), None);
            assert_eq!(tickets.decrypt(&ticket[..at]), None);
        }
        assert!(tickets.decrypt(&ticket).is_some());
        tickets.void();
        assert_eq!(tickets.decrypt(&ticket), None);
        let next = tickets.seal(b"session", now() + 1).unwrap();
        assert!(tickets.decrypt(&next).is_some());
    }
}
