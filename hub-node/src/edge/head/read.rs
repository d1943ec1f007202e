//! Judges a complete request head: the route first, then the method, then the framing, then the upgrade itself.
//! The order decides which answer a request with several faults gets; a request that two servers could frame
//! differently is refused before all of them.

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use httparse::{EMPTY_HEADER, Header, Request, Status};
use hub_core::limits::{QUERY_PARAMETERS_MAX, REQUEST_HEADERS_MAX, SUBPROTOCOLS_MAX};
use hub_proto::frame::Serializer;

use super::{Answer, FIRMWARE_PREFIX, HeadKind, HeadPolicy, SOCKET_PATH, Upgrade};

/// Bytes of a decoded `Sec-WebSocket-Key`.
const KEY_BYTES: usize = 16;

/// Headers by which others let a proxy state who or where a client is. Counted, never believed.
const CLAIMS: [&str; 11] = [
    "forwarded",
    "x-forwarded-for",
    "x-real-ip",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    "x-client-cert",
    "x-ssl-client-cert",
    "x-ssl-cert",
    "x-amzn-mtls-clientcert",
    "client-cert",
];

/// Some clients leave stray bits at the end of their key; the bytes are what counts.
const KEY_ENCODING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Judges a request head that ends where `head` ends. Also counts the headers that claim an identity. Total.
#[must_use]
pub fn judge(head: &[u8], policy: &HeadPolicy) -> (HeadKind, usize) {
    let mut headers = [EMPTY_HEADER; REQUEST_HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let refused = match request.parse(head) {
        Ok(Status::Complete(n)) if n == head.len() => None,
        Ok(Status::Complete(_) | Status::Partial) => {
            Some(Answer::new(400, "the request head cannot be read"))
        }
        Err(httparse::Error::TooManyHeaders) => Some(Answer::new(431, "too many headers")),
        Err(_) => Some(Answer::new(400, "the request head cannot be read")),
    };
    if let Some(answer) = refused {
        return (HeadKind::Refuse(answer), 0);
    }
    let claims = request
        .headers
        .iter()
        .filter(|h| CLAIMS.iter().any(|c| h.name.eq_ignore_ascii_case(c)))
        .count();
    let fields = Fields(request.headers);
    let (method, target) = (
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
    );
    let kind = framing(&fields, request.version)
        .and_then(|()| route(method, target, request.version, &fields, policy))
        .unwrap_or_else(HeadKind::Refuse);
    (kind, claims)
}

/// Header lines by name.
struct Fields<'a>(&'a [Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The value of a header that may appear once, as text.
    fn one(&self, name: &'static str) -> Result<Option<&'a str>, Answer> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Answer::new(
                400,
                "a header that may appear once is repeated",
            ));
        }
        first
            .map(std::str::from_utf8)
            .transpose()
            .map_err(|_| Answer::new(400, "a header is not plain text"))
    }

    /// Comma-separated tokens of all lines with this name.
    fn tokens(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let lines = self
            .all(name)
            .filter_map(|value| std::str::from_utf8(value).ok());
        lines
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|token| !token.is_empty())
    }

    fn lists(&self, name: &'static str, token: &str) -> bool {
        self.tokens(name)
            .any(|found| found.eq_ignore_ascii_case(token))
    }
}

/// No request on this port has a body, so whatever could frame one is a fault, and doubly so when it does it twice.
fn framing(fields: &Fields<'_>, version: Option<u8>) -> Result<(), Answer> {
    let refuse = |why| Err(Answer::new(400, why));
    if fields.all("transfer-encoding").next().is_some() {
        return refuse("no request here has a body");
    }
    match fields.one("content-length")? {
        None | Some("0") => {}
        Some(_) => return refuse("no request here has a body"),
    }
    match fields.one("host")? {
        None if version == Some(1) => refuse("the request names no host"),
        None | Some(_) => Ok(()),
    }
}

fn route(
    method: &str,
    target: &str,
    version: Option<u8>,
    fields: &Fields<'_>,
    policy: &HeadPolicy,
) -> Result<HeadKind, Answer> {
    let (path, query) = target
        .split_once('?')
        .map_or((target, ""), |(path, query)| (path, query));
    let is_socket = path == SOCKET_PATH;
    if !is_socket && !is_download(path) {
        return Err(Answer::new(404, "there is nothing here"));
    }
    if !query
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(Answer::new(
            400,
            "the query has characters that a query cannot have",
        ));
    }
    if query.split('&').count() > QUERY_PARAMETERS_MAX {
        return Err(Answer::new(400, "too many query parameters"));
    }
    if is_socket {
        upgrade(method, query, version, fields, policy).map(HeadKind::Upgrade)
    } else {
        download(method)
    }
}

/// `/firmware/` and one or more plain segments: no empty ones, no dots that walk, nothing encoded.
fn is_download(path: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    path.strip_prefix(FIRMWARE_PREFIX).is_some_and(|rest| {
        rest.split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
    })
}

fn download(method: &str) -> Result<HeadKind, Answer> {
    match method {
        "GET" | "HEAD" => Ok(HeadKind::Download),
        _ => Err(Answer::new(405, "firmware can only be read").header("allow", "GET, HEAD")),
    }
}

fn upgrade(
    method: &str,
    query: &str,
    version: Option<u8>,
    fields: &Fields<'_>,
    policy: &HeadPolicy,
) -> Result<Upgrade, Answer> {
    if method != "GET" {
        return Err(Answer::new(405, "a socket is opened with GET").header("allow", "GET"));
    }
    if fields.all("origin").next().is_some() {
        let origin = fields.one("origin")?;
        if !policy
            .origins
            .iter()
            .any(|listed| Some(listed.as_str()) == origin)
        {
            return Err(Answer::new(403, "sockets are not opened from web pages"));
        }
    }
    if version != Some(1)
        || !fields.lists("upgrade", "websocket")
        || !fields.lists("connection", "upgrade")
    {
        return Err(Answer::new(426, "this is a WebSocket").header("upgrade", "websocket"));
    }
    if fields.one("sec-websocket-version")? != Some("13") {
        return Err(
            Answer::new(426, "the WebSocket version is 13").header("sec-websocket-version", "13")
        );
    }
    let key = fields
        .one("sec-websocket-key")?
        .ok_or(Answer::new(400, "the WebSocket key is missing"))?;
    if KEY_ENCODING.decode(key).map(|bytes| bytes.len()) != Ok(KEY_BYTES) {
        return Err(Answer::new(
            400,
            "the WebSocket key is not 16 bytes in base64",
        ));
    }
    let serializer = Serializer::from_vsn(vsn(query)?)
        .map_err(|_| Answer::new(400, "the protocol version (vsn) is unknown"))?;
    let protocols = fields
        .tokens("sec-websocket-protocol")
        .take(SUBPROTOCOLS_MAX)
        .map(Box::from)
        .collect();
    Ok(Upgrade {
        key: key.into(),
        serializer,
        protocols,
    })
}

/// The query's `vsn`; twice is a fault, because two readers could pick different ones.
fn vsn(query: &str) -> Result<Option<&str>, Answer> {
    let mut values = query
        .split('&')
        .filter_map(|pair| match pair.split_once('=') {
            Some(("vsn", value)) => Some(value),
            None if pair == "vsn" => Some(""),
            Some(_) | None => None,
        });
    let first = values.next();
    if values.next().is_some() {
        return Err(Answer::new(
            400,
            "the protocol version (vsn) is given twice",
        ));
    }
    Ok(first)
}
