//! Who a device is: from the certificate it proved to hold, and from nothing else.
//!
//! [`verifier`] gives the verdict inside the TLS handshake, [`admission`] gives it again after every handshake
//! (a resumed one skips the first), and both ask [`verdicts`], the one place that knows the rules. An unknown
//! certificate is judged by [`path`] against the authorities that tenants registered through [`registration`].

pub mod admission;
pub mod certificate;
pub mod fault;
pub mod path;
pub mod registration;
pub mod verdicts;
pub mod verifier;

mod recent;
#[cfg(test)]
pub(crate) mod specimen;
mod trusted;
