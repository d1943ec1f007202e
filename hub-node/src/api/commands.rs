//! Commands to devices and groups: accepting, following and cancelling them.

use super::devices::DeviceAt;
use super::groups::GroupAt;
use super::idempotency::CallId;
use super::paging::{PageParams, Paging};
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::{Operator, Scope, Viewer};
use super::{ApiState, view};
use crate::store::records::{Command as Row, CommandQuery, NewCommand, Page as Rows};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use hub_proto::api::command::{ARGS_BYTES_MAX, TTL_DEFAULT_S, TTL_MAX_S, is_reserved_command};
use hub_proto::api::{Command, CommandCreate, Execution, Page};
use hub_proto::id::CommandId;
use hub_proto::time::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

/// Path of a command.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct CommandAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Id of the command.
    id: CommandId,
}

/// What a call asks for, checked, as the store takes it.
fn accepted(new: CommandCreate, call: CallId, now: Timestamp) -> Answer<NewCommand> {
    if is_reserved_command(&new.name) {
        return Err(Refused::field(
            "/name",
            "this name belongs to the device protocol",
        ));
    }
    let ttl_s = new.ttl_s.unwrap_or(TTL_DEFAULT_S);
    if !(1..=TTL_MAX_S).contains(&ttl_s) {
        return Err(Refused::field(
            "/ttl_s",
            format!("must be from 1 to {TTL_MAX_S}"),
        ));
    }
    let args = match new.args {
        None => "{}".to_owned(),
        Some(args) => checked_args(args.get())?,
    };
    let expires_at = Timestamp::from_unix_micros(now.as_micros() + i64::from(ttl_s) * 1_000_000);
    Ok(NewCommand {
        id: CommandId(call.0),
        name: new.name,
        args,
        expires_at,
        now,
    })
}

/// Arguments are a JSON object (the whole body was checked for depth, duplicates and NUL already) that leaves room for `id`.
fn checked_args(text: &str) -> Answer<String> {
    if text.len() > ARGS_BYTES_MAX {
        return Err(Refused::field(
            "/args",
            format!("must be at most {ARGS_BYTES_MAX} bytes"),
        ));
    }
    let keys: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| Refused::field("/args", "must be an object"))?;
    if keys.contains_key("id") {
        return Err(Refused::field(
            "/args/id",
            "devices get the command's own id under this key",
        ));
    }
    Ok(text.to_owned())
}

/// Give a command to a device.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/devices/{device}/commands", tag = "commands",
    security(("bearer" = ["operator"])), params(DeviceAt), request_body = CommandCreate,
    responses((status = 201, description = "accepted: stored and on its way", body = Command)))]
pub async fn command_device(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
    Extension(call): Extension<CallId>,
    Json(new): Json<CommandCreate>,
) -> Answer<(StatusCode, axum::Json<Command>)> {
    let command = accepted(new, call, state.now())?;
    let path = scope.device(&at.product, &at.device)?;
    let changed = state.store.command_device(path, command).await?;
    state.metrics.command_accepted("device");
    let command = view::command(state.committed(changed).await)?;
    Ok((StatusCode::CREATED, axum::Json(command)))
}

/// Give a command to all members a group has now.
#[utoipa::path(post, path = "/orgs/{org}/products/{product}/groups/{group}/commands", tag = "commands",
    security(("bearer" = ["operator"])), params(GroupAt), request_body = CommandCreate,
    responses((status = 201, description = "accepted: stored and on its way", body = Command)))]
pub async fn command_group(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
    Extension(call): Extension<CallId>,
    Json(new): Json<CommandCreate>,
) -> Answer<(StatusCode, axum::Json<Command>)> {
    let command = accepted(new, call, state.now())?;
    let path = scope.group(&at.product, &at.group)?;
    let changed = state.store.command_group(path, command).await?;
    state.metrics.command_accepted("group");
    let command = view::command(state.committed(changed).await)?;
    Ok((StatusCode::CREATED, axum::Json(command)))
}

/// List the commands given to a device itself, newest first.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/devices/{device}/commands", tag = "commands",
    security(("bearer" = ["viewer"])), params(DeviceAt, PageParams),
    responses((status = 200, description = "a page of commands", body = Page<Command>)))]
pub async fn list_device_commands(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<DeviceAt>,
    paging: Paging,
) -> Answer<axum::Json<Page<Command>>> {
    let of = CommandQuery::Device(scope.device(&at.product, &at.device)?);
    list(&scope, &state, of, &paging).await
}

/// List the commands given to a group, newest first.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}/groups/{group}/commands", tag = "commands",
    security(("bearer" = ["viewer"])), params(GroupAt, PageParams),
    responses((status = 200, description = "a page of commands", body = Page<Command>)))]
pub async fn list_group_commands(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<GroupAt>,
    paging: Paging,
) -> Answer<axum::Json<Page<Command>>> {
    let of = CommandQuery::Group(scope.group(&at.product, &at.group)?);
    list(&scope, &state, of, &paging).await
}

async fn list(
    scope: &Scope,
    state: &ApiState,
    of: CommandQuery<'_>,
    paging: &Paging,
) -> Answer<axum::Json<Page<Command>>> {
    let rows: Rows<Row> = state
        .store
        .commands(scope.id(), of, paging.query(), state.now())
        .await?;
    Ok(axum::Json(paging.try_page(rows, view::command)?))
}

/// Show a command with its counts per state.
#[utoipa::path(get, path = "/orgs/{org}/commands/{id}", tag = "commands", security(("bearer" = ["viewer"])),
    params(CommandAt), responses((status = 200, description = "the command", body = Command)))]
pub async fn get_command(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<CommandAt>,
) -> Answer<axum::Json<Command>> {
    let command = state.store.command(scope.id(), at.id, state.now()).await?;
    Ok(axum::Json(view::command(command)?))
}

/// List what became of a command on each device of its audience.
#[utoipa::path(get, path = "/orgs/{org}/commands/{id}/executions", tag = "commands",
    security(("bearer" = ["viewer"])), params(CommandAt, PageParams),
    responses((status = 200, description = "a page of executions", body = Page<Execution>)))]
pub async fn list_executions(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<CommandAt>,
    paging: Paging,
) -> Answer<axum::Json<Page<Execution>>> {
    let rows = state
        .store
        .executions(scope.id(), at.id, paging.query(), state.now())
        .await?;
    Ok(axum::Json(paging.page(rows)))
}

/// Cancel what was not sent yet.
#[utoipa::path(post, path = "/orgs/{org}/commands/{id}/cancel", tag = "commands",
    security(("bearer" = ["operator"])), params(CommandAt),
    responses((status = 200, description = "the command; 409 `too_late` when nothing was left to cancel", body = Command)))]
pub async fn cancel_command(
    Operator(scope): Operator,
    State(state): State<ApiState>,
    At(at): At<CommandAt>,
) -> Answer<axum::Json<Command>> {
    let changed = state
        .store
        .cancel_command(scope.id(), at.id, state.now())
        .await?;
    Ok(axum::Json(view::command(state.committed(changed).await)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object_that_leaves_room_for_the_id() {
        assert_eq!(
            checked_args("{\"a\": 12345678901234567890123}").unwrap(),
            "{\"a\": 12345678901234567890123}"
        );
        for bad in ["[]", "null", "1", "\"x\"", "{\"id\":1}", "{\"i\\u0064\":1}"] {
            assert!(checked_args(bad).is_err(), "{bad}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(ARGS_BYTES_MAX));
        assert!(checked_args(&long).is_err());
    }
}
