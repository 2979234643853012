//! Checks of VPP itself.

use vpp_api::table::Component;

use super::super::running::{Access, Running, Version};
use super::{Answer, Facts, Finding, burst};

/// The first release whose messages have the layouts that are used here, and the newest that was tried.
const OLDEST: Version = Version(21, 6);
const NEWEST: Version = Version(26, 6);

/// Kinds of attachment, and what of VPP has them.
const KINDS: [(&str, Component, &str); 3] = [
    ("af-packet", Component::AfPacket, "veth"),
    ("tap", Component::Tap, "tap"),
    ("memif", Component::Memif, "memif"),
];

pub(super) fn checks(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = vec![socket(facts), permissions(facts)];
    match facts.running() {
        Some(running) => {
            findings.push(version(running));
            findings.push(messages(running));
            let none = KINDS.iter().all(|(_, plugin, _)| running.lacks.contains_key(plugin));
            findings.extend(
                KINDS.map(|(check, component, kind)| plugin(running, check, component, kind, none)),
            );
            findings.push(burst::check(facts, running));
        }
        None => findings.extend(
            ["version", "messages", "af-packet", "tap", "memif", "veth-burst"]
                .map(|check| Finding::skipped(check, "VPP does not answer")),
        ),
    }
    findings
}

fn socket(facts: &Facts<'_>) -> Finding {
    const CHECK: &str = "socket";
    let path = facts.socket.display();
    match facts.answer {
        Answer::Running(running) => Finding::fine(
            CHECK,
            format!("VPP answers at {path}, with {} messages", running.messages),
        ),
        Answer::NoSocket if facts.socket_is_named => Finding::failure(
            CHECK,
            format!("there is no {path}"),
            "start VPP; its socket is where startup.conf says in socksvr { socket-name ... }",
        ),
        Answer::NoSocket => Finding::warning(
            CHECK,
            format!("VPP does not run: there is no {path}"),
            "start VPP (systemctl start vpp) when the rest is fine; if its socket is elsewhere, give --socket",
        ),
        Answer::Refused => Finding::failure(
            CHECK,
            format!("{path} may not be used by this user"),
            "run this as root, or as a member of the socket's group",
        ),
        Answer::Nobody => Finding::failure(
            CHECK,
            format!("nobody is behind {path}: VPP has ended, or is starting"),
            "look into VPP's log (journalctl -u vpp, /var/log/vpp/vpp.log): it tells what it does not like",
        ),
        Answer::Odd(sentence) => Finding::failure(
            CHECK,
            sentence.clone(),
            "VPP that does not answer is stalled or busy; what is no VPP should not be there",
        ),
    }
}

fn permissions(facts: &Facts<'_>) -> Finding {
    const CHECK: &str = "permissions";
    let Some(Access { mode, owner, group }) = facts.access else {
        return Finding::skipped(CHECK, "there is no socket");
    };
    let found = format!("the socket has mode {mode:03o}, owner {owner}, group {group}");
    if mode & 0o002 != 0 {
        let advice = "everybody on this node may reconfigure VPP: startup.conf unix { gid vpp }, and a directory \
                      that others may not enter";
        return Finding::warning(CHECK, found, advice);
    }
    Finding::fine(CHECK, found)
}

fn version(running: &Running) -> Finding {
    const CHECK: &str = "version";
    let says = &running.version;
    match Version::parse(says) {
        Some(version) if version < OLDEST => Finding::failure(
            CHECK,
            format!("VPP {says} is older than {OLDEST}"),
            format!("a newer VPP, {OLDEST} to {NEWEST}"),
        ),
        Some(version) if version > NEWEST => Finding::fine(
            CHECK,
            format!(
                "VPP {says}, newer than what this was tried with ({NEWEST}): its messages decide"
            ),
        ),
        Some(_) => Finding::fine(CHECK, format!("VPP {says}")),
        None => Finding::fine(CHECK, format!("VPP {says}: its messages decide")),
    }
}

fn messages(running: &Running) -> Finding {
    const CHECK: &str = "messages";
    match running.lacks.get(&Component::Core).map(Vec::as_slice) {
        None | Some([]) => Finding::fine(CHECK, "VPP has every message of its core that is used"),
        Some([first, rest @ ..]) => {
            let more = match rest.len() {
                0 => String::new(),
                n => format!(", and {n} more like this"),
            };
            Finding::failure(CHECK, format!("{first}{more}"), format!("VPP {OLDEST} to {NEWEST}"))
        }
    }
}

/// One kind of attachment. That its plugin is missing is bad only if no kind is left.
fn plugin(
    running: &Running,
    check: &'static str,
    component: Component,
    kind: &str,
    none: bool,
) -> Finding {
    let Some(missing) = running.lacks.get(&component).and_then(|missing| missing.first()) else {
        return Finding::fine(check, format!("pods can be attached by {kind}"));
    };
    let advice = format!(
        "for \"kind\": \"{kind}\", startup.conf plugins {{ plugin {component}_plugin.so {{ enable }} }}, and restart VPP"
    );
    if none {
        return Finding::failure(check, missing.to_string(), advice);
    }
    Finding::warning(check, missing.to_string(), advice)
}
