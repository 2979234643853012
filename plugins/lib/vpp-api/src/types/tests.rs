use proptest::prelude::*;

use super::*;

fn bytes_of(field: &impl Field) -> Vec<u8> {
    let mut out = Vec::new();
    field.write(&mut out);
    out
}

fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
}

#[test]
fn an_ipv4_address_is_in_the_first_four_of_sixteen_bytes() {
    let mut wanted = vec![0, 10, 1, 2, 3];
    wanted.extend([0; 12]);
    wanted.push(24);
    assert_eq!(bytes_of(&prefix("10.1.2.3/24")), wanted);
    let mut v6 = vec![1, 0x20, 0x01, 0x0d, 0xb8];
    v6.extend([0; 11]);
    v6.extend([1, 64]);
    assert_eq!(bytes_of(&prefix("2001:db8::1/64")), v6);
}

#[test]
fn a_prefix_is_compared_without_host_bits() {
    for (written, masked) in [
        ("10.1.2.3/24", "10.1.2.0/24"),
        ("10.1.2.3/32", "10.1.2.3/32"),
        ("10.1.2.3/0", "0.0.0.0/0"),
        ("2001:db8::1/64", "2001:db8::/64"),
        ("2001:db8::1/128", "2001:db8::1/128"),
        ("2001:db8::1/0", "::/0"),
    ] {
        assert_eq!(prefix(written).masked(), prefix(masked), "{written}");
    }
    assert!(prefix("10.1.2.3/24").contains("10.1.2.250".parse().unwrap()));
    assert!(!prefix("10.1.2.3/24").contains("10.1.3.1".parse().unwrap()));
    assert!(!prefix("0.0.0.0/0").contains("::1".parse().unwrap()));
}

#[test]
fn a_prefix_longer_than_its_addresses_is_refused() {
    let error = Prefix::new("10.1.2.3".parse().unwrap(), 33).unwrap_err();
    assert_eq!(error.to_string(), "a prefix of 10.1.2.3 cannot have 33 bits");
    assert!(Prefix::new("::".parse().unwrap(), 129).is_err());
    let mut bytes = bytes_of(&prefix("10.1.2.3/24"));
    *bytes.last_mut().unwrap() = 33;
    let read = Prefix::read(&mut Reader::new(&bytes));
    assert_eq!(read, Err(DecodeError::Value { field: "a prefix length", value: 33 }));
    bytes[0] = 2;
    let read = Prefix::read(&mut Reader::new(&bytes));
    assert_eq!(read, Err(DecodeError::Value { field: "an address family", value: 2 }));
}

#[test]
fn ethernet_addresses_are_read_as_they_are_written() {
    for (text, mac) in [
        ("02:fe:00:0a:0b:ff", Ok(Mac([2, 0xfe, 0, 10, 11, 255]))),
        ("02:FE:00:0a:0b:ff", Ok(Mac([2, 0xfe, 0, 10, 11, 255]))),
        ("02:fe:00:0a:0b", Err(MacError)),
        ("02:fe:00:0a:0b:ff:00", Err(MacError)),
        ("2:fe:00:0a:0b:ff", Err(MacError)),
        ("+2:fe:00:0a:0b:ff", Err(MacError)),
        ("", Err(MacError)),
    ] {
        assert_eq!(text.parse::<Mac>(), mac, "{text}");
    }
}

#[test]
fn a_path_has_167_bytes() {
    assert_eq!(bytes_of(&FibPath::dropped(Family::V4)).len(), 167);
    let path = FibPath::via_on("10.1.2.3".parse().unwrap(), IfIndex(5));
    assert_eq!(path.next_hop(), Some("10.1.2.3".parse().unwrap()));
    assert_eq!(FibPath::through(IfIndex(5), Family::V6).next_hop(), None);
}

#[test]
fn no_more_paths_are_sent_than_are_counted() {
    let path = FibPath::dropped(Family::V4);
    let route = RouteV2::new(8, 0, prefix("0.0.0.0/0"), vec![path; 300]);
    let bytes = bytes_of(&route);
    let read = RouteV2::read(&mut Reader::new(&bytes)).unwrap();
    assert_eq!(read.paths.len(), 255);
    assert_eq!(bytes.len(), 4 + 4 + 18 + 2 + 255 * 167);
}

proptest! {
    #[test]
    fn a_masked_prefix_contains_what_it_was_made_of(bits: u128, v6: bool, len in 0u8..=128) {
        let address: IpAddr = if v6 {
            Ipv6Addr::from_bits(bits).into()
        } else {
            #[allow(clippy::cast_possible_truncation)]
            Ipv4Addr::from_bits(bits as u32).into()
        };
        let prefix = Prefix::new(address, len.min(Family::of(address).bits())).unwrap();
        prop_assert!(prefix.masked().contains(address));
        prop_assert_eq!(prefix.masked().masked(), prefix.masked());
        prop_assert_eq!(Prefix::read(&mut Reader::new(&bytes_of(&prefix))), Ok(prefix));
        prop_assert_eq!(Prefix::host(address).masked().address(), address);
    }

    #[test]
    fn no_bytes_make_a_route_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(route) = RouteV2::read(&mut Reader::new(&bytes)) {
            prop_assert_eq!(RouteV2::read(&mut Reader::new(&bytes_of(&route))), Ok(route));
        }
    }
}
