//! Orgs and products.

use async_trait::async_trait;
use hub_proto::id::{ChannelId, OrgId, ProductId, TokenId};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;

use super::failure::{conflict, found, store_failure, unique_or};
use super::paging::Window;
use super::rows::{slug, time};
use super::{Backend, channels, clock, commit, lookup, tokens};
use crate::store::records::{
    IdempotentAnswer, NewToken, Org, Page, PageQuery, Product, ProductPath, Token,
};
use crate::store::{StoreResult, TenantStore};

#[async_trait]
impl TenantStore for Backend {
    async fn create_org(&self, name: &Slug) -> StoreResult<Org> {
        let mut tx = self.write().await?;
        let created_at = clock::now();
        let id: i64 =
            sqlx::query_scalar("INSERT INTO org (name, created_at) VALUES ($1, $2) RETURNING id")
                .bind(&**name)
                .bind(created_at.as_micros())
                .fetch_one(&mut *tx)
                .await
                .map_err(unique_or("name_taken", || {
                    format!("there is an org named {name} already")
                }))?;
        let id = OrgId(id);
        channels::create(&mut tx, id, ChannelId::Org(id)).await?;
        commit(tx).await?;
        Ok(Org {
            id,
            name: name.clone(),
            created_at,
        })
    }

    async fn org(&self, name: &str) -> StoreResult<Org> {
        let mut tx = self.read().await?;
        let row: Option<(i64, String, i64)> =
            sqlx::query_as("SELECT id, name, created_at FROM org WHERE name = $1")
                .bind(name)
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_failure)?;
        org_of(found(row, "org")?)
    }

    async fn orgs(&self, page: PageQuery) -> StoreResult<Page<Org>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT id, name, created_at FROM org WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(window.above())
        .bind(window.fetch())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_failure)?;
        window.page(rows, |row| row.0, org_of)
    }

    async fn delete_org(&self, org: OrgId) -> StoreResult<()> {
        let mut tx = self.write_in(org).await?;
        lookup::org(&mut tx, org).await?;
        let used: Option<i64> =
            sqlx::query_scalar("SELECT id FROM product WHERE org_id = $1 LIMIT 1")
                .bind(org.0)
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_failure)?;
        if used.is_some() {
            return Err(conflict("in_use", "the org still has products"));
        }
        sqlx::query("DELETE FROM org WHERE id = $1")
            .bind(org.0)
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        commit(tx).await
    }

    async fn create_product(&self, org: OrgId, name: &Slug) -> StoreResult<Product> {
        let mut tx = self.write_in(org).await?;
        lookup::org(&mut tx, org).await?;
        let created_at = clock::now();
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO product (org_id, name, created_at) VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(org.0)
        .bind(&**name)
        .bind(created_at.as_micros())
        .fetch_one(&mut *tx)
        .await
        .map_err(unique_or("name_taken", || {
            format!("there is a product named {name} already")
        }))?;
        commit(tx).await?;
        Ok(Product {
            id: ProductId(id),
            org,
            name: name.clone(),
            created_at,
        })
    }

    async fn product(&self, path: ProductPath<'_>) -> StoreResult<Product> {
        let mut tx = self.read().await?;
        let row: Option<(i64, i64, String, i64)> = sqlx::query_as(
            "SELECT id, org_id, name, created_at FROM product WHERE org_id = $1 AND name = $2",
        )
        .bind(path.org.0)
        .bind(path.product)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_failure)?;
        product_of(found(row, "product")?)
    }

    async fn products(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Product>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let rows: Vec<(i64, i64, String, i64)> = sqlx::query_as(
            "SELECT id, org_id, name, created_at FROM product WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(org.0)
        .bind(window.above())
        .bind(window.fetch())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_failure)?;
        window.page(rows, |row| row.0, product_of)
    }

    async fn delete_product(&self, path: ProductPath<'_>) -> StoreResult<()> {
        let mut tx = self.write_in(path.org).await?;
        let key = lookup::product(&mut tx, path).await?;
        let user: Option<String> = sqlx::query_scalar(
            "SELECT 'devices' FROM device WHERE product_id = $1 \
             UNION ALL SELECT 'groups' FROM device_group WHERE product_id = $1 AND deleted_at IS NULL \
             UNION ALL SELECT 'firmware' FROM firmware WHERE product_id = $1 \
             UNION ALL SELECT 'authorities that provision into it' FROM authority WHERE org_id = $2 AND product_id = $1 \
             LIMIT 1",
        )
        .bind(key.product)
        .bind(key.org)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_failure)?;
        if let Some(user) = user {
            return Err(conflict("in_use", format!("the product still has {user}")));
        }
        // what deleted groups left behind: without devices nothing of it is due to anybody
        for sql in [
            "DELETE FROM device_group WHERE product_id = $1",
            "DELETE FROM product WHERE id = $1",
        ] {
            sqlx::query(sql)
                .bind(key.product)
                .execute(&mut *tx)
                .await
                .map_err(store_failure)?;
        }
        commit(tx).await
    }

    async fn create_token(&self, token: NewToken) -> StoreResult<Token> {
        tokens::create(self, token).await
    }

    async fn token_by_hash(&self, sha256: [u8; 32], now: Timestamp) -> StoreResult<Option<Token>> {
        tokens::by_hash(self, sha256, now).await
    }

    async fn tokens(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Token>> {
        tokens::list(self, org, page).await
    }

    async fn delete_token(&self, org: OrgId, id: TokenId) -> StoreResult<()> {
        tokens::delete(self, org, id).await
    }

    async fn idempotent_answer(
        &self,
        org: Option<OrgId>,
        key: &str,
        now: Timestamp,
    ) -> StoreResult<Option<IdempotentAnswer>> {
        tokens::idempotent_answer(self, org, key, now).await
    }

    async fn remember_answer(
        &self,
        org: Option<OrgId>,
        key: &str,
        answer: IdempotentAnswer,
        now: Timestamp,
    ) -> StoreResult<IdempotentAnswer> {
        tokens::remember_answer(self, org, key, answer, now).await
    }
}

fn org_of((id, name, created_at): (i64, String, i64)) -> StoreResult<Org> {
    Ok(Org {
        id: OrgId(id),
        name: slug(&name)?,
        created_at: time(created_at),
    })
}

fn product_of((id, org, name, created_at): (i64, i64, String, i64)) -> StoreResult<Product> {
    Ok(Product {
        id: ProductId(id),
        org: OrgId(org),
        name: slug(&name)?,
        created_at: time(created_at),
    })
}
