//! Firmware of a product: uploaded as a stream, verified while it arrives, and listed.
//!
//! The file comes first and the row second, so that a row never names a missing file. An upload is idempotent by the firmware's own uuid:
//! repeating it is answered `firmware_exists`.

use super::ApiState;
use super::orgs::ProductAt;
use super::paging::{PageParams, Paging};
use super::problem::{Answer, Refused};
use super::read::At;
use super::scope::{Admin, Viewer};
use crate::blobs::BlobId;
use crate::intake::{IntakeError, Intaken, intake};
use crate::store::records::{NewFirmware, SigningKey};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use hub_firmware::PublicKey;
use hub_proto::api::{Firmware, Page};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use utoipa::IntoParams;
use uuid::Uuid;

/// Path of a firmware.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FirmwareAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Name of the product.
    product: String,
    /// Uuid of the firmware.
    uuid: Uuid,
}

fn refused(error: IntakeError) -> Refused {
    match error {
        IntakeError::Refused(fault) => Refused::BadFirmware(with_causes(&fault)),
        IntakeError::TooLarge { limit } => Refused::TooLarge { bytes_max: limit },
        IntakeError::Stalled | IntakeError::Broken(_) => Refused::BadRequest {
            code: "body_cut_short",
            detail: error.to_string(),
        },
        IntakeError::Busy => Refused::Unavailable {
            code: "busy",
            detail: "too many uploads at a time",
        },
        IntakeError::Storage(source) => {
            tracing::error!(error = &source as &dyn Error, "an upload cannot be stored");
            Refused::Unavailable {
                code: "storage_unavailable",
                detail: "the hub cannot store firmware now",
            }
        }
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The row of a verified upload.
fn row(firmware: &hub_firmware::Firmware, keys: &[SigningKey]) -> Answer<NewFirmware> {
    let metadata = firmware.metadata.clone();
    let named = [
        ("author", metadata.author),
        ("description", metadata.description),
        ("vcs", metadata.vcs),
        ("misc", metadata.misc),
    ];
    let named = named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let extra: BTreeMap<String, String> = metadata.extra.into_iter().chain(named).collect();
    Ok(NewFirmware {
        uuid: firmware.uuid.to_string(),
        version: metadata.version,
        product: metadata.product,
        platform: metadata.platform,
        architecture: metadata.architecture,
        extra,
        size: firmware.size,
        sha256: firmware.sha256,
        key: keys.get(firmware.key).ok_or(Refused::Internal)?.id,
    })
}

/// Upload a firmware: the raw `.fw` file, signed with one of the org's keys.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/firmware", tag = "firmware",
    security(("bearer" = ["admin"])), params(ProductAt),
    request_body(content = String, content_type = "application/octet-stream", description = "the .fw file"),
    responses((status = 201, description = "verified and stored; 409 `firmware_exists` when the product has it", body = Firmware)))]
pub async fn upload_firmware(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
    request: Request,
) -> Answer<(StatusCode, axum::Json<Firmware>)> {
    let path = scope.product(&at.product)?;
    state.store.product(path).await?;
    let keys = state.store.signing_keys(scope.id()).await?;
    let mut usable = Vec::with_capacity(keys.len());
    for key in &keys {
        // Keys were checked when they were registered.
        usable.push(PublicKey::from_bytes(&key.public_key).map_err(|_| Refused::Internal)?);
    }
    let body = request.into_body().into_data_stream();
    let Intaken { firmware, blob } =
        intake(body, state.limits.firmware_bytes_max, &usable, &state.blobs)
            .await
            .map_err(refused)?;
    let stored = match row(&firmware, &keys) {
        Ok(row) => state
            .store
            .create_firmware(path, row)
            .await
            .map_err(Refused::from),
        Err(error) => Err(error),
    };
    match stored {
        Ok(record) => Ok((StatusCode::CREATED, axum::Json(record.into()))),
        // The row may have been written although the database did not say so: then its file must stay.
        Err(error @ (Refused::Unavailable { .. } | Refused::Internal)) => Err(error),
        Err(error) => {
            if let Err(source) = blob.discard().await {
                tracing::warn!(
                    error = &source as &dyn Error,
                    "the file of a refused upload stays"
                );
            }
            Err(error)
        }
    }
}

/// List a product's firmware.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/firmware", tag = "firmware",
    security(("bearer" = ["viewer"])), params(ProductAt, PageParams),
    responses((status = 200, description = "a page of firmware", body = Page<Firmware>)))]
pub async fn list_firmware(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
    paging: Paging,
) -> Answer<axum::Json<Page<Firmware>>> {
    let page = state
        .store
        .firmwares(scope.product(&at.product)?, paging.query())
        .await?;
    Ok(axum::Json(paging.page(page)))
}

/// Show a firmware.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/firmware/{uuid}", tag = "firmware",
    security(("bearer" = ["viewer"])), params(FirmwareAt),
    responses((status = 200, description = "the firmware", body = Firmware)))]
pub async fn get_firmware(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<FirmwareAt>,
) -> Answer<axum::Json<Firmware>> {
    let record = state
        .store
        .firmware(scope.product(&at.product)?, &at.uuid.to_string())
        .await?;
    Ok(axum::Json(record.into()))
}

/// Delete a firmware that nothing targets.
#[utoipa::path(delete, path = "/orgs/{org}/products/{product}/firmware/{uuid}", tag = "firmware",
    security(("bearer" = ["admin"])), params(FirmwareAt), responses((status = 204, description = "deleted")))]
pub async fn delete_firmware(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<FirmwareAt>,
) -> Answer<StatusCode> {
    let path = scope.product(&at.product)?;
    let uuid = at.uuid.to_string();
    let sha256 = state.store.firmware(path, &uuid).await?.firmware.sha256;
    let unused = state.store.delete_firmware(path, &uuid).await?;
    if unused && let Err(source) = state.blobs.delete(BlobId(sha256)).await {
        // The row is gone, which is what was asked; the file only takes room.
        tracing::warn!(
            error = &source as &dyn Error,
            "the file of a deleted firmware stays"
        );
    }
    Ok(StatusCode::NO_CONTENT)
}
