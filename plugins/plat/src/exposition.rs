/*!
What `plat status` and `plat check` say, as metrics for Prometheus: for nodes where no agent runs, by node_exporter's
textfile collector. What means the same as a metric of the agent has the same name and labels.
*/

use etcd_pool::client::Member;
use ipam_stores::survey::Survey;
use plat_agent::metrics::of_plat::{
    AGENT_UP, CHECK, CLUSTER_ADDRESSES, CLUSTER_BLOCKS, CLUSTER_CHECK, CLUSTER_NODES,
    CLUSTER_PROBLEMS, CLUSTER_STATUS, MEMBER_ALARM, MEMBER_SIZE, MEMBER_UP, PROBLEMS, STATUS,
};
use plat_agent::metrics::stores::Stores;
use plat_agent::metrics::{Metric, Samples, number};

use crate::context::Exit;
use crate::shown::Found;

fn ends(samples: &mut Samples, metric: &Metric, exit: Exit) {
    samples.set(metric, &[], f64::from(exit.status()));
}

/// Of `plat status`.
pub(crate) fn status(survey: &Survey, found: &Found, exit: Exit) -> String {
    let networks: Vec<_> =
        found.networks.iter().map(|shown| (&shown.state, shown.layout.as_ref())).collect();
    let stores = Stores { health: &found.databases, networks: &networks, unseen: &found.unseen };
    let mut samples = stores.samples(survey);
    ends(&mut samples, &STATUS, exit);
    samples.plain_text()
}

/// Of `plat agent metrics`: whether the agent answers. Its own metrics follow.
pub(crate) fn agent(up: bool) -> String {
    let mut samples = Samples::default();
    samples.set(&AGENT_UP, &[], f64::from(u8::from(up)));
    samples.plain_text()
}

fn problems<'a>(
    counted: &Metric,
    ended: &Metric,
    found: impl Iterator<Item = (&'a str, &'a str)>,
    exit: Exit,
) -> String {
    let mut samples = Samples::default();
    for (severity, kind) in found {
        samples.add(counted, &[severity, kind], 1.0);
    }
    ends(&mut samples, ended, exit);
    samples.plain_text()
}

/// Of `plat check`: severity and kind of each problem.
pub(crate) fn check<'a>(found: impl Iterator<Item = (&'a str, &'a str)>, exit: Exit) -> String {
    problems(&PROBLEMS, &CHECK, found, exit)
}

/// Of `plat check --cluster`: severity and kind of each fault.
pub(crate) fn cluster_check<'a>(
    found: impl Iterator<Item = (&'a str, &'a str)>,
    exit: Exit,
) -> String {
    problems(&CLUSTER_PROBLEMS, &CLUSTER_CHECK, found, exit)
}

/// Of `plat status --cluster`: the members of etcd.
pub(crate) fn members(members: &[Member], exit: Exit) -> Samples {
    let mut samples = Samples::default();
    ends(&mut samples, &CLUSTER_STATUS, exit);
    for member in members {
        let at = member.endpoint.as_str();
        let up = f64::from(u8::from(member.problem.is_none()));
        samples.set(&MEMBER_UP, &[at], up);
        if member.problem.is_none() {
            samples.set(&MEMBER_SIZE, &[at], number(u128::try_from(member.size).unwrap_or(0)));
        }
        for alarm in &member.alarms {
            samples.set(&MEMBER_ALARM, &[at, alarm], 1.0);
        }
    }
    samples
}

/// A part of a pool: its name and network, how many addresses are in which state, and how many blocks.
pub(crate) fn pool(
    samples: &mut Samples,
    (pool, cidr): (&str, &str),
    addresses: &[(&str, u128)],
    blocks: &[(&str, u128)],
) {
    for (metric, counts) in [(&CLUSTER_ADDRESSES, addresses), (&CLUSTER_BLOCKS, blocks)] {
        for (state, count) in counts {
            samples.set(metric, &[pool, cidr, state], number(*count));
        }
    }
}

/// How many nodes live so.
pub(crate) fn nodes(samples: &mut Samples, life: &str, count: usize) {
    samples.set(&CLUSTER_NODES, &[life], number(count as u128));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_counted_by_kind() {
        let found = [("warning", "leaked"), ("broken", "lost"), ("warning", "leaked")];
        let text = check(found.into_iter(), Exit::Critical);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "plat_check 2",
            "plat_check_problems{severity=\"broken\",kind=\"lost\"} 1",
            "plat_check_problems{severity=\"warning\",kind=\"leaked\"} 2",
        ];
        assert_eq!(lines, expected, "{text}");
        assert!(!text.contains("plat_agent"), "{text}");
        let text = cluster_check([].into_iter(), Exit::Fine);
        assert!(
            text.ends_with("# TYPE plat_cluster_check gauge\nplat_cluster_check 0\n"),
            "{text}"
        );
    }

    #[test]
    fn members_that_are_away_have_no_size() {
        let member = |problem: Option<&str>| Member {
            endpoint: "http://a:2379".to_owned(),
            problem: problem.map(str::to_owned),
            version: String::new(),
            size: 7,
            leader: true,
            alarms: vec!["NOSPACE".to_owned()],
        };
        let text = members(&[member(None)], Exit::Critical).plain_text();
        for line in [
            "plat_cluster_status 2",
            "plat_etcd_member_up{endpoint=\"http://a:2379\"} 1",
            "plat_etcd_member_alarm{endpoint=\"http://a:2379\",alarm=\"NOSPACE\"} 1",
            "plat_etcd_member_size_bytes{endpoint=\"http://a:2379\"} 7",
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
        let text = members(&[member(Some("refused"))], Exit::Failed).plain_text();
        assert!(text.contains("_up{endpoint=\"http://a:2379\"} 0\n"), "{text}");
        assert!(!text.contains("_bytes"), "{text}");
    }
}
