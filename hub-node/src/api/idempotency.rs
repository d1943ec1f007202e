//! `Idempotency-Key`: a creating call that is repeated has its effect once and gets the same answer.
//!
//! A key belongs to the caller's org. The first call with it claims it in the store with an id of the call (commands take this id as
//! their own, so that even a call repeated after a crash, or on two nodes at once, is one command). A success is remembered for a day;
//! a refusal changed nothing and is not. On one node, calls with the same key go one after the other.
//!
//! Answers may hold a secret (a new token), and secrets are not stored in clear: a remembered answer is sealed with a key derived from
//! the caller's own token, which only the caller has.

use super::ApiState;
use super::auth::Caller;
use super::problem::Refused;
use super::read::whole_body;
use crate::store::records::IdempotentAnswer;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hub_core::limits::{API_ANSWER_BYTES_MAX, IDEMPOTENCY_KEY_CHARS_MAX};
use hub_proto::id::OrgId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// Header of a call that may be repeated.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Header of an answer that was given before.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";

/// Id of this call, the same for every repetition under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(pub Uuid);

type Scope = (Option<OrgId>, String);

/// Calls with an idempotency key that are being carried out on this node. Holds at most one entry per running call.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<HashMap<Scope, Arc<tokio::sync::Mutex<()>>>>>);

/// The right to carry out calls of one key.
struct Flight {
    all: Flights,
    scope: Scope,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    async fn enter(&self, scope: Scope, wait_max: Duration) -> Result<Flight, Refused> {
        let lock = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(scope.clone()).or_default())
        };
        // Made before the wait, so that a caller who gives up leaves nothing behind.
        let mut flight = Flight {
            all: self.clone(),
            scope,
            guard: None,
        };
        match tokio::time::timeout(wait_max, lock.lock_owned()).await {
            Ok(guard) => {
                flight.guard = Some(guard);
                Ok(flight)
            }
            Err(_) => Err(Refused::Conflict {
                code: "idempotency_in_progress",
                detail: "another call with this idempotency key is being carried out".to_owned(),
            }),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.guard = None;
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all
            .get(&self.scope)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            all.remove(&self.scope);
        }
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|text| {
        values.next().is_none()
            && (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|b| (b' '..=b'~').contains(&b))
    });
    text.map(|text| Some(text.to_owned()))
        .ok_or_else(|| Refused::BadRequest {
            code: "bad_idempotency_key",
            detail: format!(
                "an idempotency key is 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable characters, once"
            ),
        })
}

/// What makes two calls the same: the caller's token, the method, the path and the body.
fn digest_of(caller: &Caller, method: &Method, path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(caller.token.id.0.to_be_bytes());
    for part in [method.as_str().as_bytes(), path.as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn sealing_key(caller: &Caller) -> Option<RandomizedNonceKey> {
    let mut hash = Sha256::new();
    hash.update(b"hub remembered answer\0");
    hash.update(caller.secret.as_bytes());
    let key: [u8; 32] = hash.finalize().into();
    RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
}

fn seal(caller: &Caller, digest: &[u8; 32], body: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = body.to_vec();
    let nonce = sealing_key(caller)?
        .seal_in_place_append_tag(Aad::from(digest), &mut sealed)
        .ok()?;
    let mut stored = nonce.as_ref().to_vec();
    stored.append(&mut sealed);
    Some(stored)
}

fn unseal(caller: &Caller, digest: &[u8; 32], stored: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = stored.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let body = sealing_key(caller)?
        .open_in_place(nonce, Aad::from(digest), &mut sealed)
        .ok()?;
    Some(body.to_vec())
}

fn replayed(
    caller: &Caller,
    digest: [u8; 32],
    answer: &IdempotentAnswer,
) -> Result<Response, Refused> {
    if answer.request_sha256 != digest {
        return Err(reused());
    }
    let body = unseal(caller, &digest, &answer.body).ok_or_else(reused)?;
    let status = StatusCode::from_u16(answer.status).map_err(|_| Refused::Internal)?;
    let mut response = if body.is_empty() {
        status.into_response()
    } else {
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    };
    response
        .headers_mut()
        .insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn reused() -> Refused {
    Refused::Conflict {
        code: "idempotency_key_reused",
        detail: "this idempotency key was used for a different call".to_owned(),
    }
}

/// Middleware over all calls with small bodies: gives every call its [`CallId`] and obeys `Idempotency-Key` on POST.
pub async fn replay(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let key = if request.method() == Method::POST {
        key_of(request.headers())?
    } else {
        None
    };
    let Some(key) = key else {
        request.extensions_mut().insert(CallId(Uuid::now_v7()));
        return Ok(next.run(request).await);
    };
    let caller = request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or(Refused::Unauthenticated)?;
    let (mut parts, body) = request.into_parts();
    let body = whole_body(body).await?;
    let digest = digest_of(&caller, &parts.method, parts.uri.path(), &body);
    let scope = (caller.token.org, key);
    let _flight = state
        .flights
        .enter(scope.clone(), state.limits.idempotency_wait_max)
        .await?;

    let (org, answer_key, claim_key) = (
        scope.0,
        format!("answer:{}", scope.1),
        format!("claim:{}", scope.1),
    );
    if let Some(answer) = state
        .store
        .idempotent_answer(org, &answer_key, state.now())
        .await?
    {
        return replayed(&caller, digest, &answer);
    }
    parts
        .extensions
        .insert(claim(&state, org, &claim_key, digest).await?);
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if response.status() == StatusCode::CONFLICT {
        // Another node may have carried out this very call meanwhile.
        if let Some(answer) = state
            .store
            .idempotent_answer(org, &answer_key, state.now())
            .await?
        {
            return replayed(&caller, digest, &answer);
        }
    }
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, API_ANSWER_BYTES_MAX)
        .await
        .map_err(|_| Refused::Internal)?;
    remember(
        &state,
        &caller,
        org,
        &answer_key,
        digest,
        parts.status,
        &body,
    )
    .await;
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Claims a key for this call and gives its call id: a new one, or that of the call that claimed it before.
async fn claim(
    state: &ApiState,
    org: Option<OrgId>,
    key: &str,
    digest: [u8; 32],
) -> Result<CallId, Refused> {
    let own = IdempotentAnswer {
        request_sha256: digest,
        status: StatusCode::ACCEPTED.as_u16(),
        body: Uuid::now_v7().as_bytes().to_vec(),
    };
    let first = state
        .store
        .remember_answer(org, key, own, state.now())
        .await?;
    if first.request_sha256 != digest {
        return Err(reused());
    }
    Uuid::from_slice(&first.body)
        .map(CallId)
        .map_err(|_| Refused::Internal)
}

/// Keeps an answer for repetitions. The call is done whether or not this works.
async fn remember(
    state: &ApiState,
    caller: &Caller,
    org: Option<OrgId>,
    key: &str,
    digest: [u8; 32],
    status: StatusCode,
    body: &Bytes,
) {
    let Some(body) = seal(caller, &digest, body) else {
        tracing::error!("an answer could not be sealed");
        return;
    };
    let answer = IdempotentAnswer {
        request_sha256: digest,
        status: status.as_u16(),
        body,
    };
    if let Err(error) = state
        .store
        .remember_answer(org, key, answer, state.now())
        .await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "an answer could not be remembered"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::{Role, Token};
    use hub_proto::id::TokenId;
    use hub_proto::time::Timestamp;

    fn caller(secret: &str) -> Caller {
        let token = Token {
            id: TokenId(1),
            org: Some(OrgId(1)),
            role: Role::Admin,
            name: "ci".parse().unwrap(),
            created_at: Timestamp::from_unix_micros(0),
            expires_at: None,
        };
        Caller {
            token: Arc::new(token),
            secret: secret.into(),
        }
    }

    #[test]
    fn a_remembered_answer_opens_for_its_caller_and_call_only() {
        let (own, other) = (caller("hub_a"), caller("hub_b"));
        let sealed = seal(&own, &[1; 32], b"{\"token\":\"secret\"}").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(
            unseal(&own, &[1; 32], &sealed).as_deref(),
            Some(&b"{\"token\":\"secret\"}"[..])
        );
        assert_eq!(unseal(&own, &[2; 32], &sealed), None);
        assert_eq!(unseal(&other, &[1; 32], &sealed), None);
        assert_eq!(unseal(&own, &[1; 32], &sealed[..5]), None);
    }

    #[test]
    fn keys_are_printable_and_bounded() {
        let of = |text: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(text).unwrap());
            key_of(&headers)
        };
        assert_eq!(of(b"a b~").unwrap().as_deref(), Some("a b~"));
        assert!(of(&[b'k'; 255]).is_ok());
        for bad in [&b""[..], &[b'k'; 256], "ключ".as_bytes(), b"tab\t"] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        assert_eq!(key_of(&HeaderMap::new()).unwrap(), None);
    }

    #[tokio::test]
    async fn a_flight_ends_without_a_trace() {
        let flights = Flights::default();
        let scope = (Some(OrgId(1)), "k".to_owned());
        let first = flights
            .enter(scope.clone(), Duration::from_secs(1))
            .await
            .ok()
            .unwrap();
        assert!(
            flights
                .enter(scope.clone(), Duration::from_millis(1))
                .await
                .is_err()
        );
        drop(first);
        assert!(flights.enter(scope, Duration::from_secs(1)).await.is_ok());
        assert!(flights.0.lock().unwrap().is_empty());
    }
}
