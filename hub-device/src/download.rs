//! Fetches one firmware file: whole, in order, through as many connections as it takes.
//!
//! Owns: resuming by `Range` with `If-Range` on a strong ETag; full jitter between attempts; a bound on attempts without
//! a byte and on attempts in all; size and SHA-256 of the offer. An expired URL is final here: only the hub can make a
//! new one, and it does so when the failure is reported.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{
        ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER,
    },
    redirect::Policy,
};
use rustls::ClientConfig;
use sha2::{Digest, Sha256};

use crate::{
    backoff::Jitter,
    limits::{
        DOWNLOAD_ATTEMPTS_MAX, DOWNLOAD_ATTEMPTS_TOTAL_MAX, DOWNLOAD_CONNECT_TIMEOUT,
        DOWNLOAD_READ_TIMEOUT, DOWNLOAD_RETRY_BASE, DOWNLOAD_RETRY_CAP, FIRMWARE_BYTES_MAX,
    },
    offer::Offer,
};

const REDIRECTS_MAX: usize = 3;

/// Why a file was not fetched. Each is final: what can be retried was.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The URL cannot be used.
    #[error("the firmware url cannot be used")]
    BadUrl,
    /// The hub no longer accepts the URL.
    #[error("the firmware url is no longer valid (HTTP {status}): a new offer is needed")]
    Expired {
        /// HTTP status.
        status: u16,
    },
    /// The server answers in a way that cannot be followed.
    #[error("the firmware server answered HTTP {status}")]
    Unusable {
        /// HTTP status.
        status: u16,
    },
    /// The file changed between two attempts.
    #[error("the firmware file changed during the download")]
    Changed,
    /// The file is not as long as the offer says.
    #[error("the firmware file is {actual} bytes long, the offer says {expected}")]
    WrongSize {
        /// Bytes promised.
        expected: u64,
        /// Bytes found; at least this many when the file goes on.
        actual: u64,
    },
    /// The file's SHA-256 is not the offer's.
    #[error("the firmware file does not have the offered sha256")]
    WrongDigest,
    /// Too many attempts failed.
    #[error("the download failed after {attempts} attempts")]
    GaveUp {
        /// Attempts made.
        attempts: u32,
        /// The last failure.
        source: Option<reqwest::Error>,
    },
}

/// Why no HTTP client can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client")]
pub struct ClientError(#[from] reqwest::Error);

/// Makes downloads; cheap to clone, and one serves any number of devices.
#[derive(Clone, Debug)]
pub struct Downloader {
    client: Client,
    plain_http: bool,
    retry_base: Duration,
}

impl Downloader {
    /// A downloader that trusts what `tls` trusts.
    ///
    /// # Errors
    /// When the HTTP client refuses the TLS configuration.
    pub fn new(tls: &Arc<ClientConfig>) -> Result<Self, ClientError> {
        let client = Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(tls))
            .connect_timeout(DOWNLOAD_CONNECT_TIMEOUT)
            .read_timeout(DOWNLOAD_READ_TIMEOUT)
            .redirect(Policy::limited(REDIRECTS_MAX))
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            client,
            plain_http: false,
            retry_base: DOWNLOAD_RETRY_BASE,
        })
    }

    /// Also follows `http://` URLs. The file is checked by digest and signature either way; off by default, since a
    /// signed URL is a secret while it lives.
    #[must_use]
    pub fn allow_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// First step of the pause between attempts.
    #[must_use]
    pub fn retry_base(mut self, base: Duration) -> Self {
        self.retry_base = base;
        self
    }

    /// Starts a download.
    ///
    /// # Errors
    /// When the offer's URL cannot be used.
    pub fn fetch(&self, offer: &Offer, seed: u64) -> Result<Fetch, DownloadError> {
        let url = Url::parse(&offer.url).map_err(|_| DownloadError::BadUrl)?;
        if url.scheme() != "https" && !(self.plain_http && url.scheme() == "http") {
            return Err(DownloadError::BadUrl);
        }
        Ok(Fetch {
            client: self.client.clone(),
            url,
            size: offer.size,
            sha256: offer.sha256,
            retry_base: self.retry_base,
            body: None,
            skip: 0,
            offset: 0,
            etag: None,
            hasher: Sha256::new(),
            idle_attempts: 0,
            attempts: 0,
            jitter: Jitter::new(seed),
        })
    }
}

/// One download in progress.
pub struct Fetch {
    client: Client,
    url: Url,
    size: Option<u64>,
    sha256: Option<[u8; 32]>,
    retry_base: Duration,
    body: Option<Response>,
    /// Bytes at the front of the current body that are known already.
    skip: u64,
    offset: u64,
    etag: Option<HeaderValue>,
    hasher: Sha256,
    idle_attempts: u32,
    attempts: u32,
    jitter: Jitter,
}

/// Why one attempt ended before the file did.
struct Cut {
    source: Option<reqwest::Error>,
    floor: Duration,
}

enum Opened {
    Body(Box<Response>),
    Cut(Cut),
}

impl Fetch {
    /// Bytes of the whole file, once known.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes handed out so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Requests made so far.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The next bytes, in order; none once the whole file was handed out and has the offered size and digest. Waits
    /// between attempts. Dropping the future loses no byte that was handed out.
    ///
    /// # Errors
    /// When the file cannot be had.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        loop {
            let Some(body) = &mut self.body else {
                match self.open().await? {
                    Opened::Body(body) => self.body = Some(*body),
                    Opened::Cut(cut) => self.pause(cut).await?,
                }
                continue;
            };
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    if let Some(fresh) = self.take(chunk)? {
                        return Ok(Some(fresh));
                    }
                }
                Ok(None) if self.size.is_none_or(|size| self.offset >= size) => {
                    return self.finish();
                }
                Ok(None) => {
                    self.pause(Cut {
                        source: None,
                        floor: Duration::ZERO,
                    })
                    .await?
                }
                Err(source) => {
                    self.pause(Cut {
                        source: Some(source),
                        floor: Duration::ZERO,
                    })
                    .await?
                }
            }
        }
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, DownloadError> {
        let known = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        self.skip -= known as u64;
        let fresh = chunk.split_off(known);
        if fresh.is_empty() {
            return Ok(None);
        }
        self.offset = self.offset.saturating_add(fresh.len() as u64);
        let limit = self.size.unwrap_or(FIRMWARE_BYTES_MAX);
        if self.offset > limit {
            return Err(DownloadError::WrongSize {
                expected: limit,
                actual: self.offset,
            });
        }
        self.hasher.update(&fresh);
        self.idle_attempts = 0;
        Ok(Some(fresh))
    }

    fn finish(&mut self) -> Result<Option<Bytes>, DownloadError> {
        if let Some(expected) = self.size.filter(|size| *size != self.offset) {
            return Err(DownloadError::WrongSize {
                expected,
                actual: self.offset,
            });
        }
        let digest: [u8; 32] = self.hasher.clone().finalize().into();
        if self.sha256.is_some_and(|expected| expected != digest) {
            return Err(DownloadError::WrongDigest);
        }
        Ok(None)
    }

    async fn open(&mut self) -> Result<Opened, DownloadError> {
        self.attempts = self.attempts.saturating_add(1);
        self.idle_attempts = self.idle_attempts.saturating_add(1);
        let mut request = self
            .client
            .get(self.url.clone())
            .header(ACCEPT_ENCODING, "identity");
        if self.offset > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.offset));
            if let Some(etag) = &self.etag {
                request = request.header(IF_RANGE, etag.clone());
            }
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(source) => {
                return Ok(Opened::Cut(Cut {
                    source: Some(source),
                    floor: Duration::ZERO,
                }));
            }
        };
        let status = response.status();
        match status {
            StatusCode::OK => self.start_over(&response)?,
            StatusCode::PARTIAL_CONTENT => self.carry_on(&response)?,
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(DownloadError::Changed),
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::GONE => {
                return Err(DownloadError::Expired {
                    status: status.as_u16(),
                });
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                return Ok(Opened::Cut(Cut {
                    source: None,
                    floor: retry_after(response.headers()),
                }));
            }
            _ if status.is_server_error() => {
                return Ok(Opened::Cut(Cut {
                    source: None,
                    floor: retry_after(response.headers()),
                }));
            }
            _ => {
                return Err(DownloadError::Unusable {
                    status: status.as_u16(),
                });
            }
        }
        Ok(Opened::Body(Box::new(response)))
    }

    /// The whole file comes (again). What is known of it is skipped; the digest still covers every byte.
    fn start_over(&mut self, response: &Response) -> Result<(), DownloadError> {
        let etag = strong_etag(response.headers());
        if self.offset > 0 && self.etag.is_some() && self.etag != etag {
            return Err(DownloadError::Changed);
        }
        self.skip = self.offset;
        self.etag = etag;
        self.settle_size(response.content_length())
    }

    /// The rest of the file comes, if it starts where we are.
    fn carry_on(&mut self, response: &Response) -> Result<(), DownloadError> {
        let range = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok());
        let (start, total) = range
            .and_then(parse_content_range)
            .ok_or(DownloadError::Changed)?;
        let etag = strong_etag(response.headers());
        if start != self.offset || (self.etag.is_some() && etag.is_some() && self.etag != etag) {
            return Err(DownloadError::Changed);
        }
        self.skip = 0;
        self.settle_size(total)
    }

    fn settle_size(&mut self, found: Option<u64>) -> Result<(), DownloadError> {
        let Some(actual) = found else { return Ok(()) };
        match self.size {
            Some(expected) if expected != actual => {
                Err(DownloadError::WrongSize { expected, actual })
            }
            None if actual > FIRMWARE_BYTES_MAX => Err(DownloadError::WrongSize {
                expected: FIRMWARE_BYTES_MAX,
                actual,
            }),
            Some(_) | None => {
                self.size = Some(actual);
                Ok(())
            }
        }
    }

    async fn pause(&mut self, cut: Cut) -> Result<(), DownloadError> {
        self.body = None;
        if self.idle_attempts >= DOWNLOAD_ATTEMPTS_MAX
            || self.attempts >= DOWNLOAD_ATTEMPTS_TOTAL_MAX
        {
            return Err(DownloadError::GaveUp {
                attempts: self.attempts,
                source: cut.source,
            });
        }
        let pause = self
            .jitter
            .pause(self.retry_base, DOWNLOAD_RETRY_CAP, self.idle_attempts);
        let pause = pause.max(cut.floor);
        tracing::warn!(
            offset = self.offset,
            attempt = self.attempts,
            ?pause,
            cause = cut.source.as_ref().map_or("cut short".into(), causes),
            "the download goes on after a pause"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// What is behind an error of the HTTP client, whose own text holds the link, which is a secret.
fn causes(error: &reqwest::Error) -> String {
    let first = std::error::Error::source(error);
    let all = std::iter::successors(first, |cause| cause.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A tag that may stand in `If-Range`; weak ones may not.
fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get(ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"))
        .cloned()
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(DOWNLOAD_RETRY_CAP)
}

/// Start and total of `bytes 5-9/10`; the total may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" {
        None
    } else {
        Some(total.parse().ok()?)
    };
    Some((start.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(parse_content_range("bytes */10"), None);
        assert_eq!(parse_content_range("items 1-2/3"), None);
    }
}
