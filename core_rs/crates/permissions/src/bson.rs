//! Stored documents as the store hands them over: a reader of BSON (bsonspec.org, version 1.1) for serde, over borrowed bytes.
//!
//! It reads what the documents of `documents` hold, and steps over everything else by its length without looking into it.
//! Nothing is copied, nothing is allocated by a length that the bytes claim, and nothing recurses but the types that ask.
use crate::documents::Malformed;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Shortest document: its length and the zero at its end.
const DOCUMENT_BYTES_MIN: usize = 5;

impl de::Error for Malformed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// A document without its length and the zero at its end.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a>(&'a [u8]);

impl<'a> Document<'a> {
    /// Takes the first document off concatenated ones; `None` at their end.
    ///
    /// # Errors
    /// When the bytes don't begin with a whole document.
    pub fn take(bytes: &mut &'a [u8]) -> Result<Option<Self>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        take_document(bytes).map(|whole| Some(Self(whole)))
    }

    /// What it holds, in its order.
    pub fn elements(self) -> Elements<'a> {
        Elements(self.0)
    }

    /// The document as a type; fields that the type doesn't know are left out.
    ///
    /// # Errors
    /// When it is not of this type.
    pub fn typed<T: de::Deserialize<'a>>(self) -> Result<T, Malformed> {
        T::deserialize(Value {
            kind: KIND_DOCUMENT,
            bytes: self.0,
        })
    }
}

/// One value; its bytes are bounded already.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    kind: u8,
    /// Without lengths and ends.
    bytes: &'a [u8],
}

const KIND_DOUBLE: u8 = 0x01;
const KIND_STRING: u8 = 0x02;
const KIND_DOCUMENT: u8 = 0x03;
const KIND_ARRAY: u8 = 0x04;
const KIND_BOOLEAN: u8 = 0x08;
const KIND_NULL: u8 = 0x0A;
const KIND_INT32: u8 = 0x10;
const KIND_INT64: u8 = 0x12;

impl<'a> Value<'a> {
    /// Its text, when it is one.
    pub fn text(self) -> Option<&'a str> {
        (self.kind == KIND_STRING)
            .then(|| std::str::from_utf8(self.bytes).ok())
            .flatten()
    }

    /// Is it there, but nothing?
    pub fn is_null(self) -> bool {
        self.kind == KIND_NULL
    }
}

/// The elements that are left of a document or an array.
pub struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(&'a [u8], Value<'a>), Malformed>;

    /// The next name (as bytes: few are looked at) and value. After an error nothing follows.
    fn next(&mut self) -> Option<Self::Item> {
        let (kind, rest) = self.0.split_first()?;
        self.0 = rest;
        let element = take_name(&mut self.0).and_then(|name| {
            take_value(*kind, &mut self.0).map(|bytes| (name, Value { kind: *kind, bytes }))
        });
        if element.is_err() {
            self.0 = &[];
        }
        Some(element)
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

fn take_array<const COUNT: usize>(bytes: &mut &[u8]) -> Result<[u8; COUNT], Malformed> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = rest;
    Ok(*taken)
}

/// A length is a signed number on the wire.
fn take_length(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    usize::try_from(i32::from_le_bytes(take_array(bytes)?)).map_err(|_| Malformed)
}

/// Bytes to the next zero, which is taken too.
fn take_name<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
    let name = take(bytes, end)?;
    take(bytes, 1)?;
    Ok(name)
}

/// `count` bytes of which the last must be zero, without it.
fn take_ended<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    match take(bytes, count)?.split_last() {
        Some((0, content)) => Ok(content),
        _ => Err(Malformed),
    }
}

fn take_document<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = take_length(bytes)?;
    if length < DOCUMENT_BYTES_MIN {
        return Err(Malformed);
    }
    take_ended(bytes, length - size_of::<i32>())
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = take_length(bytes)?;
    take_ended(bytes, length)
}

fn take_value<'a>(kind: u8, bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    match kind {
        KIND_STRING | 0x0D | 0x0E => take_text(bytes), // code and symbol are texts too
        KIND_DOCUMENT | KIND_ARRAY => take_document(bytes),
        KIND_BOOLEAN => take(bytes, 1),
        KIND_NULL | 0x06 | 0x7F | 0xFF => take(bytes, 0), // undefined, the largest and the smallest key
        KIND_INT32 => take(bytes, 4),
        KIND_DOUBLE | KIND_INT64 | 0x09 | 0x11 => take(bytes, 8), // instant, timestamp
        0x05 => {
            let length = take_length(bytes)?;
            take(bytes, 1)?; // what sort of bytes they are
            take(bytes, length)
        }
        0x07 => take(bytes, 12), // object id
        0x0B => {
            take_name(bytes)?; // a pattern and its options
            take_name(bytes)
        }
        0x0C => {
            take_text(bytes)?; // a pointer: collection and object id
            take(bytes, 12)
        }
        0x0F => {
            let length = take_length(bytes)?; // code with its scope; the length counts itself
            take(
                bytes,
                length.checked_sub(size_of::<i32>()).ok_or(Malformed)?,
            )
        }
        0x13 => take(bytes, 16), // decimal
        _ => Err(Malformed),
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Malformed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        let Self { kind, mut bytes } = self;
        match kind {
            KIND_STRING => visitor.visit_borrowed_str(self.text().ok_or(Malformed)?),
            KIND_DOCUMENT => visitor.visit_map(Entries {
                elements: Elements(bytes),
                value: None,
            }),
            KIND_ARRAY => {
                let mut items = Items(Elements(bytes));
                let read = visitor.visit_seq(&mut items)?;
                // A type with named fields stops at its last one; what follows would go unread.
                items.0.next().is_none().then_some(read).ok_or(Malformed)
            }
            KIND_BOOLEAN => match bytes {
                [0] => visitor.visit_bool(false),
                [1] => visitor.visit_bool(true),
                _ => Err(Malformed),
            },
            KIND_NULL => visitor.visit_unit(),
            KIND_INT32 => visitor.visit_i32(i32::from_le_bytes(take_array(&mut bytes)?)),
            KIND_INT64 => visitor.visit_i64(i64::from_le_bytes(take_array(&mut bytes)?)),
            KIND_DOUBLE => visitor.visit_f64(f64::from_le_bytes(take_array(&mut bytes)?)),
            _ => Err(Malformed),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        visitor.visit_enum(self.text().ok_or(Malformed)?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

struct Entries<'de> {
    elements: Elements<'de>,
    value: Option<Value<'de>>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Malformed;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Malformed> {
        let Some((name, value)) = self.elements.next().transpose()? else {
            return Ok(None);
        };
        self.value = Some(value);
        let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Malformed> {
        seed.deserialize(self.value.take().ok_or(Malformed)?)
    }
}

struct Items<'de>(Elements<'de>);

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = Malformed;

    /// The names of an array's elements are their numbers; their order alone counts.
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Malformed> {
        let element = self.0.next().transpose()?;
        element
            .map(|(_, value)| seed.deserialize(value))
            .transpose()
    }
}
