// SPDX-License-Identifier: GPL-2.0-only

//! Reads the wire format of protocol buffers, apart from what writes it.

/// One field's value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// All fields of a message, in order.
pub(crate) struct Message<'a>(pub(crate) Vec<(u64, Field<'a>)>);

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message; `None` if the bytes are none.
pub(crate) fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut bytes)?),
            1 => {
                let (value, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Field::Fixed(u64::from_le_bytes(*value))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Field::Bytes(value)
            }
            _ => return None,
        };
        fields.push((key >> 3, field));
    }
    Some(fields)
}

/// The bytes of each field, its key included.
pub(crate) fn split(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut ends = vec![0];
    let mut rest = bytes;
    while !rest.is_empty() {
        varint(&mut rest)?;
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        rest = rest.get(length..)?;
        ends.push(bytes.len() - rest.len());
    }
    Some(
        ends.windows(2)
            .map(|ends| bytes[ends[0]..ends[1]].to_vec())
            .collect(),
    )
}

impl<'a> Message<'a> {
    fn all(&self, number: u64) -> impl Iterator<Item = Field<'a>> {
        self.0
            .iter()
            .filter(move |(known, _)| *known == number)
            .map(|(_, field)| *field)
    }

    pub(crate) fn varint(&self, number: u64) -> Option<u64> {
        self.all(number).find_map(|field| match field {
            Field::Varint(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn fixed(&self, number: u64) -> Vec<u64> {
        let values = self.all(number).filter_map(|field| match field {
            Field::Fixed(value) => Some(value),
            _ => None,
        });
        values.collect()
    }

    pub(crate) fn text(&self, number: u64) -> Option<String> {
        self.all(number).find_map(|field| match field {
            Field::Bytes(value) => String::from_utf8(value.to_vec()).ok(),
            _ => None,
        })
    }

    pub(crate) fn messages(&self, number: u64) -> Vec<Message<'a>> {
        let values = self.all(number).filter_map(|field| match field {
            Field::Bytes(value) => fields(value).map(Message),
            _ => None,
        });
        values.collect()
    }

    pub(crate) fn message(&self, number: u64) -> Option<Message<'a>> {
        self.messages(number).pop()
    }
}
