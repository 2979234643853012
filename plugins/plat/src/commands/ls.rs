//! `plat ls`.

use std::borrow::Cow;
use std::io::Write;

use clap::Args;
use ipam_stores::survey::{Allocation, NetworkState};

use crate::context::{Command, Context, Exit, Failure};
use crate::documents::addresses::Allocations;
use crate::output::{self, Align, Columns, age, escape, instant, short_id};
use crate::shown::{Found, Shown};
use crate::usage::{Record, parts, pod};

/// Options of `plat ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only this network.
    network: Option<String>,
    /// Whole container IDs, exact times, instance and path of the store.
    #[arg(long, short)]
    wide: bool,
    /// Only what this pod holds: `NAMESPACE/NAME`, or a name in any namespace.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,
    /// Only what the containers hold whose ID begins so.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
}

impl Command for Ls {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let found = Found::of(context, self.network.as_deref())?;
        let incomplete = found.complain();
        let rows = self.rows(&found.networks);
        if context.json {
            let allocations =
                rows.iter().map(|(state, allocation)| Record::new(state, allocation)).collect();
            output::json(out, &Allocations { complete: !incomplete, allocations })?;
        } else {
            print(&rows, self.wide, output::now(), out, context.colour)?;
        }
        Ok(if incomplete { Exit::Failed } else { Exit::Fine })
    }
}

type Row<'a> = (&'a NetworkState, &'a Allocation);

impl Ls {
    /// What is asked for, by network and address.
    fn rows<'a>(&self, networks: &'a [Shown]) -> Vec<Row<'a>> {
        let pod = self.pod.as_deref();
        let mut rows: Vec<Row<'a>> = networks
            .iter()
            .flat_map(|shown| {
                shown.state.allocations.iter().map(move |allocation| (&shown.state, allocation))
            })
            .filter(|(_, allocation)| pod.is_none_or(|pod| is_pod(allocation, pod)))
            .filter(|(_, allocation)| {
                self.container.as_deref().is_none_or(|prefix| is_container(allocation, prefix))
            })
            .collect();
        rows.sort_by(|(a, x), (b, y)| (&a.network, x.addr).cmp(&(&b.network, y.addr)));
        rows
    }
}

/// Whether the allocation is this pod's: `namespace/name`, or a name alone.
pub(crate) fn is_pod(allocation: &Allocation, wanted: &str) -> bool {
    let owner = &allocation.owner;
    match wanted.split_once('/') {
        Some((namespace, name)) => {
            owner.namespace.as_deref() == Some(namespace) && owner.name.as_deref() == Some(name)
        }
        None => owner.name.as_deref() == Some(wanted),
    }
}

/// Whether the ID of the allocation's container begins so.
pub(crate) fn is_container(allocation: &Allocation, prefix: &str) -> bool {
    parts(&allocation.holder).0.is_some_and(|container| container.starts_with(prefix))
}

fn print(
    rows: &[Row<'_>],
    wide: bool,
    now: u64,
    out: &mut dyn Write,
    colours: bool,
) -> std::io::Result<()> {
    use Align::Left;
    let narrow = [
        ("address", Left),
        ("network", Left),
        ("container", Left),
        ("interface", Left),
        ("pod", Left),
        ("age", Align::Right),
        ("store", Left),
    ];
    let more = [
        ("address", Left),
        ("network", Left),
        ("container", Left),
        ("interface", Left),
        ("pod", Left),
        ("since", Left),
        ("store", Left),
        ("path", Left),
        ("instance", Left),
    ];
    let mut columns = Columns::new(if wide { &more } else { &narrow }, 0);
    for (state, allocation) in rows {
        let (container, interface) = parts(&allocation.holder);
        let container = container.unwrap_or("?");
        let text = |text: Option<String>| text.map_or(Cow::Borrowed("-"), Cow::Owned);
        let since = allocation.since;
        let mut cells: Vec<Cow<'_, str>> = Vec::with_capacity(more.len());
        cells.push(Cow::Owned(allocation.addr.to_string()));
        cells.push(escape(&state.network));
        cells.push(escape(if wide { container } else { short_id(container) }));
        cells.push(escape(interface.unwrap_or("-")));
        cells.push(text(pod(&allocation.owner).map(|pod| escape(&pod).into_owned())));
        cells.push(text(since.map(|since| if wide { instant(since) } else { age(now, since) })));
        cells.push(Cow::Borrowed(state.place.kind()));
        if wide {
            let path = state.place.path().to_string_lossy();
            cells.push(Cow::Owned(escape(&path).into_owned()));
            cells.push(Cow::Borrowed(state.instance.as_ref().map_or("-", |i| i.as_str())));
        }
        columns.row(cells);
    }
    columns.print(out, colours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::samples::{allocation, state};
    use ipam_core::identity::Holder;

    fn networks() -> Vec<Shown> {
        let mut pods = state("pods");
        pods.allocations =
            vec![allocation("10.1.2.10", 1, 1000), allocation("2001:db8::2", 1, 1000)];
        let mut second = state("pods");
        second.allocations = vec![allocation("10.1.2.9", 2, 4000)];
        let mut storage = state("storage");
        storage.allocations = vec![Allocation {
            holder: Holder::Unknown,
            owner: ipam_core::config::Owner {
                name: Some("evil\x1b[2J".to_owned()),
                ..Default::default()
            },
            since: None,
            ..allocation("10.0.0.1", 3, 0)
        }];
        [storage, pods, second].map(|state| Shown { state, layout: None, file: None }).into()
    }

    fn listed(ls: &Ls) -> String {
        let networks = networks();
        let mut out = Vec::new();
        print(&ls.rows(&networks), ls.wide, 4600, &mut out, false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses_are_listed_by_network_and_number() {
        let mut ls = Ls { network: None, wide: false, pod: None, container: None };
        assert_eq!(
            listed(&ls),
            "\
ADDRESS      NETWORK  CONTAINER     INTERFACE  POD            AGE  STORE
10.1.2.9     pods     000200020002  eth0       shop/web-2     10m  sqlite
10.1.2.10    pods     000100010001  eth0       shop/web-1     60m  sqlite
2001:db8::2  pods     000100010001  eth0       shop/web-1     60m  sqlite
10.0.0.1     storage  ?             -          evil\\u{1b}[2J    -  sqlite
"
        );
        for (pod, container, n) in [
            (Some("shop/web-1"), None, 2),
            (Some("web-2"), None, 1),
            (Some("other/web-1"), None, 0),
            (None, Some("0002"), 1),
            (Some("web-1"), Some("0002"), 0),
            (None, Some(""), 3),
        ] {
            ls.pod = pod.map(str::to_owned);
            ls.container = container.map(str::to_owned);
            assert_eq!(ls.rows(&networks()).len(), n, "{pod:?} {container:?}");
        }
        let wide = Ls { network: None, wide: true, pod: Some("web-2".to_owned()), container: None };
        let id = "0002".repeat(16);
        assert_eq!(
            listed(&wide).lines().nth(1).unwrap(),
            format!(
                "10.1.2.9  pods     {id}  eth0       shop/web-2  1970-01-01T01:06:40Z  sqlite  \
                 /run/plat/plat.db  node-local"
            )
        );
    }

    /// The whole of a full /16; the limit is generous because test builds are not optimised.
    #[test]
    fn a_full_network_is_listed_at_once() {
        let mut pods = state("pods");
        pods.allocations = (0..65_000_u64)
            .map(|n| allocation(&format!("10.1.{}.{}", n >> 8, n & 255), n, n))
            .collect();
        let networks = [Shown { state: pods, layout: None, file: None }];
        let ls = Ls { network: None, wide: false, pod: None, container: None };
        let mut out = Vec::new();
        print(&ls.rows(&networks), false, 70_000, &mut out, false).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 65_001);
    }
}
