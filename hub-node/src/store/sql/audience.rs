//! Whom a command is for, as rows and as names.

use super::Db;
use hub_proto::id::{ChannelId, DeviceId, GroupId};

use super::failure::{damaged, store_failure};
use super::lookup;
use super::rows::slug;
use crate::store::StoreResult;
use crate::store::records::{Audience, CommandQuery};

/// The device or the group a command was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One device.
    Device(i64),
    /// A group's members.
    Group(i64),
}

impl Scope {
    /// Reads the two columns of which one is set.
    pub(super) fn new(device: Option<i64>, group: Option<i64>) -> StoreResult<Self> {
        match (device, group) {
            (Some(device), None) => Ok(Self::Device(device)),
            (None, Some(group)) => Ok(Self::Group(group)),
            (Some(_), Some(_)) | (None, None) => Err(damaged("audience")),
        }
    }

    /// The device and the group columns.
    pub(super) fn columns(self) -> (Option<i64>, Option<i64>) {
        match self {
            Self::Device(device) => (Some(device), None),
            Self::Group(group) => (None, Some(group)),
        }
    }

    /// Its channel.
    pub(super) fn channel(self) -> ChannelId {
        match self {
            Self::Device(device) => ChannelId::Device(DeviceId(device)),
            Self::Group(group) => ChannelId::Group(GroupId(group)),
        }
    }

    /// The scope a query names, inside its org.
    pub(super) async fn of(db: &mut Db, query: CommandQuery<'_>) -> StoreResult<Self> {
        match query {
            CommandQuery::Device(path) => Ok(Self::Device(lookup::device(db, path).await?.id)),
            CommandQuery::Group(path) => Ok(Self::Group(lookup::group(db, path).await?.id)),
        }
    }

    /// Its names; a deleted group keeps them.
    pub(super) async fn names(self, db: &mut Db) -> StoreResult<Audience> {
        let (sql, id) = match self {
            Self::Device(id) => (
                "SELECT p.name, d.name FROM device d JOIN product p ON p.id = d.product_id WHERE d.id = $1",
                id,
            ),
            Self::Group(id) => (
                "SELECT p.name, g.name FROM device_group g JOIN product p ON p.id = g.product_id WHERE g.id = $1",
                id,
            ),
        };
        let (product, name): (String, String) = sqlx::query_as(sql)
            .bind(id)
            .fetch_one(db)
            .await
            .map_err(store_failure)?;
        let product = slug(&product)?;
        match self {
            Self::Device(_) => Ok(Audience::Device {
                product,
                device: slug(&name)?,
            }),
            Self::Group(_) => Ok(Audience::Group {
                product,
                group: slug(&name)?,
            }),
        }
    }
}
