// SPDX-License-Identifier: GPL-2.0-only

//! Writes the wire format of protocol buffers.
//!
//! In: field numbers and values. Out: bytes. Some lines stand for a library, since the schema's own crate for Rust
//! (`perfetto_protos`) is 4 MB of generated code under a licence (Apache-2.0 alone) that GPL-2.0 does not go with, and the
//! others need a compiler for the schema; and a writer with nothing in between is the fastest.
//! Source: "Encoding" of the protocol buffers' documentation.

/// Bytes of a length: 35 bits.
const LENGTH: usize = 5;

/// A message in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    /// An integer, a boolean or an enum.
    pub(super) fn varint(&mut self, field: u32, value: u64) {
        self.push_varint(u64::from(field) << 3);
        self.push_varint(value);
    }

    /// A signed integer of type `int32` or `int64`: its bits, sign extended.
    pub(super) fn signed(&mut self, field: u32, value: i64) {
        self.varint(field, value.cast_unsigned());
    }

    /// A `fixed64`.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.push_varint((u64::from(field) << 3) | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A string or bytes.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.push_varint((u64::from(field) << 3) | 2);
        self.push_varint(u64::try_from(value.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(value);
    }

    /// A message within. Its length is not known before it is written, so it gets five bytes whatever it is; a reader
    /// takes a length with zeros above as it takes any other.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.push_varint((u64::from(field) << 3) | 2);
        let length_at = self.0.len();
        self.0.extend_from_slice(&[0; LENGTH]);
        let start = self.0.len();
        write(self);
        let mut length = self.0.len().saturating_sub(start);
        let places = self.0.get_mut(length_at..start).unwrap_or_default();
        for (place, byte) in places.iter_mut().enumerate() {
            let more = if place < LENGTH - 1 { 0x80 } else { 0 };
            let [low, ..] = length.to_le_bytes();
            *byte = (low & 0x7f) | more;
            length >>= 7;
        }
    }

    fn push_varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_documented() {
        let mut message = Message::default();
        message.varint(1, 150);
        message.bytes(2, b"testing");
        message.message(3, |inside| inside.varint(1, 150));
        message.fixed64(47, 1);
        message.signed(5, -1);
        assert_eq!(
            message.0,
            [
                &[0x08, 0x96, 0x01][..],
                &[0x12, 0x07],
                b"testing",
                &[0x1a, 0x83, 0x80, 0x80, 0x80, 0x00, 0x08, 0x96, 0x01],
                &[0xf9, 0x02, 1, 0, 0, 0, 0, 0, 0, 0],
                &[0x28],
                &[0xff; 9],
                &[0x01],
            ]
            .concat()
        );
    }
}
