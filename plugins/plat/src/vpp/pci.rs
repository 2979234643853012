//! PCI addresses, and what VPP calls a device by its address: as the plugin has them.

pub(crate) use vpp_plugin::node::PciAddress;
