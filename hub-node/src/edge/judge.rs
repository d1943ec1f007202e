//! Judges a peer before the end of its handshake.
//!
//! Rule owned here: who is refused after a full handshake hears it by the alert, and never takes the session for made. After a resumed one
//! it is too late for that: the peer goes on, and the answer to its request says it.

use hub_core::limits::TLS_HANDSHAKE_MAX;
use hub_proto::time::Timestamp;
use tokio::time::timeout;
use tracing::debug;

use super::tls_stream::{Opening, TlsStream};
use crate::identity::admission::Caller;
use crate::identity::fault::CertificateFault;
use crate::identity::verdicts::Verdicts;

/// What is known of a peer's certificate; nothing when it showed none.
pub(crate) type Judged = Result<Option<Caller>, CertificateFault>;

/// The connection with what is known of its peer; nothing when it ended here.
pub(crate) async fn judge(
    opening: Opening,
    verdicts: &Verdicts,
    now: Timestamp,
) -> Option<(TlsStream, Judged)> {
    let judged = match opening.peer_certificates() {
        Some(chain) => verdicts.identify(chain, now).await.map(Some),
        None => Ok(None),
    };
    match judged {
        Err(fault) if !opening.is_resumed() => {
            debug!(%fault, "a client certificate is refused");
            // A peer that does not take its alert is closed without.
            let _ = timeout(TLS_HANDSHAKE_MAX, opening.refuse(fault.alert())).await;
            None
        }
        judged => {
            let opened = timeout(TLS_HANDSHAKE_MAX, opening.open()).await;
            Some((opened.ok()?.ok()?, judged))
        }
    }
}
