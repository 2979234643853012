/*!
Kernel parameters below `/proc/sys`.

`/proc/sys/net` shows the namespace of the thread that opens a file there: inside [`crate::Namespace::run`]
these are the parameters of that namespace.

Names are written as for sysctl(8): the first separator decides. `net.ipv6.conf.eth0.disable_ipv6` and
`net/ipv6/conf/eth0/disable_ipv6` are the same; a link with a dot in its name is
`net/ipv6/conf/eth0.100/disable_ipv6` or `net.ipv6.conf.eth0/100.disable_ipv6`.
*/

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::Error;
use crate::error::Printable;

/// No parameter is longer.
const MOST: u64 = 64 * 1024;

/// The value, without the closing newline; `None` if there is no such parameter.
///
/// # Errors
///
/// The name cannot be one, or the file cannot be read.
pub fn get(name: &str) -> Result<Option<String>, Error> {
    let path = path(name).map_err(|reason| invalid("read", name, reason))?;
    let read = || -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(&path)?.take(MOST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    };
    match read() {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { what: "read", path, source }),
    }
}

/// Sets the value.
///
/// # Errors
///
/// The name cannot be one, there is no such parameter (`is_not_found`), or the kernel does not take the
/// value; `/proc/sys` may be read-only, as in most containers.
pub fn set(name: &str, value: &str) -> Result<(), Error> {
    let path = path(name).map_err(|reason| invalid("set", name, reason))?;
    // Neither made nor cut: whatever is there must be a parameter. One write, which the kernel takes whole.
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| Error::File { what: "write", path, source })
}

/// The name of a link's parameter, whatever is in the link's name: `of_link("ipv6", "eth0.100", "mtu")`.
pub fn of_link(family: &str, link: &str, key: &str) -> String {
    format!("net/{family}/conf/{link}/{key}")
}

fn invalid(verb: &str, name: &str, reason: &'static str) -> Error {
    Error::invalid(format!("{verb} the kernel parameter {}", Printable(name)), reason)
}

/// The file of a parameter.
fn path(name: &str) -> Result<PathBuf, &'static str> {
    let dots = match name.find(['.', '/']).and_then(|at| name.as_bytes().get(at)) {
        Some(b'.') => true,
        Some(_) => false,
        None => return Err("a name has at least two parts, as net.ipv4.ip_forward"),
    };
    let mut path = PathBuf::from("/proc/sys");
    for part in name.split(if dots { '.' } else { '/' }) {
        let part = if dots { part.replace('/', ".") } else { part.to_owned() };
        if part.is_empty() || part == "." || part == ".." {
            return Err("a part of the name is empty, or is a dot or two");
        }
        if part.contains('\0') {
            return Err("a name has no zero byte");
        }
        path.push(part);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        for (name, expected) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv6/conf/eth0.100/mtu", "/proc/sys/net/ipv6/conf/eth0.100/mtu"),
            ("net.ipv6.conf.eth0/100.mtu", "/proc/sys/net/ipv6/conf/eth0.100/mtu"),
        ] {
            assert_eq!(path(name), Ok(PathBuf::from(expected)), "{name}");
        }
        assert_eq!(path(&of_link("ipv6", "eth0.100", "mtu")), path("net/ipv6/conf/eth0.100/mtu"));
        for bad in [
            "",
            "net",
            "/etc/passwd",
            "net/../../../etc/passwd",
            "net..ipv4",
            "net.x.",
            "net/a\0b",
            "net.//.x",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_there_and_what_is_not() {
        let value = get("kernel.ostype").expect("readable").expect("there");
        assert_eq!(value, "Linux");
        assert_eq!(get("kernel.plat_none").expect("no error"), None);
        let error = set("kernel.plat_none", "1").expect_err("not there");
        assert!(error.is_not_found(), "{error}");
        assert_eq!(
            error.to_string(),
            "cannot write /proc/sys/kernel/plat_none: No such file or directory"
        );
    }
}
