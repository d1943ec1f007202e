//! One API with its store, and a caller that checks every answer against the served document.

use crate::api::{ApiLimits, ApiState, router};
use crate::blobs::Blobs;
use crate::bus::local::LocalBus;
use crate::bus::{Arrival, Bus, Inbound};
use crate::store::records::{NewToken, Role};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, TenantStore};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use hub_proto::cluster::Hint;
use hub_proto::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::mpsc::Receiver;
use tower::ServiceExt;

/// Status, headers and body of an answer.
type Shown = (StatusCode, Vec<(String, Vec<u8>)>, Vec<u8>);

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) raw: Vec<u8>,
    pub(super) body: Value,
}

impl Reply {
    pub(super) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// What a caller can tell two answers apart by, besides the request's own id.
    pub(super) fn shown(&self) -> Shown {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-request-id")
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        headers.sort();
        (self.status, headers, self.raw.clone())
    }
}

/// The API, its store, its bus, and the document it serves.
pub(super) struct Hub {
    pub(super) router: Router,
    pub(super) store: SqliteStore,
    pub(super) root: String,
    pub(super) document: Value,
    pub(super) hints: Mutex<Receiver<Arrival>>,
    /// Operations that answered 2xx so far.
    pub(super) succeeded: Mutex<BTreeSet<String>>,
    pub(super) now: Arc<AtomicI64>,
    _dir: tempfile::TempDir,
}

impl Hub {
    pub(super) async fn start() -> Self {
        Self::start_with(ApiLimits::default()).await
    }

    pub(super) async fn start_with(limits: ApiLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("hub.db")).await.unwrap();
        let start = Timestamp::from(SystemTime::now());
        let now = Arc::new(AtomicI64::new(start.as_micros()));
        let clock = Arc::clone(&now);
        let bus = Arc::new(LocalBus::new(Arc::default()));
        let hints = Mutex::new(bus.subscribe().unwrap());
        let root = crate::api::auth::mint_token();
        let token = NewToken {
            org: None,
            role: Role::Admin,
            name: "root".parse().unwrap(),
            sha256: crate::api::auth::token_sha256(&root),
            expires_at: None,
            now: start,
        };
        store.create_token(token).await.unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let clock = Arc::new(move || Timestamp::from_unix_micros(clock.load(Ordering::Relaxed)));
        let blobs = Blobs::open_dir(dir.path()).unwrap();
        let router = router(ApiState::new(
            shared,
            bus,
            blobs,
            clock,
            limits,
            Arc::default(),
        ));
        let mut hub = Self {
            router,
            store,
            root,
            document: Value::Null,
            hints,
            succeeded: Mutex::default(),
            now,
            _dir: dir,
        };
        let served = hub
            .raw(
                Request::get("/api/v1/openapi.json")
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!(served.status, StatusCode::OK);
        assert!(served.body["openapi"].as_str().unwrap().starts_with("3.1."));
        hub.document = served.body;
        hub
    }

    /// Sends a request as it is, without looking it up in the document.
    pub(super) async fn raw(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let raw = axum::body::to_bytes(body, 16 << 20).await.unwrap().to_vec();
        let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        for name in ["x-request-id", "x-content-type-options", "cache-control"] {
            assert!(parts.headers.contains_key(name), "{name} is missing");
        }
        if !parts.status.is_success() {
            assert_eq!(
                parts.headers["content-type"], "application/problem+json",
                "{:?}",
                parts.status
            );
            assert_eq!(body["status"], parts.status.as_u16());
            assert_eq!(
                body["type"],
                format!("urn:hub:problem:{}", body["code"].as_str().unwrap())
            );
        }
        Reply {
            status: parts.status,
            headers: parts.headers,
            raw,
            body,
        }
    }

    /// Calls `path` below `/api/v1`, and checks the answer against the operation's schema.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Reply {
        self.call_with(method, path, token, body, &[]).await
    }

    pub(super) async fn call_with(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let reply = self.raw(request.unwrap()).await;
        self.check(method, path, &reply);
        reply
    }

    /// A call that must succeed; gives the body.
    pub(super) async fn ok(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Value {
        let reply = self.call(method, path, token, body.as_ref()).await;
        assert!(
            reply.status.is_success(),
            "{method} {path}: {} {}",
            reply.status,
            reply.body
        );
        reply.body
    }

    /// A call as root that must succeed.
    pub(super) async fn root(&self, method: &str, path: &str, body: Value) -> Value {
        self.ok(method, path, &self.root, (!body.is_null()).then_some(body))
            .await
    }

    /// All operations of the document: method, path template, operation.
    pub(super) fn operations(&self) -> Vec<(String, String, Value)> {
        let mut all = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let path = path.strip_prefix("/api/v1").unwrap().to_owned();
                all.push((method.to_uppercase(), path, operation.clone()));
            }
        }
        all
    }

    pub(super) fn check(&self, method: &str, path: &str, reply: &Reply) {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (a, b): (Vec<_>, Vec<_>) =
                (template.split('/').collect(), path.split('/').collect());
            a.len() == b.len() && a.iter().zip(&b).all(|(t, p)| t.starts_with('{') || t == p)
        };
        let Some((_, _, operation)) = self
            .operations()
            .into_iter()
            .find(|(m, t, _)| m == method && fits(t))
        else {
            return;
        };
        let id = operation["operationId"].as_str().unwrap().to_owned();
        let responses = &operation["responses"];
        let status = reply.status.as_u16().to_string();
        let described = responses.get(&status).unwrap_or_else(|| {
            assert!(
                !reply.status.is_success(),
                "{id} answers {status}, which the document does not have"
            );
            &responses["default"]
        });
        let Some(content) = described.get("content") else {
            assert!(
                reply.raw.is_empty(),
                "{id} answers a body that the document does not have"
            );
            self.succeeded.lock().unwrap().insert(id);
            return;
        };
        let media = reply.headers["content-type"].to_str().unwrap();
        let schema = &content
            .get(media)
            .unwrap_or_else(|| panic!("{id}: {media} is not in the document"))["schema"];
        let whole = json!({ "allOf": [schema], "components": self.document["components"] });
        let validator = jsonschema::validator_for(&whole).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&reply.body)
            .map(|error| error.to_string())
            .collect();
        assert!(
            errors.is_empty(),
            "{id} {status}: {errors:?} in {}",
            reply.body
        );
        if reply.status.is_success() {
            self.succeeded.lock().unwrap().insert(id);
        }
    }

    /// Hints published so far.
    pub(super) fn published(&self) -> Vec<Hint> {
        let mut hints = self.hints.lock().unwrap();
        std::iter::from_fn(|| hints.try_recv().ok())
            .filter_map(|arrival| match arrival.said {
                Inbound::Hint(hint) => Some(hint),
                Inbound::Notice(_) => None,
            })
            .collect()
    }
}
