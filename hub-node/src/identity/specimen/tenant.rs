//! Orgs in a real store, with authorities registered the way an operator registers them.

use std::sync::Arc;

use hub_proto::id::{CaId, OrgId, ProductId};
use hub_proto::slug::Slug;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::{Ca, Leaf, now};
use crate::identity::registration::{check_authority, read_device_certificate};
use crate::identity::revocations::Revocations;
use crate::identity::verdicts::Verdicts;
use crate::store::Store;
use crate::store::records::{DevicePath, NewCertificate, ProductPath, Registration};
use crate::store::sqlite::SqliteStore;

/// A store with one tenant in it.
pub(crate) struct Tenant {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) org: OrgId,
    pub(crate) product: ProductId,
    _folder: Arc<TempDir>,
}

impl Tenant {
    /// The first tenant of a new store.
    pub(crate) async fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(&folder.path().join("hub.db"))
                .await
                .unwrap(),
        );
        let verdicts = Verdicts::new(
            Arc::clone(&store),
            crate::database::Database::default(),
            Arc::new(Revocations::load(None).unwrap()),
        );
        Self::named("acme", store, verdicts, folder).await
    }

    /// Another tenant of the same store.
    pub(crate) async fn beside(&self, name: &str) -> Self {
        Self::named(
            name,
            Arc::clone(&self.store),
            Arc::clone(&self.verdicts),
            Arc::clone(&self._folder),
        )
        .await
    }

    async fn named(
        name: &str,
        store: Arc<dyn Store>,
        verdicts: Arc<Verdicts>,
        folder: Arc<TempDir>,
    ) -> Self {
        let org = store.create_org(&slug(name)).await.unwrap().id;
        let product = store
            .create_product(org, &slug("gateway"))
            .await
            .unwrap()
            .id;
        Self {
            store,
            verdicts,
            org,
            product,
            _folder: folder,
        }
    }

    /// Registers an authority; with a quota, it provisions.
    pub(crate) async fn register(&self, ca: &Ca, quota: Option<u32>) -> CaId {
        let code = format!("code{:032x}", rand::random::<u128>());
        let expires_at = hub_proto::time::Timestamp(now().0 + 60_000_000);
        let registration = Registration {
            org: self.org,
            code: code.clone(),
            expires_at,
        };
        self.store.create_registration(registration).await.unwrap();
        let proof = ca.leaf(&code).certificate.pem();
        let checked = check_authority(&ca.certificate.pem(), &proof, &code, now()).unwrap();
        let new = checked.into_new(self.org, code, quota.map(|quota| (self.product, quota)));
        self.store.create_authority(new, now()).await.unwrap().id
    }

    /// Creates a device and pins a certificate to it.
    pub(crate) async fn pin(&self, name: &str, leaf: &Leaf) -> NewCertificate {
        let path = ProductPath {
            org: self.org,
            product: "gateway",
        };
        self.store.create_device(path, &slug(name)).await.unwrap();
        let certificate = read_device_certificate(&leaf.certificate.pem(), now()).unwrap();
        self.store
            .pin_certificate(self.device(name), certificate.clone())
            .await
            .unwrap();
        certificate
    }

    /// A device of this tenant.
    pub(crate) fn device<'a>(&self, name: &'a str) -> DevicePath<'a> {
        DevicePath {
            product: ProductPath {
                org: self.org,
                product: "gateway",
            },
            device: name,
        }
    }
}

/// The certificates of a session, as TLS reports them.
pub(crate) fn chain(leaf: &Leaf, issuers: &[&Ca]) -> Vec<CertificateDer<'static>> {
    let issuers = issuers.iter().map(|ca| ca.der().clone());
    std::iter::once(leaf.der().clone()).chain(issuers).collect()
}

fn slug(name: &str) -> Slug {
    name.parse().unwrap()
}
