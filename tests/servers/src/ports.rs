//! Free loopback ports for programs that must be told a number before they start.
//!
//! Prefer a listener bound at 0 that reports its own number. These are for the rest: a node that has to
//! come back on the same port after a kill, or a file that names a port. The numbers were free a moment ago
//! and the kernel hands out ephemeral ports in no order, so a clash is rare but not impossible.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// `N` different free TCP ports on 127.0.0.1.
///
/// All are held at the same time while they are picked, so that no two are equal.
///
/// # Errors
/// When the machine has no port left to give.
pub fn free<const N: usize>() -> io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_different() {
        let [one, two] = free::<2>().unwrap();
        assert_ne!(one, two);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, one)).is_ok());
    }
}
