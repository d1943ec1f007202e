//! `hubctl org`, `hubctl product`, `hubctl token`.

use crate::Failure;
use crate::args::{OrgCommand, ProductCommand, Role, TokenCommand};
use crate::output::{ORG, Output, TOKEN};
use hub_cli::Client;
use hub_proto::api;

pub(crate) async fn org(
    client: &Client,
    output: &Output,
    command: OrgCommand,
) -> Result<(), Failure> {
    match command {
        OrgCommand::List { page } => output.list(client.orgs(&page.into()).await?, ORG),
        OrgCommand::Show { name } => output.one(client.org(&name).await?, ORG),
        OrgCommand::Create { name } => {
            output.one(client.create_org(&api::OrgCreate { name }).await?, ORG)
        }
        OrgCommand::Delete { name } => {
            client.delete_org(&name).await?;
            output.done("deleted")
        }
    }
}

pub(crate) async fn product(
    client: &Client,
    output: &Output,
    command: ProductCommand,
) -> Result<(), Failure> {
    match command {
        ProductCommand::List { org, page } => {
            output.list(client.products(&org.org, &page.into()).await?, ORG)
        }
        ProductCommand::Show { org, name } => {
            output.one(client.product(&org.org, &name).await?, ORG)
        }
        ProductCommand::Create { org, name } => output.one(
            client
                .create_product(&org.org, &api::ProductCreate { name })
                .await?,
            ORG,
        ),
        ProductCommand::Delete { org, name } => {
            client.delete_product(&org.org, &name).await?;
            output.done("deleted")
        }
    }
}

pub(crate) async fn token(
    client: &Client,
    output: &Output,
    command: TokenCommand,
) -> Result<(), Failure> {
    match command {
        TokenCommand::List { org, page } => {
            output.list(client.tokens(&org.org, &page.into()).await?, TOKEN)
        }
        TokenCommand::Create { org, name, role } => {
            let role = match role {
                Role::Viewer => api::Role::Viewer,
                Role::Operator => api::Role::Operator,
                Role::Admin => api::Role::Admin,
            };
            let body = api::TokenCreate {
                name,
                role,
                expires_at: None,
            };
            output.one(client.create_token(&org.org, &body).await?, TOKEN)
        }
        TokenCommand::Delete { org, id } => {
            client.delete_token(&org.org, id).await?;
            output.done("deleted")
        }
    }
}
