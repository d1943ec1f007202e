//! Certificates for tests, made when they are needed: good ones, and every kind of bad one.

use std::sync::Arc;
use std::time::SystemTime;

use hub_proto::id::{CaId, OrgId};
use hub_proto::time::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::store::records::Anchor;

pub(crate) mod tenant;

/// The moment the tests happen at.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Another moment, in days from now.
pub(crate) fn days(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::days(days)
}

/// A certificate with its key.
pub(crate) struct Leaf {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Leaf {
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }
}

/// An authority with its key.
pub(crate) struct Ca {
    pub(crate) certificate: Certificate,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// A self-signed authority.
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    /// A self-signed authority with something changed.
    pub(crate) fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(name, change);
        Self {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    /// An authority below this one, with something changed.
    pub(crate) fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(name, change);
        Self {
            certificate: params.signed_by(&key, &self.issuer).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A device's certificate.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(name, |_| {})
    }

    /// A device's certificate with something changed.
    pub(crate) fn leaf_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        self.leaf_for(KeyPair::generate().unwrap(), name, change)
    }

    /// A certificate for a key that exists already.
    pub(crate) fn leaf_for(
        &self,
        key: KeyPair,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        Leaf {
            certificate: params.signed_by(&key, &self.issuer).unwrap(),
            key,
        }
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The row of a registered authority.
    pub(crate) fn anchor(&self, id: i64) -> Anchor {
        let der: Arc<[u8]> = Arc::from(self.der().as_ref());
        Anchor {
            authority: CaId(id),
            org: OrgId(1),
            der,
            revoked: false,
            provisions: true,
        }
    }
}

/// Parameters with a common name and a year around now.
pub(crate) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = days(-1);
    params.not_after = days(365);
    params.distinguished_name = subject(name);
    params
}

/// A subject that is one common name.
pub(crate) fn subject(name: impl Into<DnValue>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// An extension with any content, sound or not.
pub(crate) fn extension(oid: &[u64], der: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(oid, der.to_vec())
}

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    params
}
