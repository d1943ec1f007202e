//! A server whose certificate is checked.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use hub_servers::wait::{PATIENCE, until};
use time::OffsetDateTime;

use super::*;
use crate::pki::Authority;

/// Writes a file that only the server's account may read, as the server demands of its key.
fn place(data: &Path, name: &str, text: &str) {
    let owner = fs::metadata(data).unwrap();
    let file = data.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_server_s_certificate_is_verified_as_the_url_says() {
    let now = OffsetDateTime::now_utc();
    let own = Authority::generate("db-ca", now).unwrap();
    let other = Authority::generate("other-ca", now).unwrap();
    let issued = own.server(&["127.0.0.1".to_owned()], 30, now).unwrap();
    let server = server().await;
    fresh(&server, "tls").await.close().await;
    let data = server.sql("postgres", "SHOW data_directory").unwrap();
    place(Path::new(&data), "server.crt", &issued.certificate_pem);
    place(Path::new(&data), "server.key", &issued.key_pem);
    server.sql("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    until("the server speaks TLS", PATIENCE, async || {
        (server.sql("postgres", "SHOW ssl").unwrap() == "on").then_some(())
    })
    .await
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = |authority: &Authority, host: &str| {
        let name = format!("{}.pem", authority.certificate().sha256[0]);
        let file = dir.path().join(name);
        fs::write(&file, &authority.certificate().certificate_pem).unwrap();
        let url = server.url("tls").replace("127.0.0.1", host);
        format!("{url}?sslmode=verify-full&sslrootcert={}", file.display())
    };
    let store = PostgresStore::open(&url(&own, "127.0.0.1")).await.unwrap();
    let encrypted: bool =
        sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            .fetch_one(&store.pool())
            .await
            .unwrap();
    assert!(encrypted);
    // another authority, and another name than the certificate's
    for wrong in [url(&other, "127.0.0.1"), url(&own, "localhost")] {
        let error = PostgresStore::open(&wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
}
