//! Messages that wait for a slow reader: bounded by count and by bytes, never blocking.
//!
//! Rule owned here: a full outbox is the reader's fault; the socket is closed and what it lacked is delivered after its next join.

use std::collections::VecDeque;

use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};

/// A queue with two bounds.
#[derive(Debug)]
pub struct Outbox<T> {
    queue: VecDeque<(T, usize)>,
    bytes: usize,
}

/// The outbox cannot take the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Outbox<T> {
    /// Appends a message of `bytes` bytes, or refuses it when either bound would be passed.
    pub fn push(&mut self, message: T, bytes: usize) -> Result<(), Full> {
        if self.queue.len() >= OUTBOX_MESSAGES_MAX
            || self.bytes.saturating_add(bytes) > OUTBOX_BYTES_MAX
        {
            return Err(Full);
        }
        self.bytes += bytes;
        self.queue.push_back((message, bytes));
        Ok(())
    }

    /// Takes the oldest message. An outbox that runs empty gives its memory back: an idle device keeps no buffer.
    pub fn pop(&mut self) -> Option<T> {
        let (message, bytes) = self.queue.pop_front()?;
        self.bytes -= bytes;
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(message)
    }

    /// Messages waiting.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_past_either_bound_and_keeps_order() {
        let mut outbox = Outbox::default();
        for n in 0..OUTBOX_MESSAGES_MAX {
            outbox.push(n, 1).unwrap();
        }
        assert_eq!(outbox.push(0, 1), Err(Full));
        assert_eq!(outbox.pop(), Some(0));
        assert_eq!(outbox.push(0, OUTBOX_BYTES_MAX), Err(Full));
        outbox.push(7, 1).unwrap();
        assert_eq!(std::iter::from_fn(|| outbox.pop()).last(), Some(7));
        assert_eq!((outbox.bytes(), outbox.len()), (0, 0));
        assert_eq!(outbox.queue.capacity(), 0);
    }

    #[test]
    fn one_message_of_all_bytes_fits() {
        let mut outbox = Outbox::default();
        outbox.push((), OUTBOX_BYTES_MAX).unwrap();
        assert_eq!(outbox.push((), 1), Err(Full));
    }
}
