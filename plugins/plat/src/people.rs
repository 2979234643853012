//! What is between a command that changes something and the person who wants it: a question, a progress bar,
//! the names of what there is.

use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use ipam_stores::survey::{NetworkState, Unseen};

use crate::context::{Context, Failure};
use crate::problems::plain;

/// How often what turns is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// The time in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// So many addresses.
pub(crate) fn addresses(count: usize) -> String {
    if count == 1 { "1 address".to_owned() } else { format!("{count} addresses") }
}

/// Asks on the terminal; no terminal is no answer.
///
/// # Errors
/// If nobody can be asked.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(
            "nobody can be asked, and nothing was changed",
            "give --yes to do it without a question",
        ));
    }
    let mut stderr = std::io::stderr().lock();
    let mut answer = String::new();
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    asked.and_then(|()| stdin.lock().read_line(&mut answer))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Shows on a terminal that something takes its time.
pub(crate) fn spinner(context: &Context, what: &'static str) -> ProgressBar {
    if !context.progress {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(TICK);
    spinner
}

/// Shows on a terminal how much of something is done.
pub(crate) fn bar(context: &Context, what: &'static str, length: usize) -> ProgressBar {
    if !context.progress {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX)).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

/// Notes on standard error, a sentence each.
pub(crate) fn warn(notes: &[String]) {
    let mut stderr = std::io::stderr().lock();
    for note in notes {
        let _ = writeln!(stderr, "plat: {}", plain(note));
    }
}

/// Refuses a network that no store has, naming those that there are.
///
/// # Errors
/// If no store has it.
pub(crate) fn must_exist(
    network: &str,
    networks: &[NetworkState],
    unseen: &[Unseen],
) -> Result<(), Failure> {
    if networks.iter().any(|state| state.network == network) {
        return Ok(());
    }
    Err(no_network(network, networks, unseen))
}

/// That no store has a network.
pub(crate) fn no_network(network: &str, networks: &[NetworkState], unseen: &[Unseen]) -> Failure {
    let mut names: Vec<&str> = networks.iter().map(|state| state.network.as_str()).collect();
    names.dedup();
    let advice = match (unseen.first(), names.as_slice()) {
        (Some(unseen), _) => unseen.error.to_string(),
        (None, []) => "there is no network; --data-dir and --database name other places".to_owned(),
        (None, names) => {
            let more = if names.len() > 10 { ", ..." } else { "" };
            let names: Vec<&str> = names.iter().take(10).copied().collect();
            format!(
                "there are {}{more}; --data-dir and --database name other places",
                names.join(", ")
            )
        }
    };
    Failure::new(format!("no store has the network {network}"), plain(&advice))
}
