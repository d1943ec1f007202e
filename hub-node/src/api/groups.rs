//! Groups of devices and their members.

use super::orgs::ProductAt;
use super::paging::{PageParams, Paging};
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::{Operator, Viewer};
use super::targets::{guarded, refuse_downgrade};
use super::{ApiState, new_name, targeted};
use crate::store::records::NewGroup;
use axum::extract::State;
use axum::http::StatusCode;
use hub_proto::api::group::{MEMBERS_ADD_MAX, PRIORITY_MAX};
use hub_proto::api::{
    Device, Group, GroupCreate, GroupUpdate, MembersAdd, MembersAdded, Page, TargetSet,
};
use serde::Deserialize;
use utoipa::IntoParams;

/// Path of a group.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct GroupAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Name of the product.
    pub product: String,
    /// Name of the group.
    pub group: String,
}

/// Path of a member of a group.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct MemberAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Name of the product.
    product: String,
    /// Name of the group.
    group: String,
    /// Name of the device.
    device: String,
}

fn priority(value: i32) -> Answer<i32> {
    if (-PRIORITY_MAX..=PRIORITY_MAX).contains(&value) {
        return Ok(value);
    }
    Err(Refused::field(
        "/priority",
        format!("must be from -{PRIORITY_MAX} to {PRIORITY_MAX}"),
    ))
}

/// Make a group.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/groups", tag = "groups",
    security(("bearer" = ["operator"])), params(ProductAt), request_body = GroupCreate,
    responses((status = 201, description = "made", body = Group)))]
pub async fn create_group(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
    Json(new): Json<GroupCreate>,
) -> Answer<(StatusCode, axum::Json<Group>)> {
    new_name(&new.name, "/name")?;
    let group = NewGroup {
        name: new.name,
        priority: priority(new.priority)?,
    };
    let group = state
        .store
        .create_group(scope.product(&at.product)?, group)
        .await?;
    Ok((StatusCode::CREATED, axum::Json(group.into())))
}

/// List a product's groups.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/groups", tag = "groups",
    security(("bearer" = ["viewer"])), params(ProductAt, PageParams),
    responses((status = 200, description = "a page of groups", body = Page<Group>)))]
pub async fn list_groups(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
    paging: Paging,
) -> Answer<axum::Json<Page<Group>>> {
    let page = state
        .store
        .groups(scope.product(&at.product)?, paging.query())
        .await?;
    Ok(axum::Json(paging.page(page)))
}

/// Show a group.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/groups/{group}", tag = "groups",
    security(("bearer" = ["viewer"])), params(GroupAt),
    responses((status = 200, description = "the group", body = Group)))]
pub async fn get_group(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
) -> Answer<axum::Json<Group>> {
    Ok(axum::Json(
        state
            .store
            .group(scope.group(&at.product, &at.group)?)
            .await?
            .into(),
    ))
}

/// Change a group's priority.
#[utoipa::path(patch, path = "/orgs/{org}/products/{product}/groups/{group}", tag = "groups",
    security(("bearer" = ["operator"])), params(GroupAt), request_body = GroupUpdate,
    responses((status = 200, description = "the changed group", body = Group)))]
pub async fn update_group(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
    Json(update): Json<GroupUpdate>,
) -> Answer<axum::Json<Group>> {
    let path = scope.group(&at.product, &at.group)?;
    let changed = state
        .store
        .set_group_priority(path, priority(update.priority)?)
        .await?;
    Ok(axum::Json(state.committed(changed).await.into()))
}

/// Delete a group: every membership ends now, and its members are told to leave.
#[utoipa::path(delete, path = "/orgs/{org}/products/{product}/groups/{group}", tag = "groups",
    security(("bearer" = ["operator"])), params(GroupAt), responses((status = 204, description = "deleted")))]
pub async fn delete_group(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
) -> Answer<StatusCode> {
    let changed = state
        .store
        .delete_group(scope.group(&at.product, &at.group)?)
        .await?;
    state.committed(changed).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Set or clear a group's target.
#[utoipa::path(put, path = "/orgs/{org}/products/{product}/groups/{group}/target", tag = "groups",
    security(("bearer" = ["operator"])), params(GroupAt), request_body = TargetSet,
    responses((status = 200, description = "the group with its new target", body = Group)))]
pub async fn target_group(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
    Json(target): Json<TargetSet>,
) -> Answer<axum::Json<Group>> {
    let uuid = target.firmware.map(|uuid| uuid.to_string());
    let path = scope.group(&at.product, &at.group)?;
    if let Some(uuid) = guarded(&target) {
        let present = state.store.group(path).await?.target;
        let version = present.as_ref().map(|target| target.version.as_str());
        refuse_downgrade(&state, path.product, &uuid, version).await?;
    }
    let changed = state
        .store
        .set_group_target(path, uuid.as_deref())
        .await
        .map_err(targeted)?;
    Ok(axum::Json(state.committed(changed).await.into()))
}

/// List a group's members.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/groups/{group}/members", tag = "groups",
    security(("bearer" = ["viewer"])), params(GroupAt, PageParams),
    responses((status = 200, description = "a page of devices", body = Page<Device>)))]
pub async fn list_members(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
    paging: Paging,
) -> Answer<axum::Json<Page<Device>>> {
    let page = state
        .store
        .members(scope.group(&at.product, &at.group)?, paging.query())
        .await?;
    Ok(axum::Json(paging.page(page)))
}

/// Add devices to a group, all or none.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/groups/{group}/members", tag = "groups",
    security(("bearer" = ["operator"])), params(GroupAt), request_body = MembersAdd,
    responses((status = 200, description = "how many became members", body = MembersAdded)))]
pub async fn add_members(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
    Json(members): Json<MembersAdd>,
) -> Answer<axum::Json<MembersAdded>> {
    if !(1..=MEMBERS_ADD_MAX).contains(&members.devices.len()) {
        return Err(Refused::field(
            "/devices",
            format!("must hold 1 to {MEMBERS_ADD_MAX} names"),
        ));
    }
    let mut names: Vec<&str> = members.devices.iter().map(|name| &**name).collect();
    names.sort_unstable();
    names.dedup();
    let changed = state
        .store
        .add_members(scope.group(&at.product, &at.group)?, &names)
        .await?;
    Ok(axum::Json(MembersAdded {
        added: state.committed(changed).await,
    }))
}

/// Make a device a member; it may be one already.
#[utoipa::path(put, path = "/orgs/{org}/products/{product}/groups/{group}/members/{device}", tag = "groups",
    security(("bearer" = ["operator"])), params(MemberAt), responses((status = 204, description = "is a member")))]
pub async fn put_member(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<MemberAt>,
) -> Answer<StatusCode> {
    scope.device(&at.product, &at.device)?;
    let path = scope.group(&at.product, &at.group)?;
    let changed = state.store.add_members(path, &[&at.device]).await?;
    state.committed(changed).await;
    Ok(StatusCode::NO_CONTENT)
}

/// End a device's membership.
#[utoipa::path(delete, path = "/orgs/{org}/products/{product}/groups/{group}/members/{device}", tag = "groups",
    security(("bearer" = ["operator"])), params(MemberAt), responses((status = 204, description = "is no member")))]
pub async fn delete_member(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<MemberAt>,
) -> Answer<StatusCode> {
    scope.device(&at.product, &at.device)?;
    let changed = state
        .store
        .remove_member(scope.group(&at.product, &at.group)?, &at.device)
        .await?;
    state.committed(changed).await;
    Ok(StatusCode::NO_CONTENT)
}
