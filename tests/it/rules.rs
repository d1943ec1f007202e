//! The ten rules of the device protocol, each on a real node over real TLS.

use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn rule_01_the_certificate_decides_the_device() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let mut socket = sandbox.connect(&leaf).await?;
    let firmware = json!({"nerves_fw_uuid": "aaaa", "nerves_fw_version": "1.0.0"});
    let reply = socket.join("device:aaaa", firmware, PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"), "{reply:?}");
    let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
    assert!(device.connection.is_some());
    Ok(())
}
