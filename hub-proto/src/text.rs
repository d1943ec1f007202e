//! Cutting text to a bound in bytes without cutting a character, and hexadecimal digests.

/// The longest prefix of `text` that has at most `max` bytes and ends between two characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Lower-case hexadecimal of a digest, for serde's `with`.
pub(crate) mod hex32 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    /// 64 lower-case digits.
    pub(crate) fn encode(digest: &[u8; 32]) -> String {
        let mut text = String::with_capacity(64);
        for byte in digest {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// The digest that 64 digits of either case stand for.
    pub(crate) fn decode(text: &str) -> Option<[u8; 32]> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(digest)
    }

    pub(crate) fn serialize<S: Serializer>(
        digest: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(digest))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| D::Error::custom("not a sha-256 in hexadecimal"))
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, hex32};

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("añb", 9), "añb");
        assert_eq!(cut("ñ", 0), "");
    }

    #[test]
    fn hex_reads_what_it_writes_and_nothing_else() {
        let mut digest = [7; 32];
        digest[0] = 0xF0;
        let text = hex32::encode(&digest);
        assert!(text.starts_with("f007"));
        assert_eq!(hex32::decode(&text), Some(digest));
        assert_eq!(hex32::decode(&text.to_uppercase()), Some(digest));
        assert_eq!(hex32::decode(&text[1..]), None);
        assert_eq!(hex32::decode(&text.replace('f', "g")), None);
    }
}
