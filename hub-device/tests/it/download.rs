//! Downloads over connections that break.

use std::time::Duration;

use hub_device::{
    Downloader,
    credentials::client_config_without_certificate,
    download::{DownloadError, Fetch},
    offer::Offer,
};

use crate::{
    firmware,
    server::{Manner, Server},
};

pub(crate) fn downloader() -> Downloader {
    let tls = client_config_without_certificate(&[]).unwrap();
    Downloader::new(&tls)
        .unwrap()
        .allow_plain_http()
        .retry_base(Duration::from_millis(1))
}

async fn read(mut fetch: Fetch) -> Result<(Vec<u8>, u32), DownloadError> {
    let mut all = Vec::new();
    while let Some(chunk) = fetch.next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok((all, fetch.attempts()))
}

async fn fetch(
    manner: Manner,
    change: impl FnOnce(&mut Offer),
) -> (Result<(Vec<u8>, u32), DownloadError>, Server, Vec<u8>) {
    let file = firmware::file("2.0.0", 100_000);
    let server = Server::start(file.bytes.clone(), manner).await;
    let mut offer = file.offer(server.url());
    change(&mut offer);
    let result = match downloader().fetch(&offer, 1) {
        Ok(fetch) => read(fetch).await,
        Err(error) => Err(error),
    };
    (result, server, file.bytes)
}

#[tokio::test]
async fn a_cut_body_is_resumed_by_range() {
    let (result, server, file) = fetch(
        Manner {
            cut_after: 30_000,
            ..Manner::default()
        },
        |_| {},
    )
    .await;
    let (all, attempts) = result.unwrap();
    assert_eq!((all == file, attempts), (true, 4));
    let requests = server.requests();
    assert!(!requests[0].contains("range:"));
    assert!(
        requests[1].contains("range: bytes=30000-") && requests[1].contains("if-range: \"v\""),
        "{}",
        requests[1]
    );
    assert!(requests[3].contains("range: bytes=90000-"));
}

#[tokio::test]
async fn a_server_without_ranges_costs_bytes_and_not_the_file() {
    let (result, _server, file) = fetch(
        Manner {
            cut_after: 30_000,
            ranges: false,
            ..Manner::default()
        },
        |_| {},
    )
    .await;
    assert!(result.unwrap().0 == file);
}

#[tokio::test]
async fn a_file_that_changes_is_noticed() {
    let (result, ..) = fetch(
        Manner {
            cut_after: 30_000,
            restless: true,
            ..Manner::default()
        },
        |_| {},
    )
    .await;
    assert!(matches!(result, Err(DownloadError::Changed)));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_an_expired_url_is_not() {
    let (result, _server, file) = fetch(
        Manner {
            first: vec![503, 500, 429],
            ..Manner::default()
        },
        |_| {},
    )
    .await;
    assert!(result.unwrap() == (file, 4));
    let (result, server, _) = fetch(
        Manner {
            first: vec![403],
            ..Manner::default()
        },
        |_| {},
    )
    .await;
    assert!(matches!(
        result,
        Err(DownloadError::Expired { status: 403 })
    ));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn attempts_end() {
    let (result, server, _) = fetch(
        Manner {
            cut_after: 0,
            ..Manner::default()
        },
        |_| {},
    )
    .await;
    let Err(DownloadError::GaveUp { attempts, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(server.requests().len(), attempts as usize);
}

#[tokio::test]
async fn size_and_digest_of_the_offer_count() {
    let (result, ..) = fetch(Manner::default(), |offer| offer.size = Some(5)).await;
    assert!(matches!(
        result,
        Err(DownloadError::WrongSize { expected: 5, .. })
    ));
    let (result, ..) = fetch(Manner::default(), |offer| offer.sha256 = Some([7; 32])).await;
    assert!(matches!(result, Err(DownloadError::WrongDigest)));
    let (result, ..) = fetch(Manner::default(), |offer| {
        (offer.size, offer.sha256) = (None, None)
    })
    .await;
    assert!(result.is_ok());
}

#[tokio::test]
async fn other_schemes_are_refused() {
    let (result, ..) = fetch(Manner::default(), |offer| {
        offer.url = "file:///etc/hostname".to_owned()
    })
    .await;
    assert!(matches!(result, Err(DownloadError::BadUrl)));
    let tls = client_config_without_certificate(&[]).unwrap();
    let offer = firmware::file("2.0.0", 10).offer("http://127.0.0.1:1/".to_owned());
    assert!(matches!(
        Downloader::new(&tls).unwrap().fetch(&offer, 1),
        Err(DownloadError::BadUrl)
    ));
}
