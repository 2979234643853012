//! Lines through points.

use super::axis::{Axis, Range, number};
use super::svg::{Anchor, LOOKS, MARGIN, REFERENCE, Svg, WIDTH};

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Whether it is what others are compared with: it looks so.
    pub is_reference: bool,
}

/// A chart of lines.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What it shows.
    pub title: String,
    /// What is to be seen, for those who do not see it.
    pub description: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Short texts above points, such as ratios.
    pub notes: Vec<((f64, f64), String)>,
    /// What the notes are.
    pub legend: String,
}

const LEFT: f64 = 74.0;
const RIGHT: f64 = WIDTH - 30.0;
const HEIGHT: f64 = 290.0;

impl Lines {
    /// As SVG.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut svg = Svg::new(&self.title, &self.description);
        let shown: Vec<(usize, &Series)> =
            self.looks().filter(|(_, it)| !it.points.is_empty()).collect();
        let all = || shown.iter().flat_map(|(_, it)| it.points.iter().copied());
        let x = Range::of(self.x.scale, all().map(|(x, _)| x), 1.0);
        let y = Range::of(self.y.scale, all().map(|(_, y)| y), 1.25);
        let Some((x, y)) = x.zip(y) else {
            svg.text("d", MARGIN, 60.0, Anchor::Start, "nothing was measured");
            return svg.finish(80.0);
        };
        let names: Vec<(usize, &str)> =
            shown.iter().map(|(look, it)| (*look, it.name.as_str())).collect();
        let mut top = svg.legend(42.0, true, &names);
        if !self.legend.is_empty() && !self.notes.is_empty() {
            svg.text("d", MARGIN, top + 12.0, Anchor::Start, &self.legend);
            top += 18.0;
        }
        let area = Area { x, y, top: top + 12.0 };
        area.draw_axes(&mut svg, &self.x.title, &self.y.title);
        for (look, series) in &shown {
            let places: Vec<(f64, f64)> =
                series.points.iter().map(|point| area.place(*point)).collect();
            svg.polyline(*look, &places);
        }
        for (look, series) in &shown {
            for point in &series.points {
                let tooltip =
                    format!("{}: {} at {}", series.name, number(point.1), number(point.0));
                svg.mark(*look, area.place(*point), &tooltip);
            }
        }
        for (point, text) in &self.notes {
            let (at, y) = area.place(*point);
            svg.text("n halo", at, y - 10.0, Anchor::Middle, text);
        }
        svg.finish(area.bottom() + 54.0)
    }

    /// Each series with how it looks: the reference, if there is one, as such.
    fn looks(&self) -> impl Iterator<Item = (usize, &Series)> {
        let mut next = 0;
        self.series.iter().map(move |series| {
            if series.is_reference {
                return (REFERENCE, series);
            }
            next += 1;
            ((next - 1) % LOOKS, series)
        })
    }
}

/// Where points are drawn.
struct Area {
    x: Range,
    y: Range,
    top: f64,
}

impl Area {
    fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (LEFT + (RIGHT - LEFT) * self.x.place(x), self.bottom() - HEIGHT * self.y.place(y))
    }

    fn draw_axes(&self, svg: &mut Svg, x_title: &str, y_title: &str) {
        let bottom = self.bottom();
        for tick in self.y.ticks() {
            let (_, y) = self.place((0.0, tick.at));
            svg.line(if tick.is_written { "g" } else { "m" }, (LEFT, y), (RIGHT, y));
            if tick.is_written {
                svg.text("d", LEFT - 8.0, y + 4.0, Anchor::End, &number(tick.at));
            }
        }
        // What would be written over something else is left out.
        let mut free = f64::NEG_INFINITY;
        for tick in self.x.ticks() {
            let (x, _) = self.place((tick.at, 0.0));
            svg.line(if tick.is_written { "g" } else { "m" }, (x, self.top), (x, bottom));
            let text = number(tick.at);
            let half = text.len() as f64 * 3.5;
            if tick.is_written && x - half > free {
                svg.text("d", x, bottom + 18.0, Anchor::Middle, &text);
                free = x + half + 6.0;
            }
        }
        svg.line("a", (LEFT, self.top), (LEFT, bottom));
        if self.x.nought > 0.0 {
            // The axis is broken between nought and the rest.
            let gap = LEFT + (RIGHT - LEFT) * self.x.nought * 0.7;
            svg.line("a", (LEFT, bottom), (gap - 3.0, bottom));
            svg.line("a", (gap + 3.0, bottom), (RIGHT, bottom));
            for x in [gap - 3.0, gap + 3.0] {
                svg.line("a k", (x - 2.0, bottom + 5.0), (x + 2.0, bottom - 5.0));
            }
        } else {
            svg.line("a", (LEFT, bottom), (RIGHT, bottom));
        }
        svg.text("t", f64::midpoint(LEFT, RIGHT), bottom + 40.0, Anchor::Middle, x_title);
        svg.text_upwards("t", 22.0, self.top + HEIGHT / 2.0, y_title);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Scale;

    fn series(name: &str, points: &[(f64, f64)], is_reference: bool) -> Series {
        Series { name: name.to_owned(), points: points.to_vec(), is_reference }
    }

    fn chart(series: Vec<Series>) -> Lines {
        Lines {
            title: "ADD".to_owned(),
            description: "of <two>".to_owned(),
            x: Axis::new("held", Scale::Log10),
            y: Axis::new("ms & more", Scale::Log10),
            series,
            notes: vec![((10.0, 100.0), "× 100".to_owned())],
            legend: "× times ours".to_owned(),
        }
    }

    #[test]
    fn points_lie_where_they_should() {
        let text = chart(vec![
            series("ours", &[(1.0, 1.0), (10.0, 1.0)], false),
            series("theirs <1>", &[(1.0, 1.0), (10.0, 100.0)], true),
        ])
        .draw();
        // One legend line, and one that says what the notes are; the largest has room above it: 200 is the end.
        let (top, height) = (42.0 + 20.0 + 18.0 + 12.0, HEIGHT);
        let bottom = top + height;
        let y = bottom - height * 100_f64.ln() / 200_f64.ln();
        assert!(
            text.contains(&format!("M{LEFT:.1} {bottom:.1}L{RIGHT:.1} {bottom:.1}\"")),
            "{text}"
        );
        assert!(text.contains(&format!("M{LEFT:.1} {bottom:.1}L{RIGHT:.1} {y:.1}\"")), "{text}");
        for wanted in [
            "theirs &lt;1&gt;: 100 at 10",
            "of &lt;two&gt;",
            "ms &amp; more",
            "class=\"l r\"",
            "× 100",
            "× times ours",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_drawn() {
        for empty in [
            Vec::new(),
            vec![series("none", &[], false)],
            vec![series("x", &[(1.0, f64::NAN)], false)],
        ] {
            let text = chart(empty).draw();
            assert!(text.contains("nothing was measured") && text.ends_with("</svg>\n"), "{text}");
        }
        let text =
            chart(vec![series("none", &[], false), series("one", &[(0.0, 3.0)], false)]).draw();
        assert!(
            !text.contains(">none<") && text.contains(">one<") && text.contains("3 at 0"),
            "{text}"
        );
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
