//! The map for a terminal: a character for each cell, an address at the head of each row.

use std::io::{self, Write};

use ipam_core::addr::Addr;

use super::panel::{Cell, Panel};
use crate::output::{Colour, count, paint};

/// The most rows that a panel has.
const ROWS: u32 = 32;

/// How a panel is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    /// A row has 2^this cells.
    columns: u32,
    /// A cell has 2^this addresses.
    cell: u32,
}

impl Grid {
    /// The grid of a panel of `2^bits` addresses on a terminal with room for so many cells in a row.
    fn new(bits: u32, room: usize) -> Self {
        let most = if bits <= 8 { 5 } else { 6 };
        let columns = (3..=most).rev().find(|columns| 1_usize << columns <= room).unwrap_or(3);
        let columns = columns.min(bits);
        Self { columns, cell: bits.saturating_sub(columns + ROWS.ilog2()) }
    }
}

/// Prints a panel and its legend.
///
/// # Errors
/// If it cannot be written.
pub(super) fn print(
    panel: &Panel<'_>,
    width: usize,
    colours: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let longest = |grid: Grid| rows(panel, grid).map(|(_, head)| head.len()).max().unwrap_or(0);
    // The room depends on the heads, and these on the grid; the first guess is right but for long ones.
    let mut grid = Grid::new(panel.bits, width);
    grid = Grid::new(panel.bits, width.saturating_sub(longest(grid) + 2));
    let cells = panel.cells(grid.cell);
    let next = panel.next.and_then(|addr| panel.cell_of(addr, grid.cell));
    let heads = longest(grid);
    writeln!(out, "{}", paint(&panel.title, Colour::Bold, colours))?;
    if let Some(note) = &panel.note {
        writeln!(out, "{note}")?;
    }
    for ((start, head), row) in rows(panel, grid).zip(cells.chunks(1 << grid.columns)) {
        let mut line = format!("{head:<heads$}  ");
        let mut run = String::new();
        let mut run_colour = None;
        for (cell, i) in row.iter().zip(start..) {
            let (glyph, colour) = glyph(*cell, grid.cell, next == Some(i), panel.known);
            if colour != run_colour {
                flush(&mut line, &mut run, run_colour, colours);
                run_colour = colour;
            }
            run.push(glyph);
        }
        flush(&mut line, &mut run, run_colour, colours);
        writeln!(out, "{}", line.trim_end())?;
    }
    legend(panel, grid, colours, out)
}

fn flush(line: &mut String, run: &mut String, colour: Option<Colour>, colours: bool) {
    match colour {
        Some(colour) => line.push_str(&paint(run, colour, colours)),
        None => line.push_str(run),
    }
    run.clear();
}

/// The first cell of each row and the address it begins with.
fn rows(panel: &Panel<'_>, grid: Grid) -> impl Iterator<Item = (usize, String)> {
    let rows = 1_usize << panel.bits.saturating_sub(grid.cell + grid.columns).min(ROWS.ilog2());
    (0..rows).map(move |row| {
        let start = row << grid.columns;
        let head =
            panel.address(start, grid.cell).map_or_else(String::new, |addr| addr.to_string());
        (start, head)
    })
}

fn glyph(cell: Cell, cell_bits: u32, next: bool, known: bool) -> (char, Option<Colour>) {
    if cell.all() == 0 {
        return (if known { ' ' } else { '·' }, Some(Colour::Grey));
    }
    if cell_bits == 0 {
        return match cell {
            Cell { used: 1.., .. } => ('█', Some(Colour::Blue)),
            Cell { cooling: 1.., .. } => ('~', Some(Colour::Yellow)),
            Cell { gateway: 1.., .. } => ('◆', Some(Colour::Magenta)),
            Cell { excluded: 1.., .. } => ('×', Some(Colour::Grey)),
            _ if next => ('○', Some(Colour::Green)),
            _ => ('·', None),
        };
    }
    if cell.usable() == 0 {
        return ('×', Some(Colour::Grey));
    }
    let taken = cell.used.saturating_add(cell.cooling);
    let colour = if next { Some(Colour::Green) } else { Some(Colour::Blue) };
    match share(taken, cell.usable()) {
        0 if next => ('○', colour),
        0 => ('·', None),
        1 => ('░', colour),
        2 => ('▒', colour),
        3 => ('▓', colour),
        _ => ('█', colour),
    }
}

/// Nothing, up to a third, up to two thirds, more, all: 0 to 4.
fn share(part: u128, whole: u128) -> u8 {
    if part == 0 {
        0
    } else if part >= whole {
        4
    } else if part <= whole / 3 {
        1
    } else if part <= whole - whole / 3 {
        2
    } else {
        3
    }
}

/// How many addresses a cell has, in words.
fn addresses(grid: Grid) -> String {
    match grid.cell {
        0 => "an address".to_owned(),
        bits => format!("{} addresses", count(1_u128.checked_shl(bits).unwrap_or(u128::MAX))),
    }
}

fn legend(panel: &Panel<'_>, grid: Grid, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    let total = panel.total();
    let mark = |glyph: &str, colour: Colour| paint(glyph, colour, colours).into_owned();
    let address =
        |addr: Option<Addr>| addr.map_or_else(|| "none".to_owned(), |addr| addr.to_string());
    let used = count(total.used);
    if !panel.known {
        let each = addresses(grid);
        return writeln!(out, "{} {used} held; a cell is {each}", mark("█", Colour::Blue));
    }
    let (free, cooling, excluded) =
        (count(total.free), count(total.cooling), count(total.excluded));
    let next = match panel.next {
        Some(next) => format!("  {} next {next}", mark("○", Colour::Green)),
        None => String::new(),
    };
    if grid.cell == 0 {
        writeln!(
            out,
            "{} {used} used  · {free} free  {} {cooling} cooling  {} {excluded} excluded",
            mark("█", Colour::Blue),
            mark("~", Colour::Yellow),
            mark("×", Colour::Grey),
        )?;
        let gateway = address(panel.gateway);
        return writeln!(out, "{} gateway {gateway}{next}", mark("◆", Colour::Magenta));
    }
    writeln!(
        out,
        "a cell is {}: · none taken  {} up to a third  {} to two thirds  {} more  {} all  {} excluded",
        addresses(grid),
        mark("░", Colour::Blue),
        mark("▒", Colour::Blue),
        mark("▓", Colour::Blue),
        mark("█", Colour::Blue),
        mark("×", Colour::Grey),
    )?;
    writeln!(
        out,
        "{used} used, {free} free, {cooling} cooling, {excluded} excluded, gateway {}{next}",
        address(panel.gateway)
    )
}

#[cfg(test)]
mod tests;
