//! One specimen of every kind of certificate a hub must judge, each with a single thing special about it.
//!
//! The list follows the certificate cases of the bad-input table (no. 10–24): what is special is in the
//! name, what the right answer is belongs to the test that presents it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, NameConstraints, SanType,
    string::BmpString,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::{Authority, KeyKind, Leaf};

/// A kind of device certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specimen {
    /// Honest, P-256.
    P256,
    /// Honest, Ed25519.
    Ed25519,
    /// Honest, under an intermediate that it presents.
    UnderIntermediate,
    /// Under an intermediate that it does not present.
    IntermediateMissing,
    /// Its validity ended an hour ago.
    Expired,
    /// Its validity begins in an hour.
    NotYetValid,
    /// Extended key usage says server only.
    ServerUsageOnly,
    /// No extended key usage at all, as many small CAs issue.
    UsageAbsent,
    /// The authority presents itself.
    AuthorityAsLeaf,
    /// A leaf (CA:FALSE) that signed another leaf.
    SignedByLeaf,
    /// A hundred unrelated certificates between leaf and root.
    JunkIntermediates,
    /// A real path of eight intermediates.
    DeepPath,
    /// A DNS name outside the permitted subtree of its intermediate.
    NameConstraintBroken,
    /// A wildcard as subject alternative name.
    WildcardName,
    /// A NUL inside the common name.
    NameWithNul,
    /// A common name in UTF-16 (BMPString).
    NameInUtf16,
    /// A right-to-left override inside the common name.
    NameRightToLeft,
    /// Two common names.
    TwoNames,
    /// A common name that differs from the subject alternative name.
    NamesDiffer,
    /// No subject at all.
    NoName,
    /// A common name of 300 characters.
    NameTooLong,
}

impl Specimen {
    /// Every kind, in the order of the list above.
    pub const ALL: [Self; 21] = [
        Self::P256,
        Self::Ed25519,
        Self::UnderIntermediate,
        Self::IntermediateMissing,
        Self::Expired,
        Self::NotYetValid,
        Self::ServerUsageOnly,
        Self::UsageAbsent,
        Self::AuthorityAsLeaf,
        Self::SignedByLeaf,
        Self::JunkIntermediates,
        Self::DeepPath,
        Self::NameConstraintBroken,
        Self::WildcardName,
        Self::NameWithNul,
        Self::NameInUtf16,
        Self::NameRightToLeft,
        Self::TwoNames,
        Self::NamesDiffer,
        Self::NoName,
        Self::NameTooLong,
    ];

    /// Makes one under `authority`; `common_name` is used where the name is not what is special.
    ///
    /// # Errors
    /// When the certificate cannot be written, which would be a mistake in this file.
    pub fn make(self, authority: &Authority, common_name: &str) -> anyhow::Result<Leaf> {
        let shaped = |shape: &dyn Fn(&mut CertificateParams)| {
            authority.device_with(common_name, KeyKind::P256, shape)
        };
        match self {
            Self::P256 => authority.device(common_name),
            Self::Ed25519 => authority.device_with(common_name, KeyKind::Ed25519, |_| {}),
            Self::UnderIntermediate => authority.intermediate("floor 1")?.device(common_name),
            Self::IntermediateMissing => {
                let mut leaf = authority.intermediate("floor 1")?.device(common_name)?;
                leaf.chain.truncate(1);
                Ok(leaf)
            }
            Self::Expired => shaped(&|params| {
                params.not_after = OffsetDateTime::now_utc() - Duration::hours(1);
            }),
            Self::NotYetValid => shaped(&|params| {
                params.not_before = OffsetDateTime::now_utc() + Duration::hours(1);
            }),
            Self::ServerUsageOnly => shaped(&|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            Self::UsageAbsent => shaped(&|params| params.extended_key_usages.clear()),
            Self::AuthorityAsLeaf => authority.as_leaf(),
            Self::SignedByLeaf => signed_by_leaf(authority, common_name),
            Self::JunkIntermediates => junk_intermediates(authority, common_name),
            Self::DeepPath => deep_path(authority, common_name),
            Self::NameConstraintBroken => name_constraint_broken(authority, common_name),
            Self::WildcardName => with_dns_name(authority, common_name, "*.example.com"),
            Self::NamesDiffer => with_dns_name(authority, common_name, "other.example.com"),
            Self::NameWithNul => with_subject(authority, |subject| {
                subject.push(DnType::CommonName, format!("{common_name}\0.example.com"));
            }),
            Self::NameInUtf16 => {
                let name = BmpString::try_from(common_name)?;
                with_subject(authority, |subject| {
                    subject.push(DnType::CommonName, DnValue::BmpString(name));
                })
            }
            Self::NameRightToLeft => with_subject(authority, |subject| {
                subject.push(DnType::CommonName, format!("{common_name}\u{202e}moc"));
            }),
            Self::TwoNames => with_subject(authority, |subject| {
                subject.push(DnType::CommonName, common_name);
                // The same attribute by number, because the writer keeps one entry per named type.
                subject.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "second-name");
            }),
            Self::NoName => with_subject(authority, |_| {}),
            Self::NameTooLong => with_subject(authority, |subject| {
                subject.push(DnType::CommonName, "n".repeat(300));
            }),
        }
    }
}

/// Two authorities with one subject and different keys: other organisations registering look-alikes.
///
/// # Errors
/// When the certificates cannot be written.
pub fn look_alikes(common_name: &str) -> anyhow::Result<(Authority, Authority)> {
    Ok((Authority::root(common_name)?, Authority::root(common_name)?))
}

/// One device key with a certificate from each of two authorities.
///
/// # Errors
/// When the certificates cannot be written.
pub fn one_key_two_authorities(
    first: &Authority,
    second: &Authority,
    common_name: &str,
) -> anyhow::Result<(Leaf, Leaf)> {
    let mine = first.device(common_name)?;
    let key = KeyPair::from_pem(&mine.key_pem())?;
    let mut params = super::leaf_params(common_name)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let theirs = second.sign(params, key)?;
    Ok((mine, theirs))
}

/// An authority whose own validity ended an hour ago.
///
/// # Errors
/// When the certificate cannot be written.
pub fn expired_authority(common_name: &str) -> anyhow::Result<Authority> {
    Authority::root_with(common_name, |params| {
        params.not_after = OffsetDateTime::now_utc() - Duration::hours(1);
    })
}

/// A root that says it is none (CA:FALSE): not to be registered as an authority.
///
/// # Errors
/// When the certificate cannot be written.
pub fn authority_without_the_flag(common_name: &str) -> anyhow::Result<Authority> {
    Authority::root_with(common_name, |params| params.is_ca = IsCa::ExplicitNoCa)
}

fn signed_by_leaf(authority: &Authority, common_name: &str) -> anyhow::Result<Leaf> {
    // Path building must refuse it: the one in the middle is an honest device, CA:FALSE.
    authority
        .intermediate_with("honest device", |params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })?
        .device(common_name)
}

fn junk_intermediates(authority: &Authority, common_name: &str) -> anyhow::Result<Leaf> {
    /// Enough to be absurd, few enough to fit into one handshake message.
    const JUNK: usize = 100;
    let mut leaf = authority.intermediate("floor 1")?.device(common_name)?;
    let floor = leaf.chain.split_off(1);
    // All with the name that the leaf's issuer has, so that a path builder tries every one of them.
    let stranger = Authority::root("floor 1")?;
    let junk: Vec<CertificateDer<'static>> = std::iter::repeat_with(|| {
        let junk = stranger.intermediate("floor 1")?;
        Ok(junk.der().clone())
    })
    .take(JUNK)
    .collect::<anyhow::Result<_>>()?;
    leaf.chain.extend(junk);
    leaf.chain.extend(floor);
    Ok(leaf)
}

fn deep_path(authority: &Authority, common_name: &str) -> anyhow::Result<Leaf> {
    /// More than any honest fleet and more than the verifier's budget of six.
    const FLOORS: usize = 8;
    let mut top = authority.intermediate("floor 1")?;
    for floor in 2..=FLOORS {
        top = top.intermediate(&format!("floor {floor}"))?;
    }
    top.device(common_name)
}

fn name_constraint_broken(authority: &Authority, common_name: &str) -> anyhow::Result<Leaf> {
    let fenced = authority.intermediate_with("fenced", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("inside.example.com".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    })?;
    with_dns_name(&fenced, common_name, "outside.example.org")
}

fn with_subject(
    authority: &Authority,
    write: impl FnOnce(&mut DistinguishedName),
) -> anyhow::Result<Leaf> {
    let mut subject = DistinguishedName::new();
    write(&mut subject);
    authority.device_with("", KeyKind::P256, |params| {
        params.distinguished_name = subject;
    })
}

fn with_dns_name(authority: &Authority, common_name: &str, dns: &str) -> anyhow::Result<Leaf> {
    let dns = SanType::DnsName(dns.try_into()?);
    authority.device_with(common_name, KeyKind::P256, |params| {
        params.subject_alt_names = vec![dns];
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_specimen_can_be_made() {
        let root = Authority::root("zoo").unwrap();
        for specimen in Specimen::ALL {
            let leaf = specimen.make(&root, "device-1").unwrap();
            assert!(!leaf.der().is_empty(), "{specimen:?}");
        }
    }

    #[test]
    fn a_chain_holds_what_its_name_says() {
        let root = Authority::root("zoo").unwrap();
        let length = |specimen: Specimen| specimen.make(&root, "device-1").unwrap().chain.len();
        assert_eq!(length(Specimen::P256), 1);
        assert_eq!(length(Specimen::UnderIntermediate), 2);
        assert_eq!(length(Specimen::IntermediateMissing), 1);
        assert_eq!(length(Specimen::JunkIntermediates), 102);
        assert_eq!(length(Specimen::DeepPath), 9);
    }

    #[test]
    fn one_key_can_stand_in_two_certificates() {
        let (first, second) = look_alikes("Acme").unwrap();
        let (mine, theirs) = one_key_two_authorities(&first, &second, "device-1").unwrap();
        assert_eq!(mine.key_pem(), theirs.key_pem());
        assert_ne!(mine.der(), theirs.der());
    }
}
