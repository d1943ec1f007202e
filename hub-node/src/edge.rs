//! The edge that devices see: TLS, the first HTTP request, firmware downloads.

pub mod head;
pub mod prefixed;
pub mod tls;
