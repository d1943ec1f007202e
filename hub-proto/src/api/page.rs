//! One page of a list.

use serde::{Deserialize, Serialize};

/// Items asked for when a call names no `limit`.
pub const PAGE_ITEMS_DEFAULT: usize = 100;

/// Largest `limit` of a list call.
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Give this back as `cursor` for the next page; absent or null at the end of the list. Opaque.
    pub next_cursor: Option<String>,
}
