//! Amounts beside each other, as bars to the right.

use super::axis::{Axis, Range, number};
use super::svg::{Anchor, LOOKS, MARGIN, REFERENCE, Svg, WIDTH, width_of};

/// A bar, of one part or of several one after the other.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// The kind, as an index into the chart's kinds, and the amount of each part.
    pub parts: Vec<(usize, f64)>,
    /// What stands behind it.
    pub text: String,
    /// What stands above it, where something else begins.
    pub heading: Option<String>,
}

/// A chart of bars, from nought on.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// What is to be seen, for those who do not see it.
    pub description: String,
    /// What is to the right.
    pub axis: Axis,
    /// The kinds of parts; the last one may be the reference.
    pub kinds: Vec<(String, bool)>,
    /// From above.
    pub bars: Vec<Bar>,
}

const BAR: f64 = 18.0;
const ROW: f64 = 26.0;
const HEADING: f64 = 28.0;

impl Bars {
    /// As SVG.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut svg = Svg::new(&self.title, &self.description);
        let whole = |bar: &Bar| bar.parts.iter().map(|(_, amount)| amount).sum::<f64>();
        let Some(range) = Range::of(self.axis.scale, self.bars.iter().map(whole), 1.0) else {
            svg.text("d", MARGIN, 60.0, Anchor::Start, "nothing was measured");
            return svg.finish(80.0);
        };
        let looks: Vec<usize> = self.looks();
        let names: Vec<(usize, &str)> =
            looks.iter().zip(&self.kinds).map(|(look, (name, _))| (*look, name.as_str())).collect();
        let top = if names.len() > 1 { svg.legend(44.0, false, &names) } else { 40.0 };
        let widest =
            |texts: &mut dyn Iterator<Item = &str>| texts.map(width_of).fold(0.0, f64::max);
        let left =
            MARGIN + 10.0 + widest(&mut self.bars.iter().map(|bar| bar.label.as_str())).min(240.0);
        // What stands behind the longest bar has to have room, too.
        let behind = widest(&mut self.bars.iter().map(|bar| bar.text.as_str())).min(240.0);
        let right = (WIDTH - MARGIN - behind).max(left + 100.0);
        let rows = self.bars.iter().map(|bar| ROW + bar.heading.as_ref().map_or(0.0, |_| HEADING));
        let bottom = top + 10.0 + rows.sum::<f64>();
        let place = |amount: f64| left + (right - left) * range.place(amount);
        let mut free = f64::NEG_INFINITY;
        for tick in range.ticks() {
            let x = place(tick.at);
            svg.line("g", (x, top + 4.0), (x, bottom));
            let text = number(tick.at);
            let half = text.len() as f64 * 3.5;
            if x - half > free {
                svg.text("d", x, bottom + 18.0, Anchor::Middle, &text);
                free = x + half + 6.0;
            }
        }
        svg.line("a", (left, top + 4.0), (left, bottom));
        svg.line("a", (left, bottom), (right, bottom));
        let mut y = top + 10.0;
        for bar in &self.bars {
            if let Some(heading) = &bar.heading {
                svg.text("n halo", MARGIN, y + 18.0, Anchor::Start, heading);
                y += HEADING;
            }
            svg.text("t", left - 8.0, y + 14.0, Anchor::End, &bar.label);
            let mut sum = 0.0;
            for (kind, amount) in &bar.parts {
                let (from, to) = (place(sum), place(sum + amount));
                sum += amount;
                let name = self.kinds.get(*kind).map_or("", |(name, _)| name.as_str());
                let tooltip = format!("{}: {name} {}", bar.label, number(*amount));
                let look = looks.get(*kind).copied().unwrap_or_default();
                svg.bar(look, (from, y), ((to - from).max(0.5), BAR), &tooltip);
            }
            svg.text("n halo", place(sum) + 6.0, y + 14.0, Anchor::Start, &bar.text);
            y += ROW;
        }
        svg.text("t", f64::midpoint(left, right), bottom + 40.0, Anchor::Middle, &self.axis.title);
        svg.finish(bottom + 54.0)
    }

    fn looks(&self) -> Vec<usize> {
        let look = |(n, (_, is_reference)): (usize, &(String, bool))| {
            if *is_reference { REFERENCE } else { n % LOOKS }
        };
        self.kinds.iter().enumerate().map(look).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Scale;

    fn bars(amounts: &[&[f64]]) -> Bars {
        let bars = amounts.iter().enumerate().map(|(n, parts)| Bar {
            label: format!("bar <{n}>"),
            parts: parts.iter().copied().enumerate().collect(),
            text: format!("{} MB & more", parts.len()),
            heading: (n == 1).then(|| "another".to_owned()),
        });
        Bars {
            title: "Sizes".to_owned(),
            description: String::new(),
            axis: Axis::new("MB", Scale::Linear),
            kinds: vec![("ours".to_owned(), false), ("theirs".to_owned(), true)],
            bars: bars.collect(),
        }
    }

    #[test]
    fn bars_are_as_long_as_they_should_be() {
        let text = bars(&[&[4.0], &[2.0, 2.0]]).draw();
        let widths: Vec<f64> = text
            .split("<rect class=\"f")
            .filter(|rect| rect.contains("<title>bar"))
            .filter_map(|rect| rect.split_once("width=\"")?.1.split_once('"')?.0.parse().ok())
            .collect();
        let [whole, half, other] = widths[..] else { panic!("{widths:?}: {text}") };
        assert!((whole - 2.0 * half).abs() < 0.2 && (half - other).abs() < 0.2, "{widths:?}");
        for wanted in ["bar &lt;0&gt;: ours 4", "theirs 2", "2 MB &amp; more", "another", "f6"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert!(bars(&[]).draw().contains("nothing was measured"));
        assert!(bars(&[&[f64::INFINITY]]).draw().contains("nothing was measured"));
        let text = bars(&[&[0.0], &[]]).draw();
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{text}");
    }
}
