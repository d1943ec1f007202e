//! Certificates pinned to a device.

use super::devices::DeviceAt;
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::{Admin, Viewer};
use super::{ApiState, view};
use crate::identity::registration::read_device_certificate;
use axum::extract::State;
use axum::http::StatusCode;
use hub_proto::api::{Certificate, CertificateCreate, Page};
use serde::Deserialize;
use utoipa::IntoParams;

/// Path of a certificate.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct CertificateAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Name of the product.
    product: String,
    /// Name of the device.
    device: String,
    /// SHA-256 of the certificate, 64 hexadecimal digits.
    sha256: String,
}

/// Pin a certificate to a device: from now on its holder is this device.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/devices/{device}/certificates", tag = "certificates",
    security(("bearer" = ["admin"])), params(DeviceAt), request_body = CertificateCreate,
    responses((status = 201, description = "pinned", body = Certificate)))]
pub async fn pin_certificate(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
    Json(new): Json<CertificateCreate>,
) -> Answer<(StatusCode, axum::Json<Certificate>)> {
    let path = scope.device(&at.product, &at.device)?;
    let certificate = read_device_certificate(&new.certificate_pem, state.now())
        .map_err(|fault| Refused::field(format!("/{}", fault.field), fault.detail))?;
    let pinned = state.store.pin_certificate(path, certificate).await?;
    Ok((StatusCode::CREATED, axum::Json(pinned.into())))
}

/// List a device's certificates; there is one page.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/devices/{device}/certificates", tag = "certificates",
    security(("bearer" = ["viewer"])), params(DeviceAt),
    responses((status = 200, description = "all certificates of the device", body = Page<Certificate>)))]
pub async fn list_certificates(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
) -> Answer<axum::Json<Page<Certificate>>> {
    let rows = state
        .store
        .certificates(scope.device(&at.product, &at.device)?)
        .await?;
    Ok(axum::Json(Page {
        items: rows.into_iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}

/// Revoke a certificate for good; a socket that it opened is closed.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/devices/{device}/certificates/{sha256}/revoke",
    tag = "certificates", security(("bearer" = ["admin"])), params(CertificateAt),
    responses((status = 200, description = "revoked", body = Certificate)))]
pub async fn revoke_certificate(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<CertificateAt>,
) -> Answer<axum::Json<Certificate>> {
    let path = scope.device(&at.product, &at.device)?;
    let sha256 = view::unhex32(&at.sha256).ok_or(Refused::NotFound {
        what: "certificate",
    })?;
    let changed = state
        .store
        .revoke_certificate(path, sha256, state.now())
        .await?;
    Ok(axum::Json(state.committed(changed).await.into()))
}
