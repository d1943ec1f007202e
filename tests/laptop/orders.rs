//! What can be typed, and what is done about it.

use hub_servers::postgres::Stop;
use hub_tests::cluster::Cluster;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    Quit,
    Kill(usize),
    Start(usize),
    Drain(usize),
    Freeze(usize),
    Thaw(usize),
    RedisKill,
    RedisStart,
    PostgresRestart,
    PostgresFreeze,
    PostgresThaw,
    Storm,
    Command(String),
}

/// What can be typed.
const HELP: &str = "kill N       kill node N (SIGKILL)          start N    start it again
drain N      ask node N to leave (SIGTERM)  freeze N   SIGSTOP, and thaw N
redis kill   redis start                    storm      cut every connection
postgres restart, freeze, thaw              command W  give command W to all devices (blink, identify, reboot)
quit";

impl Order {
    /// Reads a line; help when it is none of these.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let node = |text: &str| match text.parse::<usize>() {
            Ok(number @ 1..=3) => Ok(number - 1),
            Ok(_) | Err(_) => Err(format!("{text}: nodes are 1, 2 and 3")),
        };
        Ok(match words[..] {
            [] => Self::Nothing,
            ["quit" | "exit" | "q"] => Self::Quit,
            ["kill", n] => Self::Kill(node(n)?),
            ["start", n] => Self::Start(node(n)?),
            ["drain" | "stop", n] => Self::Drain(node(n)?),
            ["freeze", n] => Self::Freeze(node(n)?),
            ["thaw", n] => Self::Thaw(node(n)?),
            ["redis", "kill"] => Self::RedisKill,
            ["redis", "start"] => Self::RedisStart,
            ["postgres", "restart"] => Self::PostgresRestart,
            ["postgres", "freeze"] => Self::PostgresFreeze,
            ["postgres", "thaw"] => Self::PostgresThaw,
            ["storm"] => Self::Storm,
            ["command", name] => Self::Command(name.to_owned()),
            _ => return Err(HELP.to_owned()),
        })
    }

    /// Does it to the cluster; what was done.
    pub(crate) async fn carry_out(self, cluster: &mut Cluster) -> anyhow::Result<String> {
        let done = match self {
            Self::Nothing | Self::Quit | Self::Command(_) => String::new(),
            Self::Kill(node) => {
                cluster.nodes[node].kill()?;
                format!("node-{} is dead; its devices come back elsewhere", node + 1)
            }
            Self::Start(node) => {
                cluster.start_again(node).await?;
                format!("node-{} serves", node + 1)
            }
            Self::Drain(node) => {
                cluster.nodes[node]
                    .program()?
                    .signal(nix::sys::signal::Signal::SIGTERM)?;
                format!("node-{} sends its devices away, and ends", node + 1)
            }
            Self::Freeze(node) => {
                cluster.nodes[node].program()?.freeze()?;
                format!("node-{} is frozen; thaw {} wakes it", node + 1, node + 1)
            }
            Self::Thaw(node) => {
                cluster.nodes[node].program()?.thaw()?;
                format!("node-{} goes on", node + 1)
            }
            Self::RedisKill => {
                cluster.redis.kill()?;
                "redis is dead; nodes ask the database more often".to_owned()
            }
            Self::RedisStart => {
                cluster.redis.start_again().await?;
                "redis is back".to_owned()
            }
            Self::PostgresRestart => {
                cluster.postgres.restart(Stop::Immediate).await?;
                "postgres crashed and recovered".to_owned()
            }
            Self::PostgresFreeze => {
                cluster.postgres.freeze()?;
                "postgres is frozen; sockets stay, commands wait".to_owned()
            }
            Self::PostgresThaw => {
                cluster.postgres.thaw()?;
                "postgres goes on".to_owned()
            }
            Self::Storm => {
                cluster.balance_again().await?;
                "every connection was cut".to_owned()
            }
        };
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_others_are_helped() {
        assert_eq!(Order::parse(" kill 2 "), Ok(Order::Kill(1)));
        assert_eq!(Order::parse(""), Ok(Order::Nothing));
        assert_eq!(
            Order::parse("command blink"),
            Ok(Order::Command("blink".into()))
        );
        assert!(Order::parse("kill 7").is_err());
        assert!(Order::parse("help").unwrap_err().contains("postgres"));
    }
}
