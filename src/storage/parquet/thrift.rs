//! Thrift's compact protocol, as far as Parquet uses it: a walk over bytes that nobody vouches for.
//!
//! The walk knows the [`Shape`] of what it reads. It holds every count against the bytes that are left, allocates
//! nothing by a number it read, and can write down what it understood: only the fields of the shape, each with the type
//! that the format gives it. What comes out is safe to hand to a parser that trusts counts and types; what it would
//! not have understood is not in there.
//! See the [compact protocol](https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).

use std::fmt;

/// Why bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The bytes break the format.
    Malformed(&'static str),
    /// The bytes ask for more than the limit for it.
    TooLarge(&'static str),
    /// The bytes are fine, but of a kind that cannot be read here.
    Unsupported(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) | Self::TooLarge(what) | Self::Unsupported(what) => {
                f.write_str(what)
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The type of a value, as the format declares it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Byte,
    I32,
    I64,
    Binary,
    List(&'static Kind),
    Struct(&'static Shape),
}

impl Kind {
    /// The type code on the wire; that of a bool is its value where it is a field.
    fn code(self) -> u8 {
        match self {
            Self::Bool => code::TRUE,
            Self::Byte => code::BYTE,
            Self::I32 => code::I32,
            Self::I64 => code::I64,
            Self::Binary => code::BINARY,
            Self::List(_) => code::LIST,
            Self::Struct(_) => code::STRUCT,
        }
    }

    fn is_on_wire_as(self, wire: u8) -> bool {
        match self {
            Self::Bool => matches!(wire, code::TRUE | code::FALSE),
            other => other.code() == wire,
        }
    }
}

/// A struct of the format: the fields that are understood, by id.
#[derive(Debug)]
pub(super) struct Shape {
    /// The name in the format's definition.
    #[expect(
        dead_code,
        reason = "shows in debug output which table of the definition was walked"
    )]
    pub(super) name: &'static str,
    /// Whether exactly one field is set; a member that is not understood is then kept as an empty one.
    pub(super) union: bool,
    /// The fields to keep. Others are walked over and dropped.
    pub(super) fields: &'static [(i16, Kind)],
    /// Fields that mean that the object cannot be read here, and why.
    pub(super) refused: &'static [(i16, &'static str)],
}

impl Shape {
    pub(super) const fn new(name: &'static str, fields: &'static [(i16, Kind)]) -> Self {
        Self {
            name,
            union: false,
            fields,
            refused: &[],
        }
    }

    pub(super) const fn one_of(name: &'static str, fields: &'static [(i16, Kind)]) -> Self {
        Self {
            name,
            union: true,
            fields,
            refused: &[],
        }
    }
}

/// What looks on while a walk goes over a struct, and may stop it.
pub(super) trait Observer {
    /// A struct begins.
    fn begin(&mut self, _shape: &'static Shape) -> Result<(), Refusal> {
        Ok(())
    }

    /// An integer field; false drops it.
    fn integer(&mut self, _shape: &'static Shape, _id: i16, _value: i64) -> Result<bool, Refusal> {
        Ok(true)
    }

    /// A string or bytes field.
    fn binary(&mut self, _shape: &'static Shape, _id: i16, _len: usize) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Sees nothing, stops nothing.
pub(super) struct Blind;

impl Observer for Blind {}

/// What a walk does with fields that its shape does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Goes over them.
    Skip,
    /// Refuses the whole.
    Refuse,
}

/// Walks over one struct at the start of `input`; the number of bytes it takes.
pub(super) fn check(
    input: &[u8],
    shape: &'static Shape,
    unknown: Unknown,
    observer: &mut dyn Observer,
) -> Result<usize, Refusal> {
    let mut walk = Walk {
        input,
        at: 0,
        out: None,
        unknown,
        observer,
    };
    walk.fields(shape)?;
    Ok(walk.at)
}

/// Walks over one struct at the start of `input` and writes down what the shape names.
pub(super) fn rewrite(
    input: &[u8],
    shape: &'static Shape,
    observer: &mut dyn Observer,
) -> Result<Vec<u8>, Refusal> {
    // No field comes out longer than it went in, except for the placeholder of a union, so this rarely grows.
    let out = Some(Vec::with_capacity(input.len()));
    let mut walk = Walk {
        input,
        at: 0,
        out,
        unknown: Unknown::Skip,
        observer,
    };
    walk.fields(shape)?;
    Ok(walk.out.unwrap_or_default())
}

/// Depth of containers in fields that are only walked over.
const SKIP_DEPTH: usize = 16;

mod code {
    pub(super) const STOP: u8 = 0;
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const STRUCT: u8 = 12;
    pub(super) const UUID: u8 = 13;
}

const ENDS: Refusal = Refusal::Malformed("the bytes end in the middle of a value");

struct Walk<'a> {
    input: &'a [u8],
    at: usize,
    out: Option<Vec<u8>>,
    unknown: Unknown,
    observer: &'a mut dyn Observer,
}

impl Walk<'_> {
    fn fields(&mut self, shape: &'static Shape) -> Result<(), Refusal> {
        self.observer.begin(shape)?;
        let (mut last, mut written) = (0, 0);
        while let Some((wire, id)) = self.field_header(last)? {
            last = id;
            if let Some((_, why)) = shape.refused.iter().find(|(refused, _)| *refused == id) {
                return Err(Refusal::Unsupported(why));
            }
            match shape.fields.iter().find(|(known, _)| *known == id) {
                Some((_, kind)) => {
                    if !kind.is_on_wire_as(wire) {
                        return Err(Refusal::Malformed(
                            "a field is of another type than its own",
                        ));
                    }
                    self.field(shape, (id, wire), *kind, &mut written)?;
                }
                None if self.unknown == Unknown::Refuse => {
                    return Err(Refusal::Malformed("a field is none of the format's"));
                }
                None => {
                    self.skip(wire, SKIP_DEPTH)?;
                    if shape.union {
                        self.put_header(code::STRUCT, id, &mut written);
                        self.put(code::STOP);
                    }
                }
            }
        }
        self.put(code::STOP);
        Ok(())
    }

    /// One field of a known kind, whose header on the wire has been read.
    fn field(
        &mut self,
        shape: &'static Shape,
        (id, wire): (i16, u8),
        kind: Kind,
        written: &mut i16,
    ) -> Result<(), Refusal> {
        match kind {
            Kind::Bool => self.put_header(wire, id, written),
            Kind::Byte => {
                let value = self.byte()?;
                self.put_header(wire, id, written);
                self.put(value);
            }
            Kind::I32 | Kind::I64 => {
                let value = self.integer(kind)?;
                if self.observer.integer(shape, id, value)? {
                    self.put_header(wire, id, written);
                    self.put_integer(value);
                }
            }
            Kind::Binary => {
                self.put_header(wire, id, written);
                let len = self.binary()?;
                self.observer.binary(shape, id, len)?;
            }
            Kind::List(element) => {
                self.put_header(wire, id, written);
                self.list(*element)?;
            }
            Kind::Struct(inner) => {
                self.put_header(wire, id, written);
                self.fields(inner)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, element: Kind) -> Result<(), Refusal> {
        let (wire, count) = self.list_header()?;
        if count > 0 && !element.is_on_wire_as(wire) {
            return Err(Refusal::Malformed("a list holds another type than its own"));
        }
        self.put_list_header(element, count);
        for _ in 0..count {
            match element {
                Kind::Bool | Kind::Byte => {
                    let value = self.byte()?;
                    self.put(value);
                }
                Kind::I32 | Kind::I64 => {
                    let value = self.integer(element)?;
                    self.put_integer(value);
                }
                Kind::Binary => {
                    self.binary()?;
                }
                Kind::Struct(inner) => self.fields(inner)?,
                Kind::List(_) => return Err(Refusal::Malformed("a list of lists")),
            }
        }
        Ok(())
    }

    /// Goes over a value of any type without looking at it.
    fn skip(&mut self, wire: u8, depth: usize) -> Result<(), Refusal> {
        let depth = depth
            .checked_sub(1)
            .ok_or(Refusal::TooLarge("containers nest too deep"))?;
        match wire {
            code::TRUE | code::FALSE => Ok(()),
            code::BYTE => self.byte().map(drop),
            code::I16 | code::I32 | code::I64 => self.varint().map(drop),
            code::DOUBLE => self.take(8).map(drop),
            code::UUID => self.take(16).map(drop),
            code::BINARY => {
                let len = self.length()?;
                self.take(len).map(drop)
            }
            code::STRUCT => {
                let mut last = 0;
                while let Some((inner, id)) = self.field_header(last)? {
                    last = id;
                    self.skip(inner, depth)?;
                }
                Ok(())
            }
            code::LIST | code::SET => {
                let (element, count) = self.list_header()?;
                // Parsers disagree on how many bytes such an element takes; nothing in Parquet needs one here.
                if count > 0 && matches!(element, code::TRUE | code::FALSE) {
                    return Err(Refusal::Malformed("a list of bools in an unknown field"));
                }
                for _ in 0..count {
                    self.skip(element, depth)?;
                }
                Ok(())
            }
            _ => Err(Refusal::Malformed("a value of no known type")),
        }
    }

    /// The type and id of the next field; `None` at the end of the struct.
    fn field_header(&mut self, last: i16) -> Result<Option<(u8, i16)>, Refusal> {
        let header = self.byte()?;
        let (delta, wire) = (header >> 4, header & 0x0f);
        if wire == code::STOP {
            return Ok(None);
        }
        let id = if delta == 0 {
            i16::try_from(unzigzag(self.varint()?)).ok()
        } else {
            last.checked_add(i16::from(delta))
        };
        Ok(Some((
            wire,
            id.ok_or(Refusal::Malformed("a field id is out of range"))?,
        )))
    }

    /// The element type of a list and its count, which the bytes left can hold at one byte an element.
    fn list_header(&mut self) -> Result<(u8, usize), Refusal> {
        let header = self.byte()?;
        let (short, wire) = (header >> 4, header & 0x0f);
        let count = if short == 15 {
            self.length()?
        } else {
            usize::from(short)
        };
        if count > self.left().len() {
            return Err(Refusal::Malformed(
                "a list claims more elements than there are bytes",
            ));
        }
        Ok((wire, count))
    }

    fn binary(&mut self) -> Result<usize, Refusal> {
        let len = self.length()?;
        let bytes = self
            .input
            .get(self.at..)
            .and_then(|left| left.get(..len))
            .ok_or(ENDS)?;
        self.at += len;
        if let Some(out) = &mut self.out {
            put_varint(out, len as u64);
            out.extend_from_slice(bytes);
        }
        Ok(len)
    }

    fn integer(&mut self, kind: Kind) -> Result<i64, Refusal> {
        let value = unzigzag(self.varint()?);
        if matches!(kind, Kind::I32) && i32::try_from(value).is_err() {
            return Err(Refusal::Malformed("an integer is out of range"));
        }
        Ok(value)
    }

    fn length(&mut self) -> Result<usize, Refusal> {
        usize::try_from(self.varint()?).map_err(|_| ENDS)
    }

    fn varint(&mut self) -> Result<u64, Refusal> {
        let (value, len) = varint(self.left())?;
        self.at += len;
        Ok(value)
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        let byte = *self.input.get(self.at).ok_or(ENDS)?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Result<(), Refusal> {
        self.left().get(..len).ok_or(ENDS)?;
        self.at += len;
        Ok(())
    }

    fn left(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn put(&mut self, byte: u8) {
        if let Some(out) = &mut self.out {
            out.push(byte);
        }
    }

    fn put_integer(&mut self, value: i64) {
        if let Some(out) = &mut self.out {
            put_varint(out, zigzag(value));
        }
    }

    fn put_header(&mut self, wire: u8, id: i16, written: &mut i16) {
        if let Some(out) = &mut self.out {
            match u8::try_from(i32::from(id) - i32::from(*written)) {
                Ok(delta @ 1..=15) => out.push(delta << 4 | wire),
                _ => {
                    out.push(wire);
                    put_varint(out, zigzag(i64::from(id)));
                }
            }
            *written = id;
        }
    }

    fn put_list_header(&mut self, element: Kind, count: usize) {
        if let Some(out) = &mut self.out {
            match u8::try_from(count) {
                Ok(short @ 0..=14) => out.push(short << 4 | element.code()),
                _ => {
                    out.push(0xf0 | element.code());
                    put_varint(out, count as u64);
                }
            }
        }
    }
}

/// An unsigned number of seven bits a byte, least first, and the bytes it takes.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), Refusal> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    if bytes.len() < 10 {
        return Err(ENDS);
    }
    Err(Refusal::Malformed("a number has more than 64 bits"))
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    static INNER: Shape = Shape::new("Inner", &[(1, Kind::I32)]);
    static CHOICE: Shape = Shape::one_of("Choice", &[(1, Kind::Struct(&INNER))]);
    static OUTER: Shape = Shape {
        name: "Outer",
        union: false,
        fields: &[
            (1, Kind::I64),
            (2, Kind::Binary),
            (3, Kind::List(&Kind::Struct(&INNER))),
            (4, Kind::Bool),
            (5, Kind::Struct(&CHOICE)),
            (20, Kind::List(&Kind::I32)),
        ],
        refused: &[(9, "nine")],
    };

    fn rewritten(input: &[u8]) -> Result<Vec<u8>, Refusal> {
        rewrite(input, &OUTER, &mut Blind)
    }

    #[test]
    fn keeps_what_it_knows_and_drops_the_rest() {
        // 1: i64 = -3; 2: "ab"; 3: [{1: 7}]; 4: true; 6: double (unknown); 20: [1, 2] by full id.
        let mut input = vec![0x16, 5, 0x18, 2, b'a', b'b', 0x19, 0x1c, 0x15, 14, 0, 0x11];
        let kept = input.len();
        input.extend([0x27, 0, 0, 0, 0, 0, 0, 0, 0]);
        let tail = [0x09, 40, 0x25, 2, 4, 0];
        input.extend(tail);
        let mut expected = input[..kept].to_vec();
        expected.extend(tail);
        assert_eq!(rewritten(&input).unwrap(), expected);
        assert_eq!(
            check(&input, &OUTER, Unknown::Skip, &mut Blind),
            Ok(input.len())
        );
        assert!(check(&input, &OUTER, Unknown::Refuse, &mut Blind).is_err());
    }

    #[test]
    fn an_unknown_member_of_a_union_stays_as_an_empty_one() {
        let input = [0x5c, 0x7c, 0x15, 8, 0, 0, 0];
        assert_eq!(rewritten(&input).unwrap(), [0x5c, 0x7c, 0, 0, 0]);
    }

    #[test]
    fn counts_are_held_against_the_bytes_left() {
        let huge = [0xf5, 0xff, 0xff, 0xff, 0xff, 0x07];
        for (header, id) in [(0x39, "known"), (0x79, "unknown")] {
            let mut input = vec![header];
            input.extend(huge);
            input.extend([0, 0]);
            assert!(
                matches!(rewritten(&input), Err(Refusal::Malformed(_))),
                "{id}"
            );
        }
        assert_eq!(
            rewritten(&[0x28, 0x80, 0x80, 0x80, 0x80, 0x08, 1]),
            Err(ENDS)
        );
    }

    #[test]
    fn refuses_wrong_types_and_odd_numbers() {
        for input in [
            &[0x15, 2, 0][..],                                          // field 1 as an i32
            &[0x39, 0x15, 2, 0], // a list of i32 where structs belong
            &[0x16, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0], // 65 bits
            &[0x79, 0x11, 1, 0], // unknown list of bools
            &[0x7b, 0, 0],       // unknown map
            &[0x7e, 0],          // no type
            &[0x3c],             // ends
            &[],
        ] {
            assert!(
                matches!(rewritten(input), Err(Refusal::Malformed(_))),
                "{input:?}"
            );
        }
        assert_eq!(rewritten(&[0x98, 0, 0]), Err(Refusal::Unsupported("nine")));
        let mut deep = vec![0x7c];
        deep.extend([0x1c; 40]);
        assert_eq!(
            rewritten(&deep),
            Err(Refusal::TooLarge("containers nest too deep"))
        );
        // An i32 that needs more bits.
        let wide = [0x39, 0x1c, 0x15, 0x80, 0x80, 0x80, 0x80, 0x20, 0, 0];
        assert_eq!(
            rewritten(&wide),
            Err(Refusal::Malformed("an integer is out of range"))
        );
    }

    #[test]
    fn numbers_come_back() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -65,
            i64::from(i32::MAX),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, zigzag(value));
            let (read, len) = varint(&out).unwrap();
            assert_eq!((unzigzag(read), len), (value, out.len()));
        }
    }
}
