//! Who a device is: from the certificate it proved to hold, and from nothing else.
//!
//! [`verifier`] looks at the certificate inside the TLS handshake; [`verdicts`], the one place that knows the rules, judges it before the
//! handshake's last bytes go out, and after a resumed one as well; [`admission`] lets its holder in. An unknown certificate is judged by
//! [`path`] against the authorities that tenants registered through [`registration`].

pub mod admission;
pub mod certificate;
pub mod fault;
pub mod path;
pub mod registration;
pub(crate) mod revocations;
pub mod verdicts;
pub mod verifier;

mod lookups;
#[cfg(test)]
pub(crate) mod specimen;
mod trusted;
