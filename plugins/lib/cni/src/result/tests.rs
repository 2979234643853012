//! Forms of results, there and back.

use super::*;

fn result() -> IpamResult {
    let route = |dst: &str, gw: Option<&str>| Route {
        dst: dst.to_owned(),
        gw: gw.map(|gw| gw.parse().unwrap()),
        mtu: 0,
        advmss: 0,
        priority: 0,
        table: None,
        scope: None,
    };
    let ip = |address: &str, prefix, gateway: &str| IpConfig {
        address: address.parse().unwrap(),
        prefix,
        gateway: Some(gateway.parse().unwrap()),
    };
    IpamResult {
        ips: vec![ip("10.1.2.2", 24, "10.1.2.1"), ip("2001:db8:1::2", 64, "2001:db8:1::1")],
        routes: vec![
            route("0.0.0.0/0", None),
            route("::/0", Some("2001:db8:1::1")),
            Route { mtu: 1400, table: Some(0), ..route("192.168.0.0/16", Some("1.1.1.1")) },
        ],
        dns: Dns::default(),
    }
}

fn compact(spec: SpecVersion) -> String {
    let text = result().render(spec);
    assert!(text.starts_with("{\n    \"cniVersion\"") && text.ends_with('}'));
    text.replace([' ', '\n'], "")
}

#[test]
fn each_version_has_its_form() {
    assert_eq!(
        compact(SpecVersion::V0_2_0),
        r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.2/24","gateway":"10.1.2.1","routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"1.1.1.1"}]},"ip6":{"ip":"2001:db8:1::2/64","gateway":"2001:db8:1::1","routes":[{"dst":"::/0","gw":"2001:db8:1::1"}]},"dns":{}}"#
    );
    assert_eq!(
        compact(SpecVersion::V0_4_0),
        r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.1.2.2/24","gateway":"10.1.2.1"},{"version":"6","address":"2001:db8:1::2/64","gateway":"2001:db8:1::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"2001:db8:1::1"},{"dst":"192.168.0.0/16","gw":"1.1.1.1","mtu":1400,"table":0}],"dns":{}}"#
    );
    assert_eq!(
        compact(SpecVersion::V1_1_0),
        r#"{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"},{"address":"2001:db8:1::2/64","gateway":"2001:db8:1::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"2001:db8:1::1"},{"dst":"192.168.0.0/16","gw":"1.1.1.1","mtu":1400,"table":0}]}"#
    );
}

fn full() -> FullResult {
    let interfaces = vec![
        Interface {
            name: "br0".to_owned(),
            mac: "00:11:22:33:44:55".to_owned(),
            ..Interface::default()
        },
        Interface {
            name: "eth0".to_owned(),
            sandbox: "/run/netns/a".to_owned(),
            mtu: Some(1400),
            socket_path: Some("/run/memif.sock".to_owned()),
            pci_id: Some("0000:00:04.0".to_owned()),
            ..Interface::default()
        },
    ];
    let IpamResult { ips, routes, dns } = result();
    let ips = ips.into_iter().map(|config| InterfaceIp { config, interface: Some(1) }).collect();
    FullResult { interfaces, ips, routes, dns }
}

#[test]
fn interfaces_have_the_form_of_each_version() {
    let compact = |spec| full().render(spec).replace([' ', '\n'], "");
    assert_eq!(full().render(SpecVersion::V0_2_0), result().render(SpecVersion::V0_2_0));
    assert_eq!(
        compact(SpecVersion::V0_3_1),
        r#"{"cniVersion":"0.3.1","interfaces":[{"name":"br0","mac":"00:11:22:33:44:55"},{"name":"eth0","sandbox":"/run/netns/a"}],"ips":[{"version":"4","interface":1,"address":"10.1.2.2/24","gateway":"10.1.2.1"},{"version":"6","interface":1,"address":"2001:db8:1::2/64","gateway":"2001:db8:1::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"2001:db8:1::1"},{"dst":"192.168.0.0/16","gw":"1.1.1.1","mtu":1400,"table":0}],"dns":{}}"#
    );
    assert_eq!(
        compact(SpecVersion::V1_0_0),
        r#"{"cniVersion":"1.0.0","interfaces":[{"mac":"00:11:22:33:44:55","name":"br0"},{"name":"eth0","sandbox":"/run/netns/a"}],"ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1","interface":1},{"address":"2001:db8:1::2/64","gateway":"2001:db8:1::1","interface":1}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"2001:db8:1::1"},{"dst":"192.168.0.0/16","gw":"1.1.1.1","mtu":1400,"table":0}]}"#
    );
    let newest = compact(SpecVersion::V1_1_0);
    assert!(newest.contains(
        r#"{"mtu":1400,"name":"eth0","pciID":"0000:00:04.0","sandbox":"/run/netns/a","socketPath":"/run/memif.sock"}"#
    ), "{newest}");
}

#[test]
fn what_is_rendered_is_read_back() {
    for version in crate::SUPPORTED {
        let spec = SpecVersion::parse(version).unwrap();
        let read = |text: &str| FullResult::parse(&serde_json::from_str(text).unwrap()).unwrap();
        let mut expected = full();
        if spec < SpecVersion::V1_1_0 {
            expected.interfaces[1] = Interface {
                mtu: None,
                socket_path: None,
                pci_id: None,
                ..expected.interfaces[1].clone()
            };
        }
        if spec < SpecVersion::V0_3_0 {
            expected.interfaces.clear();
            for ip in &mut expected.ips {
                ip.interface = None;
            }
            expected.routes = vec![
                expected.routes[0].clone(),
                Route { mtu: 0, table: None, ..expected.routes[2].clone() },
                expected.routes[1].clone(),
            ];
        }
        assert_eq!(read(&full().render(spec)), expected, "{version}");
        let ipam = IpamResult::parse(&serde_json::from_str(&result().render(spec)).unwrap());
        assert_eq!(ipam.unwrap(), IpamResult::from(expected), "{version}");
    }
}

#[test]
fn results_of_others_are_read_as_the_reference_reads_them() {
    let parse = |value: serde_json::Value| FullResult::parse(&value);
    let lenient = parse(serde_json::json!({
        "IPs": [{"Address": "::ffff:10.1.2.3/120", "gateway": "", "interface": -1}],
        "interfaces": null, "routes": [{"dst": "0.0.0.0/0", "gw": null}], "dns": null, "more": 1,
    }));
    let ip = lenient.unwrap().ips.remove(0);
    assert_eq!(
        (ip.config.cidr().as_str(), ip.config.gateway, ip.interface),
        ("10.1.2.3/24", None, None)
    );
    for (value, at) in [
        (serde_json::json!([]), "the result"),
        (serde_json::json!({"ips": {}}), "ips"),
        (serde_json::json!({"ips": [{}]}), "ips[0].address"),
        (serde_json::json!({"ips": [{"address": "10.1.2.3"}]}), "ips[0].address"),
        (serde_json::json!({"ips": [{"address": "10.1.2.3/33"}]}), "ips[0].address"),
        (serde_json::json!({"ips": [{"address": "10.1.2.3/+8"}]}), "ips[0].address"),
        (serde_json::json!({"ips": [{"address": "::1/8", "interface": "0"}]}), "ips[0].interface"),
        (serde_json::json!({"ips": [{"address": "::1/8", "gateway": "x"}]}), "gateway"),
        (serde_json::json!({"ip4": {"ip": "::1/8"}}), "ip4.ip"),
        (serde_json::json!({"routes": [{"gw": "::1"}]}), "routes[0].dst"),
        (serde_json::json!({"routes": [{"dst": "::/0", "mtu": "1"}]}), "routes[0].mtu"),
        (serde_json::json!({"interfaces": ["eth0"]}), "interfaces[0]"),
        (serde_json::json!({"interfaces": [{"mtu": -1}]}), "interfaces[0].mtu"),
        (serde_json::json!({"dns": {"search": [1]}}), "dns.search"),
    ] {
        let error = parse(value.clone()).unwrap_err();
        assert_eq!(error.code, crate::Code::Decode);
        assert!(error.message.contains(at), "{value}: {error}");
    }
}

#[test]
fn an_answer_of_the_callers_version_is_passed_on_as_it_came() {
    let raw =
        serde_json::json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.2/24", "x": 1}]});
    let answer = |spec| Answer::Raw(raw.clone()).render(spec).unwrap().replace([' ', '\n'], "");
    assert_eq!(answer(SpecVersion::V1_0_0), raw.to_string());
    assert_eq!(
        answer(SpecVersion::V0_4_0),
        r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.1.2.2/24"}],"dns":{}}"#
    );
    assert!(Answer::Raw(serde_json::json!({"ips": 1})).render(SpecVersion::V1_0_0).is_err());
}

proptest::proptest! {
    #[test]
    fn every_address_comes_back(bits: u128, v6: bool, prefix in 0_u8..=32, with_gateway: bool) {
        let address = if v6 {
            std::net::IpAddr::from(std::net::Ipv6Addr::from_bits(bits))
        } else {
            std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(bits as u32))
        };
        let gateway = with_gateway.then_some(address).map(|gateway| gateway.to_canonical());
        let config = IpConfig { address, prefix: prefix + if v6 { 96 } else { 0 }, gateway };
        let result = IpamResult { ips: vec![config], ..IpamResult::default() };
        for spec in [SpecVersion::V0_2_0, SpecVersion::V0_4_0, SpecVersion::V1_1_0] {
            let value = serde_json::from_str(&result.render(spec)).unwrap();
            let read = IpamResult::parse(&value).unwrap();
            proptest::prop_assert_eq!(read.ips[0].address, address.to_canonical());
            proptest::prop_assert_eq!(read.ips[0].gateway, gateway);
        }
    }
}
