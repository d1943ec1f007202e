//! Serves firmware to devices by signed link, on the device port.
//!
//! GET and HEAD of a link, at most one range, strong entity tags, and 404 for everything else. A device's download
//! program often presents no certificate, so the link is the proof; when a certificate was presented, it must be
//! the device's own. Own range code instead of a file-serving library, because entity tags must be the same on
//! every node and `if-range` must hold. Bodies are read from disk in pieces; [`WriteDeadline`] cuts slow readers.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hub_core::limits::{
    DOWNLOAD_CHUNK_BYTES, DOWNLOADS_MAX, REQUEST_HEAD_BYTES_MAX, REQUEST_HEAD_MAX,
    REQUEST_HEADERS_MAX,
};
use hub_proto::id::{DeviceId, OrgId};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    RETRY_AFTER,
};
use hyper::http::response::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::range::{self, Answer};
use super::signed_url::{LinkError, LinkSigner};
use super::write_deadline::{Pace, WriteDeadline};
use crate::blobs::{BlobId, Blobs};
use crate::store::{Store, StoreError};

#[cfg(test)]
mod tests;

/// Seconds after which a client may ask again when the hub is busy or its store away.
const RETRY_AFTER_SECONDS: &str = "10";

/// Body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Where the service learns which file a firmware is.
#[async_trait]
pub(crate) trait FirmwareIndex: Send + Sync + 'static {
    /// The file of an org's firmware; `None` when the org has no such firmware (any more). An error is an outage.
    async fn find(
        &self,
        org: OrgId,
        uuid: Uuid,
    ) -> Result<Option<BlobId>, Box<dyn Error + Send + Sync>>;
}

/// The index that the store keeps.
pub(crate) struct StoredFirmware(pub(crate) Arc<dyn Store>);

#[async_trait]
impl FirmwareIndex for StoredFirmware {
    async fn find(
        &self,
        org: OrgId,
        uuid: Uuid,
    ) -> Result<Option<BlobId>, Box<dyn Error + Send + Sync>> {
        match self.0.download(org, &uuid.to_string()).await {
            Ok(target) => Ok(Some(BlobId(target.sha256))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Who is at the other end, if a certificate said so.
pub(crate) type Peer = Option<(OrgId, DeviceId)>;

/// The download half of the device port.
pub(crate) struct DownloadService {
    links: LinkSigner,
    index: Arc<dyn FirmwareIndex>,
    blobs: Blobs,
    slots: Arc<Semaphore>,
    pace: Pace,
}

impl std::fmt::Debug for DownloadService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DownloadService")
            .field("free_slots", &self.slots.available_permits())
            .finish_non_exhaustive()
    }
}

impl DownloadService {
    /// A service for links made by `links`.
    pub(crate) fn new(links: LinkSigner, index: Arc<dyn FirmwareIndex>, blobs: Blobs) -> Self {
        Self {
            links,
            index,
            blobs,
            slots: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            pace: Pace::default(),
        }
    }

    /// Serves one connection until the client is done, too slow, or silent.
    pub(crate) async fn serve_connection<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
    ) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let pace = self.pace;
        let answer = service_fn(move |request| {
            let service = Arc::clone(&self);
            async move { Ok::<_, Infallible>(service.serve(&request, peer).await) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_HEAD_MAX)
            .max_headers(REQUEST_HEADERS_MAX)
            .max_buf_size(REQUEST_HEAD_BYTES_MAX.max(DOWNLOAD_CHUNK_BYTES))
            .serve_connection(TokioIo::new(WriteDeadline::new(stream, pace)), answer)
            .await
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub(crate) async fn serve<B>(&self, request: &Request<B>, peer: Peer) -> Response<Body> {
        let uri = request.uri();
        let grant = match self.links.check(uri.path(), uri.query(), SystemTime::now()) {
            Ok(grant) => grant,
            Err(error @ LinkError::NotALink) => {
                return refuse(StatusCode::NOT_FOUND, &error.to_string());
            }
            Err(_) if !readable(request.method()) => return wrong_method(),
            Err(error @ (LinkError::Forged | LinkError::Expired)) => {
                return refuse(
                    StatusCode::FORBIDDEN,
                    &format!("{error}; join again for a new one"),
                );
            }
        };
        if !readable(request.method()) {
            return wrong_method();
        }
        if peer.is_some_and(|peer| peer != (grant.org, grant.device)) {
            return refuse(
                StatusCode::FORBIDDEN,
                "the link is another device's; join again for your own",
            );
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return busy("too many downloads are running; try again later");
        };
        let blob = match self.index.find(grant.org, grant.uuid).await {
            Ok(Some(blob)) => blob,
            Ok(None) => return refuse(StatusCode::NOT_FOUND, "this firmware was deleted"),
            Err(error) => {
                tracing::warn!(%error, "a download waits for the store");
                return busy("the hub cannot look this up now; try again later");
            }
        };
        match self.answer(request, blob, slot).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(%error, %blob, "a firmware file cannot be read");
                busy("the hub cannot read this file now; try again later")
            }
        }
    }

    async fn answer<B>(
        &self,
        request: &Request<B>,
        blob: BlobId,
        slot: OwnedSemaphorePermit,
    ) -> io::Result<Response<Body>> {
        let opened = self.blobs.open(blob).await?;
        let (file, size) =
            opened.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the file is missing"))?;
        let etag = format!("\"{blob}\"");
        let answer = range::answer(request.method(), request.headers(), size, &etag);
        let head = Response::builder()
            .header(ETAG, &etag)
            .header(ACCEPT_RANGES, "bytes")
            // For this device only, and never recompressed on the way.
            .header(CACHE_CONTROL, "private, no-transform");
        let (status, bytes) = match answer {
            Answer::Whole => (StatusCode::OK, 0..size),
            Answer::Part(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
            Answer::NotModified => return Ok(plain(head.status(StatusCode::NOT_MODIFIED))),
            Answer::Failed => return Ok(plain(head.status(StatusCode::PRECONDITION_FAILED))),
            Answer::Unsatisfiable => {
                let head = head.status(StatusCode::RANGE_NOT_SATISFIABLE);
                return Ok(plain(head.header(CONTENT_RANGE, format!("bytes */{size}"))));
            }
        };
        let mut head = head
            .status(status)
            .header(CONTENT_TYPE, "application/octet-stream");
        head = head.header(CONTENT_LENGTH, bytes.end - bytes.start);
        if status == StatusCode::PARTIAL_CONTENT {
            head = head.header(
                CONTENT_RANGE,
                format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1),
            );
        }
        let body = if request.method() == Method::HEAD {
            empty()
        } else {
            read(file, bytes, slot).await?
        };
        head.body(body).map_err(io::Error::other)
    }
}

fn readable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The bytes of a file in pieces; the slot is free again when the body is dropped.
async fn read(
    mut file: tokio::fs::File,
    bytes: Range<u64>,
    slot: OwnedSemaphorePermit,
) -> io::Result<Body> {
    file.seek(SeekFrom::Start(bytes.start)).await?;
    let pieces =
        ReaderStream::with_capacity(file.take(bytes.end - bytes.start), DOWNLOAD_CHUNK_BYTES);
    let frames = pieces.map_ok(move |piece| {
        let _held = &slot;
        Frame::data(piece)
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn plain(head: Builder) -> Response<Body> {
    // Every header set in this file is valid by construction; if one were not, a bare 500 is still an answer.
    head.body(empty()).unwrap_or_else(|_| {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// A short text for people; devices read the status.
fn refusal(status: StatusCode, text: &str) -> Builder {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(CONTENT_LENGTH, text.len())
        .header(CACHE_CONTROL, "no-store")
}

fn with_text(head: Builder, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync();
    plain(head).map(|_| body)
}

fn refuse(status: StatusCode, text: &str) -> Response<Body> {
    with_text(refusal(status, text), text)
}

fn wrong_method() -> Response<Body> {
    let text = "only GET and HEAD";
    with_text(
        refusal(StatusCode::METHOD_NOT_ALLOWED, text).header(ALLOW, "GET, HEAD"),
        text,
    )
}

fn busy(text: &str) -> Response<Body> {
    with_text(
        refusal(StatusCode::SERVICE_UNAVAILABLE, text).header(RETRY_AFTER, RETRY_AFTER_SECONDS),
        text,
    )
}
