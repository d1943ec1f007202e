//! Readers that stop, drip, pause and keep up.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

const WINDOW: Duration = Duration::from_millis(60);

fn paced<S>(stream: S) -> WriteDeadline<S> {
    WriteDeadline::new(
        stream,
        Pace {
            window: WINDOW,
            bytes_min: 2000,
        },
    )
}

#[tokio::test]
async fn a_reader_that_stops_is_cut() {
    let (near, _far) = duplex(1000);
    let start = Instant::now();
    let error = paced(near).write_all(&[0; 5000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= WINDOW);
}

#[tokio::test]
async fn a_reader_that_drips_is_cut() {
    let (near, mut far) = duplex(1000);
    let drip = tokio::spawn(async move {
        let mut taken = 0;
        while far.read_exact(&mut [0; 10]).await.is_ok() {
            taken += 10;
            sleep(WINDOW / 4).await;
        }
        taken
    });
    let error = paced(near).write_all(&[0; 100_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(drip.await.unwrap() <= 1000 + 2000);
}

#[tokio::test]
async fn a_steady_reader_gets_everything() {
    let (near, mut far) = duplex(1000);
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        all.len()
    });
    let mut near = paced(near);
    near.write_all(&[0; 100_000]).await.unwrap();
    near.shutdown().await.unwrap();
    drop(near);
    assert_eq!(reader.await.unwrap(), 100_000);
}

#[tokio::test]
async fn a_pause_between_requests_is_not_slow_reading() {
    let (near, mut far) = duplex(1000);
    let mut near = paced(near);
    let mut buffer = [0; 1500];
    for _ in 0..2 {
        let (written, read) = tokio::join!(near.write_all(&[0; 1500]), far.read_exact(&mut buffer));
        written.unwrap();
        read.unwrap();
        near.flush().await.unwrap();
        assert!(near.window.is_none());
        sleep(WINDOW * 2).await;
    }
}
