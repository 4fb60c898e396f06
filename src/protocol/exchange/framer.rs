//! Finds the end of the first JSON object in a stream of bytes, without decoding it.
//!
//! Pure and incremental: every byte is looked at once, whatever the pieces it comes in, and the verdict does not depend
//! on the pieces. It rejects early (what cannot become an object never gets to fill the buffer) but does not promise
//! that a complete range is valid JSON; the one decoding pass that follows does.

use super::MAX_DEPTH;

/// What is known after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So far this can become an object.
    NeedMore,
    /// The object lies at these offsets from the start of the stream.
    Complete { start: usize, end: usize },
    /// This never becomes an acceptable object.
    Bad(Bad),
}

/// Why the bytes were rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// The first byte opens a TLS handshake.
    Tls,
    /// The first byte is a capital letter, as in `GET`.
    Http,
    /// Something other than an object.
    NotAnObject,
    /// A closing bracket without its opening one, a control character in a string, or a byte that JSON does not know.
    Malformed { offset: usize },
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// No end within the limit.
    TooLarge,
}

/// The scanner. Feed it with [`push`](Self::push) until the answer is not [`Progress::NeedMore`]; it stays at its
/// first verdict.
#[derive(Debug, Clone)]
pub struct Framer {
    limit: usize,
    offset: usize,
    start: usize,
    depth: usize,
    /// One bit for each open level, the innermost lowest: 1 for an object, 0 for an array.
    kinds: u128,
    text: Text,
    verdict: Option<Progress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    AfterBackslash,
}

const _: () = assert!(MAX_DEPTH <= 128, "one bit for each level");

impl Framer {
    /// A scanner for an object that ends within `limit` bytes from the start of the stream.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, offset: 0, start: 0, depth: 0, kinds: 0, text: Text::Outside, verdict: None }
    }

    /// Whether an object has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.depth > 0 || self.verdict.is_some()
    }

    /// Takes in the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        if let Some(verdict) = self.verdict {
            return verdict;
        }
        for &byte in bytes {
            if self.offset >= self.limit {
                return self.settle(Progress::Bad(Bad::TooLarge));
            }
            let step = self.step(byte);
            self.offset += 1;
            match step {
                Progress::NeedMore => {}
                Progress::Complete { .. } | Progress::Bad(_) => return self.settle(step),
            }
        }
        Progress::NeedMore
    }

    fn settle(&mut self, verdict: Progress) -> Progress {
        self.verdict = Some(verdict);
        verdict
    }

    fn step(&mut self, byte: u8) -> Progress {
        match self.text {
            Text::AfterBackslash => self.text = Text::Inside,
            Text::Inside => match byte {
                b'"' => self.text = Text::Outside,
                b'\\' => self.text = Text::AfterBackslash,
                0..0x20 => return self.malformed(),
                _ => {}
            },
            Text::Outside if self.depth == 0 => match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'{' => {
                    self.start = self.offset;
                    return self.open(true);
                }
                0x16 => return Progress::Bad(Bad::Tls),
                b'A'..=b'Z' => return Progress::Bad(Bad::Http),
                _ => return Progress::Bad(Bad::NotAnObject),
            },
            Text::Outside => match byte {
                b'"' => self.text = Text::Inside,
                b'{' => return self.open(true),
                b'[' => return self.open(false),
                b'}' => return self.close(true),
                b']' => return self.close(false),
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b'+' | b'-' | b'.' => {}
                b'0'..=b'9' | b'a'..=b'z' | b'E' => {}
                _ => return self.malformed(),
            },
        }
        Progress::NeedMore
    }

    fn open(&mut self, object: bool) -> Progress {
        if self.depth == MAX_DEPTH {
            return Progress::Bad(Bad::TooDeep);
        }
        self.depth += 1;
        self.kinds = (self.kinds << 1) | u128::from(object);
        Progress::NeedMore
    }

    fn close(&mut self, object: bool) -> Progress {
        if (self.kinds & 1 == 1) != object {
            return self.malformed();
        }
        self.depth -= 1;
        self.kinds >>= 1;
        if self.depth == 0 {
            Progress::Complete { start: self.start, end: self.offset + 1 }
        } else {
            Progress::NeedMore
        }
    }

    fn malformed(&self) -> Progress {
        Progress::Bad(Bad::Malformed { offset: self.offset })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Progress {
        Framer::new(1024).push(bytes)
    }

    /// S2-50: the request ends where its object ends, whatever follows.
    #[test]
    fn finds_the_first_object() {
        assert_eq!(whole(b"{}"), Progress::Complete { start: 0, end: 2 });
        assert_eq!(whole(b" \r\n{\"a\":\"}\\\"]\"} {\"b\":1}"), Progress::Complete { start: 3, end: 15 });
        assert_eq!(whole(b"{\"a\":[{},[1.5e-3,true]]}x"), Progress::Complete { start: 0, end: 24 });
        assert_eq!(whole(b""), Progress::NeedMore);
        assert_eq!(whole(b"{\"a"), Progress::NeedMore);
    }

    #[test]
    fn rejects_early() {
        assert_eq!(whole(&[0x16, 3, 1]), Progress::Bad(Bad::Tls));
        assert_eq!(whole(b"GET / HTTP/1.1\r\n"), Progress::Bad(Bad::Http));
        for other in [&b"[1]"[..], b"null", b"7", b"\"x\"", b"\0", b"\xef\xbb\xbf{}", b"}"] {
            assert_eq!(whole(other), Progress::Bad(Bad::NotAnObject), "{other:?}");
        }
        assert_eq!(whole(b"{]"), Progress::Bad(Bad::Malformed { offset: 1 }));
        assert_eq!(whole(b"{[}"), Progress::Bad(Bad::Malformed { offset: 2 }));
        assert_eq!(whole(b"{\"a\nb\"}"), Progress::Bad(Bad::Malformed { offset: 3 }));
        assert_eq!(whole(b"{;"), Progress::Bad(Bad::Malformed { offset: 1 }));
    }

    #[test]
    fn limits_depth_and_size() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(matches!(whole(deep(MAX_DEPTH).as_bytes()), Progress::Complete { .. }));
        assert_eq!(whole(deep(MAX_DEPTH + 1).as_bytes()), Progress::Bad(Bad::TooDeep));
        let sized = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        assert!(matches!(Framer::new(64).push(sized(64).as_bytes()), Progress::Complete { .. }));
        assert_eq!(Framer::new(64).push(sized(65).as_bytes()), Progress::Bad(Bad::TooLarge));
        assert_eq!(Framer::new(64).push(&[b' '; 65]), Progress::Bad(Bad::TooLarge));
    }

    proptest! {
        /// The verdict does not depend on the pieces that the bytes come in.
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(
            prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b' '), any::<u8>()],
            0..80,
        ), piece in 1usize..9) {
            let mut framer = Framer::new(64);
            let mut last = Progress::NeedMore;
            for chunk in bytes.chunks(piece) {
                last = framer.push(chunk);
            }
            prop_assert_eq!(last, Framer::new(64).push(&bytes));
        }

        /// Whatever the decoder takes for an object, the scanner finds whole.
        #[test]
        fn every_object_is_found(keys in proptest::collection::btree_map(".*", ".*", 0..5)) {
            let text = serde_json::to_string(&keys).unwrap();
            let mut framer = Framer::new(usize::MAX);
            prop_assert_eq!(framer.push(text.as_bytes()), Progress::Complete { start: 0, end: text.len() });
        }
    }
}
