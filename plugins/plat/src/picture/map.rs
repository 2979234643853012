/*!
The map of a network as SVG.

Where few addresses are held each one has a tooltip, and so has each run of free neighbours. Where
there are thousands, a tooltip tells of a row (on the Hilbert curve: of a square) what is in it:
65,000 tooltips would be a document that no browser likes to show.
*/

use ipam_core::addr::Addr;

use super::panel::{Cell, Panel, panels, subject};
use super::svg::{MARGIN, Svg, WIDTH};
use super::{Order, hilbert};
use crate::output::{age, count, instant, short_id};
use crate::shown::Shown;
use crate::usage::{Kind, NetworkUsage, parts, pod};

/// A panel has at most 2^this cells.
const CELLS: u32 = 16;

/// Up to so many runs each has a tooltip of its own.
const TOOLTIPS: usize = 8192;

/// Draws networks, usually one; a name may be several networks'.
pub(crate) fn map_svg(
    networks: &[Shown],
    origin: &dyn Fn(&Shown) -> String,
    order: Order,
    now: u64,
) -> String {
    let names: Vec<&str> = networks.iter().map(|shown| shown.state.network.as_str()).collect();
    let mut svg = Svg::new(&format!("Addresses of {}", names.join(", ")));
    for shown in networks {
        let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
        svg.y += 16;
        svg.text("h", MARGIN, svg.y, &shown.state.network);
        svg.y += 20;
        svg.text("d", MARGIN, svg.y, &origin(shown));
        svg.describe(&format!("Network {}, {}.", shown.state.network, subject(shown)));
        let (panels, more) = panels(shown, &usage);
        for panel in &panels {
            draw(&mut svg, panel, order, now);
        }
        let mut remark = |text: String| {
            svg.y += 24;
            svg.text("", MARGIN, svg.y, &text);
            svg.describe(&format!("{text}."));
        };
        if more > 0 {
            remark(format!("{more} more ranges are not shown"));
        }
        if usage.outside > 0 {
            remark(format!("{} more addresses are held outside the ranges", usage.outside));
        }
        svg.y += 16;
    }
    svg.text("d", MARGIN, svg.y + 8, &format!("plat map, {}", instant(now)));
    svg.y += 8;
    svg.finish()
}

/// Where the cells of a panel lie.
#[derive(Clone, Copy, Debug)]
struct Grid {
    order: Order,
    /// The panel has 2^this cells.
    bits: u32,
}

impl Grid {
    /// Cells in a row, as a power of two.
    fn columns(self) -> u32 {
        match self.order {
            Order::Rows if self.bits <= 8 => self.bits.min(5),
            // A /16 has a row for each of its /24.
            Order::Rows => self.bits.div_ceil(2),
            // Of an odd number of bits two squares stand side by side; the curve runs on from one to the other.
            Order::Hilbert => self.bits.div_ceil(2),
        }
    }

    fn rows(self) -> u32 {
        self.bits - self.columns()
    }

    /// A tooltip for many cells is of 2^this neighbours.
    fn group(self) -> u32 {
        match self.order {
            Order::Rows => self.columns(),
            Order::Hilbert => 2 * (self.bits / 4),
        }
    }

    /// Column and row of a cell.
    fn place(self, cell: u32) -> (u32, u32) {
        match self.order {
            Order::Rows => (cell & ((1 << self.columns()) - 1), cell >> self.columns()),
            Order::Hilbert => {
                let square = self.bits / 2;
                let (x, y) = hilbert::place(square, cell & ((1 << (2 * square)) - 1));
                (x + ((cell >> (2 * square)) << square), y)
            }
        }
    }

    /// Adds the shape of the cells from `first` to `last` to a path.
    fn shape(self, first: u32, last: u32, path: &mut String) {
        let mut rect = |x: u32, y: u32, width: u32, height: u32| {
            path.push_str(&format!("M{x} {y}h{width}v{height}h-{width}z"));
        };
        match self.order {
            Order::Rows => {
                let width = 1 << self.columns();
                let mut at = first;
                while at <= last {
                    let (x, y) = self.place(at);
                    let left = last - at + 1;
                    let n = if x == 0 && left >= width {
                        let rows = left / width;
                        rect(0, y, width, rows);
                        rows * width
                    } else {
                        let n = left.min(width - x);
                        rect(x, y, n, 1);
                        n
                    };
                    at += n;
                }
            }
            Order::Hilbert => {
                let mut at = first;
                while at <= last {
                    // The largest aligned square that begins here and fits.
                    let fits = (last - at + 1).ilog2() / 2;
                    let level = fits.min(at.trailing_zeros() / 2).min(self.bits / 2);
                    let (x, y) = self.place(at);
                    let side = 1 << level;
                    rect(x >> level << level, y >> level << level, side, side);
                    at += side * side;
                }
            }
        }
    }
}

fn draw(svg: &mut Svg, panel: &Panel<'_>, order: Order, now: u64) {
    let cell_bits = panel.bits.saturating_sub(CELLS);
    let grid = Grid { order, bits: panel.bits - cell_bits };
    let cells = panel.cells(cell_bits);
    svg.y += 32;
    svg.text("t", MARGIN, svg.y, &panel.title);
    if let Some(note) = &panel.note {
        svg.y += 18;
        svg.text("d", MARGIN, svg.y, note);
    }
    svg.y += 10;
    let heads: Vec<String> = heads(panel, grid, cell_bits);
    let longest = heads.iter().map(|head| head.chars().count()).max().unwrap_or(0);
    let left = MARGIN + u32::try_from(longest).unwrap_or(0) * 7 + if longest > 0 { 8 } else { 0 };
    let (columns, rows) = (1_u32 << grid.columns(), 1_u32 << grid.rows());
    let room = (WIDTH - MARGIN).saturating_sub(left);
    let size = (room / columns).min(640 / rows).clamp(1, 24);
    let step = 1_usize.max((rows as usize).div_ceil(32));
    for (row, head) in heads.iter().enumerate().step_by(step) {
        let middle = svg.y + u32::try_from(row).unwrap_or(0) * size + size.midpoint(9);
        svg.text_end("m", left - 8, middle, head);
    }
    let small = if size >= 8 { " class=\"s\"" } else { "" };
    let top = svg.y;
    svg.raw(format_args!("<g{small} transform=\"translate({left} {top}) scale({size})\">\n"));
    if cell_bits == 0 && panel.runs.len() <= TOOLTIPS {
        each(svg, panel, grid, now);
    } else {
        groups(svg, panel, grid, cell_bits, &cells);
    }
    if let Some((next, cell)) = panel
        .next
        .and_then(|next| Some((next, u32::try_from(panel.cell_of(next, cell_bits)?).ok()?)))
    {
        let mut path = String::new();
        grid.shape(cell, cell, &mut path);
        svg.path("n", &path, &format!("{next}: next"));
    }
    svg.raw(format_args!("</g>\n"));
    svg.y += rows * size;
    legend(svg, panel, cell_bits);
}

/// The address at the head of each row; none along a curve.
fn heads(panel: &Panel<'_>, grid: Grid, cell_bits: u32) -> Vec<String> {
    if grid.order == Order::Hilbert {
        return Vec::new();
    }
    let head = |row: usize| panel.address(row << grid.columns(), cell_bits);
    (0..1_usize << grid.rows())
        .map(|row| head(row).map_or_else(String::new, |addr| addr.to_string()))
        .collect()
}

/// A shape with a tooltip for each run; a cell is an address.
fn each(svg: &mut Svg, panel: &Panel<'_>, grid: Grid, now: u64) {
    for run in &panel.runs {
        let Some((from, to)) = panel.offsets(run.interval) else { continue };
        let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(to)) else { continue };
        let mut path = String::new();
        grid.shape(from, to, &mut path);
        let addresses = if from == to {
            run.interval.first().to_string()
        } else {
            format!("{} ({})", run.interval, count(run.interval.count()))
        };
        let (class, what) = match run.kind {
            Kind::Used(i) => ("u", holder(panel, i, now)),
            Kind::Cooling => ("c", ": cooling".to_owned()),
            Kind::Gateway => ("g", ": gateway".to_owned()),
            Kind::Excluded => ("x", ": excluded".to_owned()),
            Kind::Free => ("f", ": free".to_owned()),
        };
        svg.path(class, &path, &format!("{addresses}{what}"));
    }
}

/// Who holds an address, a line for each thing that is known.
fn holder(panel: &Panel<'_>, allocation: usize, now: u64) -> String {
    let Some(allocation) = panel.state.allocations.get(allocation) else { return String::new() };
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push('\n');
        text.push_str(line);
    };
    if let Some(pod) = pod(&allocation.owner) {
        line(&pod);
    }
    match parts(&allocation.holder) {
        (Some(container), Some(ifname)) => line(&format!("{} {ifname}", short_id(container))),
        (Some(container), None) => line(short_id(container)),
        _ => line("the record names nobody"),
    }
    if let Some(since) = allocation.since {
        line(&format!("since {} ({})", instant(since), age(now, since)));
    }
    text
}

/// How a cell is drawn; `None`: as the free ones below it.
fn class(cell: Cell, cell_bits: u32) -> Option<&'static str> {
    if cell.all() == 0 {
        return None;
    }
    if cell_bits == 0 {
        return match cell {
            Cell { used: 1.., .. } => Some("u"),
            Cell { cooling: 1.., .. } => Some("c"),
            Cell { gateway: 1.., .. } => Some("g"),
            Cell { excluded: 1.., .. } => Some("x"),
            _ => None,
        };
    }
    if cell.usable() == 0 {
        return Some("x");
    }
    let taken = cell.used.saturating_add(cell.cooling);
    match taken {
        0 => None,
        _ if taken >= cell.usable() => Some("u"),
        _ if taken <= cell.usable() / 4 => Some("u1"),
        _ if taken <= cell.usable() / 2 => Some("u2"),
        _ if taken <= cell.usable() / 4 * 3 => Some("u3"),
        _ => Some("u4"),
    }
}

/// A tooltip for each group of cells.
fn groups(svg: &mut Svg, panel: &Panel<'_>, grid: Grid, cell_bits: u32, cells: &[Cell]) {
    let size = 1_usize << grid.group();
    for (group, cells) in cells.chunks(size).enumerate() {
        let start = group * size;
        let total = cells.iter().fold(Cell::default(), |sum, cell| sum.and(*cell));
        if total.all() == 0 {
            continue;
        }
        let first = panel.address(start, cell_bits);
        let last = panel.last_address(start + size - 1, cell_bits);
        let text = |addr: Option<Addr>| addr.map_or_else(String::new, |addr| addr.to_string());
        svg.raw(format_args!(
            "<g><title>{}-{}: {}</title>\n",
            text(first),
            text(last),
            numbers(total)
        ));
        let mut free = String::new();
        let within = |cell: &Cell| cell.all() > 0;
        if let (Some(from), Some(to)) =
            (cells.iter().position(within), cells.iter().rposition(within))
        {
            shape(grid, start + from, start + to, &mut free);
        }
        svg.path("f", &free, "");
        for wanted in ["u1", "u2", "u3", "u4", "u", "c", "g", "x"] {
            let mut path = String::new();
            let mut at = 0;
            for run in cells.chunk_by(|a, b| class(*a, cell_bits) == class(*b, cell_bits)) {
                if run.first().and_then(|cell| class(*cell, cell_bits)) == Some(wanted) {
                    shape(grid, start + at, start + at + run.len() - 1, &mut path);
                }
                at += run.len();
            }
            if !path.is_empty() {
                svg.path(wanted, &path, "");
            }
        }
        svg.raw(format_args!("</g>\n"));
    }
}

fn shape(grid: Grid, first: usize, last: usize, path: &mut String) {
    if let (Ok(first), Ok(last)) = (u32::try_from(first), u32::try_from(last)) {
        grid.shape(first, last, path);
    }
}

/// What is in a part, in words.
fn numbers(cell: Cell) -> String {
    let mut text = format!("{} used, {} free", count(cell.used), count(cell.free));
    for (n, what) in
        [(cell.cooling, "cooling"), (cell.excluded, "excluded"), (cell.gateway, "gateway")]
    {
        if n > 0 {
            text.push_str(&format!(", {} {what}", count(n)));
        }
    }
    text
}

fn legend(svg: &mut Svg, panel: &Panel<'_>, cell_bits: u32) {
    let total = panel.total();
    let text = |addr: Option<Addr>| addr.map_or_else(|| "none".to_owned(), |addr| addr.to_string());
    let mut entries = vec![("u", format!("{} used", count(total.used)))];
    if panel.known {
        entries.extend([
            ("f", format!("{} free", count(total.free))),
            ("c", format!("{} cooling", count(total.cooling))),
            ("x", format!("{} excluded", count(total.excluded))),
            ("g", format!("gateway {}", text(panel.gateway))),
            ("n", format!("next {}", text(panel.next))),
        ]);
    }
    let sentence: Vec<&str> = entries.iter().map(|(_, text)| text.as_str()).collect();
    let part = panel.note.as_ref().map_or_else(String::new, |note| format!(", {note}"));
    svg.describe(&format!("{}{part}: {}.", panel.title, sentence.join(", ")));
    svg.y += 24;
    let mut x = MARGIN;
    for (class, text) in &entries {
        // As wide as the text may be in any usual font.
        let width = 20 + u32::try_from(text.chars().count()).unwrap_or(0) * 8 + 12;
        if x + width > WIDTH - MARGIN && x > MARGIN {
            x = MARGIN;
            svg.y += 22;
        }
        svg.rect(class, x, svg.y - 11, 13, 13);
        svg.text("", x + 20, svg.y, text);
        x += width;
    }
    if cell_bits > 0 {
        svg.y += 22;
        let each = count(1_u128.checked_shl(cell_bits).unwrap_or(u128::MAX));
        let text = format!(
            "A cell is {each} addresses; the darker, the more of them are held or cooling."
        );
        svg.text("d", MARGIN, svg.y, &text);
    }
    svg.y += 8;
}

#[cfg(test)]
mod tests;
