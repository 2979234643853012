//! What VPP answers instead of doing it: a number below zero (VPP: `src/vnet/error.h`, before that
//! `api_errno.h`). The list has only grown at its end since 21.06.

use std::fmt;

/// The `retval` of a reply: 0 if it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retval(pub i32);

impl Retval {
    /// It was done.
    pub const OK: Self = Self(0);
    /// There is no interface of this number.
    pub const INVALID_SW_IF_INDEX: Self = Self(-2);
    /// There is no such table.
    pub const NO_SUCH_FIB: Self = Self(-3);
    /// There is nothing of the kind to delete.
    pub const NO_SUCH_ENTRY: Self = Self(-6);
    /// A value cannot be.
    pub const INVALID_VALUE: Self = Self(-7);
    /// The interface, or the driver, cannot do that.
    pub const UNIMPLEMENTED: Self = Self(-9);
    /// af_packet_delete: there is no such interface; tap_create: no /dev/vhost-net.
    pub const SYSCALL_ERROR_1: Self = Self(-11);
    /// tap_create: no such network namespace.
    pub const SYSCALL_ERROR_2: Self = Self(-12);
    /// Events are already wanted on this connection; the number of a loopback is taken.
    pub const INVALID_REGISTRATION: Self = Self(-31);
    /// A route without a path.
    pub const NO_PATHS: Self = Self(-52);
    /// A path through an interface that is not there.
    pub const NO_MATCHING_INTERFACE: Self = Self(-54);
    /// The interface does not have this address.
    pub const ADDRESS_NOT_FOUND: Self = Self(-60);
    /// af_packet_create: there is no such network device.
    pub const INVALID_INTERFACE: Self = Self(-71);
    /// An argument cannot be.
    pub const INVALID_ARGUMENT: Self = Self(-73);
    /// The interface is already there.
    pub const INTERFACE_EXISTS: Self = Self(-79);
    /// The value is already there.
    pub const VALUE_EXISTS: Self = Self(-81);
    /// An IPv4 address that is already there, or overlaps one of another interface in the table.
    pub const ADDRESS_IN_USE: Self = Self(-105);
    /// A table cannot be changed while the interface has an address or is unnumbered.
    pub const ADDRESS_FOUND: Self = Self(-114);
    /// The interface cannot do that.
    pub const UNSUPPORTED: Self = Self(-126);
    /// An IPv6 address that is already there.
    pub const DUPLICATE_ADDRESS: Self = Self(-127);
    /// A prefix length that cannot be (from 24.02 on).
    pub const INVALID_PREFIX_LENGTH: Self = Self(-171);

    /// Whether it was done. Some messages answer a number above zero, which is no error either.
    pub const fn is_ok(self) -> bool {
        self.0 >= 0
    }

    /// What the number stands for, in words; none if VPP has learned a new one.
    pub fn name(self) -> Option<&'static str> {
        let found = NAMES.iter().find(|(number, _)| *number == self.0);
        found.map(|(_, name)| *name)
    }
}

/// `VPP -105: address in use`.
impl fmt::Display for Retval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VPP {}: {}", self.0, self.name().unwrap_or("an error without a name here"))
    }
}

/// The numbers in words.
const NAMES: &[(i32, &str)] = &[
    (0, "done"),
    (-1, "unspecified error"),
    (-2, "invalid interface index"),
    (-3, "no such FIB or VRF"),
    (-4, "no such inner FIB or VRF"),
    (-5, "no such label"),
    (-6, "no such entry"),
    (-7, "invalid value"),
    (-8, "invalid value #2"),
    (-9, "not implemented"),
    (-10, "invalid interface index #2"),
    (-11, "system call error #1"),
    (-12, "system call error #2"),
    (-13, "system call error #3"),
    (-14, "system call error #4"),
    (-15, "system call error #5"),
    (-16, "system call error #6"),
    (-17, "system call error #7"),
    (-18, "system call error #8"),
    (-19, "system call error #9"),
    (-20, "system call error #10"),
    (-30, "feature disabled by configuration"),
    (-31, "invalid registration"),
    (-50, "next hop not in FIB"),
    (-51, "unknown destination"),
    (-52, "no paths in route"),
    (-53, "next hop not found (multipath)"),
    (-54, "no matching interface"),
    (-55, "invalid VLAN"),
    (-56, "VLAN subinterface already exists"),
    (-57, "invalid source address"),
    (-58, "invalid destination address"),
    (-59, "address length mismatch"),
    (-60, "address not found for interface"),
    (-61, "address not deletable"),
    (-62, "IPv6 not enabled"),
    (-63, "no such graph node"),
    (-64, "no such graph node #2"),
    (-65, "no such table"),
    (-66, "no such table #2"),
    (-67, "no such table #3"),
    (-68, "subinterface already exists"),
    (-69, "subinterface creation failed"),
    (-70, "invalid memory size"),
    (-71, "invalid interface"),
    (-72, "invalid number of VLAN tags"),
    (-73, "invalid argument"),
    (-74, "unexpected interface state"),
    (-75, "tunnel already exists"),
    (-76, "invalid decapsulation node"),
    (-77, "response not ready"),
    (-78, "not connected to the data plane"),
    (-79, "interface already exists"),
    (-80, "not allowed on a member of a bond"),
    (-81, "value already exists"),
    (-82, "source and destination are the same"),
    (-83, "IPv6 multicast address required"),
    (-84, "segment routing policy name required"),
    (-85, "not running as root"),
    (-86, "already connected to the data plane"),
    (-87, "unsupported JNI version"),
    (-88, "prefix has host bits"),
    (-89, "invalid worker thread"),
    (-90, "LISP is disabled"),
    (-91, "classify table not found"),
    (-92, "unsupported LISP EID type"),
    (-93, "cannot create pcap file"),
    (-94, "wrong adjacency type"),
    (-95, "too many ranges"),
    (-96, "too many ports"),
    (-97, "invalid address family"),
    (-98, "invalid subinterface index"),
    (-99, "table too big"),
    (-100, "cannot enable or disable feature"),
    (-101, "BFD object already exists"),
    (-102, "no such BFD object"),
    (-103, "BFD object in use"),
    (-104, "BFD feature not supported"),
    (-105, "address in use"),
    (-106, "address not in use"),
    (-107, "queue full"),
    (-108, "unsupported application configuration"),
    (-109, "URI FIFO segment creation failed"),
    (-110, "RLOC address is local"),
    (-111, "BFD object cannot be changed now"),
    (-112, "invalid GPE mode"),
    (-113, "LISP GPE entries are present"),
    (-114, "address found for interface"),
    (-115, "session failed to connect"),
    (-116, "entry already exists"),
    (-117, "segment creation failed"),
    (-118, "application not attached"),
    (-119, "bridge domain already exists"),
    (-120, "bridge domain has member interfaces"),
    (-121, "bridge domain 0 cannot be changed"),
    (-122, "bridge domain ID above 16M"),
    (-123, "subinterface does not exist"),
    (-124, "another client wants L2 MAC events"),
    (-125, "invalid queue"),
    (-126, "unsupported"),
    (-127, "address already present on an interface"),
    (-128, "invalid application namespace"),
    (-129, "wrong application namespace secret"),
    (-130, "connect scope"),
    (-131, "application already attached"),
    (-132, "redirect failed"),
    (-133, "illegal name"),
    (-134, "no name servers configured"),
    (-135, "name server not found"),
    (-136, "name resolution not enabled"),
    (-137, "name server format error"),
    (-138, "no such name"),
    (-139, "no addresses available"),
    (-140, "retry with next server"),
    (-141, "connect was filtered"),
    (-142, "inbound ACL in use"),
    (-143, "outbound ACL in use"),
    (-144, "initialization failed"),
    (-145, "netlink error"),
    (-146, "BIER bit-string length unsupported"),
    (-147, "instance in use"),
    (-148, "session ID out of range"),
    (-149, "ACL in use by a lookup context"),
    (-150, "invalid value #3"),
    (-151, "not an Ethernet interface"),
    (-152, "bridge domain already has a BVI"),
    (-153, "invalid protocol"),
    (-154, "invalid algorithm"),
    (-155, "resource in use"),
    (-156, "invalid key length"),
    (-157, "unsupported FIB path protocol"),
    (-159, "endian mismatch"),
    (-160, "no change in table"),
    (-161, "missing certificate or key"),
    (-162, "limit exceeded"),
    (-163, "port not managed by IKE"),
    (-164, "UDP port already taken"),
    (-165, "retry stream call with cursor"),
    (-166, "invalid value #4"),
    (-167, "busy"),
    (-168, "bug in VPP"),
    (-169, "feature already disabled"),
    (-170, "feature already enabled"),
    (-171, "invalid prefix length"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_names() {
        assert_eq!(Retval(-105).to_string(), "VPP -105: address in use");
        assert_eq!(Retval::INTERFACE_EXISTS.to_string(), "VPP -79: interface already exists");
        assert_eq!(Retval(-999).to_string(), "VPP -999: an error without a name here");
        assert_eq!(Retval(i32::MIN).name(), None);
    }

    #[test]
    fn each_number_has_one_name_and_they_are_in_order() {
        assert!(NAMES.is_sorted_by(|(a, _), (b, _)| a > b));
        assert!(NAMES.iter().all(|(_, name)| !name.is_empty()));
    }
}
