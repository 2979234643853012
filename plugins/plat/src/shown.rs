/*!
What the commands show: the networks of the survey, each with the ranges that are known for it.

State of this suite keeps its layout. State of the reference does not; its ranges are taken from the
network configurations of the node, where one is found for it.
*/

use std::path::{Path, PathBuf};

use ipam_core::layout::Layout;
use ipam_stores::DEFAULT_DATA_DIR;
use ipam_stores::survey::{Health, NetworkState, Place, Survey, Unseen};

use crate::configured::{self, Configured};
use crate::context::{Context, Failure};
use crate::output::escape;

/// A network and what is known of its ranges.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// What the store holds; its layout, if it keeps one, is [`Shown::layout`].
    pub(crate) state: NetworkState,
    /// Range sets and policy.
    pub(crate) layout: Option<Layout>,
    /// The configuration that the layout is from, if it is not from the store.
    pub(crate) file: Option<PathBuf>,
}

/// All there is.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Networks, by name.
    pub(crate) networks: Vec<Shown>,
    /// Every database and whether it can be used.
    pub(crate) databases: Vec<(PathBuf, Health)>,
    /// Places that could not be looked at.
    pub(crate) unseen: Vec<Unseen>,
    /// Sentences about configurations that could not be read.
    pub(crate) notes: Vec<String>,
}

impl Found {
    /// Looks at everything.
    pub(crate) fn all(context: &Context) -> Self {
        let (networks, mut unseen) = context.survey.networks();
        let databases = context.survey.health();
        // A database that is broken is named once, with what is wrong with it.
        unseen.retain(|unseen| {
            !databases.iter().any(|(path, health)| {
                is_broken(health) && unseen.place == Place::Database(path.clone())
            })
        });
        let (configured, notes) = if networks.iter().any(|state| state.layout.is_none()) {
            configured::all(context)
        } else {
            (Vec::new(), Vec::new())
        };
        let networks =
            networks.into_iter().map(|state| with_layout(state, &configured, &context.survey));
        Self { networks: networks.collect(), databases, unseen, notes }
    }

    /// Looks at everything, and keeps the networks of this name, all if there is none.
    ///
    /// # Errors
    /// If there is no network of this name.
    pub(crate) fn of(context: &Context, name: Option<&str>) -> Result<Self, Failure> {
        let mut found = Self::all(context);
        let Some(name) = name else { return Ok(found) };
        if !found.networks.iter().any(|shown| shown.state.network == name) {
            return Err(unknown(name, &found, &context.survey));
        }
        found.networks.retain(|shown| shown.state.network == name);
        Ok(found)
    }

    /// Sentences about the places that could not be looked at.
    pub(crate) fn unseen_lines(&self) -> Vec<String> {
        let line = |unseen: &Unseen| {
            let path = unseen.place.path().to_string_lossy();
            let error = unseen.error.to_string();
            // Most errors name the path; it is not said twice.
            if error.contains(path.as_ref()) {
                escape(&error).into_owned()
            } else {
                format!("{}: {}", escape(&path), escape(&error))
            }
        };
        self.unseen.iter().map(line).collect()
    }

    /// Sentences about everything that is not in [`Found::networks`] and should be.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let broken = self.databases.iter().filter(|(_, health)| is_broken(health));
        let broken = broken.map(|(path, health)| {
            let (what, _) = about(health);
            format!("{}: {what}", escape(&path.to_string_lossy()))
        });
        broken.chain(self.unseen_lines()).collect()
    }

    /// Says on standard error what could not be looked at; true if that is anything.
    pub(crate) fn complain(&self) -> bool {
        let gaps = self.gaps();
        for gap in &gaps {
            // Standard error is where complaints go; if it is closed, nobody wants them.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr().lock(),
                format_args!("plat: {gap}\n"),
            );
        }
        !gaps.is_empty()
    }
}

/// Whether the database's content cannot be relied on.
pub(crate) const fn is_broken(health: &Health) -> bool {
    !matches!(health, Health::Fine | Health::Absent | Health::FormerBoot)
}

/// What a database's health means and what to do, in words; nothing to do is "".
pub(crate) fn about(health: &Health) -> (String, &'static str) {
    const REBUILD: &str =
        "ADD is refused until `plat check --fix` has rebuilt it from what lives on this node";
    match health {
        Health::Fine => ("in use".to_owned(), ""),
        Health::Absent => ("there is none, and none is missed".to_owned(), ""),
        Health::FormerBoot => ("is of a former boot; the next ADD begins anew".to_owned(), ""),
        Health::Lost => ("is gone, though it was written in this boot".to_owned(), REBUILD),
        Health::Restored => (
            "is another file than the one written in this boot: a copy was put back".to_owned(),
            REBUILD,
        ),
        Health::Corrupt(why) => (format!("cannot be relied on: {}", escape(why)), REBUILD),
        Health::Newer(schema, known) => (
            format!(
                "was written by a later version: schema {schema}, and {known} is the newest known here"
            ),
            "use the `plat` and the plugins of that version",
        ),
        Health::Foreign => (
            "is a database of another program".to_owned(),
            "give the key `database` of the IPAM configuration another file; this one stays as it is",
        ),
        _ => ("cannot be used".to_owned(), "see `plat check`"),
    }
}

/// The word for a database's health in a document.
pub(crate) const fn health_word(health: &Health) -> &'static str {
    match health {
        Health::Fine => "fine",
        Health::Absent => "absent",
        Health::FormerBoot => "former-boot",
        Health::Lost => "lost",
        Health::Restored => "restored",
        Health::Corrupt(_) => "corrupt",
        Health::Newer(..) => "newer",
        Health::Foreign => "foreign",
        _ => "unknown",
    }
}

fn unknown(name: &str, found: &Found, survey: &Survey) -> Failure {
    let mut names: Vec<&str> =
        found.networks.iter().map(|shown| shown.state.network.as_str()).collect();
    names.dedup();
    let message = format!("there is no network {} here", escape(name));
    if names.is_empty() {
        let places = survey.data_dirs.iter().chain(&survey.databases);
        let places: Vec<String> =
            places.map(|path| escape(&survey.at(path).to_string_lossy()).into_owned()).collect();
        return Failure::new(
            message,
            format!(
                "no network has state in {}; see --data-dir, --database and --root",
                places.join(", ")
            ),
        );
    }
    const SHOWN: usize = 20;
    let mut list = names.iter().take(SHOWN).map(|name| escape(name)).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        list.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    Failure::new(message, format!("these are here: {list}"))
}

/// The state with its own layout, else with that of the configuration that fits best: one of its name
/// and its place, else one of its name.
fn with_layout(mut state: NetworkState, configured: &[Configured], survey: &Survey) -> Shown {
    if let Some(layout) = state.layout.take() {
        return Shown { state, layout: Some(layout), file: None };
    }
    let of_name = || configured.iter().filter(|configured| configured.network == state.network);
    let chosen = of_name()
        .find(|configured| is_place_of(configured, &state.place, survey))
        .or_else(|| of_name().next());
    match chosen {
        Some(chosen) => {
            Shown { layout: Some(chosen.layout.clone()), file: Some(chosen.file.clone()), state }
        }
        None => Shown { state, layout: None, file: None },
    }
}

fn is_place_of(configured: &Configured, place: &Place, survey: &Survey) -> bool {
    let same = |written: &Path, path: &Path| path == written || path == survey.at(written);
    match place {
        Place::Dir(path) => {
            let written = configured.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
            path.parent().is_some_and(|parent| same(written, parent))
        }
        Place::Database(path) => {
            configured.database.as_deref().is_some_and(|written| same(written, path))
        }
    }
}
