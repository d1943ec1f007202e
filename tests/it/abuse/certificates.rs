//! Cases 9 to 14 and 16 to 26: certificates a device shows, and authorities an operator registers.

use anyhow::Context as _;
use hub_proto::api::{Authority as Registered, AuthorityCreate, Provisioning};
use hub_tests::pki::zoo::{self, Specimen};
use hub_tests::pki::{Authority, KeyKind, Leaf};
use hub_tests::raw_ws::{Answer, RawWs, Upgrade};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::tls::{self, TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};
use rustls::AlertDescription;
use time::{Duration, OffsetDateTime};

use super::{Joined, Scene};

/// Both versions that devices speak.
const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];
/// The other org of these tests.
const OTHER: &str = "umbrella";

/// Registers an authority with proof of possession; with a product it may provision devices.
async fn register(
    hub: &Sandbox,
    org: &str,
    authority: &Authority,
    product: Option<&str>,
) -> anyhow::Result<Registered> {
    let registration = hub.root.create_registration(org).await?;
    let provision = product
        .map(|product| {
            anyhow::Ok(Provisioning {
                product: product.parse()?,
                quota: 100,
            })
        })
        .transpose()?;
    let body = AuthorityCreate {
        certificate_pem: authority.pem(),
        verification_pem: authority.proof(&registration.code)?.pem(),
        provision,
    };
    Ok(hub.root.create_authority(org, &body).await?)
}

/// A second org with a product.
async fn other_org(hub: &Sandbox) -> anyhow::Result<()> {
    let org = hub_proto::api::OrgCreate {
        name: OTHER.parse()?,
    };
    hub.root.create_org(&org).await?;
    let product = hub_proto::api::ProductCreate {
        name: PRODUCT.parse()?,
    };
    hub.root.create_product(OTHER, &product).await?;
    Ok(())
}

/// A scene whose devices' authority provisions newcomers.
async fn provisioning() -> anyhow::Result<(Scene, Registered)> {
    let scene = Scene::start().await?;
    let registered = register(&scene.hub, ORG, &scene.hub.devices, Some(PRODUCT)).await?;
    Ok((scene, registered))
}

/// The alert that the handshake with this certificate ends in.
async fn refusal(
    hub: &Sandbox,
    leaf: &Leaf,
    version: Version,
) -> anyhow::Result<Option<AlertDescription>> {
    let dialer = TlsDialer::new(hub.server_root.der(), Some(leaf), version)?;
    let error = dialer.refusal(hub.node.device_addr()).await?;
    Ok(tls::alert(&error))
}

/// The handshake is refused over both versions, with this alert.
async fn is_refused(hub: &Sandbox, leaf: &Leaf, with: AlertDescription) -> anyhow::Result<()> {
    for version in VERSIONS {
        let alert = refusal(hub, leaf, version).await?;
        assert_eq!(alert, Some(with), "{version:?}");
    }
    Ok(())
}

/// The handshake succeeds, and the upgrade is refused with this status; gives the reason.
async fn upgrade_refused(hub: &Sandbox, dialer: &TlsDialer, status: u16) -> anyhow::Result<String> {
    let mut socket = RawWs::dial(dialer, hub.node.device_addr()).await?;
    let refused = socket.upgrade(&Upgrade::default()).await;
    let answer: Answer = refused.expect_err("a refusal").downcast()?;
    assert_eq!(answer.status, status, "{answer}");
    let reason = answer.header("x-hub-reason").context("no reason")?;
    socket.expect_end(PATIENCE).await?;
    Ok(reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_09_without_a_certificate_the_upgrade_is_refused() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    for version in VERSIONS {
        let nobody = TlsDialer::new(scene.hub.server_root.der(), None, version)?;
        let reason = upgrade_refused(&scene.hub, &nobody, 401).await?;
        assert_eq!(reason, "no_certificate");
    }
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_10_and_11_dates_are_checked_of_strangers_and_of_friends() -> anyhow::Result<()> {
    let (mut scene, _) = provisioning().await?;
    let hub = &scene.hub;
    for specimen in [Specimen::Expired, Specimen::NotYetValid] {
        let stranger = specimen.make(&hub.devices, "stranger")?;
        is_refused(hub, &stranger, AlertDescription::CertificateExpired).await?;
    }
    // Known, welcome, and then too old.
    let short_lived = hub
        .devices
        .device_with("short-lived", KeyKind::P256, |params| {
            params.not_after = OffsetDateTime::now_utc() + Duration::seconds(5);
        })?;
    hub.pin("short-lived", &short_lived).await?;
    Joined::open(hub, &short_lived).await?;
    let expired = async || {
        let alert = refusal(hub, &short_lived, Version::Tls13).await.ok()?;
        (alert == Some(AlertDescription::CertificateExpired)).then_some(())
    };
    wait::until("a pinned certificate expires", PATIENCE, expired).await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_an_authority_nobody_registered_or_somebody_revoked() -> anyhow::Result<()> {
    let (mut scene, registered) = provisioning().await?;
    let hub = &scene.hub;
    let stranger = Authority::root("device root")?.device("stranger")?;
    is_refused(hub, &stranger, AlertDescription::UnknownCA).await?;

    let newcomer = hub.devices.device("newcomer")?;
    let mut live = Joined::open(hub, &newcomer).await?;
    hub.api.revoke_authority(ORG, registered.id).await?;
    live.socket.expect_close(4401, PATIENCE).await?;
    is_refused(hub, &newcomer, AlertDescription::UnknownCA).await?;
    let next = hub.devices.device("next")?;
    is_refused(hub, &next, AlertDescription::UnknownCA).await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_13_and_14_a_revoked_certificate_is_out_live_new_or_resumed() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let hub = &scene.hub;
    for (turn, version) in VERSIONS.into_iter().enumerate() {
        let name = format!("lost-{turn}");
        let leaf = hub.device(&name).await?;
        let dialer = TlsDialer::new(hub.server_root.der(), Some(&leaf), version)?;
        let mut live = Joined::join(RawWs::open(&dialer, hub.node.device_addr()).await?).await?;
        let pinned = hub.api.certificates(ORG, PRODUCT, &name).await?.items;
        let sha256 = &pinned.first().context("no certificate")?.sha256;
        hub.api
            .revoke_certificate(ORG, PRODUCT, &name, sha256)
            .await?;
        live.socket.expect_close(4401, PATIENCE).await?;
        // 14: the ticket still opens a session, and that is all it opens.
        let mut resumed = RawWs::dial(&dialer, hub.node.device_addr()).await?;
        assert!(resumed.resumed(), "{version:?}");
        let refused = resumed.upgrade(&Upgrade::default()).await;
        let answer: Answer = refused.expect_err("a refusal").downcast()?;
        assert_eq!(answer.status, 403, "{answer}");
        // 13: and there is no new one.
        is_refused(hub, &leaf, AlertDescription::CertificateRevoked).await?;
    }
    let leaf = hub.device("stolen").await?;
    let mut live = Joined::open(hub, &leaf).await?;
    hub.api.revoke_device(ORG, PRODUCT, "stolen").await?;
    live.socket.expect_close(4401, PATIENCE).await?;
    is_refused(hub, &leaf, AlertDescription::CertificateRevoked).await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_to_20_certificates_that_are_not_for_this() -> anyhow::Result<()> {
    let (mut scene, _) = provisioning().await?;
    let hub = &scene.hub;
    for specimen in Specimen::ALL {
        let expected = match specimen {
            // 16: what the certificate says it is for; saying nothing is accepted.
            Specimen::ServerUsageOnly => Some(AlertDescription::UnsupportedCertificate),
            Specimen::UsageAbsent => None,
            // 17
            Specimen::AuthorityAsLeaf => Some(AlertDescription::UnsupportedCertificate),
            Specimen::SignedByLeaf => Some(AlertDescription::UnknownCA),
            // 18
            Specimen::JunkIntermediates | Specimen::DeepPath => {
                Some(AlertDescription::BadCertificate)
            }
            // 19
            Specimen::IntermediateMissing => Some(AlertDescription::UnknownCA),
            // 20
            Specimen::NameConstraintBroken | Specimen::WildcardName => {
                Some(AlertDescription::BadCertificate)
            }
            // 23: names that nobody may go by.
            Specimen::NameWithNul
            | Specimen::NameInUtf16
            | Specimen::NameRightToLeft
            | Specimen::TwoNames
            | Specimen::NamesDiffer
            | Specimen::NoName
            | Specimen::NameTooLong => continue,
            // 10, 11
            Specimen::Expired | Specimen::NotYetValid => continue,
            Specimen::P256 | Specimen::Ed25519 | Specimen::UnderIntermediate => None,
        };
        let name = format!("{specimen:?}").to_lowercase();
        let leaf = specimen.make(&hub.devices, &name)?;
        match expected {
            Some(_) => {
                let alert = refusal(hub, &leaf, Version::Tls13).await?;
                assert_eq!(alert, expected, "{specimen:?}");
            }
            None => drop(
                Joined::open(hub, &leaf)
                    .await
                    .with_context(|| name.clone())?,
            ),
        }
    }
    // 19: an intermediate that is registered itself need not be sent along.
    let floor = hub.devices.intermediate("floor 1")?;
    register(hub, ORG, &floor, Some(PRODUCT)).await?;
    let mut leaf = floor.device("upstairs")?;
    leaf.chain.truncate(1);
    Joined::open(hub, &leaf).await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_and_22_names_and_keys_do_not_cross_orgs() -> anyhow::Result<()> {
    let (mut scene, _) = provisioning().await?;
    let hub = &scene.hub;
    other_org(hub).await?;
    let theirs = Authority::root("their root")?;
    register(hub, OTHER, &theirs, Some(PRODUCT)).await?;

    // 21: one name, two devices.
    let here = Joined::open(hub, &hub.devices.device("twin")?).await?;
    let mut there = Joined::open(hub, &theirs.device("twin")?).await?;
    let ours = hub.root.device(ORG, PRODUCT, "twin").await?;
    let other = hub.root.device(OTHER, PRODUCT, "twin").await?;
    assert_ne!(ours.id, other.id);
    assert!(ours.connection.is_some() && other.connection.is_some());
    super::command(hub, "twin", "identify", &serde_json::json!({})).await?;
    let heard = there.socket.before_heartbeat(PATIENCE).await?;
    assert!(heard.iter().all(|message| message.event != "identify"));
    drop(here);

    // 22: one key is one device, wherever it was first.
    let (mine, copy) = zoo::one_key_two_authorities(&hub.devices, &theirs, "copied")?;
    Joined::open(hub, &mine).await?;
    let reason = upgrade_refused(hub, &hub.dialer(&copy)?, 403).await?;
    assert_eq!(reason, "unknown_certificate");
    assert!(hub.root.device(OTHER, PRODUCT, "copied").await.is_err());
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_doubtful_name_provisions_nobody_and_identifies_nobody() -> anyhow::Result<()> {
    let (mut scene, registered) = provisioning().await?;
    let hub = &scene.hub;
    for specimen in [
        Specimen::NameWithNul,
        Specimen::NameInUtf16,
        Specimen::NameRightToLeft,
        Specimen::TwoNames,
        Specimen::NamesDiffer,
        Specimen::NoName,
        Specimen::NameTooLong,
    ] {
        // The neighbour's name in disguise.
        let leaf = specimen.make(&hub.devices, "neighbour")?;
        let reason = upgrade_refused(hub, &hub.dialer(&leaf)?, 403).await?;
        assert_eq!(reason, "bad_identifier", "{specimen:?}");
    }
    let authority = hub.api.authority(ORG, registered.id).await?;
    assert_eq!(authority.provisioned, 0);
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_many_authorities_of_one_name_do_not_hide_the_victims() -> anyhow::Result<()> {
    /// More than are tried for one certificate.
    const LOOK_ALIKES: usize = 24;
    let mut scene = Scene::start().await?;
    let hub = &scene.hub;
    other_org(hub).await?;
    let subject = "device root";
    for _ in 0..LOOK_ALIKES {
        register(hub, OTHER, &Authority::root(subject)?, Some(PRODUCT)).await?;
    }
    register(hub, ORG, &hub.devices, Some(PRODUCT)).await?;
    for name in ["first", "second"] {
        Joined::open(hub, &hub.devices.device(name)?).await?;
        hub.api.device(ORG, PRODUCT, name).await?;
    }
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_25_and_26_what_is_no_authority_of_the_uploader_is_not_registered()
-> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let hub = &scene.hub;
    let code = hub.api.create_registration(ORG).await?.code;
    let honest = &hub.devices;
    let stranger = Authority::root("stranger")?;
    let flagless = zoo::authority_without_the_flag("flagless")?;
    let two = honest.pem() + &stranger.pem();
    let junk = "-----BEGIN CERTIFICATE-----\n".to_owned() + &"QUJD\n".repeat(20_000);
    let cases = [
        // 25: somebody else's, or with a proof for another code.
        (
            "/verification_pem",
            honest.pem(),
            stranger.proof(&code)?.pem(),
        ),
        ("/verification_pem", honest.pem(), honest.pem()),
        // 26: no authority, over its time, two at once, too large.
        (
            "/certificate_pem",
            flagless.pem(),
            flagless.proof(&code)?.pem(),
        ),
        (
            "/certificate_pem",
            zoo::expired_authority("old")?.pem(),
            honest.proof(&code)?.pem(),
        ),
        ("/certificate_pem", two, honest.proof(&code)?.pem()),
        ("/certificate_pem", junk, honest.proof(&code)?.pem()),
        (
            "/certificate_pem",
            honest.key_pem(),
            honest.proof(&code)?.pem(),
        ),
    ];
    for (pointer, certificate_pem, verification_pem) in cases {
        let body = AuthorityCreate {
            certificate_pem,
            verification_pem,
            provision: None,
        };
        let error = hub.api.create_authority(ORG, &body).await.unwrap_err();
        let problem = error.problem().with_context(|| error.to_string())?;
        assert_eq!(problem.status, 422, "{problem:?}");
        let pointers: Vec<_> = problem.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{problem:?}");
    }
    let wrong_code = AuthorityCreate {
        certificate_pem: honest.pem(),
        verification_pem: honest.proof(&"0".repeat(code.len()))?.pem(),
        provision: None,
    };
    let error = hub
        .api
        .create_authority(ORG, &wrong_code)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("code_unknown"), "{error}");
    // Larger than any body may be: not even read.
    let huge = AuthorityCreate {
        certificate_pem: "A".repeat(2 * 1024 * 1024),
        verification_pem: String::new(),
        provision: None,
    };
    let error = hub.api.create_authority(ORG, &huge).await.unwrap_err();
    assert!(matches!(error.status(), Some(413) | None), "{error}");
    let listed = hub.api.authorities(ORG, &Default::default()).await?;
    assert!(listed.items.is_empty(), "{listed:?}");
    register(hub, ORG, honest, None).await?;
    scene.neighbour_is_served().await
}
