//! SVG 1.1 documents that need nothing but themselves: no script, no font, no other file.

use std::fmt::Write as _;

use crate::output::escape;

/// The width of every picture.
pub(super) const WIDTH: u32 = 960;

/// The space around it.
pub(super) const MARGIN: u32 = 24;

/// Colours for light and dark surroundings, without CSS variables, which many viewers do not know; told apart by brightness, too, for those who see few colours.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}
.h{font-size:20px;font-weight:600}.t{font-size:15px;font-weight:600}.d{fill:#59636e}.m{font:11px ui-monospace,monospace;fill:#59636e}
.b{fill:#fff}.f{fill:#e3e8ee}.u,.u1,.u2,.u3,.u4{fill:#0b62c4}.c{fill:#d9a400}.x{fill:#9aa4af}.g{fill:#a626a4}.n{fill:#1a7f37}.r{fill:#cf222e}
.u1{opacity:.25}.u2{opacity:.45}.u3{opacity:.65}.u4{opacity:.85}
.s path{stroke:#fff;stroke-width:.1}path:hover{opacity:.6}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.d,.m{fill:#9198a1}
.b{fill:#0d1117}.f{fill:#2a313c}.u,.u1,.u2,.u3,.u4{fill:#58a6ff}.c{fill:#e3b341}.x{fill:#59636e}.g{fill:#d2a8ff}.n{fill:#3fb950}.r{fill:#ff7b72}
.s path{stroke:#0d1117}}
";

/// A document in the making.
#[derive(Debug)]
pub(super) struct Svg {
    title: String,
    desc: String,
    body: String,
    /// Where the next thing is drawn.
    pub(super) y: u32,
}

impl Svg {
    /// An empty picture with a name.
    pub(super) fn new(title: &str) -> Self {
        Self { title: xml(title), desc: String::new(), body: String::new(), y: MARGIN }
    }

    /// Adds a sentence to what is read to those who do not see the picture.
    pub(super) fn describe(&mut self, sentence: &str) {
        if !self.desc.is_empty() {
            self.desc.push(' ');
        }
        self.desc.push_str(&xml(sentence));
    }

    /// Adds a text, its base line at `y`.
    pub(super) fn text(&mut self, class: &str, x: u32, y: u32, text: &str) {
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>\n",
            xml(text)
        ));
    }

    /// Adds a text that ends at `x`.
    pub(super) fn text_end(&mut self, class: &str, x: u32, y: u32, text: &str) {
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>\n",
            xml(text)
        ));
    }

    /// Adds a rectangle.
    pub(super) fn rect(&mut self, class: &str, x: u32, y: u32, width: u32, height: u32) {
        self.raw(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>\n"
        ));
    }

    /// Adds a shape with an optional tooltip.
    pub(super) fn path(&mut self, class: &str, d: &str, tooltip: &str) {
        if tooltip.is_empty() {
            self.raw(format_args!("<path class=\"{class}\" d=\"{d}\"/>\n"));
        } else {
            let tooltip = xml(tooltip);
            self.raw(format_args!(
                "<path class=\"{class}\" d=\"{d}\"><title>{tooltip}</title></path>\n"
            ));
        }
    }

    /// Adds what is SVG already.
    pub(super) fn raw(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.body.write_fmt(text);
    }

    /// The document.
    pub(super) fn finish(self) -> String {
        let Self { title, desc, body, y } = self;
        let height = y + MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{desc}</desc>\n\
             <style>{STYLE}</style>\n<rect class=\"b\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
        )
    }
}

/// A text as XML: what XML gives a meaning is escaped, and so are characters that it does not allow.
pub(super) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            escaped.push('\n');
        }
        for c in escape(line).chars() {
            match c {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
                c => escaped.push(c),
            }
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
            "a&lt;b&gt;&amp;&quot;c&quot;\\u{1b}\u{fffd}\nd"
        );
        let mut svg = Svg::new("</title><script>");
        svg.path("u", "M0 0h1v1h-1z", "<script>alert(1)</script>");
        svg.describe("]]>");
        assert!(!svg.finish().contains("<script"));
    }
}
