//! Checks: orgs, products, tokens, remembered answers.

use std::sync::Arc;

use crate::store::Store;
use crate::store::records::{IdempotentAnswer, NewToken, PageQuery, ProductPath, Role};
use crate::store::suite::world::{NOW, World, all, code, digest, later, missing, slug};

pub(in crate::store) async fn names_are_taken_once(store: Arc<dyn Store>) {
    let org = store.create_org(&slug("acme")).await.unwrap();
    assert_eq!(code(store.create_org(&slug("acme")).await), "name_taken");
    assert_eq!(store.org("acme").await.unwrap().id, org.id);
    assert!(missing(store.org("other").await));
    let product = store.create_product(org.id, &slug("p")).await.unwrap();
    assert_eq!(
        code(store.create_product(org.id, &slug("p")).await),
        "name_taken"
    );
    let other = store.create_org(&slug("other")).await.unwrap();
    let theirs = store.create_product(other.id, &slug("p")).await.unwrap();
    assert_ne!(product.id, theirs.id);
    let path = ProductPath {
        org: org.id,
        product: "p",
    };
    store.create_device(path, &slug("d")).await.unwrap();
    assert_eq!(
        code(store.create_device(path, &slug("d")).await),
        "name_taken"
    );
}

pub(in crate::store) async fn pages_lead_through_a_list(store: Arc<dyn Store>) {
    let org = store.create_org(&slug("acme")).await.unwrap();
    for number in 0..5 {
        store
            .create_product(org.id, &slug(&format!("p{number}")))
            .await
            .unwrap();
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = store
            .products(org.id, PageQuery { after, limit: 2 })
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        names.extend(
            page.items
                .into_iter()
                .map(|product| product.name.to_string()),
        );
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);
    let broken = PageQuery {
        after: Some("p3".to_owned()),
        limit: 2,
    };
    assert_eq!(code(store.products(org.id, broken).await), "bad_cursor");
}

pub(in crate::store) async fn only_empty_things_are_deleted(store: Arc<dyn Store>) {
    let world = World::new(&store, "acme").await;
    world.device("d").await;
    world.members("g", 0, &["d"]).await;
    world.to_group("g").await;
    assert_eq!(code(store.delete_org(world.org).await), "in_use");
    assert_eq!(code(store.delete_product(world.product()).await), "in_use");
    store.delete_device(world.at("d")).await.unwrap();
    assert_eq!(code(store.delete_product(world.product()).await), "in_use");
    store.delete_group(world.group("g")).await.unwrap();
    store.delete_product(world.product()).await.unwrap();
    store.delete_org(world.org).await.unwrap();
    assert!(missing(store.org("acme").await));
    assert!(missing(store.delete_org(world.org).await));
}

fn token(org: Option<hub_proto::id::OrgId>, text: &str) -> NewToken {
    NewToken {
        org,
        role: Role::Operator,
        name: slug("ci"),
        sha256: digest(text),
        expires_at: Some(later(10)),
        now: NOW,
    }
}

pub(in crate::store) async fn tokens_live_until_they_do_not(store: Arc<dyn Store>) {
    let org = store.create_org(&slug("acme")).await.unwrap().id;
    let made = store
        .create_token(token(Some(org), "secret"))
        .await
        .unwrap();
    let root = store.create_token(token(None, "root")).await.unwrap();
    assert_eq!(
        code(store.create_token(token(None, "secret")).await),
        "token_taken"
    );
    let found = store
        .token_by_hash(digest("secret"), NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id, found.org, found.role),
        (made.id, Some(org), Role::Operator)
    );
    assert!(
        store
            .token_by_hash(digest("secret"), later(10))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .token_by_hash(digest("other"), NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.tokens(org, all()).await.unwrap().items.len(), 1);
    assert!(missing(store.delete_token(org, root.id).await));
    store.delete_token(org, made.id).await.unwrap();
    assert!(missing(store.delete_token(org, made.id).await));
    assert!(
        store
            .token_by_hash(digest("secret"), NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .token_by_hash(digest("root"), NOW)
            .await
            .unwrap()
            .unwrap()
            .org
            .is_none()
    );
}

fn answer(text: &str) -> IdempotentAnswer {
    IdempotentAnswer {
        request_sha256: digest(text),
        status: 201,
        body: text.as_bytes().to_vec(),
    }
}

pub(in crate::store) async fn first_answer_stays_for_a_day(store: Arc<dyn Store>) {
    let org = Some(store.create_org(&slug("acme")).await.unwrap().id);
    let day = 24 * 60 * 60;
    assert_eq!(store.idempotent_answer(org, "k", NOW).await.unwrap(), None);
    assert_eq!(
        store
            .remember_answer(org, "k", answer("one"), NOW)
            .await
            .unwrap(),
        answer("one")
    );
    assert_eq!(
        store
            .remember_answer(org, "k", answer("two"), later(1))
            .await
            .unwrap(),
        answer("one")
    );
    assert_eq!(store.idempotent_answer(None, "k", NOW).await.unwrap(), None);
    assert_eq!(
        store
            .idempotent_answer(org, "k", later(day - 1))
            .await
            .unwrap(),
        Some(answer("one"))
    );
    assert_eq!(
        store.idempotent_answer(org, "k", later(day)).await.unwrap(),
        None
    );
    assert_eq!(
        store
            .remember_answer(org, "k", answer("two"), later(day))
            .await
            .unwrap(),
        answer("two")
    );
}

pub(in crate::store) async fn racing_answers_agree(store: Arc<dyn Store>) {
    let org = Some(store.create_org(&slug("acme")).await.unwrap().id);
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store
                    .remember_answer(org, "k", answer(&number.to_string()), NOW)
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}
