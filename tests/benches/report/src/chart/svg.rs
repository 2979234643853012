//! SVG documents.

use std::fmt::Write as _;

/// The width of every picture: that of a page's text.
pub(super) const WIDTH: f64 = 700.0;
/// The space around it.
pub(super) const MARGIN: f64 = 16.0;
/// How many series look different.
pub(super) const LOOKS: usize = 6;
/// The look of what others are compared with.
pub(super) const REFERENCE: usize = LOOKS;

/// Colours for light and dark surroundings, without CSS variables, which some viewers do not know. `s` are series, `r` the reference.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}
.h{font-size:16px;font-weight:600}.d{fill:#59636e;font-size:12px}.n{font-weight:600;font-size:12px}
.b{fill:#fff}.g{stroke:#d8dee4}.m{stroke:#eff2f5}.a{stroke:#59636e}.g,.m,.a{fill:none;stroke-width:1}
.l{fill:none;stroke-width:2}.k{stroke-width:1.5}.halo{stroke:#fff;stroke-width:4;stroke-linejoin:round;paint-order:stroke}
.s0{stroke:#0b62c4}.s1{stroke:#bc4c00}.s2{stroke:#1a7f37}.s3{stroke:#8250df}.s4{stroke:#bf8700}.s5{stroke:#0e7c86}.r{stroke:#59636e;stroke-dasharray:6 4}
.f0{fill:#0b62c4}.f1{fill:#bc4c00}.f2{fill:#1a7f37}.f3{fill:#8250df}.f4{fill:#bf8700}.f5{fill:#0e7c86}.f6{fill:#8c959f}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.d{fill:#9198a1}
.b{fill:#0d1117}.g{stroke:#30363d}.m{stroke:#1c2128}.a{stroke:#9198a1}.halo{stroke:#0d1117}
.s0{stroke:#58a6ff}.s1{stroke:#f0883e}.s2{stroke:#3fb950}.s3{stroke:#d2a8ff}.s4{stroke:#e3b341}.s5{stroke:#39c5cf}.r{stroke:#9198a1}
.f0{fill:#58a6ff}.f1{fill:#f0883e}.f2{fill:#3fb950}.f3{fill:#d2a8ff}.f4{fill:#e3b341}.f5{fill:#39c5cf}.f6{fill:#6e7681}}
";

/// Where a text stands from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A document in the making.
#[derive(Debug)]
pub(super) struct Svg {
    title: String,
    desc: String,
    body: String,
}

impl Svg {
    /// With a name, and a sentence for those who do not see it. The name is drawn.
    pub(super) fn new(title: &str, desc: &str) -> Self {
        let mut svg = Self { title: xml(title), desc: xml(desc), body: String::new() };
        svg.text("h", MARGIN, 28.0, Anchor::Start, title);
        svg
    }

    /// A text, its base line at `y`.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let text = xml(text);
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\"{anchor}>{text}</text>\n"
        ));
    }

    /// A text from below upwards, its middle at `y`.
    pub(super) fn text_upwards(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = xml(text);
        self.raw(format_args!(
            "<text class=\"{class}\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\">{text}</text>\n"
        ));
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x, y), (to_x, to_y)) = (from, to);
        self.raw(format_args!(
            "<path class=\"{class}\" d=\"M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}\"/>\n"
        ));
    }

    /// A line through points, in the look of a series.
    pub(super) fn polyline(&mut self, look: usize, points: &[(f64, f64)]) {
        let mut d = String::new();
        for (n, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if n == 0 { 'M' } else { 'L' });
        }
        let stroke = stroke(look);
        self.raw(format_args!("<path class=\"l {stroke}\" d=\"{d}\"/>\n"));
    }

    /// The mark of a point of a series, with what is shown when a pointer rests on it.
    pub(super) fn mark(&mut self, look: usize, (x, y): (f64, f64), tooltip: &str) {
        let (fill, title) = (fill(look), xml(tooltip));
        let title = if title.is_empty() { title } else { format!("<title>{title}</title>") };
        let d = match look {
            1 => format!("M{:.1} {:.1}h8v8h-8z", x - 4.0, y - 4.0),
            2 => format!("M{x:.1} {:.1}l5.5 9.5h-11z", y - 6.0),
            3 => format!("M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5z", y - 5.5),
            4 => format!("M{x:.1} {:.1}l5.5 -9.5h-11z", y + 6.0),
            5 => format!("M{:.1} {:.1}h3v3h3v3h-3v3h-3v-3h-3v-3h3z", x - 1.5, y - 4.5),
            _ => {
                self.raw(format_args!("<circle class=\"{fill}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\">{title}</circle>\n"));
                return;
            }
        };
        self.raw(format_args!("<path class=\"{fill}\" d=\"{d}\">{title}</path>\n"));
    }

    /// A filled rectangle in the look of a series.
    pub(super) fn bar(&mut self, look: usize, at: (f64, f64), size: (f64, f64), tooltip: &str) {
        let ((x, y), (width, height)) = (at, size);
        let (fill, title) = (fill(look), xml(tooltip));
        self.raw(format_args!(
            "<rect class=\"{fill}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}</title></rect>\n"
        ));
    }

    /// Names beside their looks, from `y` on, on as many lines as they need; where the next thing can be drawn.
    pub(super) fn legend(&mut self, y: f64, with_line: bool, names: &[(usize, &str)]) -> f64 {
        const HEIGHT: f64 = 20.0;
        let sample = if with_line { 28.0 } else { 14.0 };
        let (mut x, mut y) = (MARGIN, y);
        for (look, name) in names {
            let width = sample + 6.0 + width_of(name);
            if x > MARGIN && x + width > WIDTH - MARGIN {
                (x, y) = (MARGIN, y + HEIGHT);
            }
            let middle = y + 6.0;
            if with_line {
                self.polyline(*look, &[(x, middle), (x + sample, middle)]);
                self.mark(*look, (x + sample / 2.0, middle), "");
            } else {
                self.bar(*look, (x, y), (12.0, 12.0), "");
            }
            self.text("t", x + sample + 6.0, y + 11.0, Anchor::Start, name);
            x += width + 16.0;
        }
        y + HEIGHT
    }

    fn raw(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.body.write_fmt(text);
    }

    /// The document.
    pub(super) fn finish(self, height: f64) -> String {
        let Self { title, desc, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{desc}</desc>\n<style>{STYLE}</style>\n\
             <rect class=\"b\" width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"6\"/>\n{body}</svg>\n"
        )
    }
}

fn stroke(look: usize) -> &'static str {
    ["s0", "s1", "s2", "s3", "s4", "s5"].get(look).copied().unwrap_or("r")
}

fn fill(look: usize) -> &'static str {
    ["f0", "f1", "f2", "f3", "f4", "f5"].get(look).copied().unwrap_or("f6")
}

/// About how wide a text of 13 px is: fonts differ.
pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 6.7
}

/// A text as XML: what XML gives a meaning is escaped, and what it does not allow replaced.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_leave_their_place() {
        assert_eq!(
            xml("a<b>&\"c\"\x1b\u{ffff}\nd"),
            "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}\u{fffd} d"
        );
        let mut svg = Svg::new("</title><script>", "]]>");
        svg.mark(0, (1.0, 2.0), "<script>alert(1)</script>");
        svg.text_upwards("d", 1.0, 2.0, "<script>");
        assert!(!svg.finish(10.0).contains("<script"));
    }

    #[test]
    fn a_legend_goes_on_below() {
        let mut svg = Svg::new("", "");
        let names = ["a name of some thirty characters"; 5];
        let names: Vec<(usize, &str)> = names.into_iter().enumerate().collect();
        assert_eq!(svg.legend(40.0, true, names.get(..1).expect("one")), 60.0);
        assert!(svg.legend(40.0, true, &names) > 80.0);
    }
}
