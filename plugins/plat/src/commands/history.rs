//! `plat history`.

use std::io::Write;

use clap::Args;
use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::Holder;
use ipam_stores::survey::{Allocation, Ended, NetworkState, Past};

use crate::context::{Command, Context, Exit, Failure};
use crate::documents::addresses as documents;
use crate::output::{self, escape, instant, short_id, table};
use crate::shown::Found;
use crate::usage::{parts, pod};

/// Options of `plat history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The address.
    #[arg(value_parser = address)]
    address: Addr,
    /// Whole container IDs.
    #[arg(long, short)]
    wide: bool,
}

/// An address of the command line.
pub(crate) fn address(text: &str) -> Result<Addr, String> {
    Addr::parse(text).ok_or_else(|| {
        "an address without prefix length is needed, such as 10.1.2.3 or 2001:db8::3".to_owned()
    })
}

/// One time that the address was held.
#[derive(Clone, Debug)]
struct Entry<'a> {
    network: &'a NetworkState,
    holder: &'a Holder,
    owner: &'a Owner,
    since: Option<u64>,
    /// `None`: it is held.
    end: Option<(u64, Ended)>,
}

impl Command for History {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let past = context.survey.history(self.address)?;
        let found = Found::all(context);
        let incomplete = found.complain();
        let held: Vec<(&NetworkState, &Allocation)> = found
            .networks
            .iter()
            .flat_map(|shown| {
                let of_address =
                    shown.state.allocations.iter().filter(|held| held.addr == self.address);
                of_address.map(|allocation| (&shown.state, allocation))
            })
            .collect();
        let entries = entries(&past, &held);
        if context.json {
            let document = documents::History {
                address: self.address.to_string(),
                complete: !incomplete,
                history: entries.iter().map(Entry::document).collect(),
            };
            output::json(out, &document)?;
        } else if entries.is_empty() {
            writeln!(out, "nothing is recorded of {}", self.address)?;
            writeln!(out, "  databases keep the last holders of an address, directories do not")?;
        } else {
            print(&entries, self.wide, out)?;
        }
        Ok(if incomplete { Exit::Failed } else { Exit::Fine })
    }
}

/// All times, the latest last.
fn entries<'a>(
    past: &'a [(NetworkState, Past)],
    held: &[(&'a NetworkState, &'a Allocation)],
) -> Vec<Entry<'a>> {
    let over = past.iter().map(|(network, past)| Entry {
        network,
        holder: &past.holder,
        owner: &past.owner,
        since: past.since,
        end: Some((past.until, past.ended)),
    });
    let now = held.iter().map(|(network, allocation)| Entry {
        network,
        holder: &allocation.holder,
        owner: &allocation.owner,
        since: allocation.since,
        end: None,
    });
    over.chain(now).collect()
}

const fn how(ended: Ended) -> &'static str {
    match ended {
        Ended::Released => "released",
        Ended::Collected => "collected",
        Ended::Reboot => "reboot",
    }
}

impl Entry<'_> {
    fn document(&self) -> documents::Time<'_> {
        let (container, interface) = parts(self.holder);
        documents::Time {
            network: &self.network.network,
            instance: self.network.instance.as_ref().map(|instance| instance.as_str()),
            store: self.network.place.kind(),
            path: self.network.place.path().to_string_lossy().into_owned(),
            container,
            interface,
            namespace: self.owner.namespace.as_deref(),
            pod: self.owner.name.as_deref(),
            uid: self.owner.uid.as_deref(),
            since: self.since.map(instant),
            until: self.end.map(|(until, _)| instant(until)),
            ended: self.end.map(|(_, ended)| how(ended)),
        }
    }
}

fn print(entries: &[Entry<'_>], wide: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let mut table =
        table(&["from", "until", "how it ended", "network", "container", "interface", "pod"]);
    for entry in entries {
        let (container, interface) = parts(entry.holder);
        let container = container.unwrap_or("?");
        table.add_row([
            entry.since.map_or_else(|| "-".to_owned(), instant),
            entry.end.map_or_else(|| "now".to_owned(), |(until, _)| instant(until)),
            entry.end.map_or("held", |(_, ended)| how(ended)).to_owned(),
            escape(&entry.network.network).into_owned(),
            escape(if wide { container } else { short_id(container) }).into_owned(),
            escape(interface.unwrap_or("-")).into_owned(),
            pod(entry.owner).map_or_else(|| "-".to_owned(), |pod| escape(&pod).into_owned()),
        ]);
    }
    for line in table.lines() {
        // The crate sets every column apart, the first one from the margin.
        writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::samples::{allocation, state};

    #[test]
    fn the_holders_of_an_address_are_told_in_order() {
        let network = state("pods");
        let past = |n: u64, until: u64, ended: Ended| {
            let Allocation { addr, holder, owner, since, .. } =
                allocation("10.1.2.3", n, until - 60);
            (network.clone(), Past { addr, holder, owner, since, until, ended })
        };
        let past = [past(1, 1000, Ended::Released), past(2, 2000, Ended::Collected)];
        let held = allocation("10.1.2.3", 3, 3000);
        let held = [(&network, &held)];
        let mut out = Vec::new();
        print(&entries(&past, &held), false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..2], ["FROM", "UNTIL"]);
        assert_eq!(
            lines[1],
            [
                "1970-01-01T00:15:40Z",
                "1970-01-01T00:16:40Z",
                "released",
                "pods",
                "000100010001",
                "eth0",
                "shop/web-1"
            ]
        );
        assert_eq!(lines[2][2], "collected");
        assert_eq!(
            lines[3],
            ["1970-01-01T00:50:00Z", "now", "held", "pods", "000300030003", "eth0", "shop/web-3"]
        );
        let entries = entries(&past, &held);
        let document = entries[1].document();
        assert_eq!(document.ended, Some("collected"));
        assert_eq!(document.until.as_deref(), Some("1970-01-01T00:33:20Z"));
    }

    #[test]
    fn an_address_is_an_address() {
        assert!(address("10.1.2.3").is_ok());
        for wrong in ["10.1.2.3/24", "web-0", ""] {
            assert!(address(wrong).unwrap_err().contains("10.1.2.3"), "{wrong}");
        }
    }
}
