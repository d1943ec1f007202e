//! Reads what a caller sent: JSON bodies, path parameters and query parameters, each refused with what is wrong and where.
//!
//! Order of the checks on a body: size, content type, one pass over the JSON (depth, duplicate keys, NUL), then the type.

use super::ApiState;
use super::problem::Refused;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use hub_core::limits::API_BODY_BYTES_MAX;
use hub_proto::api::problem::FieldProblem;
use serde::de::DeserializeOwned;

/// A JSON body of type `T`.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let bytes = whole_body(body).await?;
        if !is_json(&parts.headers) {
            return Err(Refused::NotJson);
        }
        typed(&bytes).map(Self)
    }
}

/// Reads a body of at most [`API_BODY_BYTES_MAX`]; a longer one is refused before it is held.
pub(super) async fn whole_body(body: Body) -> Result<Bytes, Refused> {
    let too_large = || Refused::TooLarge {
        bytes_max: API_BODY_BYTES_MAX as u64,
    };
    if body.size_hint().lower() > API_BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    axum::body::to_bytes(body, API_BODY_BYTES_MAX)
        .await
        .map_err(|error| {
            let source = std::error::Error::source(&error);
            if source.is_some_and(|s| s.is::<http_body_util::LengthLimitError>()) {
                too_large()
            } else {
                Refused::BadRequest {
                    code: "body_cut_short",
                    detail: "the body ended early".to_owned(),
                }
            }
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn typed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    hub_proto::json::check(bytes).map_err(|fault| Refused::BadRequest {
        code: "bad_json",
        detail: fault.to_string(),
    })?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let mut pointer = pointer(error.path());
        let inner = error.inner();
        let mut detail = inner.to_string();
        // serde_json ends its messages with the place in the text, which the pointer says better.
        if let Some(at) = detail.rfind(" at line ") {
            detail.truncate(at);
        }
        // An unknown field is reported on the object around it: name the field itself.
        if let Some(name) = detail
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split('`').next())
            && !pointer.ends_with(&format!("/{name}"))
        {
            pointer.push('/');
            pointer.push_str(&escaped(name));
        }
        Refused::field(pointer, detail)
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } => text.push_str(&format!("/{}", escaped(key))),
            Segment::Enum { variant } => text.push_str(&format!("/{}", escaped(variant))),
            Segment::Unknown => {}
        }
    }
    text
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Path parameters of type `T`. One that is not UTF-8 or not of its type names nothing, so it is not found.
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<ApiState> for At<T> {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(at)) => Ok(Self(at)),
            Err(_) => Err(Refused::NotFound { what: "resource" }),
        }
    }
}

/// The query's parameters by name, each at most once; unknown ones are refused.
pub(super) fn query_pairs<const N: usize>(
    uri: &Uri,
    known: [&str; N],
) -> Result<[Option<String>; N], Refused> {
    let mut values = [const { None }; N];
    let wrong = |name: &str, detail: &str| {
        Refused::Invalid(vec![FieldProblem {
            pointer: format!("?{name}"),
            detail: detail.to_owned(),
        }])
    };
    let Ok(axum::extract::Query(pairs)) =
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
    else {
        return Err(Refused::BadRequest {
            code: "bad_query",
            detail: "the query cannot be read".to_owned(),
        });
    };
    for (name, value) in pairs {
        match known.iter().position(|k| *k == name) {
            None => return Err(wrong(&name, "no such parameter")),
            Some(at) if values[at].is_some() => return Err(wrong(&name, "given twice")),
            Some(at) => values[at] = Some(value),
        }
    }
    Ok(values)
}
