//! A configuration that is accepted means the same when it is written again.

use ipam_core::addr::{Addr, Cidr, Interval};
use ipam_core::config::{Config, Place, Route, StoreKind};
use ipam_core::range::{Range, RangeSet};
use serde_json::{Map, Value, json};

use crate::cni_args::requested;
use crate::json::{elements, get};
use crate::ranges::{self, holes};

/// Errors go to a log and to the events of a pod: a large value is not repeated there.
const LONGEST_ERROR: usize = 1024;

/// Reads the input as a network configuration.
///
/// What DEL reads of it is what ADD reads; ranges hold what `ranges::check` says; an accepted one, written
/// again from what was understood, is understood as the same; an error is short and names a place.
pub fn config(input: &[u8]) {
    let Ok(net) = serde_json::from_slice::<Value>(input) else { return };
    let (place, ignored) = Place::parse(&net);
    let config = match Config::parse(&net, "", &[]) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.message.is_empty() && !error.expected.is_empty(), "{error:?}");
            let length = error.message.len() + error.found.len() + error.expected.len();
            assert!(length <= LONGEST_ERROR, "an error of {length} bytes: {error:?}");
            return;
        }
    };
    assert_eq!(place, config.place, "DEL looks at another place than ADD");
    assert_eq!(ignored, Vec::<String>::new(), "DEL does not understand what ADD accepts");
    ranges::check(&config.sets, &net);

    let args = get(&net, "args").and_then(|args| get(args, "cni"));
    let lists = [args, get(&net, "runtimeConfig")].map(|at| at.and_then(|at| get(at, "ips")));
    let mut wanted = Vec::new();
    for text in lists.into_iter().flat_map(elements).filter_map(Value::as_str) {
        wanted.extend(requested(text).filter(|ip| !wanted.contains(ip)).collect::<Vec<_>>());
    }
    assert_eq!(config.requested, wanted, "each address that is asked for, once");

    let printed = print(&config, get(&net, "cniVersion"));
    let again = Config::parse(&printed, "", &[])
        .unwrap_or_else(|error| panic!("accepted, but not when printed: {error}\n{printed}"));
    assert_eq!(meaning(&again.sets), meaning(&config.sets), "from {printed}");
    // What is excluded is written in another way there, and nothing is odd any more.
    let same = Config { sets: again.sets.clone(), warnings: Vec::new(), ..config };
    assert_eq!(again, same, "from {printed}");
}

/// What can be told of a range from outside.
type Meaning = (Cidr, Interval, Option<Addr>, Vec<Interval>);

fn meaning(sets: &[RangeSet]) -> Vec<Vec<Meaning>> {
    let of = |range: &Range| (range.subnet(), range.interval(), range.gateway(), range.usable());
    sets.iter().map(|set| set.ranges().iter().map(of).collect()).collect()
}

/// A configuration that says what was understood, and nothing else.
fn print(config: &Config, version: Option<&Value>) -> Value {
    let sets: Vec<Vec<Value>> =
        config.sets.iter().map(|set| set.ranges().iter().map(range).collect()).collect();
    let requested: Vec<String> = config.requested.iter().map(ToString::to_string).collect();
    let routes: Vec<Value> = config.routes.iter().map(route).collect();
    let timeout = format!("{}ms", config.place.lock_timeout.as_millis());
    json!({
        "cniVersion": version,
        "name": "n",
        "ipam": {
            "type": "t",
            "ranges": sets,
            "routes": routes,
            "resolvConf": config.resolv_conf,
            // It changes nothing where both ends and the gateway are given.
            "smallSubnets": true,
            "strategy": config.policy.strategy.as_str(),
            "cooldown": format!("{}ms", config.policy.cooldown.as_millis()),
            "store": config.place.store.map(StoreKind::as_str),
            "database": config.place.database,
            "dataDir": config.place.data_dir,
            "shared": config.place.shared,
            "lockTimeout": timeout,
        },
        "runtimeConfig": {"ips": requested},
    })
}

fn range(range: &Range) -> Value {
    let exclude: Vec<String> = holes(range).iter().map(ToString::to_string).collect();
    json!({
        "subnet": range.subnet().to_string(),
        "rangeStart": range.interval().first().to_string(),
        "rangeEnd": range.interval().last().to_string(),
        "gateway": range.gateway().as_ref().map(Addr::to_string),
        "exclude": exclude,
    })
}

/// As a result shows a route.
fn route(route: &Route) -> Value {
    let mut object = Map::new();
    object.insert("dst".to_owned(), json!(route.dst.to_string()));
    object.insert("gw".to_owned(), json!(route.gw.as_ref().map(Addr::to_string)));
    for (key, value) in [
        ("mtu", Some(route.mtu)),
        ("advmss", Some(route.advmss)),
        ("priority", Some(route.priority)),
        ("table", route.table),
        ("scope", route.scope),
    ] {
        object.insert(key.to_owned(), json!(value));
    }
    Value::Object(object)
}
