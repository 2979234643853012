//! How full networks are, as SVG: a bar for each range set.

use super::svg::{MARGIN, Svg, WIDTH};
use crate::context::Exit;
use crate::output::{age, count, instant, per_cent, scaled, span};
use crate::shown::Shown;
use crate::usage::{NetworkUsage, Next, SetUsage};

/// Where the bars begin, and how long and high they are.
const LEFT: u32 = 260;
const LENGTH: u32 = 360;
const HEIGHT: u32 = 14;

/// The longest text that has room left of a bar, in characters.
const ROOM: usize = 32;

/// A network and its counts.
#[derive(Debug)]
pub(crate) struct Pictured<'a> {
    /// The network.
    pub(crate) shown: &'a Shown,
    /// Its counts.
    pub(crate) usage: &'a NetworkUsage,
    /// What a monitor is told of each set.
    pub(crate) levels: &'a [Exit],
    /// How its state is.
    pub(crate) health: Exit,
}

/// Draws the networks, below sentences about what is broken.
pub(crate) fn status_svg(networks: &[Pictured<'_>], broken: &[String], now: u64) -> String {
    let mut svg = Svg::new("How full the networks of this node are");
    svg.y += 16;
    svg.text("h", MARGIN, svg.y, "Networks");
    let mut x = LEFT;
    for (class, text, width) in [
        ("u", "used", 70),
        ("c", "cooling", 90),
        ("f", "free", 70),
        ("r", "used, above a limit", 160),
    ] {
        svg.rect(class, x, svg.y - 11, 13, 13);
        svg.text("d", x + 20, svg.y, text);
        x += width;
    }
    for sentence in broken {
        svg.y += 32;
        svg.rect("r", MARGIN, svg.y - 11, 13, 13);
        svg.text("", MARGIN + 20, svg.y, sentence);
        svg.describe(&format!("{sentence}."));
    }
    for network in networks {
        draw(&mut svg, network, now);
    }
    if networks.is_empty() {
        svg.y += 32;
        svg.text("", MARGIN, svg.y, "No network has state on this node.");
    }
    svg.y += 32;
    svg.text("d", MARGIN, svg.y, &format!("plat status, {}", instant(now)));
    svg.finish()
}

fn draw(svg: &mut Svg, network: &Pictured<'_>, now: u64) {
    let state = &network.shown.state;
    svg.y += 40;
    svg.text("t", MARGIN, svg.y, &state.network);
    let (word, class) = match network.health {
        Exit::Fine => ("ok", "n"),
        Exit::Warning => ("needs a look", "c"),
        _ => ("broken", "r"),
    };
    let mut origin = state.instance.as_ref().map_or_else(String::new, |i| format!("{i}, "));
    origin.push_str(&format!("{} {}", state.place.kind(), state.place.path().to_string_lossy()));
    svg.text("d", LEFT, svg.y, &shortened(&origin, 60));
    svg.rect(class, WIDTH - MARGIN - 110, svg.y - 11, 13, 13);
    svg.text("", WIDTH - MARGIN - 90, svg.y, word);
    svg.describe(&format!("Network {}, {word}.", state.network));
    for (set, level) in network.usage.sets.iter().zip(network.levels) {
        bar(svg, set, *level, now);
    }
    let held = count(network.usage.held as u128);
    let mut line = |text: String| {
        svg.y += 24;
        svg.text("d", MARGIN, svg.y, &text);
        svg.describe(&format!("{text}."));
    };
    if network.shown.layout.is_none() {
        line(format!("{held} used, its ranges are not known"));
    }
    if network.usage.outside > 0 {
        line(format!("{} used outside the ranges", network.usage.outside));
    }
}

fn bar(svg: &mut Svg, set: &SetUsage, level: Exit, now: u64) {
    svg.y += 26;
    let top = svg.y - HEIGHT + 2;
    svg.text("", MARGIN, svg.y, &shortened(&set.ranges, ROOM));
    let length = |n: u128| -> u32 {
        let scaled = u32::try_from(scaled(n, set.size, LENGTH.into())).unwrap_or(LENGTH);
        // Something is never drawn as nothing.
        if n > 0 { scaled.clamp(1, LENGTH) } else { 0 }
    };
    let (used, cooling) = (length(set.used), length(set.cooling));
    let class = if level == Exit::Fine { "u" } else { "r" };
    let tip = format!(
        "{} used, {} cooling, {} free of {}; {} excluded",
        count(set.used),
        count(set.cooling),
        count(set.free),
        count(set.size),
        count(set.excluded)
    );
    let rect = |x: u32, width: u32| format!("M{x} {top}h{width}v{HEIGHT}h-{width}z");
    svg.path("f", &rect(LEFT, LENGTH), &tip);
    if used > 0 {
        svg.path(class, &rect(LEFT, used), &tip);
    }
    let cooling = cooling.min(LENGTH - used.min(LENGTH));
    if cooling > 0 {
        svg.path("c", &rect(LEFT + used, cooling), &tip);
    }
    let share = per_cent(set.used, set.size);
    svg.text_end("", LEFT + LENGTH + 56, svg.y, &share);
    let next = match set.next {
        Next::Address(addr) => format!("next {addr}"),
        Next::After(remaining) => format!("nothing free for {}", span(remaining)),
        Next::Full => "nothing free".to_owned(),
    };
    svg.text(
        "d",
        LEFT + LENGTH + 72,
        svg.y,
        &format!("{} of {}", count(set.used), count(set.size)),
    );
    svg.y += 16;
    let oldest =
        set.oldest.map_or_else(String::new, |since| format!(", oldest {}", age(now, since)));
    svg.text("m", LEFT, svg.y, &format!("{next}{oldest}"));
    svg.describe(&format!("{}: {share}, {tip}; {next}{oldest}.", set.ranges));
}

fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::samples::{allocation, layout, shown, state};
    use ipam_core::policy::Policy;

    #[test]
    fn each_set_has_a_bar_and_a_sentence() {
        let mut pods = state("pods & co");
        pods.allocations = (10..137).map(|n| allocation(&format!("10.1.2.{n}"), n, n)).collect();
        let layout = layout(
            r#"{"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8::/64"}]]}"#,
            Policy::default(),
        );
        let shown = shown(pods, layout);
        let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
        let pictured = Pictured {
            shown: &shown,
            usage: &usage,
            levels: &[Exit::Warning, Exit::Fine],
            health: Exit::Fine,
        };
        let svg = status_svg(&[pictured], &["/run/plat/plat.db is gone".to_owned()], 1000);
        assert!(svg.contains("<text class=\"t\" x=\"24\" y=\"112\">pods &amp; co</text>"), "{svg}");
        // 127 of 253 of 360 units.
        assert!(svg.contains("<path class=\"r\" d=\"M260 126h180v14h-180z\">"), "{svg}");
        assert!(svg.contains("10.1.2.0/24: 50 %, 127 used, 0 cooling, 126 free of 253; 1 excluded; next 10.1.2.2, oldest 16m."));
        assert!(svg.contains("2001:db8::/64: 0 %, 0 used, 0 cooling, 2^64 free of 2^64; 1 excluded; next 2001:db8::2."));
        assert_eq!(svg.matches("class=\"r\" d=").count(), 1);
        assert!(svg.contains(">/run/plat/plat.db is gone</text>"));
        assert_eq!(status_svg(&[], &[], 0).matches("No network has state").count(), 1);
    }
}
