//! hub-device
