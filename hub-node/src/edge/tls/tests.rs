//! Whole handshakes, judged by real verdicts over the embedded store.

use std::io;

use hub_core::level::Refusal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::edge::judge::{Judged, judge};
use crate::edge::tls_stream::TlsStream;
use crate::identity::fault::CertificateFault;
use crate::identity::specimen::tenant::{Tenant, chain};
use crate::identity::specimen::{Ca, Leaf, days, now};
use crate::identity::verifier::DeviceVerifier;
use crate::pki;
use crate::secret::ClusterSecret;

const BOTH: &[&[&SupportedProtocolVersion]] = &[&[&TLS13], &[&TLS12]];

/// A device port in memory.
struct Port {
    tls: DeviceTls,
    authority: pki::Authority,
    folder: TempDir,
}

impl Port {
    fn new(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = pki::Authority::generate("hub", OffsetDateTime::now_utc()).unwrap();
        write_server(&authority, &folder);
        let tls = DeviceTls::build(files(&folder), verifier, ClusterSecret::random()).unwrap();
        Self {
            tls,
            authority,
            folder,
        }
    }

    fn judging() -> Self {
        Self::new(Arc::new(DeviceVerifier))
    }

    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        leaf: Option<(&Leaf, &[&Ca])>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let pem = &self.authority.certificate().certificate_pem;
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match leaf {
            None => config.with_no_client_auth(),
            Some((leaf, issuers)) => {
                let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
                config
                    .with_client_auth_cert(chain(leaf, issuers), key)
                    .unwrap()
            }
        }
    }

    /// One connection: what the server got out of it, and what the client was told.
    async fn connect(
        &self,
        client: &Arc<ClientConfig>,
    ) -> (Result<Session, Error>, Result<(), Error>) {
        self.connect_to(client, "hub.example").await
    }

    /// The same over a real socket, with the peer judged as the listener does.
    async fn meet(
        &self,
        tenant: &Tenant,
        client: &Arc<ClientConfig>,
    ) -> (Option<Peer>, Result<(), Error>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, accepted) = tokio::join!(near, listener.accept());
        let name = ServerName::try_from("hub.example").unwrap();
        let client = tokio::spawn(greet(Arc::clone(client), near.unwrap(), name));
        let peer = receive(self.tls.config(), accepted.unwrap().0, tenant).await;
        (peer, client.await.unwrap())
    }

    async fn connect_to(
        &self,
        client: &Arc<ClientConfig>,
        name: &'static str,
    ) -> (Result<Session, Error>, Result<(), Error>) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let client = tokio::spawn(greet(
            Arc::clone(client),
            near,
            ServerName::try_from(name).unwrap(),
        ));
        let server = serve(self.tls.config(), far).await;
        (server, client.await.unwrap())
    }
}

/// What the device port knows after a handshake.
struct Peer {
    judged: Judged,
    chain: Vec<CertificateDer<'static>>,
    resumed: bool,
}

async fn receive(config: Arc<ServerConfig>, tcp: TcpStream, tenant: &Tenant) -> Option<Peer> {
    let opening = TlsStream::accept(config, tcp).await.ok()?;
    let resumed = opening.is_resumed();
    let (mut stream, judged) = judge(opening, &tenant.verdicts, now()).await?;
    let chain = stream.peer_certificates().unwrap_or_default().to_vec();
    // The client may be gone already when it does not like us.
    let _ = stream.write_all(b"!").await;
    let _ = stream.shutdown().await;
    Some(Peer {
        judged,
        chain,
        resumed,
    })
}

/// What a server knows after a handshake.
struct Session {
    alpn: Option<Vec<u8>>,
}

async fn serve(config: Arc<ServerConfig>, io: DuplexStream) -> Result<Session, Error> {
    let mut stream = TlsAcceptor::from(config)
        .accept(io)
        .await
        .map_err(|error| tls_error(&error))?;
    let connection = stream.get_ref().1;
    let session = Session {
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
    };
    // The client may be gone already when it does not like us.
    let _ = stream.write_all(b"!").await;
    let _ = stream.shutdown().await;
    Ok(session)
}

async fn greet(
    config: Arc<ClientConfig>,
    io: impl AsyncRead + AsyncWrite + Unpin,
    name: ServerName<'static>,
) -> Result<(), Error> {
    let mut stream = TlsConnector::from(config)
        .connect(name, io)
        .await
        .map_err(|error| tls_error(&error))?;
    let mut byte = [0];
    stream
        .read_exact(&mut byte)
        .await
        .map(|_| ())
        .map_err(|error| tls_error(&error))
}

fn tls_error(error: &io::Error) -> Error {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    inner
        .cloned()
        .unwrap_or_else(|| Error::General(error.to_string()))
}

fn files(folder: &TempDir) -> ServerFiles {
    ServerFiles {
        chain: folder.path().join("server.pem"),
        key: folder.path().join("server-key.pem"),
    }
}

fn write_server(authority: &pki::Authority, folder: &TempDir) {
    let names = ["hub.example", "other.example", "127.0.0.1"].map(String::from);
    let issued = authority
        .server(&names, 30, OffsetDateTime::now_utc())
        .unwrap();
    std::fs::write(files(folder).chain, issued.certificate_pem).unwrap();
    std::fs::write(files(folder).key, issued.key_pem).unwrap();
}

#[track_caller]
fn alerted(told: &Result<(), Error>, alert: AlertDescription) {
    assert_eq!(told, &Err(Error::AlertReceived(alert)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_comes_in_over_both_versions() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("fleet");
    tenant.register(&ca, Some(10)).await;
    let port = Port::judging();
    for versions in BOTH {
        let leaf = ca.leaf(&format!("unit-{:?}", versions[0].version));
        let client = Arc::new(port.client(versions, Some((&leaf, &[]))));
        let (peer, told) = port.meet(&tenant, &client).await;
        told.unwrap();
        let peer = peer.unwrap();
        let caller = peer.judged.unwrap().unwrap();
        let identity = tenant
            .verdicts
            .admit(caller, &peer.chain, now())
            .await
            .unwrap();
        assert_eq!(identity.org, tenant.org);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_09_without_a_certificate_the_session_stands_and_nobody_is_admitted() {
    let tenant = Tenant::new().await;
    let port = Port::judging();
    for versions in BOTH {
        let client = Arc::new(port.client(versions, None));
        let (peer, told) = port.meet(&tenant, &client).await;
        told.unwrap();
        assert!(matches!(peer.unwrap().judged, Ok(None)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_10_to_17_each_refusal_has_its_alert() {
    let tenant = Tenant::new().await;
    let (ca, unknown) = (Ca::root("fleet"), Ca::root("unknown"));
    tenant.register(&ca, Some(10)).await;
    let expired = ca.leaf_with("unit-1", |params| {
        params.not_before = days(-3);
        params.not_after = days(-2);
    });
    let early = ca.leaf_with("unit-2", |params| params.not_before = days(2));
    let revoked = ca.leaf("unit-3");
    let pinned = tenant.pin("unit-3", &revoked).await;
    tenant
        .store
        .revoke_certificate(tenant.device("unit-3"), pinned.sha256, now())
        .await
        .unwrap();
    let server = ca.leaf_with("unit-4", |p| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]
    });
    let stranger = unknown.leaf("unit-5");
    let port = Port::judging();
    for (leaf, alert) in [
        (&expired, AlertDescription::CertificateExpired),
        (&early, AlertDescription::CertificateExpired),
        (&revoked, AlertDescription::CertificateRevoked),
        (&server, AlertDescription::UnsupportedCertificate),
        (&stranger, AlertDescription::UnknownCA),
    ] {
        for versions in BOTH {
            let client = Arc::new(port.client(versions, Some((leaf, &[]))));
            let (peer, told) = port.meet(&tenant, &client).await;
            assert!(peer.is_none());
            alerted(&told, alert);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_14_a_revoked_device_resumes_and_is_refused_right_after() {
    let tenant = Tenant::new().await;
    let leaf = Ca::root("anyone").leaf("unit-1");
    let pinned = tenant.pin("unit-1", &leaf).await;
    let port = Port::judging();
    let clients = BOTH
        .iter()
        .map(|versions| Arc::new(port.client(versions, Some((&leaf, &[])))));
    let clients: Vec<_> = clients.collect();
    for client in &clients {
        let (first, told) = port.meet(&tenant, client).await;
        told.unwrap();
        assert!(!first.unwrap().resumed);
    }
    tenant
        .store
        .revoke_certificate(tenant.device("unit-1"), pinned.sha256, now())
        .await
        .unwrap();
    tenant.verdicts.forget_org(tenant.org);
    for client in &clients {
        let (second, told) = port.meet(&tenant, client).await;
        told.unwrap();
        let second = second.unwrap();
        assert!(second.resumed);
        assert!(matches!(
            second.judged,
            Err(CertificateFault::Refused(Refusal::CertificateRevoked))
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_resume_until_the_tickets_are_voided() {
    let tenant = Tenant::new().await;
    let leaf = Ca::root("anyone").leaf("unit-1");
    tenant.pin("unit-1", &leaf).await;
    let port = Port::judging();
    for versions in BOTH {
        let client = Arc::new(port.client(versions, Some((&leaf, &[]))));
        let resumed = async || port.meet(&tenant, &client).await.0.unwrap().resumed;
        assert!(!resumed().await);
        assert!(resumed().await);
        port.tls.void_tickets();
        assert!(!resumed().await);
    }
    assert!(port.tls.config().ticketer.lifetime() <= 6 * 3600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_worth_nothing_without_its_key() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("fleet");
    let device = ca.leaf("unit-1");
    tenant.pin("unit-1", &device).await;
    let port = Port::judging();
    for versions in BOTH {
        let thief = Leaf {
            certificate: device.certificate.clone(),
            key: rcgen::KeyPair::generate().unwrap(),
        };
        let mut client = port.client(versions, None);
        let key = PrivateKeyDer::try_from(thief.key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let stolen = CertifiedKey::new(chain(&thief, &[]), key);
        client.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
        let (peer, told) = port.meet(&tenant, &Arc::new(client)).await;
        assert!(peer.is_none() && told.is_err());
    }
}

#[tokio::test]
async fn case_04_plain_http_gets_an_alert_and_no_redirect() {
    let answer = raw(b"GET / HTTP/1.1\r\nHost: hub.example\r\n\r\n").await;
    assert!(
        answer.first().is_none_or(|kind| *kind == 0x15),
        "{answer:?}"
    );
}

#[tokio::test]
async fn case_05_old_versions_and_foreign_suites_are_refused() {
    for (version, suite) in [([3, 2], [0xc0, 0x13]), ([3, 3], [0x00, 0x05])] {
        let mut hello = vec![version[0], version[1]];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, suite[0], suite[1], 1, 0]);
        let mut record = vec![
            0x16,
            3,
            1,
            0,
            u8::try_from(hello.len() + 4).unwrap(),
            1,
            0,
            0,
        ];
        record.push(u8::try_from(hello.len()).unwrap());
        record.extend(hello);
        let answer = raw(&record).await;
        // A fatal alert: handshake_failure, or protocol_version.
        assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
        assert!(matches!(answer[6], 40 | 70), "{answer:?}");
    }
}

#[tokio::test]
async fn case_06_missing_and_unknown_names_get_the_one_certificate() {
    let port = Port::new(WebPkiClientVerifier::no_client_auth());
    let client = Arc::new(port.client(&[&TLS13], None));
    for name in ["hub.example", "other.example", "127.0.0.1"] {
        let (server, told) = port.connect_to(&client, name).await;
        assert!(server.is_ok() && told.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn case_07_oversized_and_senseless_records_end_the_connection() {
    let oversized = [
        &[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..],
        &[0; 0x3ffc],
    ]
    .concat();
    for junk in [&oversized[..], &[0xff; 64], &[0x16, 3, 1, 0xff, 0xff, 0]] {
        let answer = raw(junk).await;
        assert!(
            answer.first().is_none_or(|kind| *kind == 0x15),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn case_08_early_data_is_never_offered() {
    let port = Port::new(WebPkiClientVerifier::no_client_auth());
    assert_eq!(port.tls.config().max_early_data_size, 0);
    assert!(!port.tls.config().send_half_rtt_data);
}

#[tokio::test]
async fn clients_with_and_without_alpn_are_served() {
    let port = Port::new(WebPkiClientVerifier::no_client_auth());
    let mut client = port.client(&[&TLS13], None);
    assert_eq!(
        port.connect(&Arc::new(client.clone()))
            .await
            .0
            .unwrap()
            .alpn,
        None
    );
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    assert_eq!(
        port.connect(&Arc::new(client))
            .await
            .0
            .unwrap()
            .alpn
            .as_deref(),
        Some(&b"http/1.1"[..])
    );
}

#[tokio::test]
async fn a_reload_takes_effect_and_a_bad_one_does_not() {
    let port = Port::new(WebPkiClientVerifier::no_client_auth());
    let seen = Arc::new(Seen::default());
    let mut client = port.client(&[&TLS13], None);
    client
        .dangerous()
        .set_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>);
    client.resumption = rustls::client::Resumption::disabled();
    let client = Arc::new(client);
    let shown = async || {
        port.connect(&client).await.1.unwrap();
        seen.0.lock().unwrap().clone()
    };
    let first = shown().await;
    write_server(&port.authority, &port.folder);
    port.tls.certificate().reload().unwrap();
    let second = shown().await;
    assert_ne!(first, second);
    std::fs::write(files(&port.folder).key, "nonsense").unwrap();
    assert!(matches!(
        port.tls.certificate().reload(),
        Err(TlsError::Pem { .. })
    ));
    assert_eq!(shown().await, second);
    std::fs::remove_file(files(&port.folder).chain).unwrap();
    assert!(matches!(
        port.tls.certificate().reload(),
        Err(TlsError::File { .. })
    ));
}

#[test]
fn a_key_of_another_certificate_is_noticed_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let authority = pki::Authority::generate("hub", now).unwrap();
    let issue = || {
        authority
            .server(&["hub.example".to_owned()], 1, now)
            .unwrap()
    };
    std::fs::write(files(&folder).chain, issue().certificate_pem).unwrap();
    std::fs::write(files(&folder).key, issue().key_pem).unwrap();
    let built = DeviceTls::build(
        files(&folder),
        WebPkiClientVerifier::no_client_auth(),
        ClusterSecret::random(),
    );
    assert!(matches!(built, Err(TlsError::Unusable(_))), "{built:?}");
}

/// Sends bytes that are no TLS (or old TLS), and gives everything that comes back until the end.
async fn raw(bytes: &[u8]) -> Vec<u8> {
    let port = Port::new(WebPkiClientVerifier::no_client_auth());
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    near.write_all(bytes).await.unwrap();
    assert!(serve(port.tls.config(), far).await.is_err());
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    answer
}

/// Remembers the certificate it was shown; what it proves is another test's business.
#[derive(Debug, Default)]
struct Seen(std::sync::Mutex<Vec<u8>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = shown.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
