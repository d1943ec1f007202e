//! `hubctl`: the operators' command line. Reads its arguments, makes one call, shows the answer, and ends with a code that scripts
//! can rely on.

mod args;
mod fleet;
mod node;
mod output;
mod tenant;
mod trust;

use args::{Area, Options};
use clap::Parser;
use hub_cli::{Client, ClientError, ClientOptions};
use output::Output;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// An argument cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The answer could not be shown.
    #[error("the answer cannot be written")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// The exit code; listed in the help text.
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Call(ClientError::Setup(_) | ClientError::File { .. }) => 2,
            Self::Call(ClientError::Refused(problem)) => match problem.status {
                404 => 3,
                401 | 403 => 4,
                409 => 6,
                500..=599 => 5,
                _ => 1,
            },
            Self::Call(ClientError::Unreachable(_) | ClientError::NotAHub { .. }) => 5,
            Self::Call(ClientError::Unreadable(_) | ClientError::TooLarge) | Self::Output(_) => 1,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            output::failed(&failure);
            ExitCode::from(failure.code())
        }
    }
}

async fn run(options: Options) -> Result<(), Failure> {
    let ca_pem = match &options.hub.ca_file {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|source| {
            Failure::Call(ClientError::File {
                path: path.display().to_string(),
                source,
            })
        })?),
    };
    let client = Client::new(&ClientOptions {
        url: options.hub.url,
        token: options.hub.token,
        ca_pem,
    })?;
    let output = Output::new(options.output);
    match options.command {
        Area::Org(command) => tenant::org(&client, &output, command).await,
        Area::Product(command) => tenant::product(&client, &output, command).await,
        Area::Token(command) => tenant::token(&client, &output, command).await,
        Area::Device(command) => fleet::device(&client, &output, command).await,
        Area::Group(command) => fleet::group(&client, &output, command).await,
        Area::Command(command) => fleet::command(&client, &output, command).await,
        Area::Node(command) => node::node(&client, &output, command).await,
        Area::Connections { org, page } => output.list(
            client.connections(&org.org, &page.into()).await?,
            output::CONNECTION,
        ),
        Area::Ca(command) => trust::ca(&client, &output, command).await,
        Area::Key(command) => trust::key(&client, &output, command).await,
        Area::Firmware(command) => trust::firmware(&client, &output, command).await,
    }
}
