//! Certificate authorities of an org: registered with proof that their key is held, and revoked for good.

use super::ApiState;
use super::orgs::OrgAt;
use super::paging::{PageParams, Paging};
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::{Admin, Scope, Viewer};
use crate::identity::certificate::CertificateFacts;
use crate::identity::registration::{VERIFICATION_FIELD, check_authority};
use crate::store::StoreError;
use crate::store::records;
use axum::extract::State;
use axum::http::StatusCode;
use hub_core::limits::REGISTRATION_TTL;
use hub_proto::api::authority::PROVISION_QUOTA_MAX;
use hub_proto::api::{
    Authority, AuthorityCreate, AuthorityUpdate, Page, Provisioning, Registration,
};
use hub_proto::id::{CaId, ProductId};
use rand::Rng;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use utoipa::IntoParams;

/// Random bytes of a registration code.
const CODE_BYTES: usize = 16;

/// Path of an authority.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AuthorityAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Id of the authority.
    id: CaId,
}

/// Issue a code that proves possession of an authority's key: sign a certificate with it as the common name.
#[utoipa::path(post, path = "/orgs/{org}/ca-registrations", tag = "authorities", security(("bearer" = ["admin"])),
    params(OrgAt), responses((status = 201, description = "the code, good once and for a day", body = Registration)))]
pub async fn create_registration(
    Admin(scope): Admin,
    State(state): State<ApiState>,
) -> Answer<(StatusCode, axum::Json<Registration>)> {
    let mut code = [0_u8; CODE_BYTES];
    rand::rng().fill_bytes(&mut code);
    let code = hex::encode(code);
    let expires_at = state.now().saturating_add(REGISTRATION_TTL);
    let registration = records::Registration {
        org: scope.id(),
        code: code.clone(),
        expires_at,
    };
    state.store.create_registration(registration).await?;
    Ok((
        StatusCode::CREATED,
        axum::Json(Registration { code, expires_at }),
    ))
}

/// The product and quota of a provisioning, checked. A product of another org is as wrong as one that does not exist.
async fn provisioning(
    state: &ApiState,
    scope: &Scope,
    asked: Option<Provisioning>,
) -> Answer<Option<(ProductId, u32)>> {
    let Some(asked) = asked else { return Ok(None) };
    if !(1..=PROVISION_QUOTA_MAX).contains(&asked.quota) {
        return Err(Refused::field(
            "/provision/quota",
            format!("must be from 1 to {PROVISION_QUOTA_MAX}"),
        ));
    }
    match state.store.product(scope.product(&asked.product)?).await {
        Ok(product) => Ok(Some((product.id, asked.quota))),
        Err(StoreError::NotFound { .. }) => Err(Refused::field(
            "/provision/product",
            "the org has no product with this name",
        )),
        Err(error) => Err(error.into()),
    }
}

/// The code a verification certificate was made for: its common name.
fn code_of(verification_pem: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(verification_pem.as_bytes()).ok()?;
    CertificateFacts::read(&der)
        .ok()?
        .name
        .ok()
        .map(|name| name.to_string())
}

/// Register an authority: certificates it signs can be recognised as this org's.
#[utoipa::path(post, path = "/orgs/{org}/ca-certificates", tag = "authorities", security(("bearer" = ["admin"])),
    params(OrgAt), request_body = AuthorityCreate,
    responses((status = 201, description = "registered", body = Authority)))]
pub async fn create_authority(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    Json(new): Json<AuthorityCreate>,
) -> Answer<(StatusCode, axum::Json<Authority>)> {
    let now = state.now();
    let provisioning = provisioning(&state, &scope, new.provision).await?;
    let code = code_of(&new.verification_pem).ok_or_else(|| {
        Refused::field(
            format!("/{VERIFICATION_FIELD}"),
            "must be one certificate with a registration code as its common name",
        )
    })?;
    let checked = check_authority(&new.certificate_pem, &new.verification_pem, &code, now)
        .map_err(|fault| Refused::field(format!("/{}", fault.field), fault.detail))?;
    let authority = checked.into_new(scope.id(), code, provisioning);
    let authority = state.store.create_authority(authority, now).await?;
    Ok((StatusCode::CREATED, axum::Json(authority.into())))
}

/// List an org's authorities.
#[utoipa::path(get, path = "/orgs/{org}/ca-certificates", tag = "authorities", security(("bearer" = ["viewer"])),
    params(OrgAt, PageParams), responses((status = 200, description = "a page of authorities", body = Page<Authority>)))]
pub async fn list_authorities(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    paging: Paging,
) -> Answer<axum::Json<Page<Authority>>> {
    Ok(axum::Json(paging.page(
        state.store.authorities(scope.id(), paging.query()).await?,
    )))
}

/// Show an authority.
#[utoipa::path(get, path = "/orgs/{org}/ca-certificates/{id}", tag = "authorities", security(("bearer" = ["viewer"])),
    params(AuthorityAt), responses((status = 200, description = "the authority", body = Authority)))]
pub async fn get_authority(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<AuthorityAt>,
) -> Answer<axum::Json<Authority>> {
    Ok(axum::Json(
        state.store.authority(scope.id(), at.id).await?.into(),
    ))
}

/// Turn an authority's provisioning on or off.
#[utoipa::path(patch, path = "/orgs/{org}/ca-certificates/{id}", tag = "authorities", security(("bearer" = ["admin"])),
    params(AuthorityAt), request_body = AuthorityUpdate,
    responses((status = 200, description = "the changed authority", body = Authority)))]
pub async fn update_authority(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<AuthorityAt>,
    Json(update): Json<AuthorityUpdate>,
) -> Answer<axum::Json<Authority>> {
    // The authority is looked up first: what is not there has no wrong fields.
    state.store.authority(scope.id(), at.id).await?;
    let provisioning = provisioning(&state, &scope, update.provision).await?;
    Ok(axum::Json(
        state
            .store
            .set_provisioning(scope.id(), at.id, provisioning)
            .await?
            .into(),
    ))
}

/// Revoke an authority for good: sockets of devices it vouches for are closed.
#[utoipa::path(post, path = "/orgs/{org}/ca-certificates/{id}/revoke", tag = "authorities",
    security(("bearer" = ["admin"])), params(AuthorityAt),
    responses((status = 200, description = "revoked", body = Authority)))]
pub async fn revoke_authority(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<AuthorityAt>,
) -> Answer<axum::Json<Authority>> {
    let changed = state
        .store
        .revoke_authority(scope.id(), at.id, state.now())
        .await?;
    Ok(axum::Json(state.committed(changed).await.into()))
}
