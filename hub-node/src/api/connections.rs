//! Who is connected now.

use super::ApiState;
use super::orgs::OrgAt;
use super::paging::{PageParams, Paging};
use super::problem::Answer;
use super::scope::Viewer;
use axum::extract::State;
use hub_proto::api::{Connection, Page};

/// List an org's live connections.
#[utoipa::path(get, path = "/orgs/{org}/connections", tag = "devices", security(("bearer" = ["viewer"])),
    params(OrgAt, PageParams),
    responses((status = 200, description = "a page of connections", body = Page<Connection>)))]
pub async fn list_connections(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    paging: Paging,
) -> Answer<axum::Json<Page<Connection>>> {
    Ok(axum::Json(paging.page(
        state.store.connections(scope.id(), paging.query()).await?,
    )))
}
