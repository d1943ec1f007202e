//! Waiting for something to become true: always a condition, always a deadline, never a bare sleep.
//!
//! A test that sleeps is either slow or flaky; a test that waits here is as fast as what it waits for
//! and fails with the name of the thing that never happened.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep, timeout};

/// The pause between two looks at a condition.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// How long whole-node tests wait for something that should take well under a second.
///
/// Generous because the tests of a workspace share a small machine; a failure costs this long once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `probe` gives a value.
///
/// # Errors
/// When `within` has passed; the message holds `what`.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not so within {within:?}");
        }
        sleep(POLL_EVERY).await;
    }
}

/// Runs one future under a deadline.
///
/// # Errors
/// When `within` has passed, or when the future itself fails.
pub async fn within<T>(
    what: &str,
    within: Duration,
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match timeout(within, future).await {
        Ok(answer) => answer.with_context(|| what.to_owned()),
        Err(_) => bail!("{what}: nothing within {within:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn until_returns_as_soon_as_the_probe_does() {
        let mut looks = 0;
        let seen = until("three looks", PATIENCE, async || {
            looks += 1;
            (looks == 3).then_some(looks)
        })
        .await
        .unwrap();
        assert_eq!(seen, 3);
    }

    #[tokio::test]
    async fn until_names_what_never_happened() {
        let never = until("the moon", Duration::ZERO, async || None::<()>).await;
        assert!(never.unwrap_err().to_string().starts_with("the moon"));
    }
}
