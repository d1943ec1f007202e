//! `hub-node`: runs a node, the demo, and the small commands around them.

use std::process::ExitCode;

fn main() -> ExitCode {
    hub_node::cli::main_from(std::env::args_os())
}
