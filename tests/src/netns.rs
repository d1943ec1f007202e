//! Network namespaces for one test: a middle one with a bridge, where the test itself and the servers are, and one for each node.
//!
//! The test moves into the middle before it starts anything, so every process and socket of it is there, and nothing of it touches
//! the machine's own network. Links are cut with iptables inside a node's namespace. All namespaces end with this.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;

/// Which packets of a node are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// To and from this TCP port in the middle: a server.
    Server(u16),
    /// To and from another node.
    Node(IpAddr),
    /// To and from this TCP port of the node itself: those who connect to it.
    Own(u16),
}

/// In which directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// What the node sends.
    Out,
    /// What it would hear.
    In,
}

/// The namespaces of one test.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    nodes: usize,
}

impl Namespaces {
    /// Whether this process may make any; the reason when it may not.
    ///
    /// # Errors
    /// Why not.
    pub fn possible() -> anyhow::Result<()> {
        if !Uid::effective().is_root() {
            bail!("network namespaces need root");
        }
        for (program, package) in [("ip", "iproute2"), ("iptables", "iptables")] {
            let there = Command::new(program).arg("--version").output();
            there.with_context(|| {
                format!("there is no {program}; on Debian: apt-get install {package}")
            })?;
        }
        let probe = format!("hub-{}-probe", std::process::id());
        ip(&["netns", "add", &probe])?;
        ip(&["netns", "del", &probe])
    }

    /// Makes them, and moves the calling thread into the middle; threads and processes that it starts from now on are there, too.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn enter(nodes: usize) -> anyhow::Result<Self> {
        sweep()?;
        let prefix = format!("hub-{}-{:x}", std::process::id(), rand::random::<u16>());
        let spaces = Self { prefix, nodes };
        let middle = spaces.middle();
        ip(&["netns", "add", &middle])?;
        ip(&["-n", &middle, "link", "set", "lo", "up"])?;
        ip(&["-n", &middle, "link", "add", "br0", "type", "bridge"])?;
        ip(&[
            "-n",
            &middle,
            "addr",
            "add",
            &format!("{}/24", Self::middle_address()),
            "dev",
            "br0",
        ])?;
        ip(&["-n", &middle, "link", "set", "br0", "up"])?;
        for node in 0..nodes {
            spaces.add(node)?;
        }
        let file = std::fs::File::open(format!("/run/netns/{middle}"))?;
        setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
        Ok(spaces)
    }

    fn add(&self, node: usize) -> anyhow::Result<()> {
        let (middle, name) = (self.middle(), self.name(node));
        let veth = format!("n{node}");
        ip(&["netns", "add", &name])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&[
            "-n", &middle, "link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns",
            &name,
        ])?;
        ip(&["-n", &middle, "link", "set", &veth, "master", "br0", "up"])?;
        ip(&[
            "-n",
            &name,
            "addr",
            "add",
            &format!("{}/24", Self::address(node)),
            "dev",
            "eth0",
        ])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])
    }

    /// The address of the servers and of the test.
    #[must_use]
    pub fn middle_address() -> IpAddr {
        Ipv4Addr::new(10, 77, 0, 1).into()
    }

    /// A node's address.
    #[must_use]
    pub fn address(node: usize) -> IpAddr {
        let last = u8::try_from(node + 10).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, 77, 0, last).into()
    }

    /// The name of a node's namespace, for `ip netns exec`.
    #[must_use]
    pub fn name(&self, node: usize) -> String {
        format!("{}-{node}", self.prefix)
    }

    fn middle(&self) -> String {
        format!("{}-mid", self.prefix)
    }

    /// Loses packets of a node from now on.
    ///
    /// # Errors
    /// What iptables refuses.
    pub fn cut(&self, node: usize, link: Link, way: Way) -> anyhow::Result<()> {
        let mut rules: Vec<Vec<String>> = Vec::new();
        let mut rule = |chain: &str, words: &[&str]| {
            let words = words.iter().map(ToString::to_string);
            rules.push([chain.to_owned()].into_iter().chain(words).collect());
        };
        let (out, back) = (way != Way::In, way != Way::Out);
        match link {
            Link::Server(port) => {
                let port = port.to_string();
                if out {
                    rule("OUTPUT", &["-p", "tcp", "--dport", &port]);
                }
                if back {
                    rule("INPUT", &["-p", "tcp", "--sport", &port]);
                }
            }
            Link::Node(address) => {
                let address = address.to_string();
                if out {
                    rule("OUTPUT", &["-d", &address]);
                }
                if back {
                    rule("INPUT", &["-s", &address]);
                }
            }
            Link::Own(port) => {
                let port = port.to_string();
                if out {
                    rule("OUTPUT", &["-p", "tcp", "--sport", &port]);
                }
                if back {
                    rule("INPUT", &["-p", "tcp", "--dport", &port]);
                }
            }
        }
        for rule in rules {
            self.iptables(
                node,
                &[&["-A".to_owned()], &rule[..], &["-j".into(), "DROP".into()]].concat(),
            )?;
        }
        Ok(())
    }

    /// Loses nothing of a node any more.
    ///
    /// # Errors
    /// What iptables refuses.
    pub fn heal(&self, node: usize) -> anyhow::Result<()> {
        self.iptables(node, &["-F".to_owned()])
    }

    fn iptables(&self, node: usize, words: &[String]) -> anyhow::Result<()> {
        let name = self.name(node);
        let mut all = vec!["netns", "exec", &name, "iptables"];
        all.extend(words.iter().map(String::as_str));
        ip(&all)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for node in 0..self.nodes {
            let _ = ip(&["netns", "del", &self.name(node)]);
        }
        let _ = ip(&["netns", "del", &self.middle()]);
    }
}

/// Removes what tests left that were killed: namespaces of ours whose process is gone.
fn sweep() -> anyhow::Result<()> {
    let Ok(spaces) = std::fs::read_dir("/run/netns") else {
        return Ok(());
    };
    for space in spaces {
        let name = space?.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix("hub-")
            .and_then(|rest| rest.split('-').next());
        if let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok())
            && !std::path::Path::new(&format!("/proc/{pid}")).exists()
        {
            // another test may have been first
            let _ = ip(&["netns", "del", &name]);
        }
    }
    Ok(())
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .context("cannot start ip")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
