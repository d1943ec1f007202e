//! Who calls: the bearer token of a request, looked up by its hash. The token itself is never stored or logged.

use super::ApiState;
use super::problem::Refused;
use crate::store::records::{Role, Token};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub_proto::api::tenant::{TOKEN_PREFIX, TOKEN_SECRET_CHARS};
use hub_proto::id::OrgId;
use rand::Rng;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The authenticated caller of a request.
#[derive(Clone)]
pub struct Caller {
    /// Row of the token.
    pub token: Arc<Token>,
    /// Text of the token: seals remembered answers, see [`super::idempotency`].
    pub secret: Arc<str>,
}

impl Caller {
    /// May this caller see the org at all?
    pub fn sees(&self, org: OrgId) -> bool {
        self.token.org.is_none_or(|own| own == org)
    }

    /// Is this a token of no org, good for all of them?
    pub fn is_root(&self) -> bool {
        self.token.org.is_none()
    }

    /// Refuses roles smaller than `needs`.
    pub fn require(&self, needs: Role) -> Result<(), Refused> {
        if self.token.role >= needs {
            return Ok(());
        }
        Err(Refused::Forbidden {
            needs: match needs {
                Role::Viewer => "viewer",
                Role::Operator => "operator",
                Role::Admin => "admin",
            },
        })
    }
}

/// SHA-256 of a token's text, as the store keeps it.
pub fn token_sha256(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// A new token's text: the prefix and 32 random bytes in base64url.
pub fn mint_token() -> String {
    let mut secret = [0_u8; 32];
    rand::rng().fill_bytes(&mut secret);
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
}

/// The token of a request: exactly one `Authorization` header with the `Bearer` scheme and a well-formed token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let secret = token.strip_prefix(TOKEN_PREFIX)?;
    let well_formed = secret.len() == TOKEN_SECRET_CHARS
        && secret
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (scheme.eq_ignore_ascii_case("bearer") && well_formed).then_some(token)
}

/// Lets requests with a live token pass and tells handlers who calls. The lookup is by hash, so that its time says nothing
/// about the token.
pub async fn authenticate(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let secret: Arc<str> = bearer(request.headers())
        .ok_or(Refused::Unauthenticated)?
        .into();
    let token = state
        .store
        .token_by_hash(token_sha256(&secret), state.now())
        .await?;
    let token = Arc::new(token.ok_or(Refused::Unauthenticated)?);
    request.extensions_mut().insert(Caller { token, secret });
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|v| (AUTHORIZATION, v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_one_well_formed_bearer_token_counts() {
        let token = mint_token();
        assert_eq!(token.len(), 47);
        assert_eq!(
            bearer(&headers(&[&format!("Bearer {token}")])),
            Some(token.as_str())
        );
        assert_eq!(
            bearer(&headers(&[&format!("bearer  {token}")])),
            Some(token.as_str())
        );
        assert_eq!(bearer(&headers(&[])), None);
        assert_eq!(bearer(&headers(&[&format!("Basic {token}")])), None);
        assert_eq!(bearer(&headers(&[&format!("Bearer {token}x")])), None);
        assert_eq!(bearer(&headers(&[&token])), None);
        let good = format!("Bearer {token}");
        assert_eq!(bearer(&headers(&[&good, &good])), None);
    }
}
