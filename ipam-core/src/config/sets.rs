//! The range sets of a configuration: three places, one list.

use std::sync::Arc;

use super::ConfigError;
use super::exclude;
use super::json::{At, shown};
use crate::addr::{Addr, Cidr, Family};
use crate::range::{Exclude, RangeError, RangeSet, RangeSpec, overlapping_sets};

/// The sets as written, each with the path of every range for errors.
pub(super) struct Specs {
    sets: Vec<SetSpec>,
}

struct SetSpec {
    path: String,
    ranges: Vec<(String, RangeSpec)>,
}

impl Specs {
    /// Reads runtimeConfig.ipRanges, the old-style range and `ranges`, in this order.
    pub(super) fn read(root: &At<'_>, ipam: Option<&At<'_>>) -> Result<Self, ConfigError> {
        let mut sets = Vec::new();
        if let Some(runtime) = root.get("runtimeConfig")?
            && let Some(ranges) = runtime.get("ipRanges")?
        {
            sets.extend(read_sets(&ranges)?);
        }
        if let Some(ipam) = ipam {
            // The other three keys are dropped without a subnet, but their form is checked.
            let spec = read_range(ipam)?;
            if spec.subnet.is_some() {
                sets.push(SetSpec {
                    path: ipam.to_string(),
                    ranges: vec![(ipam.to_string(), RangeSpec { exclude: Vec::new(), ..spec })],
                });
            }
            if let Some(ranges) = ipam.get("ranges")? {
                sets.extend(read_sets(&ranges)?);
            }
            let everywhere: Arc<[Exclude]> = exclude::read(ipam)?.into();
            let small = ipam.get("smallSubnets")?.map(|at| at.boolean()).transpose()?;
            for (_, range) in sets.iter_mut().flat_map(|set| &mut set.ranges) {
                range.exclude_everywhere = Arc::clone(&everywhere);
                range.small = small.unwrap_or_default();
            }
        }
        Ok(Self { sets })
    }

    /// Checks each set, then all of them together.
    pub(super) fn into_sets(self, cni_version: &str) -> Result<Vec<RangeSet>, ConfigError> {
        if self.sets.is_empty() {
            return Err(wrong(
                "ipam.ranges",
                "no IP ranges specified".to_owned(),
                "nothing",
                "\"ranges\": [[{\"subnet\": \"10.1.2.0/24\"}]], one inner list for each address",
            ));
        }
        let mut sets = Vec::with_capacity(self.sets.len());
        for (i, spec) in self.sets.iter().enumerate() {
            let ranges: Vec<RangeSpec> =
                spec.ranges.iter().map(|(_, range)| range.clone()).collect();
            let set = RangeSet::new(&ranges).map_err(|e| spec.blame(i, e.0, &e.1))?;
            sets.push(set);
        }
        let of = |family| sets.iter().filter(|set: &&RangeSet| set.family() == family).count();
        if one_address_per_family(cni_version) && (of(Family::V4) > 1 || of(Family::V6) > 1) {
            return Err(wrong(
                "cniVersion",
                format!(
                    "CNI version {cni_version} does not support more than 1 address per family"
                ),
                &format!("{cni_version:?}"),
                "0.3.0 or later, or one range set for each address family",
            ));
        }
        if let Some((i, j)) = overlapping_sets(&sets) {
            let path = |i: usize| self.sets.get(i).map(|set| set.path.clone()).unwrap_or_default();
            return Err(wrong(
                &path(j),
                format!("range set {i} overlaps with {j}"),
                &format!("{} and {}", path(i), path(j)),
                "range sets of a network must not share addresses",
            ));
        }
        Ok(sets)
    }
}

impl SetSpec {
    fn blame(&self, i: usize, j: usize, error: &RangeError) -> ConfigError {
        let (key, expected) = error.blame();
        let (path, found) = self.ranges.get(j).map_or_else(
            || (self.path.clone(), "[]".to_owned()),
            |(path, range)| {
                let text = |value: Option<String>| {
                    value.map_or("nothing".to_owned(), |v| format!("{v:?}"))
                };
                let found = match key {
                    "rangeStart" => text(range.start.map(|v| v.to_string())),
                    "rangeEnd" => text(range.end.map(|v| v.to_string())),
                    _ => text(range.subnet.map(|v| v.to_string())),
                };
                (if key.is_empty() { path.clone() } else { format!("{path}.{key}") }, found)
            },
        );
        wrong(&path, format!("invalid range set {i}: {error}"), &found, expected)
    }
}

fn wrong(path: &str, message: String, found: &str, expected: &str) -> ConfigError {
    ConfigError {
        message,
        path: path.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}

/// Before 0.3.0 a result had one address of each family. No version is 0.1.0.
fn one_address_per_family(cni_version: &str) -> bool {
    matches!(cni_version, "" | "0.1.0" | "0.2.0")
}

fn read_sets(ranges: &At<'_>) -> Result<Vec<SetSpec>, ConfigError> {
    ranges
        .list()?
        .map(|set| {
            let path = set.to_string();
            // As in the reference, null is an empty set here, and refused as one.
            if set.value().is_null() {
                return Ok(SetSpec { path, ranges: Vec::new() });
            }
            let ranges = set
                .list()?
                .map(|range| {
                    let spec = match range.value() {
                        serde_json::Value::Null => RangeSpec::default(),
                        _ => read_range(&range)?,
                    };
                    Ok((range.to_string(), spec))
                })
                .collect::<Result<_, _>>()?;
            Ok(SetSpec { path, ranges })
        })
        .collect()
}

fn read_range(range: &At<'_>) -> Result<RangeSpec, ConfigError> {
    Ok(RangeSpec {
        subnet: range.get_or_null("subnet")?.map(|at| cidr(&at)).transpose()?,
        start: ip(range, "rangeStart")?,
        end: ip(range, "rangeEnd")?,
        gateway: ip(range, "gateway")?,
        exclude: exclude::read(range)?,
        exclude_everywhere: Arc::default(),
        small: false,
    })
}

/// A CIDR. Unlike elsewhere `null` and the empty text are errors, as in the reference.
pub(super) fn cidr(at: &At<'_>) -> Result<Cidr, ConfigError> {
    let text = if at.value().is_null() { "" } else { at.string()? };
    Cidr::parse(text).ok_or_else(|| {
        at.wrong(
            format!("invalid CIDR address: {}", shown(text)),
            "ADDRESS/PREFIX, such as 10.1.2.0/24 or 2001:db8::/64",
        )
    })
}

/// An address; absent where the key is absent, `null` or empty.
pub(super) fn ip<'a>(section: &'a At<'a>, key: &'a str) -> Result<Option<Addr>, ConfigError> {
    let Some(at) = section.get(key)? else { return Ok(None) };
    let text = at.string()?;
    if text.is_empty() {
        return Ok(None);
    }
    Addr::parse(text).map(Some).ok_or_else(|| {
        at.wrong(
            format!("invalid IP address: {}", shown(text)),
            "an address without prefix length, such as 10.1.2.1 or 2001:db8::1",
        )
    })
}
