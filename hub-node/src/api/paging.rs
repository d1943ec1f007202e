//! Lists in pages: the `limit` and `cursor` of a call, and the cursor of its answer.
//!
//! A cursor is the store's key of the last row, bound by a checksum to the list it came from and to the database's
//! history. It carries no authority (the org of the path decides what is seen), so the checksum needs no secret: it is
//! there to refuse cursors that were cut, edited or taken from another list.

use super::ApiState;
use super::problem::Refused;
use super::read::query_pairs;
use crate::store::records::{Page, PageQuery};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub_proto::api::page::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};
use hub_proto::id::Epoch;
use sha2::{Digest, Sha256};

/// Bytes of the checksum in a cursor.
const CHECKSUM_BYTES: usize = 8;

/// Which page a call asks for.
pub struct Paging {
    query: PageQuery,
    list: List,
}

/// Query parameters of every list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in the OpenAPI document")]
pub struct PageParams {
    /// Items per page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What a cursor is bound to.
struct List {
    path: String,
    epoch: Epoch,
}

impl List {
    fn checksum(&self, key: &str) -> [u8; CHECKSUM_BYTES] {
        let mut hash = Sha256::new();
        hash.update(self.epoch.0.to_be_bytes());
        hash.update((self.path.len() as u64).to_be_bytes());
        hash.update(self.path.as_bytes());
        hash.update(key.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut checksum = [0; CHECKSUM_BYTES];
        checksum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
        checksum
    }

    fn cursor(&self, key: &str) -> String {
        let mut bytes = self.checksum(key).to_vec();
        bytes.extend_from_slice(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn key(&self, cursor: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (checksum, key) = bytes.split_at_checked(CHECKSUM_BYTES)?;
        let key = std::str::from_utf8(key).ok()?;
        (self.checksum(key) == checksum).then(|| key.to_owned())
    }
}

impl Paging {
    /// What to ask the store for.
    pub fn query(&self) -> PageQuery {
        self.query.clone()
    }

    /// The answer's body.
    pub fn page<T, U: From<T>>(&self, page: Page<T>) -> hub_proto::api::Page<U> {
        hub_proto::api::Page {
            items: page.items.into_iter().map(U::from).collect(),
            next_cursor: page.next.map(|key| self.list.cursor(&key)),
        }
    }

    /// The answer's body, when a row may turn out not to be presentable.
    pub fn try_page<T, U>(
        &self,
        page: Page<T>,
        show: impl FnMut(T) -> Result<U, Refused>,
    ) -> Result<hub_proto::api::Page<U>, Refused> {
        Ok(hub_proto::api::Page {
            items: page.items.into_iter().map(show).collect::<Result<_, _>>()?,
            next_cursor: page.next.map(|key| self.list.cursor(&key)),
        })
    }
}

impl FromRequestParts<ApiState> for Paging {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
        let [limit, cursor] = query_pairs(&parts.uri, ["limit", "cursor"])?;
        let limit = match limit {
            None => PAGE_ITEMS_DEFAULT,
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if (1..=PAGE_ITEMS_MAX).contains(&limit) => limit,
                Ok(_) | Err(_) => {
                    return Err(Refused::field(
                        "?limit",
                        format!("must be a number from 1 to {PAGE_ITEMS_MAX}"),
                    ));
                }
            },
        };
        let list = List {
            path: parts.uri.path().to_owned(),
            epoch: state.store.epoch(),
        };
        let after = match cursor {
            None => None,
            Some(cursor) => Some(list.key(&cursor).ok_or_else(|| Refused::BadRequest {
                code: "bad_cursor",
                detail: "this cursor is not one of this list".to_owned(),
            })?),
        };
        Ok(Self {
            query: PageQuery { after, limit },
            list,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let list = List {
            path: "/api/v1/orgs/a/products".to_owned(),
            epoch: Epoch(7),
        };
        let cursor = list.cursor("42");
        assert_eq!(list.key(&cursor).as_deref(), Some("42"));
        let other = List {
            path: "/api/v1/orgs/b/products".to_owned(),
            epoch: Epoch(7),
        };
        assert_eq!(other.key(&cursor), None);
        let restored = List {
            path: list.path.clone(),
            epoch: Epoch(8),
        };
        assert_eq!(restored.key(&cursor), None);
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let edited = String::from_utf8(bytes).unwrap();
            assert_eq!(list.key(&edited), None, "{edited}");
        }
        assert_eq!(list.key(""), None);
        assert_eq!(list.key("not base64!"), None);
    }
}
