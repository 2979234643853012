/*!
One configuration for all nodes: what a node makes of it.

Placeholders stand in JSON string values and are filled in after parsing, so that no text can break out of
its value:

| placeholder | index 4 | index 300 |
|---|---|---|
| `{i}` | `4` | `300` |
| `{i:x}` | `4` | `12c` |
| `{i:04x}` | `0004` | `012c` |
| `{i/256}` | `0` | `1` |
| `{i%256}` | `4` | `44` |
| `{node}` | the host name | |

In address fields `%` and `.x` stand for the index, too, as in the script that this plugin succeeds.

`"carve": {"pool": "10.1.0.0/16", "prefix": 24}` is the index-th subnet of that size, for any family and
any index that fits.

A `rangeStart` that depends on the index needs an end: without one it would run into the next node's
addresses. Where `rangeEnd` is missing, the range ends before the next node's begins.
*/

use serde_json::{Map, Value, json};

use crate::addr::{Addr, Cidr};
use crate::config::ConfigError;
use crate::config::json::{At, lookup, shown};
use crate::node::NodeIdentity;

/// The keys of an ipam section that a template may supply.
pub const TEMPLATE_KEYS: &[&str] = &[
    "subnet",
    "rangeStart",
    "rangeEnd",
    "gateway",
    "ranges",
    "carve",
    "routes",
    "exclude",
    "dns",
    "smallSubnets",
];

/// The keys that make ranges: whoever has one of them needs no template.
pub const RANGE_KEYS: &[&str] = &["subnet", "ranges", "carve"];

/// The keys whose values are addresses, where `%` and `.x` stand for the index.
const ADDRESS_KEYS: &[&str] =
    &["subnet", "rangeStart", "rangeEnd", "gateway", "dst", "gw", "exclude", "pool"];

/// The keys in which nothing is filled in: they say which node this is, or where state lies, and a DEL
/// must understand them without knowing the node.
pub const LITERAL_KEYS: &[&str] = &[
    "type",
    "cfg",
    "cfgDir",
    "hostname",
    "index",
    "dataDir",
    "database",
    "store",
    "shared",
    "lockTimeout",
    "instance",
];

/// What is known in braces, for errors.
const KNOWN: &str = "{i}, {i:x}, {i:04x}, {i/256}, {i%256} or {node}";

/// Whether an ipam section makes ranges of its own.
pub fn has_ranges(ipam: &Value) -> bool {
    let present = |key: &&str| {
        ipam.as_object()
            .and_then(|object| lookup(object, key))
            .is_some_and(|value| !value.is_null())
    };
    RANGE_KEYS.iter().any(present)
}

/// The ipam section with what the template supplies where the section says nothing itself.
///
/// `template` is a file's content: a network configuration with an `ipam` section, or such a section.
///
/// # Errors
/// If one of the two is no object.
pub fn merge(ipam: &Value, template: &Value) -> Result<Value, ConfigError> {
    let mut merged = At::standing_at(ipam, "ipam").object()?.clone();
    let root = At::standing_at(template, "template");
    let outer = root.object()?;
    let section = match root.get("ipam")? {
        Some(section) => section.object()?,
        None => outer,
    };
    for key in TEMPLATE_KEYS {
        // A network's DNS settings stand beside its ipam section.
        let given = |object: &'_ Map<String, Value>| -> Option<Value> {
            lookup(object, key).filter(|value| !value.is_null()).cloned()
        };
        let from_outer = || (*key == "dns").then(|| given(outer)).flatten();
        let supplied = given(section).or_else(from_outer);
        let own = given(&merged);
        if let (Some(value), None) = (supplied, own) {
            remove(&mut merged, key);
            merged.insert((*key).to_owned(), value);
        }
    }
    Ok(Value::Object(merged))
}

/// A sentence for each key of a template that it cannot supply.
pub fn unused_keys(template: &Value) -> Vec<String> {
    let root = At::standing_at(template, "template");
    match root.get("ipam") {
        Ok(Some(section)) => section.unknown_keys(&[TEMPLATE_KEYS, &["type"]]),
        _ => root.unknown_keys(&[TEMPLATE_KEYS, &["type", "name", "cniVersion"]]),
    }
}

/// Removes a key, however its letters are cased.
pub fn remove(object: &mut Map<String, Value>, key: &str) {
    object.retain(|name, _| !name.eq_ignore_ascii_case(key));
}

/// Fills a node's index into an ipam section: placeholders, `carve`, and the ends of ranges. Also tells
/// what is odd, a sentence each.
///
/// # Errors
/// An unknown placeholder, a `carve` that does not fit, or a range without a computable end.
pub fn render(ipam: &Value, node: &NodeIdentity) -> Result<(Value, Vec<String>), ConfigError> {
    let at = At::standing_at(ipam, "ipam");
    let mut section = At::standing_at(&fill(&at, "", node)?, "ipam").object()?.clone();
    let mut warnings = Vec::new();
    let mut sets: Vec<Value> = Vec::new();
    if let Some(ranges) = at.get("ranges")? {
        for set in ranges.list()? {
            let mut rendered = Vec::new();
            for range in set.list()? {
                rendered.push(render_range(&range, node, &mut warnings)?);
            }
            sets.push(Value::Array(rendered));
        }
    }
    if let Some(carve) = at.get("carve")? {
        if carve.value().is_array() {
            for carve in carve.list()? {
                sets.push(json!([{"subnet": carved(&carve, node)?}]));
            }
        } else {
            sets.push(json!([{"subnet": carved(&carve, node)?}]));
        }
    }
    for key in ["ranges", "carve"] {
        remove(&mut section, key);
    }
    if !sets.is_empty() {
        section.insert("ranges".to_owned(), Value::Array(sets));
    }
    if at.get("subnet")?.is_some()
        && let Value::Object(range) = render_range(&at, node, &mut warnings)?
        && let Some(end) = lookup(&range, "rangeEnd")
    {
        remove(&mut section, "rangeEnd");
        section.insert("rangeEnd".to_owned(), end.clone());
    }
    Ok((Value::Object(section), warnings))
}

/// A range with its placeholders filled in, its subnet carved, and its end computed.
fn render_range(
    range: &At<'_>,
    node: &NodeIdentity,
    warnings: &mut Vec<String>,
) -> Result<Value, ConfigError> {
    let filled = fill(range, "", node)?;
    let Value::Object(mut object) = filled else { return Ok(filled) };
    let carve = range.get("carve")?;
    if let Some(carve) = &carve {
        if range.get("subnet")?.is_some() {
            return Err(carve.wrong(
                format!("{carve}: the range has a subnet already"),
                "either \"subnet\" or \"carve\"",
            ));
        }
        object.insert("subnet".to_owned(), Value::String(carved(carve, node)?));
    }
    remove(&mut object, "carve");
    if written(range, "rangeEnd")?.is_none()
        && let Some(start) = written(range, "rangeStart")?
        && let Some(end) = end_before_next(&start, &object, node)?
    {
        remove(&mut object, "rangeEnd");
        object.insert("rangeEnd".to_owned(), Value::String(end.to_string()));
    }
    refuse_wrapped(range, node)?;
    let depends = |key: &str| -> Result<bool, ConfigError> {
        let Some(at) = range.get(key)? else { return Ok(false) };
        Ok(fill(&at, key, node)? != fill(&at, key, &other(node))?)
    };
    if carve.is_none()
        && range.get("subnet")?.is_some()
        && !depends("subnet")?
        && !depends("rangeStart")?
    {
        warnings.push(format!(
            "{range}: does not depend on the node's index, so every node hands out the same addresses"
        ));
    }
    Ok(Value::Object(object))
}

/// The value of a key; as everywhere with addresses, an empty text is as absent.
fn written<'a>(range: &'a At<'a>, key: &'a str) -> Result<Option<At<'a>>, ConfigError> {
    Ok(range.get(key)?.filter(|at| at.value().as_str() != Some("")))
}

/// Another node than this one.
fn other(node: &NodeIdentity) -> NodeIdentity {
    with_index(node, node.index ^ 1)
}

fn with_index(node: &NodeIdentity, index: u32) -> NodeIdentity {
    NodeIdentity { index, ..node.clone() }
}

/// One octet tells 256 nodes apart: a range made with `{i%256}` alone is that of a node 256 before.
fn refuse_wrapped(range: &At<'_>, node: &NodeIdentity) -> Result<(), ConfigError> {
    let Some(before) = node.index.checked_sub(256).map(|index| with_index(node, index)) else {
        return Ok(());
    };
    let mut changes = false;
    for key in ["subnet", "rangeStart", "rangeEnd", "carve"] {
        let Some(at) = range.get(key)? else { continue };
        // A carved subnet is computed, and always another one.
        if key == "carve" || fill(&at, key, node)? != fill(&at, key, &before)? {
            return Ok(());
        }
        changes |= fill(&at, key, node)? != fill(&at, key, &other(node))?;
    }
    if !changes {
        return Ok(());
    }
    Err(range.wrong(
        format!("{range}: index {} gives the range of index {}", node.index, before.index),
        "both {i/256} and {i%256} in the address, or \"carve\"",
    ))
}

/// The address before the next node's first, if the range would otherwise run into it.
fn end_before_next(
    start: &At<'_>,
    range: &Map<String, Value>,
    node: &NodeIdentity,
) -> Result<Option<Addr>, ConfigError> {
    let of = |index: Option<u32>| -> Option<Addr> {
        let value = fill(start, "rangeStart", &with_index(node, index?)).ok()?;
        value.as_str().and_then(Addr::parse)
    };
    // What is no address is refused by whoever reads the rendered range.
    let Some(own) = of(Some(node.index)) else { return Ok(None) };
    let next = of(node.index.checked_add(1));
    let previous = of(node.index.checked_sub(1));
    if next.is_none_or(|next| next == own) && previous.is_none_or(|previous| previous == own) {
        return Ok(None);
    }
    let gap = |from: Addr, to: Addr| {
        if from.family() == to.family() { to.number().checked_sub(from.number()) } else { None }
    };
    // The last index that fits has no next one; its block is as large as the one before.
    let size = next
        .and_then(|next| gap(own, next))
        .or_else(|| previous.and_then(|previous| gap(previous, own)))
        .filter(|size| *size > 0)
        .ok_or_else(|| {
            start.wrong(
                format!("{start}: where the next node's range begins cannot be computed"),
                "a rangeStart that grows with the index, or an explicit rangeEnd",
            )
        })?;
    let end = own.offset(size - 1);
    let subnet = lookup(range, "subnet").and_then(Value::as_str).and_then(Cidr::parse);
    let last = subnet.map(|subnet| subnet.network().last());
    // A subnet of the node's own ends by itself.
    Ok(end.filter(|end| last.is_none_or(|last| *end < last)))
}

/// The index-th subnet of a pool.
fn carved(carve: &At<'_>, node: &NodeIdentity) -> Result<String, ConfigError> {
    const EXPECTED: &str = "{\"pool\": \"10.1.0.0/16\", \"prefix\": 24}";
    for key in carve.object()?.keys() {
        if !["pool", "prefix"].iter().any(|known| known.eq_ignore_ascii_case(key)) {
            return Err(carve.wrong(format!("{carve}: unknown key {:?}", shown(key)), EXPECTED));
        }
    }
    let missing = |key: &str| carve.wrong(format!("{carve}: {key} is missing"), EXPECTED);
    let pool_at = carve.get("pool")?.ok_or_else(|| missing("pool"))?;
    let filled = fill(&pool_at, "pool", node)?;
    let text = filled.as_str().ok_or_else(|| pool_at.mistyped("a CIDR"))?;
    let pool = Cidr::parse(text)
        .filter(|pool| !pool.is_mapped() && pool.network().first() == pool.addr())
        .ok_or_else(|| {
            pool_at.wrong(
                format!("{pool_at}: {:?} is no network", shown(text)),
                "a CIDR without host bits, such as 10.1.0.0/16 or fd00:1::/48",
            )
        })?;
    let prefix_at = carve.get("prefix")?.ok_or_else(|| missing("prefix"))?;
    let bits = pool.addr().family().bits();
    let prefix = u8::try_from(prefix_at.integer()?)
        .ok()
        .filter(|prefix| (pool.prefix()..=bits).contains(prefix))
        .ok_or_else(|| {
            prefix_at.wrong(
                format!(
                    "{prefix_at}: {} is no prefix length within {pool}",
                    shown(&prefix_at.value().to_string())
                ),
                format!("a whole number from {} to {bits}", pool.prefix()),
            )
        })?;
    let room = prefix - pool.prefix();
    let fits = room >= 32 || node.index >> room == 0;
    if !fits {
        return Err(carve.wrong(
            format!(
                "{carve}: index {} does not fit: {pool} has {} subnets of /{prefix}",
                node.index,
                1_u64 << room
            ),
            format!("an index from 0 to {}, or a larger pool", (1_u64 << room) - 1),
        ));
    }
    let step = u32::from(bits - prefix);
    let subnet = u128::from(node.index)
        .checked_shl(step)
        .and_then(|offset| pool.addr().offset(offset))
        .and_then(|addr| Cidr::new(addr, prefix));
    subnet.map(|subnet| subnet.to_string()).ok_or_else(|| {
        carve.wrong(format!("{carve}: index {} does not fit {pool}", node.index), "a larger pool")
    })
}

/// A value with all its placeholders filled in. `key` is the key at which it stands.
fn fill(at: &At<'_>, key: &str, node: &NodeIdentity) -> Result<Value, ConfigError> {
    match at.value() {
        Value::String(text) => fill_text(at, key, text, node).map(Value::String),
        Value::Array(_) => {
            at.list()?.map(|element| fill(&element, key, node)).collect::<Result<_, _>>()
        }
        Value::Object(object) => {
            let mut filled = Map::new();
            for name in object.keys() {
                let Some(value) = at.get_or_null(name)? else { continue };
                let is = |keys: &[&str]| keys.iter().any(|key| key.eq_ignore_ascii_case(name));
                let value = if is(LITERAL_KEYS) {
                    refuse_placeholder(&value)?;
                    value.value().clone()
                } else if is(&["carve"]) {
                    // Computed, with errors of its own.
                    value.value().clone()
                } else {
                    fill(&value, name, node)?
                };
                filled.insert(name.clone(), value);
            }
            Ok(Value::Object(filled))
        }
        other => Ok(other.clone()),
    }
}

/// A place named after a placeholder is never what anybody wants.
fn refuse_placeholder(at: &At<'_>) -> Result<(), ConfigError> {
    let path = at.to_string();
    let place = path.ends_with("dataDir") || path.ends_with("database");
    match at.value().as_str() {
        Some(text) if place && text.contains(['{', '}']) => Err(at.wrong(
            format!("{at}: placeholders are not filled in here"),
            "a path; it lies on this node alone, so it needs no index",
        )),
        _ => Ok(()),
    }
}

fn fill_text(
    at: &At<'_>,
    key: &str,
    text: &str,
    node: &NodeIdentity,
) -> Result<String, ConfigError> {
    let address = ADDRESS_KEYS.iter().any(|known| known.eq_ignore_ascii_case(key));
    let text = if address { fill_marks(text, node) } else { text.to_owned() };
    let mut filled = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, behind) = after.split_once('}').ok_or_else(|| {
            at.wrong(format!("{at}: a brace is not closed"), format!("{KNOWN}, each in braces"))
        })?;
        let value = placeholder(name, node).ok_or_else(|| {
            at.wrong(format!("{at}: unknown placeholder {{{}}}", shown(name)), KNOWN)
        })?;
        filled.push_str(&value);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A value with a node's placeholders filled in at every place, for configurations that have texts of others, too:
/// keys, `%`, `.x` and whatever else stands in braces, `{peer}` say, are left as they are.
pub fn fill_known(value: &Value, node: &NodeIdentity) -> Value {
    map_texts(value, &|text| fill_known_text(text, Some(node)).0)
}

/// Whether a value has placeholders that [`fill_known`] fills in.
pub fn has_known(value: &Value) -> bool {
    match value {
        Value::String(text) => fill_known_text(text, None).1,
        Value::Array(elements) => elements.iter().any(has_known),
        Value::Object(object) => object.values().any(has_known),
        _ => false,
    }
}

fn map_texts(value: &Value, map: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(map(text)),
        Value::Array(elements) => {
            Value::Array(elements.iter().map(|element| map_texts(element, map)).collect())
        }
        Value::Object(object) => Value::Object(
            object.iter().map(|(key, value)| (key.clone(), map_texts(value, map))).collect(),
        ),
        other => other.clone(),
    }
}

/// The text, and whether there is a placeholder in it. Without a node nothing is filled in.
fn fill_known_text(text: &str, node: Option<&NodeIdentity>) -> (String, bool) {
    let any = NodeIdentity { index: 0, name: String::new(), source: String::new() };
    let (mut filled, mut found, mut rest) = (String::with_capacity(text.len()), false, text);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let known = after
            .split_once('}')
            .and_then(|(name, behind)| Some((placeholder(name, node.unwrap_or(&any))?, behind)));
        if let Some((value, behind)) = known {
            filled.push_str(&value);
            found = true;
            rest = behind;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    (filled, found)
}

/// `%` and `.x`, but not the `%` of a placeholder.
fn fill_marks(text: &str, node: &NodeIdentity) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut braces = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        braces = match c {
            '{' => true,
            '}' => false,
            _ => braces,
        };
        let old_mark = c == 'x'
            && filled.ends_with('.')
            && !chars.peek().is_some_and(char::is_ascii_alphanumeric);
        if !braces && (c == '%' || old_mark) {
            filled.push_str(&node.index.to_string());
        } else {
            filled.push(c);
        }
    }
    filled
}

fn placeholder(name: &str, node: &NodeIdentity) -> Option<String> {
    let index = node.index;
    Some(match name {
        "i" => index.to_string(),
        "i/256" => (index / 256).to_string(),
        "i%256" => (index % 256).to_string(),
        "node" => node.name.clone(),
        _ => {
            let width = name.strip_prefix("i:")?.strip_suffix('x')?;
            match width {
                "" => format!("{index:x}"),
                _ => {
                    let digits: usize = width.strip_prefix('0')?.parse().ok()?;
                    let wide = width.bytes().all(|b| b.is_ascii_digit()) && digits <= 8;
                    wide.then(|| format!("{index:0digits$x}"))?
                }
            }
        }
    })
}

#[cfg(test)]
mod tests;
