//! `plat vpp nics`.

use std::io::Write;

use clap::Args;

use super::files;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::vpp::{DefaultRoute, NicLine, Nics as NicsDocument};
use crate::output::{self, Align, Colour, Columns, escape};
use crate::vpp::host::product_name;
use crate::vpp::nic::Nic;

/// Options of `plat vpp nics`.
#[derive(Debug, Args)]
#[command(
    after_help = "A device without a name is bound to a driver that hands it to a program, such as VPP; VPP has it \
                  then, or can have it."
)]
pub(crate) struct Nics {
    /// Lists devices without hardware, too: veth, bridges, VLANs.
    #[arg(long)]
    all: bool,
}

impl Command for Nics {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let files = files(context);
        let inventory = files.inventory();
        let names = files.names();
        let nics = inventory.nics();
        let shown: Vec<&Nic<'_>> = nics
            .iter()
            .filter(|nic| self.all || nic.device.is_none_or(|device| !device.is_virtual))
            .collect();
        if context.json {
            let nics = shown.iter().map(|nic| document(nic, names.as_deref())).collect();
            output::json(out, &NicsDocument { nics })?;
            return Ok(Exit::Fine);
        }
        if shown.is_empty() {
            writeln!(out, "there is no network device with hardware here; --all lists the others")?;
            return Ok(Exit::Fine);
        }
        let mut columns = Columns::new(
            &[
                ("pci", Align::Left),
                ("name", Align::Left),
                ("driver", Align::Left),
                ("state", Align::Left),
                ("mac", Align::Left),
                ("speed", Align::Right),
                ("default route", Align::Left),
                ("", Align::Left),
            ],
            0,
        );
        for nic in shown {
            columns.coloured_row(cells(nic, names.as_deref()));
        }
        columns.print(out, context.colour)?;
        Ok(Exit::Fine)
    }
}

fn cells(nic: &Nic<'_>, names: Option<&str>) -> [(String, Option<Colour>); 8] {
    let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |t| escape(t).into_owned());
    let device = nic.device;
    let carries = match (nic.default_route.as_str(), nic.default_by) {
        ("", _) => "-".to_owned(),
        (families, None) => families.to_owned(),
        (families, Some(by)) => format!("{families}, by {}", escape(by)),
    };
    let carries_any = nic.default_route.any();
    [
        (nic.address().map_or_else(|| "-".to_owned(), |address| address.to_string()), None),
        (text(device.map(|device| device.name.as_str())), carries_any.then_some(Colour::Bold)),
        (text(nic.driver()), nic.is_handed_over().then_some(Colour::Green)),
        (escape(&state(nic)).into_owned(), None),
        (text(device.and_then(|device| device.mac.as_deref())), None),
        (device.and_then(|device| device.speed).map_or_else(|| "-".to_owned(), speed), None),
        (carries, carries_any.then_some(Colour::Red)),
        (escape(&product_name(names, nic.pci).unwrap_or_default()).into_owned(), None),
    ]
}

/// `up`, `down`, `up, no link`, and what it is a port of.
fn state(nic: &Nic<'_>) -> String {
    let Some(device) = nic.device else {
        return if nic.is_handed_over() { "handed over" } else { "no driver" }.to_owned();
    };
    let state = match (device.up, device.state.as_str()) {
        (false, _) => "down".to_owned(),
        (true, "up" | "unknown") => "up".to_owned(),
        (true, "down" | "lowerlayerdown") => "up, no link".to_owned(),
        (true, other) => format!("up, {other}"),
    };
    device.controller.as_ref().map_or(state.clone(), |of| format!("{state}, port of {of}"))
}

/// A speed in Mbit/s.
fn speed(mbits: u32) -> String {
    match mbits {
        _ if mbits >= 1000 && mbits.is_multiple_of(1000) => format!("{} Gbit/s", mbits / 1000),
        _ if mbits >= 1000 => format!("{}.{} Gbit/s", mbits / 1000, mbits % 1000 / 100),
        _ => format!("{mbits} Mbit/s"),
    }
}

/// A device, for programs.
fn document(nic: &Nic<'_>, names: Option<&str>) -> NicLine {
    let device = nic.device;
    NicLine {
        pci: nic.address().map(|address| address.to_string()),
        name: device.map(|device| device.name.clone()),
        driver: nic.driver().map(str::to_owned),
        pci_driver: nic.pci.and_then(|pci| pci.driver.clone()),
        handed_over: nic.is_handed_over(),
        is_virtual: device.is_some_and(|device| device.is_virtual),
        up: device.is_some_and(|device| device.up),
        state: device.map(|device| device.state.clone()),
        mac: device.and_then(|device| device.mac.clone()),
        speed: device.and_then(|device| device.speed),
        mtu: device.and_then(|device| device.mtu),
        controller: device.and_then(|device| device.controller.clone()),
        upper: nic.upper.iter().map(|name| (*name).to_owned()).collect(),
        default_route: DefaultRoute {
            ipv4: nic.default_route.v4,
            ipv6: nic.default_route.v6,
            by: nic.default_by.map(str::to_owned),
        },
        iommu_group: nic.pci.and_then(|pci| pci.iommu_group),
        id: nic.pci.and_then(|pci| pci.id).map(|id| id.to_string()),
        product: product_name(names, nic.pci),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vpp::nic::samples::inventory;

    #[test]
    fn a_device_is_a_row() {
        let inventory = inventory();
        let rows: Vec<String> = inventory
            .nics()
            .iter()
            .take(3)
            .map(|nic| cells(nic, None).map(|(cell, _)| cell).join("|"))
            .collect();
        assert_eq!(
            rows,
            [
                "0000:00:03.0|eth0|e1000|up, port of br0|52:54:00:00:00:01|1 Gbit/s|IPv4, by br0.5|",
                "0000:00:04.0|eth1|e1000|down|52:54:00:00:00:01|1 Gbit/s|-|",
                "0000:00:05.0|-|vfio-pci|handed over|-|-|-|",
            ]
        );
        for (mbits, text) in [(10, "10 Mbit/s"), (2500, "2.5 Gbit/s"), (100_000, "100 Gbit/s")] {
            assert_eq!(speed(mbits), text);
        }
    }
}
