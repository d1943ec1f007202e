//! Orgs, products and access tokens.

use crate::id::{OrgId, ProductId, TokenId};
use crate::slug::Slug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Start of every token's text, so that secret scanners find leaked ones.
pub const TOKEN_PREFIX: &str = "hub_";

/// Length of a token's text after the prefix: 32 random bytes in unpadded base64url.
pub const TOKEN_SECRET_CHARS: usize = 43;

/// An org: the tenant that everything else belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Org {
    /// Stable id.
    pub id: OrgId,
    /// Unique name.
    pub name: Slug,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Makes an org.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OrgCreate {
    /// Unique name.
    pub name: Slug,
}

/// A product: devices that run the same line of firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Product {
    /// Stable id.
    pub id: ProductId,
    /// Name, unique in its org.
    pub name: Slug,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Makes a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProductCreate {
    /// Name, unique in its org.
    pub name: Slug,
}

/// What a token may do inside its org; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also targets, groups, commands, devices.
    Operator,
    /// Also certificates, authorities, keys, firmware, products, tokens.
    Admin,
}

/// An access token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// Stable id.
    pub id: TokenId,
    /// Name for people; need not be unique.
    pub name: Slug,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; null for never.
    pub expires_at: Option<Timestamp>,
}

/// Makes an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// Name for people.
    pub name: Slug,
    /// What it may do.
    pub role: Role,
    /// When it stops working, in the future; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A new token with its secret, which is shown this one time: only its hash is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreated {
    /// Stable id.
    pub id: TokenId,
    /// Name for people.
    pub name: Slug,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; null for never.
    pub expires_at: Option<Timestamp>,
    /// `hub_` and 43 characters, for the `Authorization: Bearer` header.
    pub token: String,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("created_at", &self.created_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
