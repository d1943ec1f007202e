//! Public keys that an org signs its firmware with.

use super::ApiState;
use super::orgs::OrgAt;
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::{Admin, Viewer};
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_proto::api::{Page, SigningKey, SigningKeyCreate};
use hub_proto::id::KeyId;
use serde::Deserialize;
use utoipa::IntoParams;

/// Path of a signing key.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SigningKeyAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Id of the key.
    id: KeyId,
}

/// A public key that can verify: 32 bytes that are a point of the curve, and not one of its weak points.
fn public_key(text: &str) -> Answer<[u8; 32]> {
    let wrong = |detail: &str| Refused::field("/public_key", detail);
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|_| wrong("must be base64"))?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| wrong("must be 32 bytes"))?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes)
        .map_err(|_| wrong("must be an Ed25519 public key"))?;
    if key.is_weak() {
        return Err(wrong("is a weak key: anything would verify with it"));
    }
    Ok(bytes)
}

/// Register a signing key.
#[utoipa::path(post, path = "/orgs/{org}/signing-keys", tag = "firmware", security(("bearer" = ["admin"])),
    params(OrgAt), request_body = SigningKeyCreate,
    responses((status = 201, description = "registered", body = SigningKey)))]
pub async fn create_signing_key(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    Json(new): Json<SigningKeyCreate>,
) -> Answer<(StatusCode, axum::Json<SigningKey>)> {
    let key = state
        .store
        .create_signing_key(scope.id(), &new.name, public_key(&new.public_key)?)
        .await?;
    Ok((StatusCode::CREATED, axum::Json(key.into())))
}

/// List an org's signing keys; there is one page.
#[utoipa::path(get, path = "/orgs/{org}/signing-keys", tag = "firmware", security(("bearer" = ["viewer"])),
    params(OrgAt), responses((status = 200, description = "all keys of the org", body = Page<SigningKey>)))]
pub async fn list_signing_keys(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
) -> Answer<axum::Json<Page<SigningKey>>> {
    let keys = state.store.signing_keys(scope.id()).await?;
    Ok(axum::Json(Page {
        items: keys.into_iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}

/// Remove a signing key; firmware signed with it stays.
#[utoipa::path(delete, path = "/orgs/{org}/signing-keys/{id}", tag = "firmware", security(("bearer" = ["admin"])),
    params(SigningKeyAt), responses((status = 204, description = "removed")))]
pub async fn delete_signing_key(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<SigningKeyAt>,
) -> Answer<StatusCode> {
    state.store.delete_signing_key(scope.id(), at.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_can_verify_are_taken() {
        let good = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        assert_eq!(
            public_key(&STANDARD.encode(good.as_bytes())).unwrap(),
            *good.as_bytes()
        );
        let mut weak = [0_u8; 32];
        weak[0] = 1;
        for bad in [
            String::new(),
            "!".to_owned(),
            STANDARD.encode([1; 31]),
            STANDARD.encode(weak),
        ] {
            assert!(public_key(&bad).is_err(), "{bad}");
        }
    }
}
