//! OTLP over the HTTP client that the rest of hub uses.
//!
//! The exporters run on threads of their own, where no runtime is: calls are handed to the node's.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hub_core::limits::TELEMETRY_CALL_MAX;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// A client whose calls run on a runtime.
#[derive(Debug)]
pub(super) struct OverHttp {
    client: reqwest::Client,
    runtime: Handle,
}

impl OverHttp {
    /// A client with the roots of the system, which follows no redirect.
    pub(super) fn new(runtime: Handle) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(patience())
            .build()?;
        Ok(Self { client, runtime })
    }
}

/// What the variable of the specification says, else the specification's own ten seconds.
fn patience() -> Duration {
    let said = std::env::var("OTEL_EXPORTER_OTLP_TIMEOUT").ok();
    let said = said.and_then(|millis| millis.parse().ok());
    said.map_or(TELEMETRY_CALL_MAX, Duration::from_millis)
}

#[async_trait]
impl HttpClient for OverHttp {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        let call = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, answer.bytes().await?))
        });
        let (status, headers, body) = call.await??;
        let mut response = Response::builder().status(status).body(body)?;
        *response.headers_mut() = headers;
        Ok(response)
    }
}
