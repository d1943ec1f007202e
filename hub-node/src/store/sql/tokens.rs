//! Tokens, of which only the hash is kept, and the remembered answers of creating calls.

use super::Db;
use hub_core::limits::IDEMPOTENT_ANSWER_KEPT;
use hub_proto::id::{OrgId, TokenId};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;

use super::failure::{damaged, found, store_failure, unique_or};
use super::paging::Window;
use super::rows::{bytes32, slug, time, time_opt};
use super::{Backend, commit, lookup};
use crate::store::StoreResult;
use crate::store::records::{IdempotentAnswer, NewToken, Page, PageQuery, Role, Token};

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: i64,
    org_id: Option<i64>,
    role: String,
    name: String,
    created_at: i64,
    expires_at: Option<i64>,
}

pub(super) async fn create(store: &Backend, token: NewToken) -> StoreResult<Token> {
    let mut tx = store.write().await?;
    if let Some(org) = token.org {
        lookup::org(&mut tx, org).await?;
    }
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO token (org_id, role, name, sha256, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
    )
    .bind(token.org.map(|org| org.0))
    .bind(role_text(token.role))
    .bind(&*token.name)
    .bind(&token.sha256[..])
    .bind(token.now.as_micros())
    .bind(token.expires_at.map(Timestamp::as_micros))
    .fetch_one(&mut *tx)
    .await
    .map_err(unique_or("token_taken", || {
        "this token is stored already".to_owned()
    }))?;
    commit(tx).await?;
    let NewToken {
        org,
        role,
        name,
        sha256: _,
        expires_at,
        now,
    } = token;
    Ok(Token {
        id: TokenId(id),
        org,
        role,
        name,
        created_at: now,
        expires_at,
    })
}

pub(super) async fn by_hash(
    store: &Backend,
    sha256: [u8; 32],
    now: Timestamp,
) -> StoreResult<Option<Token>> {
    let mut tx = store.read().await?;
    let row: Option<TokenRow> = sqlx::query_as(
        "SELECT id, org_id, role, name, created_at, expires_at FROM token \
         WHERE sha256 = $1 AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(&sha256[..])
    .bind(now.as_micros())
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_failure)?;
    row.map(token_of).transpose()
}

pub(super) async fn list(store: &Backend, org: OrgId, page: PageQuery) -> StoreResult<Page<Token>> {
    let window = Window::new(&page)?;
    let mut tx = store.read().await?;
    let rows: Vec<TokenRow> = sqlx::query_as(
        "SELECT id, org_id, role, name, created_at, expires_at FROM token \
         WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(org.0)
    .bind(window.above())
    .bind(window.fetch())
    .fetch_all(&mut *tx)
    .await
    .map_err(store_failure)?;
    window.page(rows, |row| row.id, token_of)
}

pub(super) async fn delete(store: &Backend, org: OrgId, id: TokenId) -> StoreResult<()> {
    let mut tx = store.write_in(org).await?;
    let gone: Option<i64> =
        sqlx::query_scalar("DELETE FROM token WHERE org_id = $1 AND id = $2 RETURNING id")
            .bind(org.0)
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_failure)?;
    found(gone, "token")?;
    commit(tx).await
}

pub(super) async fn idempotent_answer(
    store: &Backend,
    org: Option<OrgId>,
    key: &str,
    now: Timestamp,
) -> StoreResult<Option<IdempotentAnswer>> {
    let mut tx = store.read().await?;
    answer(&mut tx, scope(org), key, kept_since(now)).await
}

pub(super) async fn remember_answer(
    store: &Backend,
    org: Option<OrgId>,
    key: &str,
    new: IdempotentAnswer,
    now: Timestamp,
) -> StoreResult<IdempotentAnswer> {
    let mut tx = store.write().await?;
    if let Some(org) = org {
        lookup::org(&mut tx, org).await?;
    }
    // forgetting what is too old keeps the table as large as a day's calls
    sqlx::query("DELETE FROM idempotency WHERE created_at <= $1")
        .bind(kept_since(now))
        .execute(&mut *tx)
        .await
        .map_err(store_failure)?;
    sqlx::query(
        "INSERT INTO idempotency (scope, key, org_id, request_sha256, status, body, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (scope, key) DO NOTHING",
    )
    .bind(scope(org))
    .bind(key)
    .bind(org.map(|org| org.0))
    .bind(&new.request_sha256[..])
    .bind(i64::from(new.status))
    .bind(&new.body[..])
    .bind(now.as_micros())
    .execute(&mut *tx)
    .await
    .map_err(store_failure)?;
    let kept = answer(&mut tx, scope(org), key, i64::MIN).await?;
    commit(tx).await?;
    found(kept, "answer")
}

/// Reads an answer younger than `since`.
async fn answer(
    db: &mut Db,
    scope: i64,
    key: &str,
    since: i64,
) -> StoreResult<Option<IdempotentAnswer>> {
    let row: Option<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT request_sha256, status, body FROM idempotency WHERE scope = $1 AND key = $2 AND created_at > $3",
    )
    .bind(scope)
    .bind(key)
    .bind(since)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    let Some((request_sha256, status, body)) = row else {
        return Ok(None);
    };
    Ok(Some(IdempotentAnswer {
        request_sha256: bytes32(&request_sha256)?,
        status: u16::try_from(status).map_err(|_| damaged("status"))?,
        body,
    }))
}

/// Ids start at 1, so 0 is free for calls outside all orgs.
fn scope(org: Option<OrgId>) -> i64 {
    org.map_or(0, |org| org.0)
}

/// Answers made up to this moment are forgotten.
fn kept_since(now: Timestamp) -> i64 {
    now.as_micros()
        .saturating_sub(i64::try_from(IDEMPOTENT_ANSWER_KEPT.as_micros()).unwrap_or(i64::MAX))
}

fn token_of(row: TokenRow) -> StoreResult<Token> {
    let name: Slug = slug(&row.name)?;
    Ok(Token {
        id: TokenId(row.id),
        org: row.org_id.map(OrgId),
        role: role(&row.role)?,
        name,
        created_at: time(row.created_at),
        expires_at: time_opt(row.expires_at),
    })
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

fn role(text: &str) -> StoreResult<Role> {
    match text {
        "viewer" => Ok(Role::Viewer),
        "operator" => Ok(Role::Operator),
        "admin" => Ok(Role::Admin),
        _ => Err(damaged("role")),
    }
}
