//! Rule 1: the certificate decides the device, and who may not come in is refused before anything starts.

use hub_proto::api::{AuthorityCreate, Provisioning};
use hub_tests::pki::Authority;
use hub_tests::pki::zoo::Specimen;
use hub_tests::raw_ws::{Answer, RawWs, Upgrade};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::tls::{Version, alert};
use hub_tests::wait::PATIENCE;
use rustls::AlertDescription;
use serde_json::json;

use crate::acts::{acking, dialer};

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

#[tokio::test(flavor = "multi_thread")]
async fn rule_01_the_certificate_decides_the_device() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    sandbox.device("other").await?;
    let leaf = sandbox.device("s1").await?;
    for version in VERSIONS {
        let dialer = dialer(&sandbox, Some(&leaf), version)?;
        let mut socket = RawWs::dial(&dialer, sandbox.node.device_addr()).await?;
        // Whatever else claims to be an identity is not one.
        let request = Upgrade::default()
            .with("x-forwarded-client-cert", "Subject=\"CN=other\"")
            .with("x-real-ip", "10.0.0.1");
        socket.upgrade(&request).await?;
        let mut payload = acking();
        payload["serial_number"] = json!("other");
        let reply = socket.join("device:other", payload, PATIENCE).await?;
        assert_eq!(reply.status(), Some("ok"), "{reply:?}");
        let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
        let connection = device.connection.expect("it just joined");
        assert!(
            connection
                .remote
                .is_some_and(|at| at.starts_with("127.0.0.1:"))
        );
        let other = sandbox.api.device(ORG, PRODUCT, "other").await?;
        assert!(other.connection.is_none());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_01_unknown_revoked_and_expired_are_refused_in_the_handshake() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let provisioning = Authority::root("provisioning root")?;
    register(&sandbox, &provisioning).await?;
    let unknown = sandbox.devices.device("nobody")?;
    let expired = Specimen::Expired.make(&provisioning, "late")?;
    let revoked = sandbox.device("revoked").await?;
    sandbox.api.revoke_device(ORG, PRODUCT, "revoked").await?;
    let withdrawn = sandbox.device("withdrawn").await?;
    let certificates = sandbox.api.certificates(ORG, PRODUCT, "withdrawn").await?;
    sandbox
        .api
        .revoke_certificate(ORG, PRODUCT, "withdrawn", &certificates.items[0].sha256)
        .await?;
    let refused = [
        (&unknown, AlertDescription::UnknownCA),
        (&expired, AlertDescription::CertificateExpired),
        (&revoked, AlertDescription::CertificateRevoked),
        (&withdrawn, AlertDescription::CertificateRevoked),
    ];
    for version in VERSIONS {
        for (leaf, expected) in refused {
            let dialer = dialer(&sandbox, Some(leaf), version)?;
            let error = dialer.refusal(sandbox.node.device_addr()).await?;
            assert_eq!(alert(&error), Some(expected), "{version:?}: {error}");
        }
    }
    assert_eq!(sandbox.node.sockets(), 0, "nothing was started for them");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_01_no_certificate_is_401_with_the_reason() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    for version in VERSIONS {
        let dialer = dialer(&sandbox, None, version)?;
        let mut socket = RawWs::dial(&dialer, sandbox.node.device_addr()).await?;
        let refused = socket.upgrade(&Upgrade::default()).await.unwrap_err();
        let answer: Answer = refused.downcast()?;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("x-hub-reason"), Some("no_certificate"));
        socket.expect_end(PATIENCE).await?;
    }
    assert_eq!(sandbox.node.sockets(), 0, "nothing was started for them");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_01_a_registered_authority_brings_its_devices_in() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let provisioning = Authority::root("provisioning root")?;
    register(&sandbox, &provisioning).await?;
    let leaf = provisioning.device("fresh")?;
    let mut socket = sandbox.connect(&leaf).await?;
    let reply = socket.join("device", acking(), PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"), "{reply:?}");
    let device = sandbox.api.device(ORG, PRODUCT, "fresh").await?;
    assert!(device.connection.is_some());
    Ok(())
}

/// Registers an authority with proof of its key, and lets it bring in devices.
async fn register(sandbox: &Sandbox, authority: &Authority) -> anyhow::Result<()> {
    let registration = sandbox.api.create_registration(ORG).await?;
    let body = AuthorityCreate {
        certificate_pem: authority.pem(),
        verification_pem: authority.proof(&registration.code)?.pem(),
        provision: Some(Provisioning {
            product: PRODUCT.parse()?,
            quota: 10,
        }),
    };
    sandbox.api.create_authority(ORG, &body).await?;
    Ok(())
}
