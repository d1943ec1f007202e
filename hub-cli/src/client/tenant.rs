//! Orgs, products, tokens, and the nodes that serve them.

use super::{Client, ClientError, PageOf};
use crate::paths::path;
use hub_proto::api::{
    Node, NodesRebalance, Org, OrgCreate, Page, Product, ProductCreate, RebalancePlan, Token,
    TokenCreate, TokenCreated,
};
use hub_proto::id::TokenId;
use reqwest::Method;

impl Client {
    /// Makes an org. Needs a root token.
    pub async fn create_org(&self, body: &OrgCreate) -> Result<Org, ClientError> {
        self.post(&path(&["orgs"]), body).await
    }

    /// All orgs. Needs a root token.
    pub async fn orgs(&self, page: &PageOf) -> Result<Page<Org>, ClientError> {
        self.list(&path(&["orgs"]), page).await
    }

    /// One org.
    pub async fn org(&self, org: &str) -> Result<Org, ClientError> {
        self.get(&path(&["orgs", org])).await
    }

    /// Deletes an org that has no products. Needs a root token.
    pub async fn delete_org(&self, org: &str) -> Result<(), ClientError> {
        self.done(Method::DELETE, &path(&["orgs", org])).await
    }

    /// The nodes of the cluster. Needs a root token.
    pub async fn nodes(&self) -> Result<Page<Node>, ClientError> {
        self.get(&path(&["nodes"])).await
    }

    /// Levels the nodes, or says what that would be. Needs a root token.
    pub async fn rebalance(&self, body: &NodesRebalance) -> Result<RebalancePlan, ClientError> {
        self.post(&path(&["nodes", "rebalance"]), body).await
    }

    /// Makes a token; its secret is in this answer only.
    pub async fn create_token(
        &self,
        org: &str,
        body: &TokenCreate,
    ) -> Result<TokenCreated, ClientError> {
        self.post(&path(&["orgs", org, "tokens"]), body).await
    }

    /// Tokens of an org.
    pub async fn tokens(&self, org: &str, page: &PageOf) -> Result<Page<Token>, ClientError> {
        self.list(&path(&["orgs", org, "tokens"]), page).await
    }

    /// Deletes a token.
    pub async fn delete_token(&self, org: &str, id: TokenId) -> Result<(), ClientError> {
        self.done(
            Method::DELETE,
            &path(&["orgs", org, "tokens", &id.to_string()]),
        )
        .await
    }

    /// Makes a product.
    pub async fn create_product(
        &self,
        org: &str,
        body: &ProductCreate,
    ) -> Result<Product, ClientError> {
        self.post(&path(&["orgs", org, "products"]), body).await
    }

    /// Products of an org.
    pub async fn products(&self, org: &str, page: &PageOf) -> Result<Page<Product>, ClientError> {
        self.list(&path(&["orgs", org, "products"]), page).await
    }

    /// One product.
    pub async fn product(&self, org: &str, product: &str) -> Result<Product, ClientError> {
        self.get(&path(&["orgs", org, "products", product])).await
    }

    /// Deletes a product without devices, groups and firmware.
    pub async fn delete_product(&self, org: &str, product: &str) -> Result<(), ClientError> {
        self.done(Method::DELETE, &path(&["orgs", org, "products", product]))
            .await
    }
}
