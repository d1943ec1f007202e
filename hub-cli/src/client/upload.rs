//! Firmware: uploaded as a stream, never whole in memory.

use super::{Client, ClientError, PageOf, read};
use crate::limits::{UPLOAD_MAX, UPLOAD_PIECE_BYTES};
use crate::paths::path;
use hub_proto::api::{Firmware, Page};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method};
use std::path::Path;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// Told how many bytes were handed to the connection so far.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

impl Client {
    /// Uploads a firmware file. Not repeated by itself: when it breaks off, upload again; the hub knows a firmware it
    /// already has by its uuid and answers `firmware_exists`.
    pub async fn upload_firmware(
        &self,
        org: &str,
        product: &str,
        file: &Path,
        progress: Progress,
    ) -> Result<Firmware, ClientError> {
        let cannot = |source| ClientError::File {
            path: file.display().to_string(),
            source,
        };
        let opened = tokio::fs::File::open(file).await.map_err(cannot)?;
        let bytes = opened.metadata().await.map_err(cannot)?.len();
        let pieces = futures_util::stream::try_unfold((opened, 0_u64), move |(mut file, sent)| {
            let progress = Arc::clone(&progress);
            async move {
                let mut piece = vec![0; UPLOAD_PIECE_BYTES];
                let len = file.read(&mut piece).await?;
                if len == 0 {
                    return Ok::<_, std::io::Error>(None);
                }
                piece.truncate(len);
                let sent = sent + len as u64;
                progress(sent);
                Ok(Some((piece, (file, sent))))
            }
        });
        let request = self
            .request(
                Method::POST,
                &path(&["orgs", org, "products", product, "firmware"]),
            )
            .timeout(UPLOAD_MAX)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, bytes)
            .body(Body::wrap_stream(pieces));
        read(request.send().await.map_err(ClientError::Unreachable)?).await
    }

    /// Firmware of a product.
    pub async fn firmwares(
        &self,
        org: &str,
        product: &str,
        page: &PageOf,
    ) -> Result<Page<Firmware>, ClientError> {
        self.list(&path(&["orgs", org, "products", product, "firmware"]), page)
            .await
    }

    /// One firmware.
    pub async fn firmware(
        &self,
        org: &str,
        product: &str,
        uuid: &str,
    ) -> Result<Firmware, ClientError> {
        self.get(&path(&["orgs", org, "products", product, "firmware", uuid]))
            .await
    }

    /// Deletes a firmware nothing targets.
    pub async fn delete_firmware(
        &self,
        org: &str,
        product: &str,
        uuid: &str,
    ) -> Result<(), ClientError> {
        self.done(
            Method::DELETE,
            &path(&["orgs", org, "products", product, "firmware", uuid]),
        )
        .await
    }
}
