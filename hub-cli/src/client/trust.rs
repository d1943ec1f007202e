//! What an org trusts: certificates, authorities, signing keys.

use super::{Client, ClientError, PageOf};
use crate::paths::path;
use hub_proto::api::{
    Authority, AuthorityCreate, AuthorityUpdate, Certificate, CertificateCreate, Page,
    Registration, SigningKey, SigningKeyCreate,
};
use hub_proto::id::{CaId, KeyId};
use reqwest::Method;

fn certificates_path(org: &str, product: &str, device: &str, rest: &[&str]) -> String {
    path(
        &[
            &[
                "orgs",
                org,
                "products",
                product,
                "devices",
                device,
                "certificates",
            ],
            rest,
        ]
        .concat(),
    )
}

impl Client {
    /// Pins a certificate to a device.
    pub async fn pin_certificate(
        &self,
        org: &str,
        product: &str,
        device: &str,
        body: &CertificateCreate,
    ) -> Result<Certificate, ClientError> {
        self.post(&certificates_path(org, product, device, &[]), body)
            .await
    }

    /// A device's certificates.
    pub async fn certificates(
        &self,
        org: &str,
        product: &str,
        device: &str,
    ) -> Result<Page<Certificate>, ClientError> {
        self.get(&certificates_path(org, product, device, &[]))
            .await
    }

    /// Revokes a certificate for good, by its SHA-256 in hexadecimal.
    pub async fn revoke_certificate(
        &self,
        org: &str,
        product: &str,
        device: &str,
        sha256: &str,
    ) -> Result<Certificate, ClientError> {
        self.act(&certificates_path(
            org,
            product,
            device,
            &[sha256, "revoke"],
        ))
        .await
    }

    /// Issues a code that proves possession of an authority's key.
    pub async fn create_registration(&self, org: &str) -> Result<Registration, ClientError> {
        self.act(&path(&["orgs", org, "ca-registrations"])).await
    }

    /// Registers an authority.
    pub async fn create_authority(
        &self,
        org: &str,
        body: &AuthorityCreate,
    ) -> Result<Authority, ClientError> {
        self.post(&path(&["orgs", org, "ca-certificates"]), body)
            .await
    }

    /// Authorities of an org.
    pub async fn authorities(
        &self,
        org: &str,
        page: &PageOf,
    ) -> Result<Page<Authority>, ClientError> {
        self.list(&path(&["orgs", org, "ca-certificates"]), page)
            .await
    }

    /// One authority.
    pub async fn authority(&self, org: &str, id: CaId) -> Result<Authority, ClientError> {
        self.get(&path(&["orgs", org, "ca-certificates", &id.to_string()]))
            .await
    }

    /// Turns an authority's provisioning on or off.
    pub async fn update_authority(
        &self,
        org: &str,
        id: CaId,
        body: &AuthorityUpdate,
    ) -> Result<Authority, ClientError> {
        self.change(
            Method::PATCH,
            &path(&["orgs", org, "ca-certificates", &id.to_string()]),
            body,
        )
        .await
    }

    /// Revokes an authority for good.
    pub async fn revoke_authority(&self, org: &str, id: CaId) -> Result<Authority, ClientError> {
        self.act(&path(&[
            "orgs",
            org,
            "ca-certificates",
            &id.to_string(),
            "revoke",
        ]))
        .await
    }

    /// Registers a signing key.
    pub async fn create_signing_key(
        &self,
        org: &str,
        body: &SigningKeyCreate,
    ) -> Result<SigningKey, ClientError> {
        self.post(&path(&["orgs", org, "signing-keys"]), body).await
    }

    /// Signing keys of an org.
    pub async fn signing_keys(&self, org: &str) -> Result<Page<SigningKey>, ClientError> {
        self.get(&path(&["orgs", org, "signing-keys"])).await
    }

    /// Removes a signing key.
    pub async fn delete_signing_key(&self, org: &str, id: KeyId) -> Result<(), ClientError> {
        self.done(
            Method::DELETE,
            &path(&["orgs", org, "signing-keys", &id.to_string()]),
        )
        .await
    }
}
