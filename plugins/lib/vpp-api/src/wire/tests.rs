use super::*;
use proptest::prelude::*;

fn bytes_of(field: &impl Field) -> Vec<u8> {
    let mut out = Vec::new();
    field.write(&mut out);
    out
}

#[test]
fn numbers_are_big_endian_but_for_floats() {
    assert_eq!(bytes_of(&0x0102u16), [1, 2]);
    assert_eq!(bytes_of(&0x0102_0304u32), [1, 2, 3, 4]);
    assert_eq!(bytes_of(&-105i32), [0xff, 0xff, 0xff, 0x97]);
    assert_eq!(bytes_of(&1.0f64), [0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    assert_eq!(bytes_of(&true), [1]);
    assert_eq!(bytes_of(&[1u32, 2]), [0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(bytes_of(&Ipv4Addr::new(10, 1, 2, 3)), [10, 1, 2, 3]);
    assert_eq!(bytes_of(&Text::<4>::new("ab").unwrap()), [b'a', b'b', 0, 0]);
    assert_eq!(bytes_of(&Tail("ab".to_owned())), [0, 0, 0, 2, b'a', b'b']);
}

#[test]
fn any_byte_but_zero_is_true() {
    assert_eq!(bool::read(&mut Reader::new(&[7])), Ok(true));
    assert_eq!(bool::read(&mut Reader::new(&[0])), Ok(false));
}

#[test]
fn a_text_ends_at_its_first_nul_or_with_its_field() {
    let read = |bytes: &[u8]| Text::<4>::read(&mut Reader::new(bytes)).unwrap();
    assert_eq!(read(b"a\0bc"), "a");
    assert_eq!(read(b"abcd"), "abcd");
    assert_eq!(read(b"\0bcd"), "");
    assert_eq!(read(b"\x1b[2J").to_string(), "\\u{1b}[2J");
    assert_eq!(read(b"\xff\0\0\0").as_text(), "\u{fffd}");
    assert!(Text::<4>::read(&mut Reader::new(b"abc")).is_err());
}

#[test]
fn a_text_that_does_not_fit_is_refused() {
    assert!(Text::<4>::new("abc").is_ok());
    for text in ["abcd", "a\0", "ää"] {
        let error = Text::<4>::new(text).unwrap_err();
        assert!(error.to_string().ends_with("at most 3 bytes, and no NUL"), "{error}");
    }
}

#[test]
fn a_length_that_lies_is_an_error() {
    let error = Tail::read(&mut Reader::new(&[0xff, 0xff, 0xff, 0xff, b'a'])).unwrap_err();
    assert_eq!(error, DecodeError::Short { at: 4, wanted: 0xffff_ffff });
}

proptest! {
        #[test]
        fn what_is_written_is_read_again(
            a: u8, b: u16, c: u32, d: i32, e: bool, t in "[^\0]{0,15}", tail in ".*",
        ) {
            let text = Text::<64>::new(&t).unwrap();
            let mut out = Vec::new();
a.write(&mut out);
            b.write(&mut out);
            c.write(&mut out);
            d.write(&mut out);
            e.write(&mut out);
            text.write(&mut out);
            Tail(tail.clone()).write(&mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(u8::read(&mut reader), Ok(a));
            prop_assert_eq!(u16::read(&mut reader), Ok(b));
            prop_assert_eq!(u32::read(&mut reader), Ok(c));
            prop_assert_eq!(i32::read(&mut reader), Ok(d));
            prop_assert_eq!(bool::read(&mut reader), Ok(e));
            prop_assert_eq!(Text::<64>::read(&mut reader), Ok(text));
            prop_assert_eq!(Tail::read(&mut reader), Ok(Tail(tail)));
            prop_assert_eq!(reader.left(), 0);
        }
    }
