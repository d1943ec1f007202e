//! hub-cli
