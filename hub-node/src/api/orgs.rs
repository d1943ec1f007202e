//! Orgs and their products.

use super::paging::{PageParams, Paging};
use super::problem::{Answer, Refused};
use super::read::{At, Json};
use super::scope::{Admin, Root, Viewer};
use super::{ApiState, new_name};
use axum::extract::State;
use axum::http::StatusCode;
use hub_proto::api::{Org, OrgCreate, Page, Product, ProductCreate};
use serde::Deserialize;
use utoipa::IntoParams;

/// Path of an org.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(
    dead_code,
    reason = "the org is resolved by the scope; this describes it in the OpenAPI document"
)]
pub struct OrgAt {
    /// Name of the org.
    org: String,
}

/// Path of a product.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProductAt {
    /// Name of the org.
    #[expect(dead_code, reason = "resolved by the scope")]
    org: String,
    /// Name of the product.
    pub product: String,
}

/// Make an org.
#[utoipa::path(post, path = "/orgs", tag = "orgs", security(("bearer" = ["root"])),
    request_body = OrgCreate, responses((status = 201, description = "made", body = Org)))]
pub async fn create_org(
    _: Root,
    State(state): State<ApiState>,
    Json(new): Json<OrgCreate>,
) -> Answer<(StatusCode, axum::Json<Org>)> {
    new_name(&new.name, "/name")?;
    let org = state.store.create_org(&new.name).await?;
    Ok((StatusCode::CREATED, axum::Json(org.into())))
}

/// List all orgs.
#[utoipa::path(get, path = "/orgs", tag = "orgs", security(("bearer" = ["root"])), params(PageParams),
    responses((status = 200, description = "a page of orgs", body = Page<Org>)))]
pub async fn list_orgs(
    _: Root,
    State(state): State<ApiState>,
    paging: Paging,
) -> Answer<axum::Json<Page<Org>>> {
    Ok(axum::Json(
        paging.page(state.store.orgs(paging.query()).await?),
    ))
}

/// Show an org.
#[utoipa::path(get, path = "/orgs/{org}", tag = "orgs", security(("bearer" = ["viewer"])), params(OrgAt),
    responses((status = 200, description = "the org", body = Org)))]
pub async fn get_org(Viewer(scope): Viewer) -> axum::Json<Org> {
    axum::Json(scope.org.into())
}

/// Delete an org that has no products.
#[utoipa::path(delete, path = "/orgs/{org}", tag = "orgs", security(("bearer" = ["root"])), params(OrgAt),
    responses((status = 204, description = "deleted")))]
pub async fn delete_org(
    Viewer(scope): Viewer,
    _: Root,
    State(state): State<ApiState>,
) -> Answer<StatusCode> {
    state.store.delete_org(scope.id()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a product.
#[utoipa::path(post, path = "/orgs/{org}/products", tag = "products", security(("bearer" = ["admin"])), params(OrgAt),
    request_body = ProductCreate, responses((status = 201, description = "made", body = Product)))]
pub async fn create_product(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    Json(new): Json<ProductCreate>,
) -> Answer<(StatusCode, axum::Json<Product>)> {
    new_name(&new.name, "/name")?;
    let product = state.store.create_product(scope.id(), &new.name).await?;
    Ok((StatusCode::CREATED, axum::Json(product.into())))
}

/// List an org's products.
#[utoipa::path(get, path = "/orgs/{org}/products", tag = "products", security(("bearer" = ["viewer"])),
    params(OrgAt, PageParams), responses((status = 200, description = "a page of products", body = Page<Product>)))]
pub async fn list_products(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    paging: Paging,
) -> Answer<axum::Json<Page<Product>>> {
    Ok(axum::Json(paging.page(
        state.store.products(scope.id(), paging.query()).await?,
    )))
}

/// Show a product.
#[utoipa::path(get, path = "/orgs/{org}/products/{product}", tag = "products", security(("bearer" = ["viewer"])),
    params(ProductAt), responses((status = 200, description = "the product", body = Product)))]
pub async fn get_product(
    Viewer(scope): Viewer,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
) -> Answer<axum::Json<Product>> {
    Ok(axum::Json(
        state
            .store
            .product(scope.product(&at.product)?)
            .await?
            .into(),
    ))
}

/// Delete a product that has no devices, groups and firmware.
#[utoipa::path(delete, path = "/orgs/{org}/products/{product}", tag = "products", security(("bearer" = ["admin"])),
    params(ProductAt), responses((status = 204, description = "deleted")))]
pub async fn delete_product(
    Admin(scope): Admin,
    State(state): State<ApiState>,
    At(at): At<ProductAt>,
) -> Result<StatusCode, Refused> {
    state
        .store
        .delete_product(scope.product(&at.product)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
