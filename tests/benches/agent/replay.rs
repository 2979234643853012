/*!
How long pods are without VPP after it was restarted: until plat-agent has put all of them back, and looked at
each once more.

With `VPP_API_SOCK` and `VPP_RESTART` set it is that VPP, which has to run in the network namespace of this
program; else one in miniature, which opens a veth pair's end in no time where a real one takes 45 ms.
*/

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Owned, VppNode, VppPod, binary};
use vpp_api::{Client, Options};

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(300);

/// A figure: what it is, how much, the unit, the bound that it should not exceed where there is one, and how it came
/// about.
pub type Add<'a> = &'a mut dyn FnMut(&str, f64, &str, Option<f64>, &str);

/// Attaches so many pods by veth, restarts VPP `rounds` times, and measures until all are back.
///
/// # Errors
/// What did not work, in a sentence.
pub fn run(pods: usize, rounds: usize, add: Add<'_>) -> Result<(), String> {
    let mut node = VppNode::restartable();
    let config = node.config("veth");
    let pods: Vec<VppPod> = (0..pods).map(|_| node.pod()).collect();
    let begun = Instant::now();
    for pod in &pods {
        let added = node.call("ADD", pod, &config).run();
        if added.exit != Some(0) {
            return Err(format!("ADD: {}{}", added.stdout, added.stderr));
        }
    }
    let adds = begun.elapsed();
    let (count, agent) = (pods.len(), Agent::start(&node)?);
    agent.waits_for(&format!("{count} attachments, {count} as they should be"), 1)?;
    let mut times = Vec::new();
    for round in 1..=rounds {
        let answered = answers_again(node.socket())?;
        node.restart_vpp();
        let answered = answered.recv_timeout(DEADLINE).map_err(|_| "VPP does not answer")?;
        agent.waits_for(&format!("{count} attachments, {count} put back"), round)?;
        times.push(answered.elapsed());
    }
    times.sort();
    let (Some(best), Some(worst)) = (times.first(), times.last()) else {
        return Err("nothing was measured".to_owned());
    };
    let median = times.get(times.len() / 2).unwrap_or(worst);
    let of = if node.is_miniature() { "VPP in miniature" } else { "VPP" };
    let how = format!(
        "{of}; {rounds} restarts, from {best:.2?} to {worst:.2?}; the ADDs took {adds:.2?} one after the other"
    );
    let name = format!("{count} pods put back and verified after a restart of VPP");
    // The bound is meant for a real VPP and a hundred pods.
    add(&name, median.as_secs_f64(), "s", (count == 100).then_some(5.0), &how);
    let mut took = agent.took();
    took.sort_by(f64::total_cmp);
    if let (Some(least), Some(middle), Some(most)) =
        (took.first(), took.get(took.len() / 2), took.last())
    {
        let how = format!("as the agent tells; from {least:.3} s to {most:.3} s");
        add("of it from the agent's connection to VPP on", *middle, "s", None, &how);
    }
    drop(agent);
    for pod in &pods {
        node.call("DEL", pod, &config).run();
    }
    Ok(())
}

/// An agent that does nothing but keep the pods of one VPP.
struct Agent {
    log: std::path::PathBuf,
    _process: Owned,
}

impl Agent {
    fn start(node: &VppNode) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let config = node
            .scratch()
            .write("agent.json", json!({"vpp": {"socket": node.socket()}}).to_string());
        let log = node.scratch().path().join("agent.log");
        let process = Command::new(binary("plat-agent"))
            .arg("--config")
            .arg(config)
            .env("PLAT_RUN_DIR", node.run_dir())
            .env("PLAT_STATE_DIR", node.scratch().path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).map_err(text)?)
            .spawn()
            .map_err(text)?;
        Ok(Self { log, _process: Owned(process) })
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn waits_for(&self, what: &str, times: usize) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        while self.lines().iter().filter(|line| line.contains(what)).count() < times {
            if Instant::now() >= deadline {
                let last = self.lines().split_off(self.lines().len().saturating_sub(20));
                return Err(format!("the agent has not told {what:?}:\n{}", last.join("\n")));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// How long each replay took, in seconds.
    fn took(&self) -> Vec<f64> {
        let all = self.lines();
        let replays = all.iter().filter(|line| line.contains(" put back, within "));
        let time = |line: &String| {
            let text = line.rsplit_once(' ')?.1;
            match text.strip_suffix("ms") {
                Some(millis) => millis.parse::<f64>().ok().map(|millis| millis / 1e3),
                None => text.strip_suffix('s')?.parse().ok(),
            }
        };
        replays.filter_map(time).collect()
    }
}

/// When VPP answers after it has not.
fn answers_again(socket: &Path) -> Result<Receiver<Instant>, String> {
    let (to, answered) = channel();
    let socket = socket.to_owned();
    let options = Options { timeout: DEADLINE, ..Options::new("bench") };
    // The connection of before tells when VPP is gone, however short that is.
    let mut before = Client::connect(&socket, &options).map_err(|error| error.to_string())?;
    thread::spawn(move || {
        while before.next_event(Duration::from_millis(100)).is_ok() {}
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let pong = Client::connect(&socket, &options).and_then(|mut vpp| vpp.ping());
            if pong.is_ok() {
                let _ = to.send(Instant::now());
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    Ok(answered)
}
