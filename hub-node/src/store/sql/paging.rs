//! Pages of lists: the key of the last row seen, as text, and at most so many rows.

use hub_core::limits::STORE_PAGE_ROWS_MAX;

use super::failure::conflict;
use crate::store::StoreResult;
use crate::store::records::{Page, PageQuery};

/// A page query that was checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Key of the last row already seen.
    after: Option<i64>,
    limit: usize,
}

impl Window {
    /// Reads a query; a limit out of range is moved into it.
    pub(super) fn new(query: &PageQuery) -> StoreResult<Self> {
        let after = match &query.after {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| conflict("bad_cursor", "this cursor was not made here"))?,
            ),
        };
        Ok(Self {
            after,
            limit: query.limit.clamp(1, STORE_PAGE_ROWS_MAX),
        })
    }

    /// Bound for `id > $n`, in lists that rise.
    pub(super) fn above(self) -> i64 {
        self.after.unwrap_or(0)
    }

    /// Bound for `seq < $n`, in lists that fall.
    pub(super) fn below(self) -> i64 {
        self.after.unwrap_or(i64::MAX)
    }

    /// Rows to fetch: one more than fits, to know whether there is another page.
    pub(super) fn fetch(self) -> i64 {
        i64::try_from(self.limit)
            .unwrap_or(i64::MAX)
            .saturating_add(1)
    }

    /// Makes the page of the fetched rows.
    pub(super) fn page<R, T>(
        self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> i64,
        make: impl FnMut(R) -> StoreResult<T>,
    ) -> StoreResult<Page<T>> {
        let next = self.cut(&mut rows, key);
        let items = rows
            .into_iter()
            .map(make)
            .collect::<StoreResult<Vec<T>>>()?;
        Ok(Page { items, next })
    }

    /// Drops the row too many; where the next page starts.
    pub(super) fn cut<R>(self, rows: &mut Vec<R>, key: impl Fn(&R) -> i64) -> Option<String> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        if more {
            rows.last().map(|row| key(row).to_string())
        } else {
            None
        }
    }
}
