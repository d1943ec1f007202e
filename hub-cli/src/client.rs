//! The client itself: how a call is sent, repeated and understood. The routes are in the files below.

mod fleet;
mod tenant;
mod trust;
pub mod upload;

use crate::error::ClientError;
use crate::limits::{ANSWER_BYTES_MAX, CALL_MAX, CONNECT_MAX, PAUSE_MAX, PAUSE_MIN, TRIES_MAX};
use hub_proto::api::Problem;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use uuid::Uuid;

/// Where the hub is and who calls.
#[derive(Clone)]
pub struct ClientOptions {
    /// `http://` or `https://`, host and port of the hub's API.
    pub url: String,
    /// An access token.
    pub token: String,
    /// Certificates (PEM) that vouch for the hub instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A client of one hub. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    bearer: HeaderValue,
}

/// Which page of a list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PageOf {
    /// Items per page, 1 to 1,000; the hub's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Client {
    /// A client with these options. Connects at the first call.
    ///
    /// # Errors
    /// [`ClientError::Setup`] when the address, the token or the certificates are not usable.
    pub fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let setup = |what: &str| ClientError::Setup(what.to_owned());
        let base = options.url.trim_end_matches('/');
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(setup(
                "the hub's address must start with http:// or https://",
            ));
        }
        // The TLS provider is the process's; another part of the program may have chosen it first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("hubctl/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &options.ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|_| setup("the file with the hub's certificates is not PEM"))?;
            if certificates.is_empty() {
                return Err(setup("the file with the hub's certificates holds none"));
            }
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder
            .build()
            .map_err(|error| ClientError::Setup(format!("the client cannot be set up: {error}")))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", options.token.trim()))
            .map_err(|_| setup("the token has characters that no token has"))?;
        bearer.set_sensitive(true);
        Ok(Self {
            http,
            base: base.to_owned(),
            bearer,
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.bearer.clone())
            .header(ACCEPT, "application/json")
            .timeout(CALL_MAX)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read(self.send(self.request(Method::GET, path)).await?).await
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, page: &PageOf) -> Result<T, ClientError> {
        read(
            self.send(self.request(Method::GET, path).query(page))
                .await?,
        )
        .await
    }

    /// A creating call, under a key that makes its repetition harmless.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let key = Uuid::now_v7().to_string();
        let request = self
            .request(Method::POST, path)
            .header("idempotency-key", key)
            .json(body);
        read(self.send(request).await?).await
    }

    /// A POST without a body.
    async fn act<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let key = Uuid::now_v7().to_string();
        read(
            self.send(
                self.request(Method::POST, path)
                    .header("idempotency-key", key),
            )
            .await?,
        )
        .await
    }

    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        read(self.send(self.request(method, path).json(body)).await?).await
    }

    async fn done(&self, method: Method, path: &str) -> Result<(), ClientError> {
        accepted(self.send(self.request(method, path)).await?)
            .await
            .map(|_| ())
    }

    /// Sends a call that may be repeated, again and again while the hub cannot be reached or asks to come back later.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let mut pause = PAUSE_MIN;
        let mut tries = 1;
        loop {
            let Some(again) = request.try_clone() else {
                return request.send().await.map_err(ClientError::Unreachable);
            };
            let outcome = again.send().await;
            let wait = match &outcome {
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    asked_wait(response).unwrap_or(pause)
                }
                Ok(_) => return outcome.map_err(ClientError::Unreachable),
                Err(error) if error.is_builder() => {
                    return outcome.map_err(ClientError::Unreachable);
                }
                Err(_) => pause,
            };
            if tries == TRIES_MAX {
                return outcome.map_err(ClientError::Unreachable);
            }
            tries += 1;
            tokio::time::sleep(wait.min(PAUSE_MAX)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn asked_wait(response: &Response) -> Option<Duration> {
    let seconds: u64 = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// The body of a success, or the refusal.
async fn accepted(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(hub_proto::api::problem::PROBLEM_JSON));
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(ClientError::Unreachable)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    if status.is_success() {
        return Ok(body);
    }
    let not_a_hub = ClientError::NotAHub {
        status: status.as_u16(),
    };
    if !is_problem {
        return Err(not_a_hub);
    }
    let problem: Problem = serde_json::from_slice(&body).map_err(|_| not_a_hub)?;
    Err(ClientError::Refused(Box::new(problem)))
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    serde_json::from_slice(&accepted(response).await?).map_err(ClientError::Unreadable)
}
