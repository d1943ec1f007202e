//! Free loopback ports for programs that must be told a number before they start.
//!
//! Prefer a listener bound at 0 that reports its own number. These are for the rest: a node that has to
//! come back on the same port after a kill, or a file that names a port. The numbers were free a moment ago, and lie below those that
//! the kernel gives to whoever asks for any: only another program that picks by number could take one meanwhile.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Where ports are picked: above the services, below Linux' usual `ip_local_port_range`.
const RANGE: std::ops::Range<u16> = 12_000..32_000;
/// Tries for one port.
const TRIES: u64 = 1_000;

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
        let listener = any_free()?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn any_free() -> io::Result<TcpListener> {
    // The standard library's hasher is random enough to keep programs that start together apart.
    let random = RandomState::new();
    let width = u64::from(RANGE.end - RANGE.start);
    for attempt in 0..TRIES {
        let offset = u16::try_from(random.hash_one(attempt) % width).unwrap_or(0);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, RANGE.start + offset)) {
            return Ok(listener);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
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
