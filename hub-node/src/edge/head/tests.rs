//! First requests, good and bad, by the numbers of the catalogue of bad input.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

const PLAIN: &str = "GET /socket/websocket HTTP/1.1\r\nHost: x\r\n\r\n";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn request(line: &str, more: &[&str]) -> String {
    let mut lines = vec![
        line,
        "Host: hub.example",
        "Connection: keep-alive, Upgrade",
        "Upgrade: WebSocket",
    ];
    let key = format!("Sec-WebSocket-Key: {KEY}");
    lines.extend(["Sec-WebSocket-Version: 13", &key]);
    lines.extend(more);
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

fn upgrade(target: &str, more: &[&str]) -> String {
    request(&format!("GET {target} HTTP/1.1"), more)
}

async fn head_of(bytes: &[u8]) -> Head {
    let mut io = bytes;
    read_head(&mut io, &HeadPolicy::default()).await
}

async fn status_of(bytes: impl AsRef<[u8]>) -> u16 {
    match head_of(bytes.as_ref()).await.kind {
        HeadKind::Upgrade(_) => 101,
        HeadKind::Download => 200,
        HeadKind::Refuse(answer) => answer.status,
        HeadKind::Gone => 0,
    }
}

#[tokio::test]
async fn a_device_opens_a_socket() {
    let head = head_of(upgrade("/socket/websocket?vsn=2.0.0", &[]).as_bytes()).await;
    let HeadKind::Upgrade(upgrade) = head.kind else {
        panic!("{head:?}")
    };
    assert_eq!((&*upgrade.key, upgrade.serializer), (KEY, Serializer::V2));
    let response = String::from_utf8(accept(&upgrade)).unwrap();
    assert!(
        response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{response}"
    );
    assert!(
        response.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{response}"
    );
    assert!(
        !response.to_ascii_lowercase().contains("extensions"),
        "{response}"
    );
}

#[tokio::test]
async fn existing_clients_forms_are_understood() {
    for (target, serializer) in [
        ("/socket/websocket", Serializer::V1),
        ("/socket/websocket?", Serializer::V1),
        ("/socket/websocket?vsn=1.0.0", Serializer::V1),
        ("/socket/websocket?token=x&vsn=2.0.0&x", Serializer::V2),
    ] {
        let head =
            head_of(upgrade(target, &["Sec-WebSocket-Extensions: permessage-deflate"]).as_bytes())
                .await;
        let HeadKind::Upgrade(upgrade) = head.kind else {
            panic!("{target}: {head:?}")
        };
        assert_eq!(upgrade.serializer, serializer, "{target}");
    }
    assert_eq!(
        status_of(upgrade("/socket/websocket", &["Content-Length: 0"])).await,
        101
    );
}

#[tokio::test]
async fn what_comes_behind_the_head_is_kept() {
    let sent = format!("{}\u{1}early", upgrade("/socket/websocket", &[]));
    let head = head_of(sent.as_bytes()).await;
    assert!(matches!(head.kind, HeadKind::Upgrade(_)));
    assert_eq!(&head.rest()[..], b"\x01early");
    assert_eq!(&head.replay()[..], sent.as_bytes());
}

#[tokio::test]
async fn firmware_is_downloaded_without_any_ceremony() {
    for line in [
        "GET /firmware/o/a-b.fw?expires=1&sig=x HTTP/1.1",
        "HEAD /firmware/a HTTP/1.1",
    ] {
        assert_eq!(
            status_of(format!("{line}\r\nHost: x\r\nRange: bytes=5-\r\n\r\n")).await,
            200,
            "{line}"
        );
    }
}

#[tokio::test]
async fn case_29_headers_that_claim_an_identity_are_counted_and_ignored() {
    let claims = [
        "X-Forwarded-Client-Cert: Hash=abc",
        "X-Forwarded-Tls-Client-Cert: MIIB",
        "x-forwarded-for: 1.2.3.4",
    ];
    let head = head_of(upgrade("/socket/websocket", &claims).as_bytes()).await;
    assert!(matches!(head.kind, HeadKind::Upgrade(_)));
    assert_eq!(head.claims, 3);
}

#[tokio::test]
async fn case_32_what_two_servers_could_read_differently_is_refused() {
    let path = "/socket/websocket";
    for more in [
        &["Content-Length: 5", "Transfer-Encoding: chunked"][..],
        &["Content-Length: 0", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: identity"],
        &["Transfer-Encoding : chunked"],
        &["Content-Length: 0", "Content-Length: 0"],
        &["Content-Length: 0", "Content-Length: 7"],
        &["Content-Length: 5"],
        &["Content-Length: 0, 5"],
        &["Content-Length: +0"],
        &["Host: other.example"],
        &["X-Folded: a\r\n b"],
        &["X-Bare: a\nX-Other: b"],
        &["X-Return: a\rb"],
        &["X-Nul: a\0b"],
        &["no colon"],
        &["Bad Name: x"],
        &[": nameless"],
    ] {
        assert_eq!(status_of(upgrade(path, more)).await, 400, "{more:?}");
    }
    assert_eq!(
        status_of("GET /socket/websocket HTTP/1.1\nHost: x\n\n").await,
        400
    );
    assert_eq!(
        status_of("GET /socket/websocket HTTP/1.1\r\n\r\n").await,
        400
    );
    assert_eq!(
        status_of("\r\nGET /socket/websocket HTTP/1.1\r\nHost: x\r\n\r\n").await,
        400
    );
    assert_eq!(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, 400);
    assert_eq!(
        status_of("GET /firmware/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").await,
        400
    );
}

#[tokio::test]
async fn case_33_too_many_or_too_large_headers() {
    let many: Vec<_> = (0..101).map(|i| format!("X-{i}: y")).collect();
    let most: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(status_of(upgrade("/socket/websocket", &most)).await, 431);
    assert_eq!(
        status_of(upgrade("/socket/websocket", &most[..95])).await,
        101
    );
    let large = format!("X: {}", "y".repeat(REQUEST_HEAD_BYTES_MAX));
    assert_eq!(
        status_of(upgrade("/socket/websocket", &[&large])).await,
        431
    );
    // Refused when the limit is reached, not when the head ends.
    assert_eq!(
        status_of("GET /".to_owned() + &"a".repeat(REQUEST_HEAD_BYTES_MAX * 4)).await,
        431
    );
}

#[tokio::test]
async fn case_33_a_slow_head_is_given_up_at_the_deadline() {
    let policy = HeadPolicy {
        deadline: Duration::from_millis(10),
        ..HeadPolicy::default()
    };
    let (mut near, mut far) = tokio::io::duplex(256);
    near.write_all(b"GET /socket/websocket HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    let head = read_head(&mut far, &policy).await;
    assert!(
        matches!(&head.kind, HeadKind::Refuse(answer) if answer.status == 408),
        "{head:?}"
    );
    // The same with nothing at all.
    let (_silent, mut far) = tokio::io::duplex(256);
    let head = read_head(&mut far, &policy).await;
    assert!(
        matches!(&head.kind, HeadKind::Refuse(answer) if answer.status == 408),
        "{head:?}"
    );
}

#[tokio::test]
async fn a_peer_that_leaves_gets_no_answer() {
    assert_eq!(status_of("GET /socket/webs").await, 0);
    assert_eq!(status_of("").await, 0);
}

#[tokio::test]
async fn case_34_upgrades_that_are_none() {
    let base = [
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
    ];
    let key = format!("Sec-WebSocket-Key: {KEY}");
    let send = |line: &str, headers: &[&str]| format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n"));
    let get = "GET /socket/websocket HTTP/1.1";
    assert_eq!(status_of(send(get, &base)).await, 400, "no key");
    for bad in ["short", "bm90IHNpeHRlZW4=", "****************"] {
        let key = format!("Sec-WebSocket-Key: {bad}");
        assert_eq!(
            status_of(send(get, &[&base[..], &[&key]].concat())).await,
            400,
            "{bad}"
        );
    }
    assert_eq!(
        status_of(send(get, &[&base[..], &[&key, &key]].concat())).await,
        400,
        "two keys"
    );
    assert_eq!(
        status_of(send(
            get,
            &[&base[..3], &["Sec-WebSocket-Version: 12", &key]].concat()
        ))
        .await,
        426
    );
    assert_eq!(
        status_of(send(get, &[&base[..3], &[&key]].concat())).await,
        426,
        "no version"
    );
    assert_eq!(status_of(send(get, &["Host: x"])).await, 426, "plain GET");
    assert_eq!(
        status_of(send(
            "GET /socket/websocket HTTP/1.0",
            &[&base[..], &[&key]].concat()
        ))
        .await,
        426
    );
}

#[tokio::test]
async fn case_34_other_methods_and_what_the_answer_says() {
    for method in ["POST", "PUT", "CONNECT", "OPTIONS"] {
        assert_eq!(
            status_of(request(
                &format!("{method} /socket/websocket HTTP/1.1"),
                &[]
            ))
            .await,
            405,
            "{method}"
        );
        assert_eq!(
            status_of(request(&format!("{method} /firmware/a HTTP/1.1"), &[])).await,
            405,
            "{method}"
        );
    }
    let Head {
        kind: HeadKind::Refuse(answer),
        ..
    } = head_of(PLAIN.as_bytes()).await
    else {
        panic!("not refused")
    };
    assert!(
        String::from_utf8(answer.to_bytes())
            .unwrap()
            .contains("upgrade: websocket\r\n")
    );
}

#[tokio::test]
async fn case_35_web_pages_open_no_sockets_unless_listed() {
    let with = upgrade("/socket/websocket", &["Origin: https://ops.example"]);
    assert_eq!(status_of(&with).await, 403);
    assert_eq!(
        status_of(upgrade("/socket/websocket", &["Origin: null"])).await,
        403
    );
    let policy = HeadPolicy {
        origins: vec!["https://ops.example".into()],
        ..HeadPolicy::default()
    };
    let mut io = with.as_bytes();
    assert!(matches!(
        read_head(&mut io, &policy).await.kind,
        HeadKind::Upgrade(_)
    ));
    let twice = upgrade(
        "/socket/websocket",
        &["Origin: https://ops.example", "Origin: https://ops.example"],
    );
    let mut io = twice.as_bytes();
    assert!(matches!(
        read_head(&mut io, &policy).await.kind,
        HeadKind::Refuse(_)
    ));
}

#[tokio::test]
async fn case_36_a_path_is_exact_or_not_there() {
    for target in [
        "/",
        "/socket/websocket/",
        "/socket//websocket",
        "//socket/websocket",
        "/socket/./websocket",
        "/socket/x/../websocket",
        "/socket/%77ebsocket",
        "/socket/websocket;x=1",
        "/socket/websocket#x",
        "/Socket/websocket",
        "/device/websocket",
        "/firmware",
        "/firmware/",
        "/firmware/a/",
        "/firmware//a",
        "/firmware/../socket/websocket",
        "/firmware/./a",
        "/firmware/%2e%2e/a",
        "/firmware/a%2fb",
        "/firmware/a;b",
        "/firmware/a\\b",
        "http://hub.example/socket/websocket",
        "*",
    ] {
        let status = status_of(upgrade(target, &[])).await;
        assert!(
            status == 404 || (status == 400 && target.contains('\\')),
            "{target}: {status}"
        );
    }
}

#[tokio::test]
async fn case_37_unknown_versions_and_endless_queries() {
    for query in [
        "vsn=3.0.0",
        "vsn=2%2E0%2E0",
        "vsn=x",
        "vsn=2.0.0&vsn=1.0.0",
        "vsn=2.0.0&vsn=2.0.0",
    ] {
        assert_eq!(
            status_of(upgrade(&format!("/socket/websocket?{query}"), &[])).await,
            400,
            "{query}"
        );
    }
    let many = |n: usize| vec!["a=b"; n].join("&");
    assert_eq!(
        status_of(upgrade(&format!("/socket/websocket?{}", many(17)), &[])).await,
        400
    );
    assert_eq!(
        status_of(upgrade(&format!("/firmware/a?{}", many(17)), &[])).await,
        400
    );
    assert_eq!(
        status_of(upgrade(&format!("/socket/websocket?{}", many(16)), &[])).await,
        101
    );
    let refused = status_of(upgrade(&format!("/socket/websocket?{}", many(10_000)), &[])).await;
    assert!(refused == 400 || refused == 431, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = judge(&bytes, &HeadPolicy::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let head = runtime.block_on(head_of(&bytes));
        prop_assert!(head.replay().len() <= bytes.len());
    }

    #[test]
    fn a_damaged_request_is_never_another_upgrade(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = upgrade("/socket/websocket?vsn=2.0.0", &["Content-Length: 0"]).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let head = runtime.block_on(head_of(&bytes));
        if let HeadKind::Upgrade(upgrade) = &head.kind {
            prop_assert_eq!(upgrade.key.len(), KEY.len());
            prop_assert!(head.rest().is_empty());
        }
    }
}
