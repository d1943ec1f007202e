//! A short run of fault trials. The long one is a command: `cargo run --release -p hub-tests --bin hub-trials`.

use hub_tests::trials::cluster::{BRISK, Trials, run};

/// Trials of one run.
const TRIALS: u32 = 10;
/// Devices behind the load balancer.
const DEVICES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn faults_lose_double_and_invert_nothing() -> anyhow::Result<()> {
    let seed = match std::env::var("HUB_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => rand::random(),
    };
    println!("HUB_SEED={seed}");
    let trials = Trials {
        trials: TRIALS,
        commands: 0,
        seed,
        devices: DEVICES,
        pace: BRISK,
        nodes: 3,
        apart: None,
        program: None,
    };
    let outcome = run(trials, |trial, faults| {
        println!("trial {trial}: {faults:?}")
    })
    .await?;
    println!("{}", outcome.to_json());
    outcome.verdict.assert_clean();
    assert!(
        outcome.wrong_presence.is_empty(),
        "{:#?}",
        outcome.wrong_presence
    );
    assert!(outcome.verdict.accepted() > 100);
    Ok(())
}
