// SPDX-License-Identifier: GPL-2.0-only

//! Frames: how messages and files stand in the byte stream of the result port.
//!
//! A frame is 16 bytes of fixed header, a [`Message`] as JSON, and a payload:
//!
//! | offset | size | content                               |
//! |--------|------|---------------------------------------|
//! | 0      | 4    | `DFI1`                                |
//! | 4      | 4    | length of the message, little endian  |
//! | 8      | 8    | length of the payload, little endian  |
//! | 16     |      | the message, then the payload         |
//!
//! In: bytes. Out: messages with their payloads, or what is wrong and at which offset. Pure.

use thiserror::Error;

use crate::Message;

/// The four bytes that every frame begins with.
pub const MAGIC: [u8; 4] = *b"DFI1";

/// The length of the fixed header.
pub const FIXED_HEADER_BYTES: usize = 16;

/// No message is longer; a guest that claims more is wrong.
pub const MAX_MESSAGE_BYTES: u32 = 64 * 1024;

/// No payload is longer: a trace fits in the RAM of the guest.
pub const MAX_PAYLOAD_BYTES: u64 = 1 << 32;

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The stream ends inside a frame.
    #[error("the results end at byte {end}, inside the frame that begins at byte {begin}")]
    Truncated {
        /// Offset of the frame.
        begin: usize,
        /// Length of the stream.
        end: usize,
    },
    /// No frame begins where one should.
    #[error("no frame at byte {begin}: it begins with {found:02x?}, not with \"DFI1\"")]
    Magic {
        /// Offset of the frame.
        begin: usize,
        /// What stands there.
        found: [u8; 4],
    },
    /// A length is beyond what is allowed.
    #[error(
        "the frame at byte {begin} claims {claimed} bytes of {what}, at most {allowed} are allowed"
    )]
    TooLong {
        /// Offset of the frame.
        begin: usize,
        /// `message` or `payload`.
        what: &'static str,
        /// What it claims.
        claimed: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// The message is not one.
    #[error("the message at byte {begin} cannot be read: {reason}")]
    Message {
        /// Offset of the frame.
        begin: usize,
        /// What the parser says.
        reason: String,
    },
}

/// Appends the header of a frame, so that the payload can follow without a copy.
///
/// # Errors
/// If the message cannot be written as JSON or is longer than [`MAX_MESSAGE_BYTES`].
pub fn encode_header(
    message: &Message,
    payload_bytes: u64,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|length| *length <= MAX_MESSAGE_BYTES)
        .ok_or_else(|| serde::ser::Error::custom("the message is too long for a frame"))?;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&payload_bytes.to_le_bytes());
    out.extend_from_slice(&json);
    Ok(())
}

/// Goes through the frames of a stream. Ends after the first error.
pub fn decode(bytes: &[u8]) -> Frames<'_> {
    Frames {
        bytes,
        offset: 0,
        failed: false,
    }
}

/// The frames of a stream, see [`decode`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
    failed: bool,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(Message, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.offset == self.bytes.len() {
            return None;
        }
        let frame = decode_one(self.bytes, self.offset, MAX_PAYLOAD_BYTES);
        match frame {
            Ok((message, payload, next)) => {
                self.offset = next;
                Some(Ok((message, payload)))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// Takes a stream apart while it comes; from a peer that is not trusted, it keeps one frame at most.
#[derive(Debug)]
pub struct Decoder {
    /// The stream from the last frame boundary on that is known, and how much of it was given out.
    buffer: Vec<u8>,
    taken: usize,
    /// How many bytes of the stream came before the buffer.
    before: usize,
    max_payload_bytes: u64,
}

impl Decoder {
    /// A decoder for a stream from its begin on, whose payloads are no longer than this.
    #[must_use]
    pub fn new(max_payload_bytes: u64) -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            before: 0,
            max_payload_bytes,
        }
    }

    /// Adds what came. Take all frames out before adding more: what was not taken is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.before = self.before.saturating_add(self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` if it has not come in full.
    ///
    /// # Errors
    /// What follows is no frame; there is no way to go on then.
    pub fn next_frame(&mut self) -> Result<Option<(Message, &[u8])>, Error> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let begin = self.before.saturating_add(self.taken);
        match decode_one(rest, 0, self.max_payload_bytes) {
            Ok((message, payload, length)) => {
                self.taken = self.taken.saturating_add(length);
                Ok(Some((message, payload)))
            }
            Err(Error::Truncated { .. }) => Ok(None),
            Err(error) => Err(error.at(begin)),
        }
    }

    /// Whether the stream may end here.
    ///
    /// # Errors
    /// [`Error::Truncated`]: it ends inside a frame.
    pub fn finish(&self) -> Result<(), Error> {
        if self.taken == self.buffer.len() {
            return Ok(());
        }
        Err(Error::Truncated {
            begin: self.before.saturating_add(self.taken),
            end: self.before.saturating_add(self.buffer.len()),
        })
    }
}

impl Error {
    /// The same of a frame that begins elsewhere.
    fn at(self, place: usize) -> Self {
        match self {
            Self::Truncated { begin: _, end } => Self::Truncated { begin: place, end },
            Self::Magic { begin: _, found } => Self::Magic {
                begin: place,
                found,
            },
            Self::TooLong {
                begin: _,
                what,
                claimed,
                allowed,
            } => Self::TooLong {
                begin: place,
                what,
                claimed,
                allowed,
            },
            Self::Message { begin: _, reason } => Self::Message {
                begin: place,
                reason,
            },
        }
    }
}

fn decode_one(
    bytes: &[u8],
    begin: usize,
    max_payload_bytes: u64,
) -> Result<(Message, &[u8], usize), Error> {
    let truncated = Error::Truncated {
        begin,
        end: bytes.len(),
    };
    let rest = bytes.get(begin..).ok_or(truncated.clone())?;
    let (magic, rest) = rest.split_first_chunk::<4>().ok_or(truncated.clone())?;
    if *magic != MAGIC {
        return Err(Error::Magic {
            begin,
            found: *magic,
        });
    }
    let (message_bytes, rest) = rest.split_first_chunk::<4>().ok_or(truncated.clone())?;
    let (payload_bytes, rest) = rest.split_first_chunk::<8>().ok_or(truncated.clone())?;
    let message_bytes = bounded(
        begin,
        "message",
        u32::from_le_bytes(*message_bytes).into(),
        MAX_MESSAGE_BYTES.into(),
    )?;
    let payload_bytes = bounded(
        begin,
        "payload",
        u64::from_le_bytes(*payload_bytes),
        max_payload_bytes,
    )?;
    let (json, rest) = rest
        .split_at_checked(message_bytes)
        .ok_or(truncated.clone())?;
    let (payload, rest) = rest.split_at_checked(payload_bytes).ok_or(truncated)?;
    let message = serde_json::from_slice(json).map_err(|error| Error::Message {
        begin,
        reason: error.to_string(),
    })?;
    Ok((message, payload, bytes.len() - rest.len()))
}

fn bounded(begin: usize, what: &'static str, claimed: u64, allowed: u64) -> Result<usize, Error> {
    let too_long = Error::TooLong {
        begin,
        what,
        claimed,
        allowed,
    };
    if claimed > allowed {
        return Err(too_long);
    }
    usize::try_from(claimed).map_err(|_| too_long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileKind, MAX_STREAM_PAYLOAD_BYTES, PhaseEnd};

    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        let file = Message::File {
            file: FileKind::Dmesg,
        };
        encode_header(&file, 5, &mut bytes).expect("a short message");
        bytes.extend_from_slice(b"hello");
        let finished = Message::Finished {
            end: PhaseEnd::Complete,
        };
        encode_header(&finished, 0, &mut bytes).expect("a short message");
        bytes
    }

    #[test]
    fn frames_come_back_as_they_were_sent() {
        let bytes = stream();
        let frames: Result<Vec<_>, _> = decode(&bytes).collect();
        let frames = frames.expect("a whole stream");
        assert_eq!(frames.len(), 2);
        assert_eq!(
            frames[0],
            (
                Message::File {
                    file: FileKind::Dmesg
                },
                &b"hello"[..]
            )
        );
        assert_eq!(
            frames[1],
            (
                Message::Finished {
                    end: PhaseEnd::Complete
                },
                &b""[..]
            )
        );
    }

    #[test]
    fn a_stream_cut_anywhere_says_where() {
        let bytes = stream();
        let first = decode(&bytes)
            .next()
            .expect("a frame")
            .expect("a whole one");
        let boundary = 16 + serde_json::to_vec(&first.0).expect("json").len() + 5;
        for end in 1..bytes.len() {
            let last = decode(&bytes[..end]).last().expect("at least one item");
            if end == boundary {
                assert!(last.is_ok());
            } else {
                let begin = if end < boundary { 0 } else { boundary };
                assert_eq!(last, Err(Error::Truncated { begin, end }), "cut at {end}");
            }
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
        let mut bytes = stream();
        bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        let error = decode(&bytes)
            .next()
            .expect("an item")
            .expect_err("too long");
        assert_eq!(
            error.to_string(),
            "the frame at byte 0 claims 18446744073709551615 bytes of payload, at most 4294967296 are allowed"
        );
    }

    #[test]
    fn garbage_is_no_frame_and_no_message() {
        assert_eq!(
            decode(b"garbage that is long enough").next(),
            Some(Err(Error::Magic {
                begin: 0,
                found: *b"garb"
            }))
        );
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&2u32.to_le_bytes());
        bytes.extend_from_slice(&0u64.to_le_bytes());
        bytes.extend_from_slice(b"[]");
        assert!(matches!(
            decode(&bytes).next(),
            Some(Err(Error::Message { begin: 0, .. }))
        ));
    }

    /// Takes a stream in pieces of a size, and gives the frames with their payloads.
    fn pieces(bytes: &[u8], size: usize) -> Result<Vec<(Message, Vec<u8>)>, Error> {
        let mut decoder = Decoder::new(MAX_STREAM_PAYLOAD_BYTES);
        let mut frames = Vec::new();
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            while let Some((message, payload)) = decoder.next_frame()? {
                frames.push((message, payload.to_vec()));
            }
        }
        decoder.finish().map(|()| frames)
    }

    #[test]
    fn a_stream_in_pieces_is_the_same_stream() {
        let bytes = [stream(), stream()].concat();
        let whole: Vec<_> = decode(&bytes)
            .map(|frame| frame.map(|(message, payload)| (message, payload.to_vec())))
            .collect::<Result<_, _>>()
            .expect("a whole stream");
        assert_eq!(whole.len(), 4);
        for size in [1, 2, 7, 16, 50, 1000] {
            assert_eq!(pieces(&bytes, size), Ok(whole.clone()), "{size}");
        }
    }

    #[test]
    fn what_is_wrong_in_pieces_is_at_its_place_in_the_stream() {
        let good = stream();
        let cut = good.len() - 1;
        assert!(matches!(
            pieces(&good[..cut], 3),
            Err(Error::Truncated { end, .. }) if end == cut
        ));
        let garbage = [&good[..], b"garbage that is long enough"].concat();
        for size in [1, 5, 1000] {
            let error = pieces(&garbage, size).expect_err("garbage");
            assert!(
                matches!(error, Error::Magic { begin, .. } if begin == good.len()),
                "{error}"
            );
        }
        let mut huge = good.clone();
        huge[8..16].copy_from_slice(&(MAX_STREAM_PAYLOAD_BYTES + 1).to_le_bytes());
        assert!(matches!(
            pieces(&huge, 16),
            Err(Error::TooLong { begin: 0, .. })
        ));
    }

    #[test]
    fn decoding_ends_after_an_error() {
        assert_eq!(decode(b"garbage garbage garbage").count(), 1);
    }
}
