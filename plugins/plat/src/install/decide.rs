//! What becomes of a name in the directory: from what is there, what is to be there, and what is recorded.

use super::manifest::Entry;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A plugin of Plat, with its checksum.
    Ours(String),
    /// Somebody else's program; its checksum, unless it is a link to nowhere.
    Foreign(Option<String>),
    /// No program: a directory, a device.
    Unfit,
}

/// What installing does to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// Nothing: it is there already.
    Leave,
    /// It is put where nothing was.
    Add,
    /// It takes the place of another one of Plat.
    Renew,
    /// It takes the place of somebody else's, which is put aside.
    Replace,
    /// It cannot be put there.
    Refuse,
}

impl Put {
    /// The word for it in answers.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Leave => "unchanged",
            Self::Add => "installed",
            Self::Renew => "updated",
            Self::Replace => "replaced",
            Self::Refuse => "refused",
        }
    }
}

/// What installing a program with this checksum does.
pub(crate) fn put(found: &Found, digest: &str) -> Put {
    match found {
        Found::Nothing => Put::Add,
        Found::Ours(there) if there == digest => Put::Leave,
        Found::Ours(_) => Put::Renew,
        Found::Foreign(_) => Put::Replace,
        Found::Unfit => Put::Refuse,
    }
}

/// What uninstalling does to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Nothing: it is not there, and nothing was put aside for it.
    Nothing,
    /// It is removed.
    Remove,
    /// What was put aside comes back.
    Restore,
    /// What was put aside is back already; its second name goes.
    Restored,
    /// Somebody else has put something there since: it stays, and so does what was put aside.
    Leave,
}

impl Take {
    /// The word for it in answers.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "not there",
            Self::Remove => "removed",
            Self::Restore | Self::Restored => "restored",
            Self::Leave => "left",
        }
    }
}

/// What uninstalling does; `aside` is what the second name stands for now.
pub(crate) fn take(found: &Found, recorded: Option<&Entry>, aside: &Found) -> Take {
    let before = recorded.and_then(|entry| entry.before.as_ref());
    let kept = before.is_some() && *aside != Found::Nothing;
    match found {
        Found::Ours(_) | Found::Nothing if kept => Take::Restore,
        Found::Ours(_) => Take::Remove,
        Found::Nothing => Take::Nothing,
        // A run that was killed before the one rename or after the other; or its owner has put it there again.
        Found::Foreign(digest) if before.is_some_and(|before| before.digest == *digest) => {
            Take::Restored
        }
        Found::Foreign(_) | Found::Unfit if recorded.is_some() => Take::Leave,
        Found::Foreign(_) | Found::Unfit => Take::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::manifest::Before;

    fn ours(digest: &str) -> Found {
        Found::Ours(digest.to_owned())
    }

    fn foreign(digest: &str) -> Found {
        Found::Foreign(Some(digest.to_owned()))
    }

    #[test]
    fn installing_replaces_what_differs() {
        for (found, put_) in [
            (Found::Nothing, Put::Add),
            (ours("new"), Put::Leave),
            (ours("old"), Put::Renew),
            (foreign("x"), Put::Replace),
            (Found::Foreign(None), Put::Replace),
            (Found::Unfit, Put::Refuse),
        ] {
            assert_eq!(put(&found, "new"), put_, "{found:?}");
        }
    }

    #[test]
    fn uninstalling_gives_back_and_leaves_what_others_did() {
        let plain =
            Entry { digest: "new".into(), version: "1".into(), previous: None, before: None };
        let before = Before { file: "host-local.before-plat".into(), digest: Some("ref".into()) };
        let with = Entry { before: Some(before), ..plain.clone() };
        for (found, recorded, aside, expected) in [
            (ours("new"), Some(&plain), Found::Nothing, Take::Remove),
            (ours("other"), Some(&plain), Found::Nothing, Take::Remove),
            (ours("new"), None, Found::Nothing, Take::Remove),
            (ours("new"), Some(&with), foreign("ref"), Take::Restore),
            // What was put aside is gone: there is nothing to restore.
            (ours("new"), Some(&with), Found::Nothing, Take::Remove),
            (Found::Nothing, Some(&with), foreign("ref"), Take::Restore),
            (Found::Nothing, Some(&plain), Found::Nothing, Take::Nothing),
            (Found::Nothing, None, Found::Nothing, Take::Nothing),
            (foreign("ref"), Some(&with), foreign("ref"), Take::Restored),
            (foreign("ref"), Some(&with), Found::Nothing, Take::Restored),
            (foreign("newer"), Some(&with), foreign("ref"), Take::Leave),
            (foreign("x"), Some(&plain), Found::Nothing, Take::Leave),
            (foreign("x"), None, Found::Nothing, Take::Nothing),
            (Found::Unfit, Some(&plain), Found::Nothing, Take::Leave),
            (Found::Unfit, None, Found::Nothing, Take::Nothing),
        ] {
            assert_eq!(
                take(&found, recorded, &aside),
                expected,
                "{found:?} {recorded:?} {aside:?}"
            );
        }
    }
}
