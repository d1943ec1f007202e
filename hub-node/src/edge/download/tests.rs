//! Requests over a real connection in memory, and the answers a device gets.

use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE};
use tokio::io::duplex;

use super::*;
use crate::blobs::HeldBlob;
use crate::edge::signed_url::{Grant, SigningSecret};

const ORG: OrgId = OrgId(1);
const DEVICE: DeviceId = DeviceId(12);
const UUID: Uuid = Uuid::from_bytes([0x5a; 16]);

/// An index over one row, or over none while the store is away.
struct OneRow {
    blob: BlobId,
    away: bool,
}

#[async_trait]
impl FirmwareIndex for OneRow {
    async fn find(
        &self,
        org: OrgId,
        uuid: Uuid,
    ) -> Result<Option<BlobId>, Box<dyn Error + Send + Sync>> {
        if self.away {
            Err("away".into())
        } else {
            Ok((org == ORG && uuid == UUID).then_some(self.blob))
        }
    }
}

struct Desk {
    _dir: tempfile::TempDir,
    held: HeldBlob,
    blobs: Blobs,
    links: LinkSigner,
    content: Vec<u8>,
    service: Arc<DownloadService>,
}

impl Desk {
    fn new(bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_dir(dir.path()).unwrap();
        let content: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
        let mut draft = blobs.draft().unwrap();
        draft.write(&content).unwrap();
        let held = draft.keep(BlobId([9; 32])).unwrap();
        let links = LinkSigner::new(SigningSecret::from_bytes([3; 32]), "");
        let index = Arc::new(OneRow {
            blob: held.id(),
            away: false,
        });
        let service = Arc::new(DownloadService::new(links.clone(), index, blobs.clone()));
        Self {
            _dir: dir,
            held,
            blobs,
            links,
            content,
            service,
        }
    }

    fn link(&self) -> String {
        self.links.sign(
            &Grant {
                org: ORG,
                device: DEVICE,
                uuid: UUID,
            },
            SystemTime::now(),
        )
    }

    /// A client on a connection of its own.
    async fn connect(&self, peer: Peer) -> SendRequest<Empty<Bytes>> {
        let (near, far) = duplex(64 * 1024);
        tokio::spawn(Arc::clone(&self.service).serve_connection(near, peer));
        let (client, connection) = http1::handshake(TokioIo::new(far)).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn ask(
        &self,
        method: Method,
        link: &str,
        headers: &[(HeaderName, &str)],
    ) -> (Response<()>, Bytes) {
        self.ask_as(None, method, link, headers).await
    }

    async fn ask_as(
        &self,
        peer: Peer,
        method: Method,
        link: &str,
        headers: &[(HeaderName, &str)],
    ) -> (Response<()>, Bytes) {
        let mut request = Request::builder().method(method).uri(link);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut client = self.connect(peer).await;
        let response = client
            .send_request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        (
            Response::from_parts(head, ()),
            body.collect().await.unwrap().to_bytes(),
        )
    }
}

fn header<'a>(response: &'a Response<()>, name: &HeaderName) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_whole_file_is_served() {
    let desk = Desk::new(300_000);
    let (head, body) = desk.ask(Method::GET, &desk.link(), &[]).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert!(body == desk.content);
    assert_eq!(header(&head, &ETAG), format!("\"{}\"", "09".repeat(32)));
    assert_eq!(
        (
            header(&head, &ACCEPT_RANGES),
            header(&head, &CONTENT_LENGTH)
        ),
        ("bytes", "300000")
    );
    let (head, body) = desk.ask(Method::HEAD, &desk.link(), &[]).await;
    assert_eq!(
        (head.status(), header(&head, &CONTENT_LENGTH), body.len()),
        (StatusCode::OK, "300000", 0)
    );
}

#[tokio::test]
async fn a_broken_download_resumes() {
    let desk = Desk::new(1000);
    let (head, _) = desk.ask(Method::HEAD, &desk.link(), &[]).await;
    let etag = header(&head, &ETAG).to_owned();
    let resume = [(RANGE, "bytes=400-"), (IF_RANGE, etag.as_str())];
    let (head, body) = desk.ask(Method::GET, &desk.link(), &resume).await;
    assert_eq!(head.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        (
            header(&head, &CONTENT_RANGE),
            header(&head, &CONTENT_LENGTH)
        ),
        ("bytes 400-999/1000", "600")
    );
    assert_eq!(body, desk.content[400..]);
    let (head, body) = desk
        .ask(Method::GET, &desk.link(), &[(RANGE, "bytes=0-999")])
        .await;
    assert_eq!(
        (head.status(), body.len()),
        (StatusCode::PARTIAL_CONTENT, 1000)
    );
    let changed = [(RANGE, "bytes=400-"), (IF_RANGE, "\"other\"")];
    let (head, body) = desk.ask(Method::GET, &desk.link(), &changed).await;
    assert_eq!((head.status(), body.len()), (StatusCode::OK, 1000));
    let (head, body) = desk
        .ask(Method::GET, &desk.link(), &[(RANGE, "bytes=1000-")])
        .await;
    assert_eq!(
        (head.status(), body.len()),
        (StatusCode::RANGE_NOT_SATISFIABLE, 0)
    );
    assert_eq!(header(&head, &CONTENT_RANGE), "bytes */1000");
    let (head, _) = desk
        .ask(Method::GET, &desk.link(), &[(IF_NONE_MATCH, &etag)])
        .await;
    assert_eq!(head.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn many_ranges_cost_one_answer() {
    let desk = Desk::new(1000);
    let many = format!("bytes={}", vec!["0-0"; 2000].join(","));
    let (head, body) = desk.ask(Method::GET, &desk.link(), &[(RANGE, &many)]).await;
    assert_eq!((head.status(), body.len()), (StatusCode::OK, 1000));
    let (head, _) = desk
        .ask(Method::GET, &desk.link(), &[(RANGE, &many.repeat(10))])
        .await;
    assert!(
        head.status().is_client_error(),
        "a head of {} KiB is refused",
        many.len() * 10 / 1024
    );
}

#[tokio::test]
async fn links_that_are_not_this_devices_are_refused() {
    let desk = Desk::new(1000);
    let link = desk.link();
    for bad in [
        link.replace("device=12", "device=13"),
        link.replace("org=1", "org=2"),
        link.replace("sig=", "sig=A"),
    ] {
        let (head, body) = desk.ask(Method::GET, &bad, &[]).await;
        assert_eq!(head.status(), StatusCode::FORBIDDEN, "{bad}");
        assert!(body.starts_with(b"the link is not valid"));
    }
    let grant = Grant {
        org: ORG,
        device: DEVICE,
        uuid: UUID,
    };
    let past = SystemTime::now() - hub_core::limits::DOWNLOAD_URL_TTL;
    let (head, body) = desk
        .ask(Method::GET, &desk.links.sign(&grant, past), &[])
        .await;
    assert_eq!(head.status(), StatusCode::FORBIDDEN);
    assert!(body.starts_with(b"the link has expired"));
    for (peer, status) in [
        (Some((ORG, DEVICE)), StatusCode::OK),
        (Some((ORG, DeviceId(13))), StatusCode::FORBIDDEN),
        (Some((OrgId(2), DEVICE)), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(
            desk.ask_as(peer, Method::GET, &link, &[]).await.0.status(),
            status
        );
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    let desk = Desk::new(1000);
    for path in [
        "/",
        "/firmware",
        "/firmware/x",
        "/firmware/../../etc/passwd",
        "/socket/websocket",
    ] {
        assert_eq!(
            desk.ask(Method::GET, path, &[]).await.0.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let (head, _) = desk.ask(method, &desk.link(), &[]).await;
        assert_eq!(
            (head.status(), header(&head, &ALLOW)),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
        );
    }
    let other = Grant {
        org: ORG,
        device: DEVICE,
        uuid: Uuid::from_bytes([1; 16]),
    };
    let (head, _) = desk
        .ask(
            Method::GET,
            &desk.links.sign(&other, SystemTime::now()),
            &[],
        )
        .await;
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn outages_ask_the_device_to_come_back() {
    let mut desk = Desk::new(1000);
    let link = desk.link();
    let blob = desk.held.id();
    let index = Arc::new(OneRow { blob, away: true });
    desk.service = Arc::new(DownloadService::new(
        desk.links.clone(),
        index,
        desk.blobs.clone(),
    ));
    let (head, _) = desk.ask(Method::GET, &link, &[]).await;
    assert_eq!(
        (head.status(), header(&head, &RETRY_AFTER)),
        (StatusCode::SERVICE_UNAVAILABLE, "10")
    );
    let index = Arc::new(OneRow {
        blob: BlobId([1; 32]),
        away: false,
    });
    desk.service = Arc::new(DownloadService::new(
        desk.links.clone(),
        index,
        desk.blobs.clone(),
    ));
    assert_eq!(
        desk.ask(Method::GET, &link, &[]).await.0.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "no such file"
    );
    let slots = u32::try_from(DOWNLOADS_MAX).unwrap();
    let all = Arc::clone(&desk.service.slots)
        .acquire_many_owned(slots)
        .await
        .unwrap();
    assert_eq!(
        desk.ask(Method::GET, &link, &[]).await.0.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop(all);
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_its_slot_is_free() {
    let mut desk = Desk::new(1_000_000);
    let service = Arc::get_mut(&mut desk.service).expect("nobody else has it yet");
    service.pace = Pace {
        window: std::time::Duration::from_millis(60),
        bytes_min: 8192,
    };
    let (near, mut far) = duplex(1024);
    let connection = tokio::spawn(Arc::clone(&desk.service).serve_connection(near, None));
    let head = format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", desk.link());
    tokio::io::AsyncWriteExt::write_all(&mut far, head.as_bytes())
        .await
        .unwrap();
    let mut first = [0; 100];
    far.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));
    assert_eq!(desk.service.slots.available_permits(), DOWNLOADS_MAX - 1);
    assert!(connection.await.unwrap().is_err());
    assert_eq!(desk.service.slots.available_permits(), DOWNLOADS_MAX);
}
