//! What a PCI device is called, by its numbers: the database `pci.ids` that most systems have.

use std::fmt::Write as _;

/// Numbers of a device: of its vendor and of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceId {
    /// The vendor.
    pub(crate) vendor: u16,
    /// The product.
    pub(crate) device: u16,
}

/// As `lspci -n` prints it: `8086:100e`.
impl std::fmt::Display for DeviceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// Where the database is on the distributions.
pub(crate) const PLACES: [&str; 3] =
    ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids"];

/// The product's name in the text of `pci.ids`: vendors begin a line, their products a tab after it.
pub(crate) fn product(database: &str, id: DeviceId) -> Option<String> {
    let mut vendor = String::new();
    let mut device = String::new();
    // Writing to a String does not fail.
    let _ = write!(vendor, "{:04x}  ", id.vendor);
    let _ = write!(device, "\t{:04x}  ", id.device);
    let mut lines = database.lines().skip_while(|line| !line.starts_with(&vendor)).skip(1);
    let mut of_vendor = lines.by_ref().take_while(|line| line.starts_with(['\t', '#']));
    of_vendor.find_map(|line| line.strip_prefix(&device)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_have_names() {
        let database = "# x\n1af4  Red Hat, Inc.\n\t1000  Virtio network device\n\t\t01de fe  Sub\n\
                        \t1041  Virtio 1.0 network device\n8086  Intel Corporation\n\t100e  82540EM\n\nC 02  Network\n";
        for (vendor, device, name) in [
            (0x1af4, 0x1041, Some("Virtio 1.0 network device")),
            (0x8086, 0x100e, Some("82540EM")),
            (0x1af4, 0x100e, None),
            (0x15b3, 0x1000, None),
        ] {
            assert_eq!(product(database, DeviceId { vendor, device }).as_deref(), name);
        }
    }
}
