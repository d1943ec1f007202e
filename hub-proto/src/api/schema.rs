//! OpenAPI schemas of the wire's own scalar types: each is one named component that bodies refer to.

use crate::id::{
    CaId, CertId, CommandId, ConnGen, DeviceId, FirmwareId, GroupId, KeyId, OrgId, ProductId,
    TokenId,
};
use crate::slug::Slug;
use crate::time::Timestamp;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! scalar {
    ($type:ty, $name:literal, $schema:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($schema.build()))
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

fn integer(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some(description))
}

fn text(format: KnownFormat, description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(format)))
        .description(Some(description))
}

scalar!(OrgId, "OrgId", integer("id of an org"));
scalar!(ProductId, "ProductId", integer("id of a product"));
scalar!(DeviceId, "DeviceId", integer("id of a device"));
scalar!(GroupId, "GroupId", integer("id of a group"));
scalar!(FirmwareId, "FirmwareId", integer("id of a firmware"));
scalar!(CaId, "CaId", integer("id of an authority"));
scalar!(CertId, "CertId", integer("id of a certificate"));
scalar!(KeyId, "KeyId", integer("id of a signing key"));
scalar!(TokenId, "TokenId", integer("id of a token"));
scalar!(ConnGen, "ConnGen", integer("generation of a connection"));
scalar!(
    CommandId,
    "CommandId",
    text(KnownFormat::Uuid, "id of a command")
);
scalar!(
    Timestamp,
    "Timestamp",
    text(KnownFormat::DateTime, "RFC 3339, UTC")
);
scalar!(
    Slug,
    "Slug",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))
        .description(Some("a name that is safe in paths, topics and patterns"))
);
