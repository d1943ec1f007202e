//! `hubctl node`: the nodes of the cluster, and levelling them.

use clap::{Args, Subcommand};

/// `hubctl node`.
#[derive(Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes, with what they hold.
    List,
    /// Level the nodes: those that hold more than their share send devices away, which connect where there are fewer.
    #[command(
        after_help = "Examples:\n  hubctl node rebalance --dry-run\n  hubctl node rebalance --absolute 100 --wait"
    )]
    Rebalance(RebalanceArgs),
}

#[derive(Args)]
pub(crate) struct RebalanceArgs {
    /// Leave nodes alone that hold no more devices than this [default: 1000].
    #[arg(long, value_name = "N")]
    pub(crate) absolute: Option<u32>,
    /// Leave nodes alone that hold no more than this many percent of the mean [default: 110].
    #[arg(long, value_name = "PERCENT")]
    pub(crate) relative_percent: Option<u32>,
    /// Devices that one node sends away a second [default: 50].
    #[arg(long, value_name = "N")]
    pub(crate) per_second: Option<u32>,
    /// Seconds for which nodes are kept level; 0 ends an earlier order [default: 600].
    #[arg(long, value_name = "S")]
    pub(crate) for_s: Option<u32>,
    /// Only show what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until no node is above its share.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
}
