//! Which org a call acts for, and whether the caller may: the tenancy wall of the API.
//!
//! The org comes from the path, is looked up, and must be the token's own (root tokens have none and see all). An org that the
//! caller does not see answers exactly like one that does not exist, before any role is looked at.

use super::ApiState;
use super::auth::Caller;
use super::problem::Refused;
use crate::store::records::{DevicePath, GroupPath, Org, ProductPath, Role};
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use hub_proto::id::OrgId;
use hub_proto::slug::Slug;

/// A caller inside one org.
pub struct Scope {
    /// The org of the path.
    pub org: Org,
    /// Who calls.
    pub caller: Caller,
}

impl Scope {
    /// Id of the org.
    pub fn id(&self) -> OrgId {
        self.org.id
    }

    /// A product of this org by name. A name that no product can have is `NotFound`.
    pub fn product<'a>(&self, product: &'a str) -> Result<ProductPath<'a>, Refused> {
        named(product, "product")?;
        Ok(ProductPath {
            org: self.org.id,
            product,
        })
    }

    /// A device of this org by name.
    pub fn device<'a>(&self, product: &'a str, device: &'a str) -> Result<DevicePath<'a>, Refused> {
        let product = self.product(product)?;
        named(device, "device")?;
        Ok(DevicePath { product, device })
    }

    /// A group of this org by name.
    pub fn group<'a>(&self, product: &'a str, group: &'a str) -> Result<GroupPath<'a>, Refused> {
        let product = self.product(product)?;
        named(group, "group")?;
        Ok(GroupPath { product, group })
    }
}

/// Names in paths are compared with stored names only when they could be one; all else is literal text that names nothing.
fn named(name: &str, what: &'static str) -> Result<(), Refused> {
    match name.parse::<Slug>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Refused::NotFound { what }),
    }
}

async fn scope(parts: &mut Parts, state: &ApiState, needs: Role) -> Result<Scope, Refused> {
    let caller = caller(parts)?;
    let missing = || Refused::NotFound { what: "org" };
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| missing())?;
    let (_, name) = params
        .iter()
        .find(|(key, _)| *key == "org")
        .ok_or_else(missing)?;
    named(name, "org")?;
    let org = state.store.org(name).await?;
    if !caller.sees(org.id) {
        return Err(missing());
    }
    caller.require(needs)?;
    Ok(Scope { org, caller })
}

fn caller(parts: &Parts) -> Result<Caller, Refused> {
    parts
        .extensions
        .get::<Caller>()
        .cloned()
        .ok_or(Refused::Unauthenticated)
}

macro_rules! scope_of {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        pub struct $name(pub Scope);

        impl FromRequestParts<ApiState> for $name {
            type Rejection = Refused;
            async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
                scope(parts, state, $role).await.map(Self)
            }
        }
    };
}

scope_of!(
    /// A caller who may read in the org of the path.
    Viewer, Role::Viewer
);
scope_of!(
    /// A caller who may run the fleet of the org of the path.
    Operator, Role::Operator
);
scope_of!(
    /// A caller who may change what the org of the path trusts.
    Admin, Role::Admin
);

/// A caller with a root token of the largest role.
pub struct Root(pub Caller);

impl FromRequestParts<ApiState> for Root {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Refused> {
        let caller = caller(parts)?;
        if !caller.is_root() {
            return Err(Refused::Forbidden { needs: "root" });
        }
        caller.require(Role::Admin)?;
        Ok(Self(caller))
    }
}
