//! Opens the device's one socket: TCP, mutual TLS, WebSocket upgrade.
//!
//! Owns the dial's deadline, the small buffers that let thousands of devices live in one process, and reading the hub's
//! `Retry-After` when it refuses an upgrade. It decides nothing about when to try again.

use std::{io, sync::Arc, time::Duration};

use reqwest::Url;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, http, protocol::WebSocketConfig},
};

use crate::limits::{
    DIAL_TIMEOUT, MESSAGE_BYTES_MAX, READ_BUFFER_BYTES, WRITE_BUFFER_BYTES, WRITE_BUFFER_BYTES_MAX,
};

/// The device's socket.
pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The hub cannot be reached.
    #[error("cannot reach {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// TLS failed; the hub may have refused the certificate.
    #[error("no TLS session with {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The hub refused the upgrade.
    #[error("the hub refused the connection with HTTP {status}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// When the hub wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The WebSocket handshake failed.
    #[error("no WebSocket with {host}")]
    Upgrade {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// The whole dial took longer than [`DIAL_TIMEOUT`].
    #[error("no connection with {host} in time")]
    TimedOut {
        /// Host and port.
        host: String,
    },
}

impl ConnectError {
    /// When the hub wants to be asked again, if it said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Upgrade { .. }
            | Self::TimedOut { .. } => None,
        }
    }
}

/// Where and how to connect; checked once, used for every dial.
#[derive(Clone)]
pub struct Dialer {
    url: Url,
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

/// Why a hub URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("hub url {url:?} {reason}")]
pub struct BadUrl {
    url: String,
    reason: &'static str,
}

impl Dialer {
    /// Checks the URL. `wss` only: the client certificate is the device's identity. A missing path becomes
    /// `/socket/websocket`, a missing `vsn` becomes 2.0.0.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(url: &str, tls: Arc<ClientConfig>) -> Result<Self, BadUrl> {
        let bad = |reason| BadUrl {
            url: url.to_owned(),
            reason,
        };
        let mut parsed = Url::parse(url).map_err(|_| bad("is not a url"))?;
        if parsed.scheme() != "wss" {
            return Err(bad("does not begin with wss://"));
        }
        if parsed.path() == "/" {
            parsed.set_path("/socket/websocket");
        }
        if !parsed.query_pairs().any(|(key, _)| key == "vsn") {
            parsed.query_pairs_mut().append_pair("vsn", "2.0.0");
        }
        let host = parsed
            .host_str()
            .ok_or_else(|| bad("names no host"))?
            .trim_matches(['[', ']'])
            .to_owned();
        let name =
            ServerName::try_from(host.clone()).map_err(|_| bad("names a host TLS cannot check"))?;
        let port = parsed.port_or_known_default().unwrap_or(443);
        Ok(Self {
            url: parsed,
            host,
            port,
            name,
            tls,
        })
    }

    /// Opens a socket, within [`DIAL_TIMEOUT`].
    ///
    /// # Errors
    /// When any step fails.
    pub async fn dial(&self) -> Result<Socket, ConnectError> {
        let host = format!("{}:{}", self.host, self.port);
        match tokio::time::timeout(DIAL_TIMEOUT, self.dial_in_time(&host)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut { host }),
        }
    }

    async fn dial_in_time(&self, host: &str) -> Result<Socket, ConnectError> {
        let unreachable = |source| ConnectError::Unreachable {
            host: host.to_owned(),
            source,
        };
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let tls = TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.name.clone(), tcp)
            .await;
        let tls = tls.map_err(|source| ConnectError::Tls {
            host: host.to_owned(),
            source,
        })?;
        let upgrade = |source| ConnectError::Upgrade {
            host: host.to_owned(),
            source: Box::new(source),
        };
        let request = self.url.as_str().into_client_request().map_err(upgrade)?;
        match client_async_with_config(request, tls, Some(socket_config())).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => Err(refused(&response)),
            Err(source) => Err(upgrade(source)),
        }
    }
}

fn refused<Body>(response: &http::Response<Body>) -> ConnectError {
    let seconds = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok());
    ConnectError::Refused {
        status: response.status().as_u16(),
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::client_config_without_certificate;

    #[test]
    fn urls_get_the_path_and_version_they_lack() {
        let tls = client_config_without_certificate(&[]).unwrap();
        let url =
            |text: &str| Dialer::new(text, Arc::clone(&tls)).map(|dialer| dialer.url.to_string());
        assert_eq!(
            url("wss://hub:4001").unwrap(),
            "wss://hub:4001/socket/websocket?vsn=2.0.0"
        );
        assert_eq!(
            url("wss://hub/x?vsn=2.0.0&a=b").unwrap(),
            "wss://hub/x?vsn=2.0.0&a=b"
        );
        assert!(url("wss://[::1]:4001/").is_ok());
        assert!(url("ws://hub").is_err() && url("hub").is_err() && url("wss://").is_err());
    }
}
