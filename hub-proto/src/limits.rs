//! Every bound of the wire format, with its unit in the name. All are enforced before anything is allocated for
//! the value they bound.

/// Bytes of one device frame, text or binary.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Arrays and objects open at once anywhere in a frame, the frame itself included.
pub const JSON_DEPTH_MAX: usize = 32;
/// Keys of one JSON object.
pub const JSON_OBJECT_KEYS_MAX: usize = 1024;
/// Items of one JSON array.
pub const JSON_ARRAY_ITEMS_MAX: usize = 8192;
/// Bytes of one `ref` or `join_ref` after decoding.
pub const REF_BYTES_MAX: usize = 64;
/// Bytes of one topic after decoding. The longest group topic has 197.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Bytes of one event name after decoding.
pub const EVENT_BYTES_MAX: usize = 128;
/// Bytes of one org, product, group or command name.
pub const SLUG_BYTES_MAX: usize = 63;

/// Bytes of a firmware's uuid, version, product, platform or architecture as a device reports it. Longer: refused.
pub const METADATA_BYTES_MAX: usize = 255;
/// Bytes of a firmware's free text (author, description, misc, commit). Longer: cut.
pub const METADATA_TEXT_BYTES_MAX: usize = 1024;
/// Entries of `capabilities` in a join.
pub const CAPABILITIES_MAX: usize = 32;
/// Bytes of a status or reason in a device's report. Longer: cut.
pub const REASON_BYTES_MAX: usize = 4 * 1024;
/// Texts in one `firmware_update_error`. More: the rest is dropped.
pub const ERRORS_MAX: usize = 16;
/// Entries of `connection_types`. More: the rest is dropped.
pub const CONNECTION_TYPES_MAX: usize = 16;
/// Minutes a device may put an update off: 28 days. Longer: taken as this.
pub const DELAY_MINUTES_MAX: u32 = 28 * 24 * 60;
/// Bytes of a command's output. Longer: cut and marked.
pub const OUTPUT_BYTES_MAX: usize = 32 * 1024;

/// Bytes of one encoded envelope between nodes.
pub const ENVELOPE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a command (name and arguments) that may travel inside a hint; a larger one is read from the store.
pub const HINT_BODY_BYTES_MAX: usize = 4 * 1024;
/// Notices in one envelope.
pub const NOTICES_PER_ENVELOPE_MAX: usize = 256;
/// Bytes of the name of the node an envelope comes from.
pub const ORIGIN_BYTES_MAX: usize = 128;
/// Bytes of a W3C `traceparent`, version 00.
pub const TRACEPARENT_BYTES: usize = 55;
/// Bytes of a W3C `tracestate`.
pub const TRACESTATE_BYTES_MAX: usize = 512;

// The longest topic of our own must fit, and a full hint must fit into its envelope with room to spare.
const _: () = assert!("group:".len() + 3 * SLUG_BYTES_MAX + 2 <= TOPIC_BYTES_MAX);
const _: () = assert!(
    HINT_BODY_BYTES_MAX + ORIGIN_BYTES_MAX + TRACESTATE_BYTES_MAX + 512 <= ENVELOPE_BYTES_MAX
);
const _: () = assert!(OUTPUT_BYTES_MAX < FRAME_BYTES_MAX);
