/*!
The blocks of a pool, each in the colour of the node that holds it.

A cell is a block, or 2^n neighbouring ones where there are more than fit. In a terminal a node is a letter
and one of six colours; in SVG a hue, the fuller the block the stronger.
*/

use std::collections::BTreeMap;
use std::io::{self, Write};

use ipam_core::addr::Addr;
use ipam_pool::pool::Part;
use ipam_pool::view::BlockView;

use super::svg::{MARGIN, Svg, WIDTH, xml};
use crate::output::{Colour, count, escape, instant, paint, per_cent};

/// Cells of a terminal picture, as a power of two: 32 rows of 64.
const TERMINAL: u32 = 11;

/// Cells of an SVG, as a power of two.
const FILE: u32 = 14;

/// How many nodes the legend names.
const NAMED: usize = 40;

/// One family of a pool with its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Territory<'a> {
    /// The pool and its addresses, as text.
    pub(crate) title: String,
    /// Its addresses.
    pub(crate) part: Part,
    /// The blocks that are claimed, by address.
    pub(crate) blocks: Vec<&'a BlockView<'a>>,
    nodes: Vec<Holder<'a>>,
}

/// A node in the legend.
#[derive(Clone, Copy, Debug)]
struct Holder<'a> {
    name: &'a str,
    blocks: u64,
    taken: u64,
    size: u128,
}

/// What is in a cell.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// The position of the node that has the most blocks of it, and how many.
    node: Option<(usize, u64)>,
    /// How many blocks are claimed.
    claimed: u64,
    /// How many of their addresses are taken.
    taken: u64,
    size: u128,
    text: String,
}

/// A part of the pool in cells.
struct Grid {
    /// The first block that is shown.
    first: u128,
    /// A cell has 2^this blocks.
    cell_bits: u32,
    cells: Vec<Cell>,
}

impl<'a> Territory<'a> {
    /// Counts by node, those with the most blocks first.
    pub(crate) fn new(title: String, part: Part, blocks: Vec<&'a BlockView<'a>>) -> Self {
        let mut nodes: BTreeMap<&str, Holder<'a>> = BTreeMap::new();
        for block in &blocks {
            let name = block.node.unwrap_or("nobody");
            let node = nodes.entry(name).or_insert(Holder { name, blocks: 0, taken: 0, size: 0 });
            node.blocks += 1;
            node.taken = node.taken.saturating_add(block.counts.all());
            node.size = node.size.saturating_add(block.cidr.network().count());
        }
        let mut nodes: Vec<Holder<'a>> = nodes.into_values().collect();
        nodes.sort_by_key(|node| (std::cmp::Reverse(node.blocks), node.name));
        Self { title, part, blocks, nodes }
    }

    /// The cells, at most 2^`most`; of a pool with far more blocks the part in which any is claimed.
    fn grid(&self, most: u32) -> Grid {
        let all = 128 - self.part.blocks().saturating_sub(1).leading_zeros();
        let positions = || self.blocks.iter().filter_map(|b| self.part.position_of(b.cidr.addr()));
        let (mut first, mut bits) = (0, all);
        if all > most
            && let (Some(low), Some(high)) = (positions().min(), positions().max())
        {
            bits = (128 - (low ^ high).leading_zeros()).max(6).min(all);
            first = low.checked_shr(bits).unwrap_or(0).checked_shl(bits).unwrap_or(0);
        } else if all > most {
            bits = 6;
        }
        let cell_bits = bits.saturating_sub(most);
        let cells = 1_usize << bits.saturating_sub(cell_bits).min(most);
        let mut grid = Grid { first, cell_bits, cells: vec![Cell::default(); cells] };
        let places: BTreeMap<&str, usize> =
            self.nodes.iter().enumerate().map(|(i, node)| (node.name, i)).collect();
        let mut of_nodes: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for block in &self.blocks {
            let at = self
                .part
                .position_of(block.cidr.addr())
                .and_then(|position| position.checked_sub(first))
                .and_then(|at| usize::try_from(at.checked_shr(cell_bits).unwrap_or(0)).ok());
            let node = places.get(block.node.unwrap_or("nobody")).copied();
            let (Some(at), Some(node)) = (at, node) else { continue };
            let Some(cell) = grid.cells.get_mut(at) else { continue };
            let here = of_nodes.entry((at, node)).or_default();
            *here += 1;
            if cell.node.is_none_or(|(_, most)| *here > most) {
                cell.node = Some((node, *here));
            }
            cell.claimed += 1;
            cell.taken = cell.taken.saturating_add(block.counts.all());
            cell.size = cell.size.saturating_add(block.cidr.network().count());
            if cell.claimed == 1 {
                cell.text = format!(
                    "{} of {}: {} of {} taken",
                    block.cidr,
                    block.node.unwrap_or("nobody"),
                    block.counts.all(),
                    count(block.cidr.network().count())
                );
            }
        }
        grid
    }

    fn address(&self, grid: &Grid, cell: usize) -> Option<Addr> {
        let position = (cell as u128).checked_shl(grid.cell_bits)?.checked_add(grid.first)?;
        self.part.block_at(position).map(|cidr| cidr.addr())
    }

    /// What is shown, and what a cell is.
    fn notes(&self, grid: &Grid) -> String {
        let each = 1_u128.checked_shl(grid.cell_bits).unwrap_or(u128::MAX);
        let shown = each.saturating_mul(grid.cells.len() as u128);
        let cell = if each == 1 {
            format!("a cell is a block of /{}", self.part.block)
        } else {
            format!("a cell is {} blocks of /{}", count(each), self.part.block)
        };
        let part = if shown < self.part.blocks() {
            "; only the part in which blocks are claimed is shown"
        } else {
            ""
        };
        format!(
            "{} of {} blocks are claimed; {cell}{part}",
            count(self.blocks.len() as u128),
            count(self.part.blocks())
        )
    }
}

/// The letter of a node: after 52 they are used again.
fn letter(node: usize) -> char {
    const LETTERS: [u8; 52] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    LETTERS.get(node % LETTERS.len()).map_or('?', |letter| char::from(*letter))
}

fn colour(node: usize) -> Colour {
    const COLOURS: [Colour; 5] =
        [Colour::Blue, Colour::Green, Colour::Yellow, Colour::Magenta, Colour::Red];
    COLOURS.get(node % COLOURS.len()).copied().unwrap_or(Colour::Bold)
}

/// Prints a pool for a terminal of so many columns.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn print_cluster(
    territory: &Territory<'_>,
    width: u16,
    colours: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let grid = territory.grid(TERMINAL);
    writeln!(out, "{}", paint(&escape(&territory.title), Colour::Bold, colours))?;
    writeln!(out, "{}", territory.notes(&grid))?;
    let heads = (0..grid.cells.len())
        .filter_map(|cell| territory.address(&grid, cell))
        .map(|addr| addr.to_string().len())
        .max()
        .unwrap_or(0);
    let room = usize::from(width).saturating_sub(heads + 2);
    let columns = [64, 32, 16].into_iter().find(|columns| *columns <= room).unwrap_or(8);
    for (row, cells) in grid.cells.chunks(columns).enumerate() {
        let head = territory
            .address(&grid, row * columns)
            .map_or_else(String::new, |addr| addr.to_string());
        let mut line = format!("{head:<heads$}  ");
        for cell in cells {
            match cell.node {
                Some((node, _)) => {
                    line.push_str(&paint(
                        letter(node).encode_utf8(&mut [0; 4]),
                        colour(node),
                        colours,
                    ));
                }
                None => line.push('·'),
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    for (position, node) in territory.nodes.iter().take(NAMED).enumerate() {
        writeln!(
            out,
            "{} {}  {} {}, {} of {} addresses taken ({})",
            paint(letter(position).encode_utf8(&mut [0; 4]), colour(position), colours),
            escape(node.name),
            node.blocks,
            if node.blocks == 1 { "block" } else { "blocks" },
            node.taken,
            count(node.size),
            per_cent(u128::from(node.taken), node.size)
        )?;
    }
    if territory.nodes.len() > NAMED {
        writeln!(out, "and {} more nodes", territory.nodes.len() - NAMED)?;
    }
    writeln!(out, "· nobody's")
}

/// A colour of its own for each of very many nodes: hues by the golden angle.
fn hue(node: usize) -> String {
    let hue = (node as u128).wrapping_mul(137_508) / 1000 % 360;
    let light = if node.is_multiple_of(2) { 45 } else { 58 };
    format!("hsl({hue},65%,{light}%)")
}

/// Draws pools.
pub(crate) fn cluster_svg(territories: &[Territory<'_>], now: u64) -> String {
    let titles: Vec<&str> = territories.iter().map(|one| one.title.as_str()).collect();
    let mut svg = Svg::new(&format!("Blocks of {}", titles.join(", ")));
    for territory in territories {
        draw(&mut svg, territory);
    }
    svg.y += 16;
    svg.text("d", MARGIN, svg.y, &format!("plat map --cluster, {}", instant(now)));
    svg.finish()
}

fn draw(svg: &mut Svg, territory: &Territory<'_>) {
    let grid = territory.grid(FILE);
    let notes = territory.notes(&grid);
    svg.y += 24;
    svg.text("t", MARGIN, svg.y, &territory.title);
    svg.y += 18;
    svg.text("d", MARGIN, svg.y, &notes);
    svg.describe(&format!("{}: {notes}.", territory.title));
    svg.y += 10;
    let cells = u32::try_from(grid.cells.len()).unwrap_or(u32::MAX);
    let columns = 1_u32 << cells.ilog2().div_ceil(2).max(cells.ilog2().min(5));
    let rows = cells.div_ceil(columns);
    let size = ((WIDTH - 2 * MARGIN) / columns).clamp(1, 24);
    let small = if size >= 8 { " class=\"s\"" } else { "" };
    let top = svg.y;
    svg.raw(format_args!(
        "<g{small} transform=\"translate({MARGIN} {top}) scale({size})\">\n\
         <path class=\"f\" d=\"M0 0h{columns}v{rows}h-{columns}z\"/>\n"
    ));
    for (at, cell) in (0..cells).zip(&grid.cells) {
        let Some((node, _)) = cell.node else { continue };
        let (x, y) = (at % columns, at / columns);
        // An empty block is still seen; a full one has its colour without anything mixed in.
        let percent = crate::output::scaled(u128::from(cell.taken), cell.size, 65).min(65) + 35;
        let opacity = if percent >= 100 { "1".to_owned() } else { format!("0.{percent:02}") };
        let more = if cell.claimed > 1 {
            format!(" and {} more blocks", cell.claimed - 1)
        } else {
            String::new()
        };
        svg.raw(format_args!(
            "<path fill=\"{}\" opacity=\"{opacity}\" d=\"M{x} {y}h1v1h-1z\"><title>{}{more}</title></path>\n",
            hue(node),
            xml(&cell.text)
        ));
    }
    svg.raw(format_args!("</g>\n"));
    svg.y += rows * size + 8;
    let mut x = MARGIN;
    svg.y += 16;
    for (position, node) in territory.nodes.iter().take(NAMED).enumerate() {
        let text = format!(
            "{}: {} {}, {}",
            node.name,
            node.blocks,
            if node.blocks == 1 { "block" } else { "blocks" },
            per_cent(u128::from(node.taken), node.size)
        );
        let width = 32 + u32::try_from(text.chars().count()).unwrap_or(0) * 8;
        if x + width > WIDTH - MARGIN && x > MARGIN {
            x = MARGIN;
            svg.y += 22;
        }
        let top = svg.y - 11;
        svg.raw(format_args!(
            "<rect fill=\"{}\" x=\"{x}\" y=\"{top}\" width=\"13\" height=\"13\"/>\n",
            hue(position)
        ));
        svg.text("", x + 20, svg.y, &text);
        x += width;
    }
    if territory.nodes.len() > NAMED {
        svg.y += 22;
        svg.text("d", MARGIN, svg.y, &format!("and {} more nodes", territory.nodes.len() - NAMED));
    }
    svg.y += 12;
}
