//! A small HTTP server for downloads that cuts connections where a test wants it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How the server answers.
#[derive(Clone)]
pub(crate) struct Manner {
    /// Bytes of body before a connection is cut; the next request may go on from there.
    pub(crate) cut_after: usize,
    /// Understands `Range`.
    pub(crate) ranges: bool,
    /// Status of the first answers, before the file is served.
    pub(crate) first: Vec<u16>,
    /// The file changes its tag with every request.
    pub(crate) restless: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            cut_after: usize::MAX,
            ranges: true,
            first: Vec::new(),
            restless: false,
        }
    }
}

/// A server; it ends with this value.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(file: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                // One connection at a time: the order of requests is what the tests look at.
                let _ = answer(stream, &file, &manner, &seen).await;
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/firmware.fw", self.address)
    }

    /// Heads of the requests so far, lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(
    mut stream: TcpStream,
    file: &[u8],
    manner: &Manner,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(head.clone());
        seen.len()
    };
    if let Some(status) = manner.first.get(number - 1) {
        let text =
            format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return stream.write_all(text.as_bytes()).await;
    }
    let range = head.lines().find_map(|line| {
        line.strip_prefix("range: bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    let from: usize = range.filter(|_| manner.ranges).unwrap_or(0);
    let rest = &file[from..];
    let (status, extra) = if from > 0 {
        (
            "206 Partial Content",
            format!(
                "content-range: bytes {from}-{}/{}\r\n",
                file.len() - 1,
                file.len()
            ),
        )
    } else {
        ("200 OK", String::new())
    };
    let etag = if manner.restless {
        format!("\"v{number}\"")
    } else {
        "\"v\"".to_owned()
    };
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: {etag}\r\n{extra}connection: close\r\n\r\n",
        rest.len()
    );
    stream.write_all(text.as_bytes()).await?;
    let reach = if manner.ranges {
        manner.cut_after
    } else {
        manner.cut_after.saturating_mul(number)
    };
    stream.write_all(&rest[..rest.len().min(reach)]).await?;
    stream.shutdown().await
}
