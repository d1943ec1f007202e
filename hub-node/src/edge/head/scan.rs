//! Finds the end of a request head in bytes that arrive piece by piece, looking at each byte once, and refuses
//! on sight what two parsers could read differently: a lone CR or LF, a NUL, a folded header line.

/// How far the head was looked at.
#[derive(Debug, Default)]
pub(super) struct Scan {
    at: usize,
}

impl Scan {
    /// Looks at what is new in `buffer`. `Some(end)` when the head is complete; `end` is just behind it.
    pub(super) fn go_on(&mut self, buffer: &[u8]) -> Result<Option<usize>, &'static str> {
        while let Some(&byte) = buffer.get(self.at) {
            match byte {
                0 => return Err("the request head has a NUL byte"),
                b'\n' if !self.after(buffer, b"\r") => {
                    return Err("a line ends without a carriage return");
                }
                b'\n' if self.after(buffer, b"\r\n\r") => return Ok(Some(self.at + 1)),
                b' ' | b'\t' if self.after(buffer, b"\n") => return Err("a header line is folded"),
                b'\n' | b' ' | b'\t' => {}
                _ if self.after(buffer, b"\r") => return Err("a carriage return stands alone"),
                _ => {}
            }
            if self.at == 0 && byte.is_ascii_whitespace() {
                return Err("the request starts with white space");
            }
            self.at += 1;
        }
        Ok(None)
    }

    fn after(&self, buffer: &[u8], what: &[u8]) -> bool {
        buffer[..self.at].ends_with(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_however_the_bytes_are_cut() {
        let head = b"GET / HTTP/1.1\r\nhost: x\r\n\r\nrest";
        for cut in 0..head.len() {
            let mut scan = Scan::default();
            let first = scan.go_on(&head[..cut]).unwrap();
            let end = first.or(scan.go_on(head).unwrap());
            assert_eq!(end, Some(head.len() - 4), "cut at {cut}");
        }
    }

    #[test]
    fn refuses_what_parsers_disagree_about() {
        let bad: [&[u8]; 7] = [
            b"GET / HTTP/1.1\nhost: x\n\n",
            b"GET / HTTP/1.1\r\nhost: x\n\r\n",
            b"GET / HTTP/1.1\rhost: x",
            b"GET / HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\n\thost: x\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\n\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ];
        for head in bad {
            assert!(
                Scan::default().go_on(head).is_err(),
                "{:?}",
                String::from_utf8_lossy(head)
            );
        }
    }
}
