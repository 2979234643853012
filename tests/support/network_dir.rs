//! The directory of one network, as the reference lays it out on disk.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// `<dataDir>/<network>`: reservations, marks, the lock.
#[derive(Clone, Debug)]
pub struct NetworkDir {
    path: PathBuf,
}

impl NetworkDir {
    /// The directory of `network` below `data_dir`; nothing is created.
    pub fn new(data_dir: &Path, network: &str) -> Self {
        Self { path: data_dir.join(network) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its lock is.
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Every reservation with its content; empty if the directory does not exist. A file that goes
    /// away meanwhile is left out.
    pub fn reservations(&self) -> BTreeMap<IpAddr, String> {
        self.names()
            .into_iter()
            .filter_map(|name| {
                let address = name.parse().ok()?;
                let content = fs::read(self.path.join(&name)).ok()?;
                Some((address, String::from_utf8_lossy(&content).into_owned()))
            })
            .collect()
    }

    /// The addresses that an attachment holds.
    pub fn held_by(&self, id: &str, ifname: &str) -> Vec<IpAddr> {
        let content = reservation(id, ifname);
        self.reservations()
            .into_iter()
            .filter(|(_, held)| *held == content)
            .map(|(address, _)| address)
            .collect()
    }

    /// Names of files that are neither reservation, mark nor lock.
    pub fn strangers(&self) -> Vec<String> {
        self.names()
            .into_iter()
            .filter(|name| {
                name != "lock"
                    && !name.starts_with("last_reserved_ip.")
                    && name.parse::<IpAddr>().is_err()
            })
            .collect()
    }

    /// Asserts that nothing is there but lock and marks.
    pub fn assert_empty(&self) {
        let held = self.reservations();
        assert!(held.is_empty(), "still reserved: {held:?}");
        let strangers = self.strangers();
        assert!(strangers.is_empty(), "left behind: {strangers:?}");
    }

    /// Reserves `count` addresses from `first` on, each for a container of its own, and sets the
    /// mark of set 0, as if they had been handed out one after the other.
    pub fn fill(&self, first: IpAddr, count: u32) {
        fs::create_dir_all(&self.path).expect("a network directory can be made");
        for n in 0..count {
            let content = reservation(&filler(n), "eth0");
            fs::write(self.path.join(above(first, n).to_string()), content)
                .expect("a reservation can be written");
        }
        if count > 0 {
            let mark = above(first, count - 1).to_string();
            fs::write(self.path.join("last_reserved_ip.0"), mark).expect("a mark can be written");
        }
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect()
    }
}

/// The content of a reservation.
pub fn reservation(id: &str, ifname: &str) -> String {
    format!("{id}\r\n{ifname}")
}

/// The container ID of the `n`-th address that [`NetworkDir::fill`] reserved.
pub fn filler(n: u32) -> String {
    format!("filler{n:058x}")
}

/// The address `n` above another.
pub fn above(address: IpAddr, n: u32) -> IpAddr {
    match address {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) + n).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) + u128::from(n)).into()),
    }
}
