//! Access tokens of an org. A token's text is in the answer that makes it and nowhere else.

use super::orgs::OrgAt;
use super::paging::{PageParams, Paging};
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::Admin;
use super::{ApiState, auth};
use crate::store::records::NewToken;
use axum::extract::State;
use axum::http::StatusCode;
use hub_proto::api::{Page, Token, TokenCreate, TokenCreated};
use hub_proto::id::TokenId;
use serde::Deserialize;
use utoipa::IntoParams;

/// Path of a token.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TokenAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Id of the token.
    id: TokenId,
}

/// Make a token for this org.
#[utoipa::path(post, path = "/orgs/{org}/tokens", tag = "tokens", security(("bearer" = ["admin"])), params(OrgAt),
    request_body = TokenCreate,
    responses((status = 201, description = "made; the secret is shown this one time", body = TokenCreated)))]
pub async fn create_token(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    Json(new): Json<TokenCreate>,
) -> Answer<(StatusCode, axum::Json<TokenCreated>)> {
    let now = state.now();
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(Refused::field("/expires_at", "must be in the future"));
    }
    let text = auth::mint_token();
    let token = NewToken {
        org: Some(scope.id()),
        role: new.role.into(),
        name: new.name,
        sha256: auth::token_sha256(&text),
        expires_at: new.expires_at,
        now,
    };
    let token = state.store.create_token(token).await?;
    let created = TokenCreated {
        id: token.id,
        name: token.name,
        role: token.role.into(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        token: text,
    };
    Ok((StatusCode::CREATED, axum::Json(created)))
}

/// List an org's tokens, without their secrets.
#[utoipa::path(get, path = "/orgs/{org}/tokens", tag = "tokens", security(("bearer" = ["admin"])),
    params(OrgAt, PageParams), responses((status = 200, description = "a page of tokens", body = Page<Token>)))]
pub async fn list_tokens(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    paging: Paging,
) -> Answer<axum::Json<Page<Token>>> {
    Ok(axum::Json(paging.page(
        state.store.tokens(scope.id(), paging.query()).await?,
    )))
}

/// Delete a token: it stops working at once.
#[utoipa::path(delete, path = "/orgs/{org}/tokens/{id}", tag = "tokens", security(("bearer" = ["admin"])),
    params(TokenAt), responses((status = 204, description = "deleted")))]
pub async fn delete_token(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<TokenAt>,
) -> Answer<StatusCode> {
    state.store.delete_token(scope.id(), at.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
