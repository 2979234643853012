/*!
Networks as pictures: characters for a terminal, SVG for everything else.

`panel` says which addresses a picture shows and what is in each of its cells; `terminal` and `map`
draw them, `status` draws how full networks are, and `svg` is the language of the latter two.
*/

mod cluster;
mod file;
mod hilbert;
mod map;
mod panel;
mod status;
mod svg;
mod terminal;

use std::io::{self, Write};

use self::panel::panels;
use crate::output::escape;
use crate::shown::Shown;
use crate::usage::NetworkUsage;

pub(crate) use cluster::{Territory, cluster_svg, print_cluster};
pub(crate) use file::write;
pub(crate) use map::map_svg;
pub(crate) use status::{Pictured, status_svg};

/// In which order a map's cells lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row by row.
    Rows,
    /// Along the Hilbert curve.
    Hilbert,
}

/// Prints the map of a network for a terminal of so many columns.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn print_map(
    shown: &Shown,
    origin: &str,
    width: u16,
    colours: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
    let (panels, more) = panels(shown, &usage);
    writeln!(out, "{} {origin}", escape(&shown.state.network))?;
    for panel in &panels {
        writeln!(out)?;
        terminal::print(panel, width.into(), colours, out)?;
    }
    writeln!(out)?;
    if panels.is_empty() {
        writeln!(out, "nothing is held, and its ranges are not known")?;
    }
    if more > 0 {
        writeln!(out, "and {more} more ranges")?;
    }
    if usage.outside > 0 {
        writeln!(out, "{} more addresses are held outside the ranges", usage.outside)?;
    }
    Ok(())
}
