//! DNS settings from a file in the format of resolv.conf(5), as the reference reads it.

use std::io::{self, Read};
use std::path::Path;

use cni::{Code, Dns, Error};
use ipam_stores::open_regular;

/// The most that is read: a file that is larger is no resolv.conf.
const LIMIT: u64 = 1024 * 1024;

/// Reads the settings.
///
/// # Errors
/// If the file cannot be read.
pub fn read(path: &str) -> Result<Dns, Error> {
    let failed = |call: &str, error: &io::Error| {
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or(&text).to_ascii_lowercase();
        Error::new(Code::Io, format!("{call} {path}: {text}"))
            .with_details("ipam.resolvConf must name a file in the format of resolv.conf(5)")
    };
    let file = open_regular(Path::new(path)).map_err(|e| match e.kind() {
        io::ErrorKind::IsADirectory => failed("read", &e),
        _ => failed("open", &e),
    })?;
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).map_err(|e| failed("read", &e))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut fields = line.split_whitespace().map(str::to_owned);
        let (Some(key), Some(first)) = (fields.next(), fields.next()) else { continue };
        match key.as_str() {
            "nameserver" => dns.nameservers.push(first),
            "domain" => dns.domain = first,
            "search" => dns.search.extend(std::iter::once(first).chain(fields)),
            "options" => dns.options.extend(std::iter::once(first).chain(fields)),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_the_reference_reads_them() {
        let dns = parse(
            "# a comment\n;another\n\tnameserver 192.0.2.1 # data\r\nnameserver\t192.0.2.2\nnameserver\n\
             domain a.example\ndomain b.example\nsearch a b\nsearch c\noptions ndots:1 timeout:2\nsortlist x\n",
        );
        assert_eq!(dns.nameservers, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(dns.domain, "b.example");
        assert_eq!(dns.search, ["a", "b", "c"]);
        assert_eq!(dns.options, ["ndots:1", "timeout:2"]);
        assert!(parse("").is_empty());
    }
}
