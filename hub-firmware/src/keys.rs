//! Ed25519 keys in fwup's text forms: 44 characters of base64 for a public key, 88 for a private one.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, VerifyingKey};

use crate::limits::SIGNATURE_BYTES;

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Wrong alphabet, padding or length of a public key.
    #[error(
        "a public key is 44 characters of base64; paste the content of the .pub file that fwup --gen-keys wrote"
    )]
    NotPublic,
    /// Wrong alphabet, padding or length of a private key.
    #[error(
        "a private key is 88 characters of base64; paste the content of the .priv file that fwup --gen-keys wrote"
    )]
    NotPrivate,
    /// Not a point of the curve, or one for which anybody can sign.
    #[error("these 32 bytes are not a usable Ed25519 public key; generate a new key pair")]
    Weak,
    /// The two halves of a private key do not belong together.
    #[error("the private key contradicts itself; generate a new key pair")]
    Torn,
}

/// A key that verifies firmware. Weak keys cannot be constructed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Takes the 32 raw bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Weak)?;
        if key.is_weak() {
            Err(KeyError::Weak)
        } else {
            Ok(Self(key))
        }
    }

    /// The 32 raw bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// True when `signature` is this key's over exactly `message`. Malleable signatures do not count.
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.0
            .verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature))
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.to_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&decode::<32>(text).ok_or(KeyError::NotPublic)?)
    }
}

/// A key that signs firmware. Its bytes never show in `Debug`, and are wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Makes a new key from the operating system's randomness.
    pub fn generate() -> Self {
        let mut seed = [0; 32];
        rand::fill(&mut seed);
        Self::from_seed(&seed)
    }

    /// The key of a 32-byte seed; the same seed gives the same key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }

    /// The private text form, for a key file that only its owner may read.
    pub fn to_secret_text(&self) -> String {
        STANDARD.encode(self.0.to_keypair_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public_key())
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let pair = decode::<64>(text).ok_or(KeyError::NotPrivate)?;
        ed25519_dalek::SigningKey::from_keypair_bytes(&pair)
            .map(Self)
            .map_err(|_| KeyError::Torn)
    }
}

/// Base64 of exactly `N` bytes; space around it, as a file's last newline, is no error.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.trim();
    // Checked before decoding, so that a huge text is not decoded at all.
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_text_forms() {
        let key = SigningKey::generate();
        let (secret, public) = (key.to_secret_text(), key.public_key().to_string());
        assert_eq!((secret.len(), public.len()), (88, 44));
        let again: SigningKey = format!("{secret}\n").parse().unwrap();
        assert_eq!(again.public_key(), public.parse().unwrap());
        assert!(key.public_key().verifies(b"text", &again.sign(b"text")));
        assert!(!key.public_key().verifies(b"other", &again.sign(b"text")));
        assert!(!format!("{key:?}").contains(&secret[..20]));
    }

    #[test]
    fn texts_that_are_no_keys_are_refused() {
        let (one, two) = (SigningKey::generate(), SigningKey::generate());
        for text in [
            "",
            "x",
            &one.to_secret_text(),
            &"A".repeat(1000),
            &"!".repeat(44),
        ] {
            assert_eq!(
                text.parse::<PublicKey>().unwrap_err(),
                KeyError::NotPublic,
                "{text}"
            );
        }
        // All zero bytes are a point of small order: everybody can sign for it.
        assert_eq!(PublicKey::from_bytes(&[0; 32]).unwrap_err(), KeyError::Weak);
        assert_eq!(
            one.public_key()
                .to_string()
                .parse::<SigningKey>()
                .unwrap_err(),
            KeyError::NotPrivate
        );
        let mut pair = [0; 64];
        pair[..32].copy_from_slice(one.0.as_bytes());
        pair[32..].copy_from_slice(&two.public_key().to_bytes());
        assert_eq!(
            STANDARD.encode(pair).parse::<SigningKey>().unwrap_err(),
            KeyError::Torn
        );
    }
}
