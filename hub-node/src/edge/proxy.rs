//! The PROXY protocol, version 2, on a listener of its own: a load balancer that passes TLS through says whose connection it is.
//!
//! Rules owned here: only listed networks may connect; the header is mandatory, comes within `PROXY_HEADER_MAX` and has at most
//! `PROXY_HEADER_BYTES_MAX`; it is used for the address that is shown, and for nothing else. A connection that speaks for the load
//! balancer itself (LOCAL) is a health check: nothing is behind it.

use std::net::{IpAddr, SocketAddr};

use hub_core::limits::{PROXY_HEADER_BYTES_MAX, PROXY_HEADER_MAX};
use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// Signature, version, family and length: what every header begins with.
const FIXED_BYTES: usize = 16;

/// Why a connection is closed before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyFault {
    /// The peer is none of the listed load balancers.
    #[error("the peer is not a listed load balancer")]
    NotListed,
    /// No header, or not all of it, came in time.
    #[error("no PROXY header came in time")]
    Late,
    /// What came is no header of version 2.
    #[error("what came is no PROXY header of version 2")]
    Garbage,
    /// A header longer than any that makes sense.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Who may speak for others.
#[derive(Clone, Debug)]
pub(crate) struct ProxySources(Vec<IpNet>);

impl ProxySources {
    /// Reads networks such as `10.0.0.0/8`; a single address is a network of one.
    ///
    /// # Errors
    /// The first text that is neither.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let net = |text: &String| {
            let net = text.parse::<IpNet>().ok();
            net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
                .ok_or_else(|| text.clone())
        };
        texts.iter().map(net).collect::<Result<_, _>>().map(Self)
    }

    fn lists(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Reads the header of a connection from `peer`: whose it is, or `None` for a health check.
    pub(super) async fn read<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        peer: SocketAddr,
    ) -> Result<Option<SocketAddr>, ProxyFault> {
        if !self.lists(peer.ip()) {
            return Err(ProxyFault::NotListed);
        }
        let read = timeout(PROXY_HEADER_MAX, header(stream));
        read.await.map_err(|_| ProxyFault::Late)?
    }
}

async fn header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyFault> {
    let mut bytes = vec![0; FIXED_BYTES];
    stream
        .read_exact(&mut bytes)
        .await
        .map_err(|_| ProxyFault::Late)?;
    if !bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(ProxyFault::Garbage);
    }
    let rest = match bytes.last_chunk::<2>() {
        Some(length) => usize::from(u16::from_be_bytes(*length)),
        None => return Err(ProxyFault::Garbage),
    };
    if FIXED_BYTES + rest > PROXY_HEADER_BYTES_MAX {
        return Err(ProxyFault::TooLong);
    }
    bytes.resize(FIXED_BYTES + rest, 0);
    let (_, tail) = bytes.split_at_mut(FIXED_BYTES);
    stream
        .read_exact(tail)
        .await
        .map_err(|_| ProxyFault::Late)?;
    let header = Header::try_from(&bytes[..]).map_err(|_| ProxyFault::Garbage)?;
    if header.tlvs().any(|tlv| tlv.is_err()) {
        return Err(ProxyFault::Garbage);
    }
    match (header.command, header.addresses) {
        (Command::Local, _) => Ok(None),
        (Command::Proxy, Addresses::IPv4(ip)) => {
            Ok(Some((ip.source_address, ip.source_port).into()))
        }
        (Command::Proxy, Addresses::IPv6(ip)) => {
            Ok(Some((ip.source_address, ip.source_port).into()))
        }
        (Command::Proxy, Addresses::Unspecified | Addresses::Unix(_)) => Err(ProxyFault::Garbage),
    }
}

#[cfg(test)]
mod tests {
    use ppp::v2::{Builder, Protocol, Version};

    use super::*;

    const LB: &str = "10.1.2.3:999";

    fn sources() -> ProxySources {
        ProxySources::parse(&["10.0.0.0/8".into(), "::1".into()]).unwrap()
    }

    async fn read(bytes: &[u8], peer: &str) -> Result<Option<SocketAddr>, ProxyFault> {
        let mut bytes = bytes;
        sources().read(&mut bytes, peer.parse().unwrap()).await
    }

    fn built(command: Command, source: &str) -> Vec<u8> {
        let source: SocketAddr = source.parse().unwrap();
        let target: SocketAddr = match source {
            SocketAddr::V4(_) => "192.0.2.1:443".parse().unwrap(),
            SocketAddr::V6(_) => "[2001:db8::1]:443".parse().unwrap(),
        };
        Builder::with_addresses(Version::Two | command, Protocol::Stream, (source, target))
            .write_tlv(ppp::v2::Type::NoOp, b"padding")
            .unwrap()
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn it_says_whose_connection_it_is() {
        for source in ["198.51.100.7:4711", "[2001:db8::7]:4711"] {
            let bytes = built(Command::Proxy, source);
            assert_eq!(read(&bytes, LB).await, Ok(Some(source.parse().unwrap())));
            // the mapped address of the same balancer
            assert!(read(&bytes, "[::ffff:10.1.2.3]:1").await.is_ok());
            assert!(read(&bytes, "[::1]:1").await.is_ok());
        }
    }

    #[tokio::test]
    async fn case_27_a_source_that_is_not_listed_is_not_heard() {
        let bytes = built(Command::Proxy, "198.51.100.7:4711");
        assert_eq!(read(&bytes, "11.0.0.1:1").await, Err(ProxyFault::NotListed));
        assert_eq!(read(b"", "11.0.0.1:1").await, Err(ProxyFault::NotListed));
    }

    #[tokio::test]
    async fn case_28_headers_that_make_no_sense_end_the_connection() {
        let good = built(Command::Proxy, "198.51.100.7:4711");
        assert_eq!(
            read(&built(Command::Local, "10.1.2.3:1"), LB).await,
            Ok(None)
        );
        let mut long = good.clone();
        long[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(read(&long, LB).await, Err(ProxyFault::TooLong));
        let mut cut = good.clone();
        let length = u16::try_from(good.len() - FIXED_BYTES - 1).unwrap();
        cut[14..16].copy_from_slice(&length.to_be_bytes());
        assert_eq!(read(&cut, LB).await, Err(ProxyFault::Garbage));
        assert_eq!(read(&good[..20], LB).await, Err(ProxyFault::Late));
        for garbage in [
            &b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello",
        ] {
            assert_eq!(read(garbage, LB).await, Err(ProxyFault::Garbage));
        }
        let mut version = good.clone();
        version[12] = 0x11;
        assert_eq!(read(&version, LB).await, Err(ProxyFault::Garbage));
    }

    #[test]
    fn sources_are_networks_or_addresses() {
        assert_eq!(
            ProxySources::parse(&["10.0.0.0/33".into()]).unwrap_err(),
            "10.0.0.0/33"
        );
        assert_eq!(ProxySources::parse(&["lb".into()]).unwrap_err(), "lb");
        assert!(ProxySources::parse(&[]).unwrap().0.is_empty());
    }
}
