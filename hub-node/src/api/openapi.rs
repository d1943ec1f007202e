//! The OpenAPI document: what the handlers say about themselves, and what is true of all of them.

use super::ApiState;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hub_proto::api::problem::PROBLEM_JSON;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

/// What the document says about the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hub",
        description = "The operators' API of hub: orgs, devices, groups, firmware and commands. \
        Roles: viewer < operator < admin inside one org; root makes orgs. Every refusal is a problem document (RFC 9457)."
    ),
    components(schemas(hub_proto::api::Problem))
)]
struct Whole;

/// All routes under their common path.
pub(super) fn outline(routes: OpenApiRouter<ApiState>) -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Whole::openapi()).nest("/api/v1", routes)
}

/// The document as it is served: refusals, the bearer token and the idempotency key are added to every operation they belong to.
pub(super) fn finished(mut document: Document) -> Bytes {
    let bearer = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("hub_ and 43 characters")
            .description(Some("A token of the org. The scopes of an operation name the smallest role that may call it."))
            .build(),
    );
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme("bearer", bearer);
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            add_refusals(operation);
        }
        if let Some(operation) = &mut item.post {
            add_refusals(operation);
            // Uploads are idempotent by the firmware's own uuid.
            if operation.operation_id.as_deref() != Some("upload_firmware") {
                operation
                    .parameters
                    .get_or_insert_default()
                    .push(RefOr::T(idempotency_key()));
            }
        }
    }
    // Every part of the document came from this program, so it serializes.
    Bytes::from(serde_json::to_vec(&document).unwrap_or_default())
}

fn add_refusals(operation: &mut Operation) {
    let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    let response = ResponseBuilder::new()
        .description("refused")
        .content(PROBLEM_JSON, content)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), RefOr::T(response));
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(utoipa::openapi::Required::False)
        .description(Some("Repeating a call with the same key and body within a day gives the same answer and has its effect once."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255))))
        .build()
}

/// Serves the document.
pub(super) async fn serve(document: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document)
}
