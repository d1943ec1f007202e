//! Against the buffered client of the same library, over real sockets.

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;

struct Pair {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

fn pair(version: &'static SupportedProtocolVersion) -> Pair {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = issued.cert.der().clone();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Pair {
        server: Arc::new(server),
        client: Arc::new(client),
    }
}

impl Pair {
    async fn connected(&self) -> (TlsStream, ClientStream<TcpStream>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, far) = tokio::join!(listener.accept(), far);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(self.client.clone());
        let (near, far) = tokio::join!(
            async {
                let opening = TlsStream::accept(self.server.clone(), accepted.unwrap().0);
                opening.await.unwrap().open().await
            },
            connector.connect(name, far.unwrap()),
        );
        (near.unwrap(), far.unwrap())
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn holds_nothing(stream: &TlsStream) -> bool {
    let buffers = [
        &stream.incoming,
        &stream.plaintext.bytes,
        &stream.outgoing.bytes,
    ];
    buffers.iter().all(|buffer| buffer.capacity() == 0)
}

#[tokio::test]
async fn both_ways_carry_every_length_and_an_idle_connection_holds_no_buffer() {
    for version in [&TLS12, &TLS13] {
        let (mut near, mut far) = pair(version).connected().await;
        for length in [1, 255, 256, 16_384, 16_385, 300_000] {
            let sent = pattern(length);
            let mut got = vec![0; length];
            let (read, written) = tokio::join!(near.read_exact(&mut got), async {
                far.write_all(&sent).await?;
                far.flush().await
            });
            read.and(written).unwrap();
            assert!(got == sent, "in, {length}");
            got.fill(0);
            let (written, read) = tokio::join!(
                async {
                    near.write_all(&sent).await?;
                    near.flush().await
                },
                far.read_exact(&mut got)
            );
            read.and(written).unwrap();
            assert!(got == sent, "out, {length}");
            assert!(holds_nothing(&near), "{version:?}, {length}");
        }
    }
}

#[tokio::test]
async fn messages_in_many_small_records_are_put_together() {
    for version in [&TLS12, &TLS13] {
        let mut pair = pair(version);
        let mut client = ClientConfig::clone(&pair.client);
        client.max_fragment_size = Some(64);
        // a name that makes the hello longer than several records
        client.alpn_protocols = vec![vec![b'x'; 200]; 3];
        pair.client = Arc::new(client);
        let (mut near, mut far) = pair.connected().await;
        let sent = pattern(5_000);
        let mut got = vec![0; sent.len()];
        let (read, written) = tokio::join!(near.read_exact(&mut got), async {
            far.write_all(&sent).await?;
            far.flush().await
        });
        read.and(written.map(|()| 0)).unwrap();
        assert!(got == sent);
        assert!(holds_nothing(&near));
    }
}

#[tokio::test]
async fn a_reader_with_a_small_buffer_loses_nothing() {
    let (mut near, mut far) = pair(&TLS13).connected().await;
    let sent = pattern(1_000);
    far.write_all(&sent).await.unwrap();
    let mut got = Vec::new();
    let mut piece = [0; 7];
    while got.len() < sent.len() {
        let many = near.read(&mut piece).await.unwrap();
        got.extend_from_slice(&piece[..many]);
    }
    assert!(got == sent);
    assert!(holds_nothing(&near));
}

#[tokio::test]
async fn at_most_one_record_waits_for_a_peer_that_does_not_read() {
    let (mut near, mut far) = pair(&TLS13).connected().await;
    let piece = pattern(PLAINTEXT_MAX);
    let mut sent = 0;
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(many) = Pin::new(&mut near).poll_write(&mut cx, &piece) {
        sent += many.unwrap();
    }
    assert!(near.outgoing.bytes.len() <= RECORD_MAX);
    let mut got = vec![0; sent];
    let (read, flushed) = tokio::join!(far.read_exact(&mut got), near.flush());
    read.unwrap();
    flushed.unwrap();
    assert!(got.chunks(PLAINTEXT_MAX).all(|chunk| chunk == piece));
    assert!(holds_nothing(&near));
}

#[tokio::test]
async fn new_keys_are_taken_and_answered() {
    let (mut near, mut far) = pair(&TLS13).connected().await;
    for _ in 0..3 {
        far.get_mut().1.refresh_traffic_keys().unwrap();
        far.write_all(b"new").await.unwrap();
        let mut got = [0; 3];
        near.read_exact(&mut got).await.unwrap();
        near.write_all(&got).await.unwrap();
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"new");
    }
}

#[tokio::test]
async fn a_goodbye_is_an_end_and_a_cut_is_an_error() {
    let (mut near, mut far) = pair(&TLS13).connected().await;
    far.write_all(b"last").await.unwrap();
    far.shutdown().await.unwrap();
    let mut got = Vec::new();
    near.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"last");
    near.shutdown().await.unwrap();
    assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);

    let (mut near, far) = pair(&TLS13).connected().await;
    let (mut tcp, _) = far.into_inner();
    tcp.shutdown().await.unwrap();
    let error = near.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn who_speaks_no_tls_is_refused_with_an_alert() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, far) = tokio::join!(listener.accept(), far);
    let mut far = far.unwrap();
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let refused = TlsStream::accept(pair(&TLS13).server, accepted.unwrap().0).await;
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
    let mut record = Vec::new();
    far.read_to_end(&mut record).await.unwrap();
    assert_eq!(record.first(), Some(&21), "an alert: {record:?}");
}

#[tokio::test]
async fn a_spoilt_record_ends_the_connection_with_an_alert() {
    let (mut near, far) = pair(&TLS13).connected().await;
    let (mut tcp, _) = far.into_inner();
    tcp.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
    tcp.write_all(&[0; 20]).await.unwrap();
    let error = near.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    drop(near);
    let mut record = Vec::new();
    tcp.read_to_end(&mut record).await.unwrap();
    assert!(record.len() > 5, "an alert");
}

#[tokio::test]
async fn nothing_is_said_after_a_spoilt_record() {
    let (mut near, far) = pair(&TLS13).connected().await;
    let (mut tcp, _) = far.into_inner();
    tcp.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
    tcp.write_all(&[0; 20]).await.unwrap();
    near.read(&mut [0; 1]).await.unwrap_err();
    near.read(&mut [0; 1]).await.unwrap_err();
    let error = near.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    near.shutdown().await.unwrap();
}
