//! What can be asked for.

use std::path::PathBuf;

use bench_report::options::Common;

use crate::subject::FileSystem;

/// The largest number that a `/16` can hold beside what is measured.
const MOST_HELD: i64 = 65_000;

/// The largest number on a disk that is measured beside tmpfs: most of the time would go into making files and removing
/// them again.
const MOST_ON_DISK: u32 = 10_000;

/// ADD and DEL of the IPAM plugins beside the reference.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bench-ipam")]
pub(crate) struct Options {
    /// Addresses held already; more than 10,000 on one file system only, tmpfs if `--only` says no other
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(..=MOST_HELD),
        default_value = "0,250,4000,60000"
    )]
    pub(crate) sizes: Vec<u32>,
    /// ADDs and DELs for each figure
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..),
        default_value = "60",
        default_value_if("quick", "true", "10")
    )]
    pub(crate) runs: u32,
    /// Callers at once
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=256),
        default_value = "1,2,4,8,16,32",
        default_value_if("quick", "true", "1,4,16")
    )]
    pub(crate) callers: Vec<u32>,
    /// Addresses held already when many call
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(..=MOST_HELD / 2),
        default_value = "250,4000",
        default_value_if("quick", "true", "250")
    )]
    pub(crate) callers_held: Vec<u32>,
    /// ADDs and DELs of all callers; a fifth of it where more than 250 are held
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..=20_000),
        default_value = "400",
        default_value_if("quick", "true", "60")
    )]
    pub(crate) calls: u32,
    /// One file system only
    #[arg(long, value_enum)]
    only: Option<FileSystem>,
    /// The reference, in the place of Debian's host-local
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    /// A further plugin of host-local's kind; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
    /// After how many seconds a figure ends early
    #[arg(long, default_value = "30", default_value_if("quick", "true", "5"))]
    pub(crate) patience: u64,
    /// The prefix length of the subnet that is filled up entirely
    #[arg(
        long,
        value_parser = clap::value_parser!(u8).range(16..=28),
        default_value = "18",
        default_value_if("quick", "true", "22")
    )]
    pub(crate) full: u8,
    /// Addresses held already of each family, where there are two
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(..=MOST_HELD),
        default_value = "4000",
        default_value_if("quick", "true", "250")
    )]
    pub(crate) dual: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Options {
    /// Where it is measured.
    pub(crate) fn file_systems(&self) -> impl Iterator<Item = FileSystem> + use<> {
        let only = self.only;
        [FileSystem::Disk, FileSystem::Tmpfs]
            .into_iter()
            .filter(move |it| only.is_none_or(|only| only == *it))
    }

    /// How many are held already where it is measured.
    pub(crate) fn sizes_on(&self, place: FileSystem) -> impl Iterator<Item = u32> + use<> {
        let takes_all = place == self.file_system();
        self.sizes.clone().into_iter().filter(move |held| takes_all || *held <= MOST_ON_DISK)
    }

    /// Where what is about no file system is measured.
    pub(crate) fn file_system(&self) -> FileSystem {
        self.only.unwrap_or(FileSystem::Tmpfs)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn very_many_are_held_on_one_file_system_only() {
        for (arguments, disk, tmpfs) in
            [("", 3, 4), ("--quick", 3, 4), ("--only disk", 4, 3), ("--sizes 10000,10001", 1, 2)]
        {
            let words = std::iter::once("bench-ipam").chain(arguments.split_whitespace());
            let options = Options::try_parse_from(words).expect("options");
            let count = |place| options.sizes_on(place).count();
            let counts = (count(FileSystem::Disk), count(FileSystem::Tmpfs));
            assert_eq!(counts, (disk, tmpfs), "{arguments}");
        }
    }
}
