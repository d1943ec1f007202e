//! The typed client against the served API, over a real socket.

use super::harness::Hub;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hub_cli::{Client, ClientError, ClientOptions, PageOf};
use hub_proto::api;
use hub_proto::slug::Slug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Serves a router on a free port until the guard is dropped.
async fn serve(router: axum::Router) -> (String, DropGuard) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    TaskTracker::new().spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stopped)
            .await
    });
    (url, stop.drop_guard())
}

fn client(url: &str, token: &str) -> Client {
    Client::new(&ClientOptions {
        url: url.to_owned(),
        token: token.to_owned(),
        ca_pem: None,
    })
    .unwrap()
}

fn create<T>(make: impl FnOnce(Slug) -> T, name: &str) -> T {
    make(name.parse().unwrap())
}

/// An org `acme` with the product `lamp` and three devices; its administrator.
async fn fleet(hub: &Hub, url: &str) -> Client {
    let root = client(url, &hub.root);
    let org = create(|name| api::OrgCreate { name }, "acme");
    root.create_org(&org).await.unwrap();
    let (role, expires_at) = (api::Role::Admin, None);
    let token = create(
        |name| api::TokenCreate {
            name,
            role,
            expires_at,
        },
        "ci",
    );
    let token = root.create_token("acme", &token).await.unwrap().token;
    let admin = client(url, &token);
    let product = create(|name| api::ProductCreate { name }, "lamp");
    admin.create_product("acme", &product).await.unwrap();
    for name in ["l1", "l2", "l3"] {
        let device = create(|name| api::DeviceCreate { name }, name);
        admin.create_device("acme", "lamp", &device).await.unwrap();
    }
    admin
}

#[tokio::test]
async fn a_client_runs_a_fleet() {
    let hub = Hub::start().await;
    let (url, _guard) = serve(hub.router.clone()).await;
    let admin = fleet(&hub, &url).await;
    let group = create(|name| api::GroupCreate { name, priority: 1 }, "beta");
    admin.create_group("acme", "lamp", &group).await.unwrap();
    let members = api::MembersAdd {
        devices: vec!["l1".parse().unwrap(), "l2".parse().unwrap()],
    };
    let added = admin.add_members("acme", "lamp", "beta", &members).await;
    assert_eq!(added.unwrap().added, 2);
    let (args, ttl_s) = (None, Some(60));
    let give = create(|name| api::CommandCreate { name, args, ttl_s }, "reboot");
    let command = admin.command_group("acme", "lamp", "beta", &give).await;
    let id = command.unwrap().id;
    let executions = admin.executions("acme", id, &PageOf::default()).await;
    assert_eq!(executions.unwrap().items.len(), 2);
    let mut page = PageOf {
        limit: Some(2),
        cursor: None,
    };
    let first = admin.devices("acme", "lamp", &page).await.unwrap();
    page.cursor = first.next_cursor;
    let rest = admin.devices("acme", "lamp", &page).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len()), (2, 1));

    let refused = admin.device("acme", "lamp", "l/9?x").await.unwrap_err();
    let seen = (refused.status(), refused.code());
    assert_eq!(seen, (Some(404), Some("not_found")));
    let stranger = client(&url, "hub_x").org("acme").await.unwrap_err();
    assert_eq!(stranger.status(), Some(401));
}

#[tokio::test]
async fn a_client_uploads_a_file_as_a_stream() {
    let hub = Hub::start().await;
    let (url, _guard) = serve(hub.router.clone()).await;
    let root = client(&url, &hub.root);
    root.create_org(&api::OrgCreate {
        name: "acme".parse().unwrap(),
    })
    .await
    .unwrap();
    root.create_product(
        "acme",
        &api::ProductCreate {
            name: "lamp".parse().unwrap(),
        },
    )
    .await
    .unwrap();
    let key = hub_firmware::SigningKey::generate();
    let public_key = super::world::base64(&key.public_key().to_bytes());
    let body = api::SigningKeyCreate {
        name: "build".parse().unwrap(),
        public_key,
    };
    root.create_signing_key("acme", &body).await.unwrap();
    let bytes = hub_firmware::Builder::new("lamp", "1.0.0", "rpi4", "arm")
        .resource(
            "image",
            (0..300_000_u32)
                .map(|i| ((i * 7919) >> 5) as u8)
                .collect::<Vec<_>>(),
        )
        .to_vec(&key)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lamp.fw");
    std::fs::write(&file, &bytes).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&seen);
    let progress: hub_cli::Progress = Arc::new(move |sent| shown.store(sent, Ordering::Relaxed));
    let uploaded = root
        .upload_firmware("acme", "lamp", &file, progress)
        .await
        .unwrap();
    assert_eq!(
        (uploaded.size, seen.load(Ordering::Relaxed)),
        (bytes.len() as u64, bytes.len() as u64)
    );
    let target = api::TargetSet {
        allow_downgrade: true,
        firmware: Some(uploaded.uuid.parse().unwrap()),
    };
    root.create_device(
        "acme",
        "lamp",
        &api::DeviceCreate {
            name: "l1".parse().unwrap(),
        },
    )
    .await
    .unwrap();
    let device = root
        .target_device("acme", "lamp", "l1", &target)
        .await
        .unwrap();
    assert_eq!(device.effective_target.unwrap().version, "1.0.0");
    let missing = root
        .upload_firmware("acme", "lamp", &dir.path().join("none"), Arc::new(|_| ()))
        .await;
    assert!(matches!(missing, Err(ClientError::File { .. })));
}

#[tokio::test]
async fn a_client_comes_back_when_the_hub_asks_it_to() {
    let hub = Hub::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    // The first call is carried out, but its answer is lost on the way and a 503 comes instead.
    let lossy = hub.router.clone().layer(axum::middleware::from_fn(
        move |request, next: axum::middleware::Next| {
            let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let answer = next.run(request).await;
                if first {
                    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response()
                } else {
                    answer
                }
            }
        },
    ));
    let (url, _guard) = serve(lossy).await;
    let made = client(&url, &hub.root)
        .create_org(&api::OrgCreate {
            name: "acme".parse().unwrap(),
        })
        .await
        .unwrap();
    assert_eq!(&*made.name, "acme");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_no_hub_is_said_to_be_none() {
    let (url, _guard) = serve(axum::Router::new()).await;
    let error = client(&url, "hub_x").org("acme").await.unwrap_err();
    assert!(matches!(error, ClientError::NotAHub { status: 404 }));
    for url in ["hub.example", "ftp://x", ""] {
        let options = ClientOptions {
            url: url.to_owned(),
            token: String::new(),
            ca_pem: None,
        };
        assert!(
            matches!(Client::new(&options), Err(ClientError::Setup(_))),
            "{url}"
        );
    }
}
