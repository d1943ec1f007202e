//! How stored rows are shown: store records to API bodies, field by field, nothing decided.

use super::problem::Refused;
use crate::store::records as row;
use hub_core::command::ExecutionState;
use hub_proto::api as body;
use serde_json::value::RawValue;

/// The 32 bytes of 64 hexadecimal digits of either case.
pub(super) fn unhex32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

impl From<row::Org> for body::Org {
    fn from(org: row::Org) -> Self {
        Self {
            id: org.id,
            name: org.name,
            created_at: org.created_at,
        }
    }
}

impl From<row::Product> for body::Product {
    fn from(product: row::Product) -> Self {
        Self {
            id: product.id,
            name: product.name,
            created_at: product.created_at,
        }
    }
}

impl From<row::Role> for body::Role {
    fn from(role: row::Role) -> Self {
        match role {
            row::Role::Viewer => Self::Viewer,
            row::Role::Operator => Self::Operator,
            row::Role::Admin => Self::Admin,
        }
    }
}

impl From<body::Role> for row::Role {
    fn from(role: body::Role) -> Self {
        match role {
            body::Role::Viewer => Self::Viewer,
            body::Role::Operator => Self::Operator,
            body::Role::Admin => Self::Admin,
        }
    }
}

impl From<row::Token> for body::Token {
    fn from(token: row::Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role.into(),
            created_at: token.created_at,
            expires_at: token.expires_at,
        }
    }
}

impl From<row::FirmwareName> for body::FirmwareName {
    fn from(firmware: row::FirmwareName) -> Self {
        Self {
            uuid: firmware.uuid,
            version: firmware.version,
        }
    }
}

impl From<row::UpdateState> for body::UpdateState {
    fn from(update: row::UpdateState) -> Self {
        Self {
            status: update.status,
            progress: update.progress,
            error: update.error,
            at: update.at,
        }
    }
}

impl From<row::Connection> for body::Connection {
    fn from(connection: row::Connection) -> Self {
        Self {
            device_id: connection.device,
            product: connection.product_name,
            device: connection.device_name,
            node: connection.node,
            generation: connection.generation,
            remote: connection.remote,
            since: connection.since,
        }
    }
}

impl From<row::Device> for body::Device {
    fn from(device: row::Device) -> Self {
        Self {
            id: device.id,
            product: device.product_name,
            name: device.name,
            created_at: device.created_at,
            revoked_at: device.revoked_at,
            firmware: device.firmware,
            target: device.target.map(Into::into),
            effective_target: device.effective_target.map(Into::into),
            groups: device.groups,
            update: device.update.map(Into::into),
            connection: device.connection.map(Into::into),
            disconnected_at: device.disconnected_at,
        }
    }
}

impl From<row::Group> for body::Group {
    fn from(group: row::Group) -> Self {
        Self {
            id: group.id,
            name: group.name,
            priority: group.priority,
            target: group.target.map(Into::into),
            members: group.members,
            created_at: group.created_at,
        }
    }
}

impl From<row::Certificate> for body::Certificate {
    fn from(certificate: row::Certificate) -> Self {
        Self {
            id: certificate.id,
            sha256: hex::encode(certificate.sha256),
            serial: certificate.serial,
            authority_id: certificate.authority,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            revoked_at: certificate.revoked_at,
            created_at: certificate.created_at,
        }
    }
}

impl From<row::Authority> for body::Authority {
    fn from(authority: row::Authority) -> Self {
        Self {
            id: authority.id,
            sha256: hex::encode(authority.sha256),
            subject: authority.subject,
            not_before: authority.not_before,
            not_after: authority.not_after,
            provision: authority
                .provisioning
                .map(|(_, product, quota)| body::Provisioning { product, quota }),
            provisioned: authority.provisioned,
            revoked_at: authority.revoked_at,
            created_at: authority.created_at,
        }
    }
}

impl From<row::SigningKey> for body::SigningKey {
    fn from(key: row::SigningKey) -> Self {
        use base64::Engine;
        Self {
            id: key.id,
            name: key.name,
            public_key: base64::engine::general_purpose::STANDARD.encode(key.public_key),
            created_at: key.created_at,
        }
    }
}

impl From<row::FirmwareRecord> for body::Firmware {
    fn from(record: row::FirmwareRecord) -> Self {
        let firmware = record.firmware;
        Self {
            id: record.id,
            uuid: firmware.uuid,
            version: firmware.version,
            product: firmware.product,
            platform: firmware.platform,
            architecture: firmware.architecture,
            extra: firmware.extra,
            size: firmware.size,
            sha256: hex::encode(firmware.sha256),
            key_id: firmware.key,
            created_at: record.created_at,
        }
    }
}

fn state(state: ExecutionState) -> body::ExecutionState {
    match state {
        ExecutionState::Queued => body::ExecutionState::Queued,
        ExecutionState::Sent => body::ExecutionState::Sent,
        ExecutionState::Delivered => body::ExecutionState::Delivered,
        ExecutionState::Succeeded => body::ExecutionState::Succeeded,
        ExecutionState::Failed => body::ExecutionState::Failed,
        ExecutionState::Rejected => body::ExecutionState::Rejected,
        ExecutionState::Expired => body::ExecutionState::Expired,
        ExecutionState::Cancelled => body::ExecutionState::Cancelled,
    }
}

impl From<row::Execution> for body::Execution {
    fn from(execution: row::Execution) -> Self {
        Self {
            device_id: execution.device,
            device: execution.device_name,
            state: state(execution.state),
            output: execution.output,
            at: execution.at,
        }
    }
}

/// A command as it is shown. Its stored arguments are JSON by construction; a row where they are not is damaged.
pub(super) fn command(command: row::Command) -> Result<body::Command, Refused> {
    let args = RawValue::from_string(command.args).map_err(|error| {
        tracing::error!(command = %command.id, %error, "stored arguments are not JSON");
        Refused::Internal
    })?;
    Ok(body::Command {
        id: command.id,
        audience: match command.audience {
            row::Audience::Device { product, device } => body::Audience::Device { product, device },
            row::Audience::Group { product, group } => body::Audience::Group { product, group },
        },
        name: command.name,
        args,
        created_at: command.created_at,
        expires_at: command.expires_at,
        cancelled_at: command.cancelled_at,
        counts: command
            .counts
            .into_iter()
            .map(|(s, devices)| body::StateCount {
                state: state(s),
                devices,
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_survive_text() {
        let digest: [u8; 32] = std::array::from_fn(|i| i as u8 * 8);
        assert_eq!(unhex32(&hex::encode(digest)), Some(digest));
        assert_eq!(unhex32(&hex::encode(digest).to_uppercase()), Some(digest));
        assert_eq!(unhex32("+f"), None);
        assert_eq!(unhex32(&"g".repeat(64)), None);
    }
}
