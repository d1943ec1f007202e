//! Devices, groups, commands, connections.

use super::{Client, ClientError, PageOf};
use crate::paths::path;
use hub_proto::api::{
    Command, CommandCreate, Connection, Device, DeviceCreate, Execution, Group, GroupCreate,
    GroupUpdate, MembersAdd, MembersAdded, Page, TargetSet,
};
use hub_proto::id::CommandId;
use reqwest::Method;

fn device_path(org: &str, product: &str, device: &str, rest: &[&str]) -> String {
    path(&[&["orgs", org, "products", product, "devices", device], rest].concat())
}

fn group_path(org: &str, product: &str, group: &str, rest: &[&str]) -> String {
    path(&[&["orgs", org, "products", product, "groups", group], rest].concat())
}

/// Devices.
impl Client {
    /// Registers a device.
    pub async fn create_device(
        &self,
        org: &str,
        product: &str,
        body: &DeviceCreate,
    ) -> Result<Device, ClientError> {
        self.post(&path(&["orgs", org, "products", product, "devices"]), body)
            .await
    }

    /// Devices of a product.
    pub async fn devices(
        &self,
        org: &str,
        product: &str,
        page: &PageOf,
    ) -> Result<Page<Device>, ClientError> {
        self.list(&path(&["orgs", org, "products", product, "devices"]), page)
            .await
    }

    /// One device.
    pub async fn device(
        &self,
        org: &str,
        product: &str,
        device: &str,
    ) -> Result<Device, ClientError> {
        self.get(&device_path(org, product, device, &[])).await
    }

    /// Deletes a device.
    pub async fn delete_device(
        &self,
        org: &str,
        product: &str,
        device: &str,
    ) -> Result<(), ClientError> {
        self.done(Method::DELETE, &device_path(org, product, device, &[]))
            .await
    }

    /// Revokes a device.
    pub async fn revoke_device(
        &self,
        org: &str,
        product: &str,
        device: &str,
    ) -> Result<Device, ClientError> {
        self.act(&device_path(org, product, device, &["revoke"]))
            .await
    }

    /// Lets a revoked device connect again.
    pub async fn reinstate_device(
        &self,
        org: &str,
        product: &str,
        device: &str,
    ) -> Result<Device, ClientError> {
        self.act(&device_path(org, product, device, &["reinstate"]))
            .await
    }

    /// Sets or clears a device's own target.
    pub async fn target_device(
        &self,
        org: &str,
        product: &str,
        device: &str,
        body: &TargetSet,
    ) -> Result<Device, ClientError> {
        self.change(
            Method::PUT,
            &device_path(org, product, device, &["target"]),
            body,
        )
        .await
    }

    /// A device's live connection; `not_found` while it is away.
    pub async fn connection(
        &self,
        org: &str,
        product: &str,
        device: &str,
    ) -> Result<Connection, ClientError> {
        self.get(&device_path(org, product, device, &["connection"]))
            .await
    }

    /// Live connections of an org.
    pub async fn connections(
        &self,
        org: &str,
        page: &PageOf,
    ) -> Result<Page<Connection>, ClientError> {
        self.list(&path(&["orgs", org, "connections"]), page).await
    }
}

/// Groups.
impl Client {
    /// Makes a group.
    pub async fn create_group(
        &self,
        org: &str,
        product: &str,
        body: &GroupCreate,
    ) -> Result<Group, ClientError> {
        self.post(&path(&["orgs", org, "products", product, "groups"]), body)
            .await
    }

    /// Groups of a product.
    pub async fn groups(
        &self,
        org: &str,
        product: &str,
        page: &PageOf,
    ) -> Result<Page<Group>, ClientError> {
        self.list(&path(&["orgs", org, "products", product, "groups"]), page)
            .await
    }

    /// One group.
    pub async fn group(&self, org: &str, product: &str, group: &str) -> Result<Group, ClientError> {
        self.get(&group_path(org, product, group, &[])).await
    }

    /// Changes a group.
    pub async fn update_group(
        &self,
        org: &str,
        product: &str,
        group: &str,
        body: &GroupUpdate,
    ) -> Result<Group, ClientError> {
        self.change(Method::PATCH, &group_path(org, product, group, &[]), body)
            .await
    }

    /// Deletes a group.
    pub async fn delete_group(
        &self,
        org: &str,
        product: &str,
        group: &str,
    ) -> Result<(), ClientError> {
        self.done(Method::DELETE, &group_path(org, product, group, &[]))
            .await
    }

    /// Sets or clears a group's target.
    pub async fn target_group(
        &self,
        org: &str,
        product: &str,
        group: &str,
        body: &TargetSet,
    ) -> Result<Group, ClientError> {
        self.change(
            Method::PUT,
            &group_path(org, product, group, &["target"]),
            body,
        )
        .await
    }

    /// Members of a group.
    pub async fn members(
        &self,
        org: &str,
        product: &str,
        group: &str,
        page: &PageOf,
    ) -> Result<Page<Device>, ClientError> {
        self.list(&group_path(org, product, group, &["members"]), page)
            .await
    }

    /// Adds devices to a group, all or none.
    pub async fn add_members(
        &self,
        org: &str,
        product: &str,
        group: &str,
        body: &MembersAdd,
    ) -> Result<MembersAdded, ClientError> {
        self.post(&group_path(org, product, group, &["members"]), body)
            .await
    }

    /// Makes a device a member; it may be one already.
    pub async fn add_member(
        &self,
        org: &str,
        product: &str,
        group: &str,
        device: &str,
    ) -> Result<(), ClientError> {
        self.done(
            Method::PUT,
            &group_path(org, product, group, &["members", device]),
        )
        .await
    }

    /// Ends a membership.
    pub async fn remove_member(
        &self,
        org: &str,
        product: &str,
        group: &str,
        device: &str,
    ) -> Result<(), ClientError> {
        self.done(
            Method::DELETE,
            &group_path(org, product, group, &["members", device]),
        )
        .await
    }
}

/// Commands.
impl Client {
    /// Gives a command to a device.
    pub async fn command_device(
        &self,
        org: &str,
        product: &str,
        device: &str,
        body: &CommandCreate,
    ) -> Result<Command, ClientError> {
        self.post(&device_path(org, product, device, &["commands"]), body)
            .await
    }

    /// Gives a command to all members of a group.
    pub async fn command_group(
        &self,
        org: &str,
        product: &str,
        group: &str,
        body: &CommandCreate,
    ) -> Result<Command, ClientError> {
        self.post(&group_path(org, product, group, &["commands"]), body)
            .await
    }

    /// Commands given to a device itself, newest first.
    pub async fn device_commands(
        &self,
        org: &str,
        product: &str,
        device: &str,
        page: &PageOf,
    ) -> Result<Page<Command>, ClientError> {
        self.list(&device_path(org, product, device, &["commands"]), page)
            .await
    }

    /// Commands given to a group, newest first.
    pub async fn group_commands(
        &self,
        org: &str,
        product: &str,
        group: &str,
        page: &PageOf,
    ) -> Result<Page<Command>, ClientError> {
        self.list(&group_path(org, product, group, &["commands"]), page)
            .await
    }

    /// One command with its counts per state.
    pub async fn command(&self, org: &str, id: CommandId) -> Result<Command, ClientError> {
        self.get(&path(&["orgs", org, "commands", &id.to_string()]))
            .await
    }

    /// What became of a command on each device.
    pub async fn executions(
        &self,
        org: &str,
        id: CommandId,
        page: &PageOf,
    ) -> Result<Page<Execution>, ClientError> {
        self.list(
            &path(&["orgs", org, "commands", &id.to_string(), "executions"]),
            page,
        )
        .await
    }

    /// Cancels what was not sent yet.
    pub async fn cancel_command(&self, org: &str, id: CommandId) -> Result<Command, ClientError> {
        self.act(&path(&["orgs", org, "commands", &id.to_string(), "cancel"]))
            .await
    }
}
