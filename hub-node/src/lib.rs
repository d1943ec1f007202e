//! hub-node
