//! Devices: registering them, what they should run, whether they may connect.

use super::orgs::ProductAt;
use super::paging::{PageParams, Paging};
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::{Operator, Viewer};
use super::targets::{guarded, refuse_downgrade};
use super::{ApiState, new_name, targeted};
use axum::extract::State;
use axum::http::StatusCode;
use hub_proto::api::{Connection, Device, DeviceCreate, Page, TargetSet};
use serde::Deserialize;
use utoipa::IntoParams;

/// Path of a device.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DeviceAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Name of the product.
    pub product: String,
    /// Name of the device.
    pub device: String,
}

/// Register a device.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/devices", tag = "devices",
    security(("bearer" = ["operator"])), params(ProductAt), request_body = DeviceCreate,
    responses((status = 201, description = "registered", body = Device)))]
pub async fn create_device(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
    Json(new): Json<DeviceCreate>,
) -> Answer<(StatusCode, axum::Json<Device>)> {
    new_name(&new.name, "/name")?;
    let device = state
        .store
        .create_device(scope.product(&at.product)?, &new.name)
        .await?;
    Ok((StatusCode::CREATED, axum::Json(device.into())))
}

/// List a product's devices.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/devices", tag = "devices",
    security(("bearer" = ["viewer"])), params(ProductAt, PageParams),
    responses((status = 200, description = "a page of devices", body = Page<Device>)))]
pub async fn list_devices(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
    paging: Paging,
) -> Answer<axum::Json<Page<Device>>> {
    let page = state
        .store
        .devices(scope.product(&at.product)?, paging.query())
        .await?;
    Ok(axum::Json(paging.page(page)))
}

/// Show a device.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/devices/{device}", tag = "devices",
    security(("bearer" = ["viewer"])), params(DeviceAt),
    responses((status = 200, description = "the device", body = Device)))]
pub async fn get_device(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
) -> Answer<axum::Json<Device>> {
    Ok(axum::Json(
        state
            .store
            .device(scope.device(&at.product, &at.device)?)
            .await?
            .into(),
    ))
}

/// Delete a device with all that belongs to it; its socket is closed.
#[utoipa::path(delete, path = "/orgs/{org}/products/{product}/devices/{device}", tag = "devices",
    security(("bearer" = ["operator"])), params(DeviceAt), responses((status = 204, description = "deleted")))]
pub async fn delete_device(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
) -> Answer<StatusCode> {
    let changed = state
        .store
        .delete_device(scope.device(&at.product, &at.device)?)
        .await?;
    state.committed(changed).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke a device: its socket is closed and it may not connect until it is reinstated.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/devices/{device}/revoke", tag = "devices",
    security(("bearer" = ["operator"])), params(DeviceAt),
    responses((status = 200, description = "revoked", body = Device)))]
pub async fn revoke_device(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
) -> Answer<axum::Json<Device>> {
    let path = scope.device(&at.product, &at.device)?;
    let changed = state
        .store
        .set_device_revoked(path, true, state.now())
        .await?;
    Ok(axum::Json(state.committed(changed).await.into()))
}

/// Let a revoked device connect again.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/devices/{device}/reinstate", tag = "devices",
    security(("bearer" = ["operator"])), params(DeviceAt),
    responses((status = 200, description = "reinstated", body = Device)))]
pub async fn reinstate_device(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
) -> Answer<axum::Json<Device>> {
    let path = scope.device(&at.product, &at.device)?;
    let changed = state
        .store
        .set_device_revoked(path, false, state.now())
        .await?;
    Ok(axum::Json(state.committed(changed).await.into()))
}

/// Set or clear a device's own target.
#[utoipa::path(put, path = "/orgs/{org}/products/{product}/devices/{device}/target", tag = "devices",
    security(("bearer" = ["operator"])), params(DeviceAt), request_body = TargetSet,
    responses((status = 200, description = "the device with its new target", body = Device)))]
pub async fn target_device(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
    Json(target): Json<TargetSet>,
) -> Answer<axum::Json<Device>> {
    let uuid = target.firmware.map(|uuid| uuid.to_string());
    let path = scope.device(&at.product, &at.device)?;
    if let Some(uuid) = guarded(&target) {
        let present = state.store.device(path).await?;
        let version = match &present.target {
            Some(target) => Some(target.version.as_str()),
            None => present.firmware.get("version").map(String::as_str),
        };
        refuse_downgrade(&state, path.product, &uuid, version).await?;
    }
    let changed = state
        .store
        .set_device_target(path, uuid.as_deref())
        .await
        .map_err(targeted)?;
    Ok(axum::Json(state.committed(changed).await.into()))
}

/// Show a device's live connection.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/devices/{device}/connection", tag = "devices",
    security(("bearer" = ["viewer"])), params(DeviceAt),
    responses((status = 200, description = "the connection; 404 while it is away", body = Connection)))]
pub async fn get_connection(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
) -> Answer<axum::Json<Connection>> {
    let device = state
        .store
        .device(scope.device(&at.product, &at.device)?)
        .await?;
    let connection = device
        .connection
        .ok_or(Refused::NotFound { what: "connection" })?;
    Ok(axum::Json(connection.into()))
}
