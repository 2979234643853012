/*!
The page: a function from the figures of some runs to Markdown and SVG.

What was not measured is left out, and said to be so. A sentence that names a ratio takes it from the figures; why
things are so stands here, since no figure tells it.
*/

mod about;
mod agent;
mod ipam;
mod pool;
mod select;
mod summary;
pub(crate) mod text;
mod vpp;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::figures::Run;

/// A page, and the pictures that it shows.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// As Markdown.
    pub markdown: String,
    /// SVG by the name of its file.
    pub images: BTreeMap<String, String>,
}

/// What the benchmarks are called, in the order of the page.
pub const BENCHES: [&str; 4] = ["ipam", "pool", "vpp", "agent"];

impl Page {
    /// Of these runs, each of another benchmark; `command` wrote it, and `images` is the pictures' directory, seen from the page.
    #[must_use]
    pub fn of(runs: &[Run], command: &str, images: &str) -> Self {
        let mut page = Self::default();
        let run = |name: &str| runs.iter().find(|run| run.bench == name);
        page.markdown += &text::wrapped(&about::head(command));
        page.markdown += "\n\n";
        page.markdown += &summary::ratios(runs);
        let mut sheet = Sheet { images, page: &mut page };
        ipam::write(run("ipam"), &mut sheet);
        pool::write(run("pool"), &mut sheet);
        vpp::write(run("vpp"), &mut sheet);
        agent::write(run("agent"), &mut sheet);
        page.markdown += &summary::goals(runs);
        page.markdown += &about::machine(runs);
        page.markdown += &text::wrapped(&about::method(runs));
        page.markdown.push('\n');
        page
    }
}

/// What sections write on.
struct Sheet<'a> {
    images: &'a str,
    page: &'a mut Page,
}

impl Sheet<'_> {
    /// Text, a paragraph or more.
    fn say(&mut self, text: &str) {
        self.page.markdown += &text::wrapped(text);
        self.page.markdown += "\n\n";
    }

    /// A table, with what it has.
    fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.page.markdown += &text::table(head, rows);
    }

    /// A picture, and what it shows in words.
    fn picture(&mut self, name: &str, alternative: &str, svg: String) {
        let name = format!("bench-{name}.svg");
        let alternative = alternative.replace(['[', ']'], "");
        self.page.markdown += &format!("![{alternative}]({}/{name})\n\n", self.images);
        self.page.images.insert(name, svg);
    }

    /// A section of something that was not measured.
    fn missing(&mut self, title: &str, bench: &str) {
        self.say(&format!(
            "## {title}\n\nNot measured in this run: `make bench-{bench}` measures it."
        ));
    }
}
