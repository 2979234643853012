//! Tables, routes and their sources.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::answer::Answer;
use super::layout::{Value, Values};
use super::prefix::{Prefix, bytes_of};
use super::state::{Destination, Interface, Paths, State, errno};

const SPECIAL: u8 = 1;
const INTERFACE: u8 = 4;
const API: u8 = 8;
const ADJACENCY: u8 = 15;
const DEFAULT: u8 = 20;
/// The first number of a source that somebody makes.
const FIRST_MADE: u8 = 23;

/// VPP's own sources: number, priority, name. The numbers are VPP's; of the priorities the order counts.
const SOURCES: [(u8, u8, &str); 6] = [
    (SPECIAL, 0x00, "special"),
    (INTERFACE, 0x03, "interface"),
    (API, 0x80, "API"),
    (9, 0x81, "CLI"),
    (ADJACENCY, 0xd2, "adjacency"),
    (DEFAULT, 0xff, "default-route"),
];

/// Does what a request asks for, if it is about tables or routes.
pub(super) fn handle(state: &mut State, message: &str, m: &Values) -> Option<Answer> {
    Some(match message {
        "ip_table_add_del" | "ip_table_add_del_v2" => Answer::of(change_table(state, m)),
        "ip_table_dump" => dump_tables(state),
        "ip_table_flush" => Answer::of(flush(state, m)),
        "ip_route_add_del" => Answer::stats(change(state, m, API)),
        "ip_route_add_del_v2" => {
            let source = u8::try_from(m.number("route.src")).expect("a byte");
            Answer::stats(change(state, m, if source == 0 { API } else { source }))
        }
        "ip_route_dump" => Answer::Details("ip_route_details", dump(state, m, None)),
        "ip_route_v2_dump" => {
            let source = u8::try_from(m.number("src")).expect("a byte");
            Answer::Details("ip_route_v2_details", dump(state, m, Some(source)))
        }
        "ip_route_lookup" => lookup(state, m),
        "fib_source_add" => add_source(state, m),
        "fib_source_dump" => Answer::Details(
            "fib_source_details",
            sources(state).map(|(id, priority, name)| source(id, priority, &name)).collect(),
        ),
        _ => return None,
    })
}

fn table_of(m: &Values, name: &str) -> (u32, bool) {
    (m.number(&format!("{name}.table_id")), m.truth(&format!("{name}.is_ip6")))
}

fn table_name(id: u32, v6: bool) -> String {
    format!("ipv{}-VRF:{id}", if v6 { 6 } else { 4 })
}

fn change_table(state: &mut State, m: &Values) -> Result<(), i32> {
    let (id, v6) = table_of(m, "table");
    let name = m.text("table.name");
    if m.truth("is_add") {
        // One that is there keeps its name.
        let name = if name.is_empty() { table_name(id, v6) } else { name.to_owned() };
        if id != 0 {
            state.tables.entry((id, v6)).or_insert(name);
        }
        return Ok(());
    }
    let is_of = |(table, prefix): &Destination| *table == id && prefix.is_v6() == v6;
    if state.routes.keys().any(is_of) {
        state.complain(format!("BUG: table {id} is deleted, and has routes"));
    }
    state.tables.remove(&(id, v6));
    Ok(())
}

fn dump_tables(state: &State) -> Answer {
    let own = [false, true].map(|v6| ((0, v6), table_name(0, v6)));
    let made = state.tables.iter().map(|(table, name)| (*table, name.clone()));
    let details = own.into_iter().chain(made).map(|((id, v6), name)| {
        Values::default()
            .with("table.table_id", id)
            .with("table.is_ip6", v6)
            .with("table.name", name.as_str())
    });
    Answer::Details("ip_table_details", details.collect())
}

fn flush(state: &mut State, m: &Values) -> Result<(), i32> {
    let (id, v6) = table_of(m, "table");
    if !state.has_table(id, v6) {
        return Err(errno::NO_SUCH_FIB);
    }
    for ((table, prefix), sources) in &mut state.routes {
        if *table == id && prefix.is_v6() == v6 {
            sources.remove(&API);
        }
    }
    state.routes.retain(|_, sources| !sources.is_empty());
    Ok(())
}

fn change(state: &mut State, m: &Values, source: u8) -> Result<(), i32> {
    let table = m.number("route.table_id");
    let written = Prefix::of(m, "route.prefix");
    let paths = m.records("route.paths");
    if !written.is_valid() {
        if state.setup.release == "22.10" {
            state.complain(format!("route {written}: VPP crashes of it"));
        }
        return Err(errno::PREFIX_LENGTH);
    }
    if !state.has_table(table, written.is_v6()) {
        return Err(errno::NO_SUCH_FIB);
    }
    if !sources(state).any(|(id, ..)| id == source) {
        state.complain(format!("route {written} of source {source}, which is not there"));
    }
    let (add, some) = (m.truth("is_add"), m.truth("is_multipath"));
    if add && paths.is_empty() {
        return Err(errno::NO_PATHS);
    }
    if add || some {
        let index = |path: &Values| path.number("sw_if_index");
        let known = |index: u32| index == u32::MAX || state.interfaces.contains_key(&index);
        if !paths.iter().all(|path| known(index(path))) {
            return Err(errno::NO_MATCHING_INTERFACE);
        }
    }
    let destination = (table, written.masked());
    let of_sources = state.routes.entry(destination).or_default();
    match (add, some) {
        (true, false) => {
            let written = of_sources.get(&source).map_or(written, |route| route.written);
            of_sources.insert(source, Paths { written, paths: paths.to_vec() });
        }
        (true, true) => {
            let none = Paths { written, paths: Vec::new() };
            let route = of_sources.entry(source).or_insert(none);
            route.paths.extend(
                paths
                    .iter()
                    .filter(|path| !route.paths.contains(path))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        }
        (false, true) => {
            if let Some(route) = of_sources.get_mut(&source) {
                route.paths.retain(|path| !paths.contains(path));
            }
        }
        (false, false) => {
            of_sources.remove(&source);
        }
    }
    of_sources.retain(|_, route| !route.paths.is_empty());
    if of_sources.is_empty() {
        state.routes.remove(&destination);
    }
    Ok(())
}

/// A path through an interface, or into VPP, or nowhere.
fn path(index: u32, kind: u32, next_hop: Option<IpAddr>, v6: bool) -> Values {
    let numbers = ["table_id", "rpf_id", "preference", "flags", "nh.via_label", "nh.obj_id"];
    let path = numbers.iter().fold(Values::default(), |path, name| path.with(name, 0));
    path.with("sw_if_index", index)
        .with("weight", 1)
        .with("type", kind)
        .with("proto", v6)
        .with("nh.address", next_hop.map_or(vec![0; 16], bytes_of))
}

/// What VPP makes of a table itself: its own routes, those of interfaces that are up, and of neighbours.
fn own_routes(state: &State, table: u32, v6: bool) -> Vec<(u8, Prefix, Values)> {
    const LOCAL: u32 = 1;
    const DROP: u32 = 2;
    let own: &[(u8, &str)] = if v6 {
        &[(DEFAULT, "::/0"), (SPECIAL, "fe80::/10")]
    } else {
        &[
            (DEFAULT, "0.0.0.0/0"),
            (SPECIAL, "0.0.0.0/32"),
            (SPECIAL, "224.0.0.0/4"),
            (SPECIAL, "240.0.0.0/4"),
            (SPECIAL, "255.255.255.255/32"),
        ]
    };
    let mut routes: Vec<_> = own
        .iter()
        .map(|(source, text)| {
            (*source, text.parse().expect("a prefix"), path(u32::MAX, DROP, None, v6))
        })
        .collect();
    let is_of = |interface: &Interface| interface.tables[usize::from(v6)] == table;
    for (index, interface) in state.interfaces.iter().filter(|(_, it)| it.up && is_of(it)) {
        for address in interface.addresses.iter().filter(|address| address.is_v6() == v6) {
            let host = Prefix::host(address.address);
            routes.push((INTERFACE, host, path(*index, LOCAL, None, v6)));
            if *address != host {
                routes.push((INTERFACE, *address, path(*index, 0, None, v6)));
            }
        }
    }
    for ((index, address), neighbor) in &state.neighbors {
        let on = state.interfaces.get(index);
        if address.is_ipv6() == v6 && neighbor.flags & 2 == 0 && on.is_some_and(is_of) {
            let to = path(*index, 0, Some(*address), v6);
            routes.push((ADJACENCY, Prefix::host(*address), to));
        }
    }
    routes
}

type Entry = BTreeMap<u8, Paths>;

/// A table: what was made, and what VPP makes itself.
fn whole_table(state: &State, table: u32, v6: bool) -> BTreeMap<Prefix, Entry> {
    let of_table = |((id, prefix), sources): (&Destination, &Entry)| {
        (*id == table && prefix.is_v6() == v6).then(|| (*prefix, sources.clone()))
    };
    let mut whole: BTreeMap<Prefix, Entry> = state.routes.iter().filter_map(of_table).collect();
    for (source, written, path) in own_routes(state, table, v6) {
        let none = Paths { written, paths: Vec::new() };
        let route = whole.entry(written.masked()).or_default().entry(source).or_insert(none);
        route.paths.push(path);
    }
    whole
}

/// The source that counts, and its paths.
fn best<'e>(state: &State, entry: &'e Entry) -> (u8, &'e Paths) {
    let priorities: BTreeMap<u8, u8> =
        sources(state).map(|(id, priority, _)| (id, priority)).collect();
    let priority = |id: &u8| priorities.get(id).copied().unwrap_or(u8::MAX);
    let (source, route) = entry.iter().min_by_key(|(id, _)| priority(id)).expect("an entry");
    (*source, route)
}

fn route(state: &State, table: u32, entry: &Entry, with_source: bool) -> Values {
    let (source, route) = best(state, entry);
    let count = u32::try_from(route.paths.len()).expect("few paths");
    let values =
        route.written.write(Values::default().with("route.table_id", table), "route.prefix");
    let values = values
        .with("route.n_paths", count)
        .with("route.paths", Value::Records(route.paths.clone()));
    if with_source { values.with("route.src", u32::from(source)) } else { values }
}

/// The routes of a table, or of it those whose best source is this one. Of a table that is not there none.
fn dump(state: &State, m: &Values, source: Option<u8>) -> Vec<Values> {
    let (table, v6) = table_of(m, "table");
    if !state.has_table(table, v6) {
        return Vec::new();
    }
    let whole = whole_table(state, table, v6);
    let wanted = source.unwrap_or(0);
    let entries = whole.values().filter(|entry| wanted == 0 || best(state, entry).0 == wanted);
    entries.map(|entry| route(state, table, entry, source.is_some())).collect()
}

fn lookup(state: &State, m: &Values) -> Answer {
    let (table, prefix) = (m.number("table_id"), Prefix::of(m, "prefix"));
    if !state.has_table(table, prefix.is_v6()) {
        return Answer::verdict(errno::NO_SUCH_FIB);
    }
    let whole = whole_table(state, table, prefix.is_v6());
    let covers = |there: &Prefix| there.len <= prefix.len && there.overlaps(prefix);
    let found = if m.truth("exact") {
        whole.get(&prefix.masked())
    } else {
        whole
            .iter()
            .filter(|(there, _)| covers(there))
            .max_by_key(|(there, _)| there.len)
            .map(|it| it.1)
    };
    match found {
        Some(entry) => Answer::Reply(0, route(state, table, entry, false)),
        None => Answer::verdict(errno::NO_SUCH_ENTRY),
    }
}

fn sources(state: &State) -> impl Iterator<Item = (u8, u8, String)> {
    let own = SOURCES.iter().map(|(id, priority, name)| (*id, *priority, (*name).to_owned()));
    own.chain(state.sources.iter().cloned())
}

fn source(id: u8, priority: u8, name: &str) -> Values {
    Values::default()
        .with("src.id", u32::from(id))
        .with("src.priority", u32::from(priority))
        .with("src.name", name)
}

/// Makes another source, also if there is one of the name.
fn add_source(state: &mut State, m: &Values) -> Answer {
    let priority = u8::try_from(m.number("src.priority")).expect("a byte");
    let made = u8::try_from(state.sources.len()).expect("few sources");
    let id = FIRST_MADE + made;
    state.sources.push((id, priority, m.text("src.name").to_owned()));
    Answer::Reply(0, Values::default().with("id", u32::from(id)))
}
