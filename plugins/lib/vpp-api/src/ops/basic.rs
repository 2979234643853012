//! VPP itself, interfaces and addresses.

use crate::client::Client;
use crate::error::Error;
use crate::msg;
use crate::retval::Retval;
use crate::types::{Family, IfIndex, InterfaceFlags, Mac, Prefix};
use crate::wire::Text;

impl Client {
    /// A sign of life: VPP's process ID in its own namespace.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn ping(&mut self) -> Result<u32, Error> {
        Ok(self.call(&msg::ControlPing {})?.vpe_pid)
    }

    /// VPP's version, as in `26.06-release`.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn version(&mut self) -> Result<String, Error> {
        Ok(self.call(&msg::ShowVersion {})?.version.to_string())
    }

    /// What a debug command writes, also if it fails.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn cli(&mut self, command: &str) -> Result<String, Error> {
        let request = msg::CliInband { cmd: crate::wire::Tail(command.to_owned()) };
        let (retval, reply) = self.try_call(&request)?;
        let refused = Error::Refused { message: "cli_inband", retval };
        Ok(reply.ok_or(refused)?.reply.0)
    }

    /// All interfaces.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn interfaces(&mut self) -> Result<Vec<msg::SwInterfaceDetails>, Error> {
        self.dump(&msg::SwInterfaceDump::all())
    }

    /// The interface of this name.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn interface_named(
        &mut self,
        name: &str,
    ) -> Result<Option<msg::SwInterfaceDetails>, Error> {
        let like = self.dump(&msg::SwInterfaceDump::named_like(name))?;
        Ok(like.into_iter().find(|interface| interface.interface_name == name))
    }

    /// Sets an interface up or down. Idempotent.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn set_up(&mut self, sw_if_index: IfIndex, up: bool) -> Result<(), Error> {
        let flags = if up { InterfaceFlags::ADMIN_UP } else { InterfaceFlags::DOWN };
        self.call(&msg::SwInterfaceSetFlags { sw_if_index, flags })
    }

    /// Writes a tag on an interface in place of what it has.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`Error::Text`] if it has more than 63 bytes.
    pub fn set_tag(&mut self, sw_if_index: IfIndex, tag: &str) -> Result<(), Error> {
        let tag = Text::new(tag)?;
        self.call(&msg::SwInterfaceTagAddDel { is_add: true, sw_if_index, tag })
    }

    /// Sets the largest packet of an interface, in bytes.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn set_mtu(&mut self, sw_if_index: IfIndex, mtu: u32) -> Result<(), Error> {
        self.call(&msg::SwInterfaceSetMtu { sw_if_index, mtu: [mtu, 0, 0, 0] })
    }

    /// The own addresses of an interface, of both families.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn addresses(&mut self, sw_if_index: IfIndex) -> Result<Vec<Prefix>, Error> {
        let mut batch = self.batch();
        let v4 = batch.dump(&msg::IpAddressDump::of(sw_if_index, Family::V4))?;
        let v6 = batch.dump(&msg::IpAddressDump::of(sw_if_index, Family::V6))?;
        let mut answers = batch.send()?;
        let mut addresses = answers.details(v4)?;
        addresses.extend(answers.details(v6)?);
        Ok(addresses.into_iter().map(|address| address.prefix).collect())
    }

    /// Adds an address. Not idempotent: [`Retval::ADDRESS_IN_USE`] and [`Retval::DUPLICATE_ADDRESS`] may mean
    /// that it is there; [`Client::addresses`] tells.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn add_address(&mut self, sw_if_index: IfIndex, prefix: Prefix) -> Result<(), Error> {
        let (is_add, del_all) = (true, false);
        self.call(&msg::SwInterfaceAddDelAddress { sw_if_index, is_add, del_all, prefix })
    }

    /// Deletes an address; whether it was there.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn delete_address(&mut self, sw_if_index: IfIndex, prefix: Prefix) -> Result<bool, Error> {
        let (is_add, del_all) = (false, false);
        let request = msg::SwInterfaceAddDelAddress { sw_if_index, is_add, del_all, prefix };
        gone(self.call(&request), Retval::ADDRESS_NOT_FOUND)
    }

    /// Lets an interface borrow the addresses of another, or ends that. Idempotent.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn set_unnumbered(
        &mut self,
        borrower: IfIndex,
        owner: IfIndex,
        borrows: bool,
    ) -> Result<(), Error> {
        self.call(&msg::SwInterfaceSetUnnumbered {
            sw_if_index: owner,
            unnumbered_sw_if_index: borrower,
            is_add: borrows,
        })
    }

    /// Makes a loopback interface named `loop` and the number, or the next free one.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn create_loopback(
        &mut self,
        mac: Option<Mac>,
        instance: Option<u32>,
    ) -> Result<IfIndex, Error> {
        let request = msg::CreateLoopbackInstance {
            mac_address: mac.unwrap_or_default(),
            is_specified: instance.is_some(),
            user_instance: instance.unwrap_or(0),
        };
        Ok(self.call(&request)?.sw_if_index)
    }
}

/// Whether something was deleted, if VPP says `missing` of what is not there.
pub(super) fn gone<T>(result: Result<T, Error>, missing: Retval) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.retval() == Some(missing) => Ok(false),
        Err(error) => Err(error),
    }
}
