//! The operators' API: one axum router whose OpenAPI document comes from the handlers themselves.
//!
//! The way of a call, outermost first: request id and fixed headers, panic guard, a free slot, the deadline, the token, the idempotency
//! key, the org of the path with the role, the body, the store. A change is announced on the bus after its commit; a bus that fails loses
//! nothing, because pollers find the change by its mark.

pub mod auth;
pub mod authorities;
pub mod certificates;
pub mod commands;
pub mod connections;
pub mod devices;
pub mod firmware;
pub mod groups;
pub mod idempotency;
mod layers;
pub mod nodes;
mod openapi;
pub mod orgs;
pub mod paging;
pub mod problem;
pub mod read;
pub mod scope;
pub(crate) mod serve;
pub mod signing_keys;
mod targets;
#[cfg(test)]
mod tests;
pub mod tokens;
mod view;

use crate::blobs::Blobs;
use crate::bus::Bus;
use crate::store::delivery::Changed;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::spans;
use axum::Router;
use axum::middleware::from_fn_with_state;
use hub_core::limits::{
    API_CALL_MAX, API_CALLS_MAX, API_PUBLISH_MAX, API_UPLOAD_MAX, IDEMPOTENCY_WAIT_MAX,
};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;
use problem::{Answer, Refused};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Bounds of the API; the defaults are the constants of [`hub_core::limits`].
#[derive(Clone, Copy, Debug)]
pub struct ApiLimits {
    /// Time for a call.
    pub call_max: Duration,
    /// Calls at a time.
    pub calls_max: usize,
    /// Time for an upload.
    pub upload_max: Duration,
    /// Bytes of one firmware.
    pub firmware_bytes_max: u64,
    /// Time for announcing one call's changes.
    pub publish_max: Duration,
    /// Time to wait for a call with the same idempotency key.
    pub idempotency_wait_max: Duration,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            call_max: API_CALL_MAX,
            calls_max: API_CALLS_MAX,
            upload_max: API_UPLOAD_MAX,
            firmware_bytes_max: hub_firmware::Limits::default().container_bytes_max,
            publish_max: API_PUBLISH_MAX,
            idempotency_wait_max: IDEMPOTENCY_WAIT_MAX,
        }
    }
}

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    blobs: Blobs,
    clock: Clock,
    limits: ApiLimits,
    calls: Arc<Semaphore>,
    flights: idempotency::Flights,
    hints_lost: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

impl ApiState {
    /// The API over this store, bus and firmware files.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        blobs: Blobs,
        clock: Clock,
        limits: ApiLimits,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            bus,
            blobs,
            clock,
            limits,
            calls: Arc::new(Semaphore::new(limits.calls_max)),
            flights: idempotency::Flights::default(),
            hints_lost: Arc::default(),
            metrics,
        }
    }

    /// Hints that the bus did not take since the start. They delay delivery by at most one poll.
    pub fn hints_lost(&self) -> u64 {
        self.hints_lost.load(Ordering::Relaxed)
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Announces what was committed and gives back the value.
    async fn committed<T>(&self, changed: Changed<T>) -> T {
        let epoch = self.store.epoch();
        let total = changed.changes.len();
        let mut sent = 0_usize;
        let publishing = async {
            let trace = layers::trace_context();
            for change in changed.changes {
                match self.bus.publish(change.hint(epoch, trace.clone())).await {
                    Ok(()) => sent += 1,
                    Err(error) => {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "a hint was not published"
                        );
                        break;
                    }
                }
            }
        };
        let publishing = publishing.instrument(spans::publish(self.bus.system(), total));
        let in_time = tokio::time::timeout(self.limits.publish_max, publishing)
            .await
            .is_ok();
        if sent < total {
            self.hints_lost
                .fetch_add((total - sent) as u64, Ordering::Relaxed);
            tracing::warn!(
                lost = total - sent,
                in_time,
                "changes are left to be found by polling"
            );
        }
        changed.value
    }
}

/// Refuses names that mean something else in topics and paths.
fn new_name(name: &Slug, pointer: &str) -> Answer<()> {
    if name.is_reserved() {
        return Err(Refused::field(pointer, "this name is reserved"));
    }
    Ok(())
}

/// A target must be a firmware of the same product: one that is not is a wrong field, not a missing route.
fn targeted(error: StoreError) -> Refused {
    match error {
        StoreError::NotFound { what: "firmware" } => {
            Refused::field("/firmware", "the product has no firmware with this uuid")
        }
        StoreError::NotFound { .. }
        | StoreError::Conflict { .. }
        | StoreError::Unavailable(_)
        | StoreError::Busy(_)
        | StoreError::Damaged { .. }
        | StoreError::Failed(_) => error.into(),
    }
}

/// Calls with small bodies.
fn calls() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(orgs::create_org, orgs::list_orgs))
        .routes(routes!(orgs::get_org, orgs::delete_org))
        .routes(routes!(orgs::create_product, orgs::list_products))
        .routes(routes!(orgs::get_product, orgs::delete_product))
        .routes(routes!(tokens::create_token, tokens::list_tokens))
        .routes(routes!(tokens::delete_token))
        .routes(routes!(connections::list_connections))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(nodes::rebalance_nodes))
        .routes(routes!(devices::create_device, devices::list_devices))
        .routes(routes!(devices::get_device, devices::delete_device))
        .routes(routes!(devices::revoke_device))
        .routes(routes!(devices::reinstate_device))
        .routes(routes!(devices::target_device))
        .routes(routes!(devices::get_connection))
        .routes(routes!(groups::create_group, groups::list_groups))
        .routes(routes!(
            groups::get_group,
            groups::update_group,
            groups::delete_group
        ))
        .routes(routes!(groups::target_group))
        .routes(routes!(groups::list_members, groups::add_members))
        .routes(routes!(groups::put_member, groups::delete_member))
        .routes(routes!(
            commands::command_device,
            commands::list_device_commands
        ))
        .routes(routes!(
            commands::command_group,
            commands::list_group_commands
        ))
        .routes(routes!(commands::get_command))
        .routes(routes!(commands::list_executions))
        .routes(routes!(commands::cancel_command))
        .routes(routes!(
            certificates::pin_certificate,
            certificates::list_certificates
        ))
        .routes(routes!(certificates::revoke_certificate))
        .routes(routes!(authorities::create_registration))
        .routes(routes!(
            authorities::create_authority,
            authorities::list_authorities
        ))
        .routes(routes!(
            authorities::get_authority,
            authorities::update_authority
        ))
        .routes(routes!(authorities::revoke_authority))
        .routes(routes!(
            signing_keys::create_signing_key,
            signing_keys::list_signing_keys
        ))
        .routes(routes!(signing_keys::delete_signing_key))
        .routes(routes!(firmware::list_firmware))
        .routes(routes!(firmware::get_firmware, firmware::delete_firmware))
}

/// Calls with large bodies, which have their own bounds and no idempotency key.
fn uploads() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(firmware::upload_firmware))
}

/// The API under `/api/v1`, ready to be served.
pub fn router(state: ApiState) -> Router {
    let calls = calls()
        .route_layer(from_fn_with_state(state.clone(), idempotency::replay))
        .route_layer(from_fn_with_state(state.clone(), auth::authenticate))
        .route_layer(from_fn_with_state(state.clone(), layers::call_slot));
    let uploads = uploads()
        .route_layer(from_fn_with_state(state.clone(), auth::authenticate))
        .route_layer(from_fn_with_state(state.clone(), layers::upload_time));
    let (router, document) = openapi::outline(calls.merge(uploads)).split_for_parts();
    let document = openapi::finished(document);
    router
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || openapi::serve(document.clone())),
        )
        .fallback(layers::no_route)
        .method_not_allowed_fallback(layers::no_method)
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(state.clone(), layers::dress))
        .with_state(state)
}
