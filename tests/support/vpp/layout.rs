/*!
Messages as VPP describes them, read and written by description.

The descriptions are the test data of the crate `vpp-api`: excerpts of what VPP's API compiler says. Nothing of
that crate's own code is used, so that a mistake in it is not made twice.
*/

use std::collections::BTreeMap;

/// The descriptions of a release.
const RELEASES: [(&str, &str); 3] = [
    ("22.10", include_str!("../../../plugins/lib/vpp-api/testdata/22.10.txt")),
    ("24.06", include_str!("../../../plugins/lib/vpp-api/testdata/24.06.txt")),
    ("26.06", include_str!("../../../plugins/lib/vpp-api/testdata/26.06.txt")),
];

/// What a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Type {
    /// A number of so many bytes.
    Number(usize),
    /// A number with its sign, of four bytes.
    Signed,
    /// Little-endian.
    Float,
    Bytes(usize),
    /// Numbers of four bytes.
    Numbers(usize),
    Text(usize),
    Tail,
    /// So many.
    Fixed(Vec<Field>, usize),
    /// As many as another field says.
    Counted(Vec<Field>, String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    kind: Type,
}

/// A message of VPP.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Its name.
    pub(super) name: String,
    /// Its CRC, as eight digits.
    pub(super) crc: String,
    /// The API file that it is in.
    pub(super) file: String,
    fields: Vec<Field>,
}

/// What a field of a message has.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number; of four bytes with a sign if it is below zero.
    Number(i64),
    /// Seconds.
    Float(f64),
    /// Bytes: addresses.
    Bytes(Vec<u8>),
    /// Numbers.
    Numbers(Vec<u32>),
    /// A text.
    Text(String),
    /// Records.
    Records(Vec<Values>),
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Number(truth.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// The fields of a message, by VPP's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(BTreeMap<String, Value>);

impl Values {
    /// With one field more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn field(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("no field {name} in {self:?}"))
    }

    /// A number.
    pub fn number(&self, name: &str) -> u32 {
        match self.field(name) {
            Value::Number(number) => u32::try_from(*number).expect("a number without a sign"),
            other => panic!("{name} is {other:?}"),
        }
    }

    /// A number that is not zero.
    pub fn truth(&self, name: &str) -> bool {
        self.number(name) != 0
    }

    /// Bytes.
    pub fn bytes(&self, name: &str) -> &[u8] {
        match self.field(name) {
            Value::Bytes(bytes) => bytes,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Numbers.
    pub fn numbers(&self, name: &str) -> &[u32] {
        match self.field(name) {
            Value::Numbers(numbers) => numbers,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Value::Text(text) => text,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Records.
    pub fn records(&self, name: &str) -> &[Self] {
        match self.field(name) {
            Value::Records(records) => records,
            other => panic!("{name} is {other:?}"),
        }
    }
}

/// The messages of a release, without those of some API files.
pub(super) fn layouts(release: &str, without: &[&str]) -> Vec<Layout> {
    let found = RELEASES.iter().find(|(name, _)| *name == release);
    let (_, text) = found.unwrap_or_else(|| panic!("no descriptions of VPP {release}"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(Layout::parse).filter(|layout| !without.contains(&layout.file.as_str())).collect()
}

/// Words between spaces, but not those inside braces.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut depth, mut start) = (Vec::new(), 0u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ' ' if depth == 0 => {
                words.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(&text[start..]);
    words.retain(|word| !word.is_empty());
    words
}

fn parse_fields(text: &str) -> Vec<Field> {
    let field = |word: &str| {
        let (name, kind) = word.split_once(':').unwrap_or_else(|| panic!("{word}"));
        Field { name: name.to_owned(), kind: parse_type(kind) }
    };
    words(text).into_iter().map(field).collect()
}

fn parse_type(text: &str) -> Type {
    if let Some(rest) = text.strip_prefix('{') {
        let (inner, count) = rest.rsplit_once("}[").expect("braces with a count");
        let (fields, count) = (parse_fields(inner), count.trim_end_matches(']'));
        return match count.parse() {
            Ok(count) => Type::Fixed(fields, count),
            Err(_) => Type::Counted(fields, count.to_owned()),
        };
    }
    if let Some((kind, count)) = text.split_once('[') {
        let count = count.trim_end_matches(']');
        let many = || count.parse().unwrap_or_else(|_| panic!("{text}"));
        return match kind {
            "string" if count.is_empty() => Type::Tail,
            "string" => Type::Text(many()),
            "u8" => Type::Bytes(many()),
            "u32" => Type::Numbers(many()),
            _ => panic!("{text}"),
        };
    }
    match text {
        "bool" | "u8" => Type::Number(1),
        "u16" => Type::Number(2),
        "u32" => Type::Number(4),
        "i32" => Type::Signed,
        "f64" => Type::Float,
        _ => panic!("{text}"),
    }
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| format!("{} bytes, and not {count}", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u32, String> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    }

    fn text(bytes: &[u8]) -> Value {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Value::Text(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn fields(&mut self, fields: &[Field]) -> Result<Values, String> {
        let mut values = Values::default();
        for field in fields {
            let value = self.value(&field.kind, &values);
            let value = value.map_err(|error| format!("{}: {error}", field.name))?;
            values.0.insert(field.name.clone(), value);
        }
        Ok(values)
    }

    fn value(&mut self, kind: &Type, before: &Values) -> Result<Value, String> {
        Ok(match kind {
            Type::Number(bytes) => self.number(*bytes)?.into(),
            Type::Signed => Value::Number(i64::from(self.number(4)?.cast_signed())),
            Type::Float => {
                Value::Float(f64::from_le_bytes(self.take(8)?.try_into().expect("eight")))
            }
            Type::Bytes(count) => Value::Bytes(self.take(*count)?.to_vec()),
            Type::Numbers(count) => {
                Value::Numbers((0..*count).map(|_| self.number(4)).collect::<Result<_, _>>()?)
            }
            Type::Text(size) => {
                let bytes = self.take(*size)?;
                if bytes.last() != Some(&0) {
                    return Err("a text without an end".to_owned());
                }
                Self::text(bytes)
            }
            Type::Tail => {
                let length = self.number(4)?;
                Self::text(self.take(length.try_into().expect("a length"))?)
            }
            Type::Fixed(fields, count) => self.records(fields, *count)?,
            Type::Counted(fields, count) => {
                self.records(fields, before.number(count).try_into().expect("a count"))?
            }
        })
    }

    fn records(&mut self, fields: &[Field], count: usize) -> Result<Value, String> {
        Ok(Value::Records((0..count).map(|_| self.fields(fields)).collect::<Result<_, _>>()?))
    }
}

fn write_fields(out: &mut Vec<u8>, fields: &[Field], values: &Values) {
    for name in values.0.keys() {
        assert!(fields.iter().any(|field| field.name == *name), "no field {name}: {fields:?}");
    }
    for field in fields {
        write(out, &field.kind, values.0.get(&field.name));
    }
}

/// Writes a field; zero where there is no value.
fn write(out: &mut Vec<u8>, kind: &Type, value: Option<&Value>) {
    let fill = |out: &mut Vec<u8>, bytes: &[u8], size: usize| {
        assert!(bytes.len() <= size, "{bytes:?} in {size} bytes");
        let end = out.len() + size;
        out.extend_from_slice(bytes);
        out.resize(end, 0);
    };
    match (kind, value) {
        (Type::Number(size), Some(Value::Number(number))) => {
            out.extend_from_slice(&number.to_be_bytes()[8 - size..]);
        }
        (Type::Signed, Some(Value::Number(number))) => {
            out.extend_from_slice(&number.to_be_bytes()[4..]);
        }
        (Type::Float, Some(Value::Float(seconds))) => {
            out.extend_from_slice(&seconds.to_le_bytes());
        }
        (Type::Bytes(size), Some(Value::Bytes(bytes))) => fill(out, bytes, *size),
        (Type::Text(size), Some(Value::Text(text))) => fill(out, text.as_bytes(), *size),
        (Type::Tail, Some(Value::Text(text))) => {
            let length = u32::try_from(text.len()).expect("a length");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        (Type::Numbers(count), Some(Value::Numbers(numbers))) => {
            assert_eq!(numbers.len(), *count);
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        }
        (Type::Counted(fields, _), Some(Value::Records(records))) => {
            records.iter().for_each(|record| write_fields(out, fields, record));
        }
        (Type::Fixed(fields, count), Some(Value::Records(records))) => {
            assert_eq!(records.len(), *count);
            records.iter().for_each(|record| write_fields(out, fields, record));
        }
        (Type::Number(size), None) => fill(out, &[], *size),
        (Type::Signed | Type::Tail, None) => fill(out, &[], 4),
        (Type::Float, None) => fill(out, &[], 8),
        (Type::Bytes(size) | Type::Text(size), None) => fill(out, &[], *size),
        (Type::Numbers(count), None) => fill(out, &[], 4 * count),
        (Type::Fixed(fields, count), None) => {
            (0..*count).for_each(|_| write_fields(out, fields, &Values::default()));
        }
        (Type::Counted(..), None) => {}
        (kind, value) => panic!("{value:?} as {kind:?}"),
    }
}

impl Layout {
    fn parse(line: &str) -> Self {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}")).to_owned();
        let (name, crc, file) = (word(), word(), word());
        Self { name, crc, file, fields: parse_fields(&word()) }
    }

    /// Whether it is a request, as VPP tells: the client's index is in front.
    pub(super) fn is_request(&self) -> bool {
        let first = self.fields.first().is_some_and(|field| field.name == "client_index");
        first && self.fields.get(1).is_some_and(|field| field.name == "context")
    }

    /// Reads a message behind its number. VPP takes one that is too long.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<(Values, usize), String> {
        let mut input = Input(bytes);
        let values = input.fields(&self.fields)?;
        Ok((values, input.0.len()))
    }

    /// Writes a message with its number.
    pub(super) fn write(&self, number: u16, values: &Values) -> Vec<u8> {
        let mut out = number.to_be_bytes().to_vec();
        write_fields(&mut out, &self.fields, values);
        out
    }
}
